"""What a search leaves in its folder, beside the trials themselves.

tune.json     what is searched: spec, metric and a fingerprint of the rows
trials.jsonl  the trials, as Optuna keeps them
trials.csv    the same as a table
best.yaml     the best setting so far as a spec
run-1/        the run fitted by it on training and validation rows, and tested
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tabcf.errors import RunError
from tabcf.run.manifest import FORMAT, read_json, write_json
from tabcf.spec.components import components
from tabcf.spec.document import parse_document

__all__ = ["BEST", "TRIALS", "SearchFile", "read_trials", "write_best"]

_SEARCH, TRIALS, BEST = "tune.json", "trials.csv", "best.yaml"


@dataclass(frozen=True)
class SearchFile:
    """What is searched; trials go together only where all of it is the same.

    Attributes:
        name: The spec's name.
        spec: Its plain values, less how long is searched.
        metric: What settings are chosen by.
        rows: A fingerprint of the rows that train and validate.
    """

    name: str
    spec: Mapping[str, Any]
    metric: str
    rows: str

    @classmethod
    def of(cls, name: str, tree: Mapping[str, Any], metric: str, rows: str) -> SearchFile:
        """Leave out of a spec how long is searched."""
        tune = {k: v for k, v in (tree.get("tune") or {}).items() if k not in ("trials", "time")}
        return cls(name, {**tree, "tune": tune}, metric, rows)

    def write(self, folder: Path) -> None:
        """Make the folder and the file.

        Raises:
            RunError: The folder exists or cannot be written.
        """
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise RunError(f"{folder}: already exists; searches are never overwritten") from None
        except OSError as error:
            raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
        state = {"name": self.name, "metric": self.metric, "rows": self.rows, "spec": self.spec}
        write_json(folder / _SEARCH, {"format": FORMAT, **state})

    @classmethod
    def read(cls, folder: Path) -> SearchFile:
        """Read it.

        Raises:
            RunError: There is none, or it is of another format.
        """
        if not (folder / _SEARCH).is_file():
            raise RunError(f"{folder}: expected the folder of a search; no {_SEARCH} in it")
        state = read_json(folder / _SEARCH)
        if state.pop("format", None) != FORMAT:
            raise RunError(f"{folder}: was written by another version of tabcf")
        return cls(**state)

    def check_same(self, other: SearchFile, folder: Path) -> None:
        """Raise where another search could not go on with the trials of this one.

        Raises:
            RunError: Says what differs.
        """
        keys = {**self.spec, **other.spec}
        differ = [key for key in keys if self.spec.get(key) != other.spec.get(key)]
        if differ:
            raise RunError(
                f"{folder}: was begun with another spec; {', '.join(differ)} differ, and trials "
                "of two specs cannot be compared; only tune.trials and tune.time may change"
            )
        if self.rows != other.rows:
            raise RunError(f"{folder}: was begun with other rows; its trials are not of these")


def read_trials(folder: Path) -> pd.DataFrame:
    """The table of a search's trials.

    Raises:
        RunError: The folder has none.
    """
    SearchFile.read(folder)
    if not (folder / TRIALS).is_file():
        raise RunError(f"{folder}: no trial has ended yet")
    return pd.read_csv(folder / TRIALS)


def write_best(
    tree: Mapping[str, Any], folder: Path, *, base: Path, data: Any, comment: str
) -> Path:
    """Write a spec into a search's folder so that it reads the same files from there.

    Args:
        tree: Plain values.
        folder: The search's.
        base: What paths in the values start from.
        data: What was given in place of the spec's data; a frame has to be given again.
        comment: Its first line.
    """
    moved = dict(tree)
    if isinstance(data, (str, Path)):
        moved["data"] = _moved(str(data), Path(), folder)
    elif data is None and "data" in moved:
        moved["data"] = _moved_rows(moved["data"], base, folder)
    for name, entity in moved.get("entities", {}).items():
        if entity.get("table"):
            table = {"table": _moved_rows(entity["table"], base, folder)}
            moved["entities"] = {**moved["entities"], name: {**entity, **table}}
    if moved.get("plugins"):
        moved["plugins"] = [
            _moved(plugin, base, folder, prefix="./") if "/" in plugin or ".y" in plugin else plugin
            for plugin in moved["plugins"]
        ]
    split = moved.get("split")
    if isinstance(split, Mapping) and isinstance(split.get("files"), Mapping):
        parts = {part: _moved(path, base, folder) for part, path in split["files"].items()}
        moved["split"] = {"files": parts}
    for place in components(tree):
        # Look-up files have to lie beside the spec that names them.
        if place.kind == "column" and isinstance(place.options, Mapping):
            path = place.options.get("table")
            if isinstance(path, str) and (base / path).is_file():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(base / path, folder / path)
    text = yaml.safe_dump(moved, sort_keys=False, allow_unicode=True, default_flow_style=None)
    if parse_document(text, BEST).tree != moved:
        # A text such as "2e-2", which other readers of YAML take for text without quotes.
        text = json.dumps(moved, indent=1, ensure_ascii=False) + "\n"
    path = folder / BEST
    scratch = folder / f".{BEST}"
    scratch.write_text(f"# {comment}\n#   tabcf fit {path}\n{text}", encoding="utf-8")
    scratch.replace(path)
    return path


def _moved_rows(rows: Any, base: Path, folder: Path) -> Any:
    """Where rows are from another folder; a query says it without one."""
    if isinstance(rows, str):
        return _moved(rows, base, folder)
    if isinstance(rows, Mapping) and isinstance(rows.get("path"), str):
        return {**rows, "path": _moved(rows["path"], base, folder)}
    return rows


def _moved(path: str, base: Path, folder: Path, *, prefix: str = "") -> str:
    """A path from another folder; those of built-in data and absolute ones stay."""
    if path.startswith("builtin:") or Path(path).expanduser().is_absolute():
        return path
    moved = Path(os.path.relpath((base / path).absolute(), folder.absolute())).as_posix()
    return moved if moved.startswith("..") else f"{prefix}{moved}"
