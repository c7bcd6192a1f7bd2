"""A run's index in its folder: `index-1/`, or a later number where another one was there before.

An index that is added to a saved run is written beside what the manifest names; it is the run's as
soon as the manifest is replaced, and until then the run is what it was. Folders that a killed
process left behind are no part of the run, and go when the next index is added.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabcf.errors import RunError
from tabcf.recommend.index import ItemIndex, KeptIndex, check_index
from tabcf.recommend.index.files import GRAPH, INFO, read_info
from tabcf.recommend.trained import Trained
from tabcf.run.locked import locked
from tabcf.run.manifest import (
    check_file,
    fingerprints,
    is_within_run,
    read_manifest,
    write_manifest,
)
from tabcf.run.weights import WEIGHTS, has_weights_of

if TYPE_CHECKING:
    from tabcf.run.run import Run

__all__ = ["add_index", "is_read_later", "read_index", "write_index"]

_GRAPH_NAME = re.compile(rf"(index-[1-9]\d*)/{re.escape(GRAPH)}")


def is_read_later(name: str) -> bool:
    """Whether a file of a run, or of its first stage, is an index's graph.

    It is large, and is checked and read when it is first used.
    """
    return _GRAPH_NAME.fullmatch("/".join(name.split("/")[-2:])) is not None


def read_index(folder: Path, files: Mapping[str, Any]) -> KeptIndex | None:
    """The index that a run's manifest names; it is checked and read when it is first used.

    Raises:
        RunError: It is of other weights than the run's, or its graph is missing.
    """
    names = [found[1] for found in map(_GRAPH_NAME.fullmatch, files) if found]
    if not names:
        return None
    name = names[0]
    graph, info = f"{name}/{GRAPH}", read_info(folder / name)[0]
    if not (folder / graph).is_file():
        raise RunError(f"{folder}: the file {graph} is missing")
    if info.weights != files.get(WEIGHTS, {}).get("sha256"):
        raise RunError(f"{folder}: the index in {name} is of other weights than the run's")

    def read() -> ItemIndex:
        check_file(folder, graph, files[graph])
        return ItemIndex.load(folder / name)

    return KeptIndex(info, read)


def write_index(trained: Trained, folder: Path) -> None:
    """Write a model's index, if it has one, beside its weights in the folder of a new run.

    Raises:
        DataError: The index is of another model.
        MissingExtraError: It was not read yet, and hnswlib is not installed.
    """
    if trained.index is not None:
        check_index(trained.index.index, trained)
        weights = fingerprints(folder, [folder / WEIGHTS])[WEIGHTS]["sha256"]
        trained.index.index.save(folder / "index-1", weights=weights)


def add_index(run: Run) -> Path:
    """Add a run's index to the folder that it is saved in, in place of any other.

    Raises:
        RunError: The run is not saved, is the first stage of another or has no index; its folder
            has other weights, cannot be written, or is being changed by another process.
        DataError: The index is of another model.
    """
    folder, kept = run.files, run.trained.index
    if folder is None:
        raise RunError("save_index: the run is not saved; `run.save(folder)` writes it as well")
    if kept is None:
        raise RunError("save_index: the run has no index; `run.build_index()` builds one")
    if is_within_run(folder):
        raise RunError(
            f"{folder}: the run is the first stage of the one in {folder.parent}; save that one "
            "into a new folder, which writes the index as well"
        )
    check_index(kept.index, run.trained)
    with locked(folder):
        files = read_manifest(folder)
        if not has_weights_of(folder, run.trained):
            raise RunError(f"{folder}: its weights are not those of the run; save it elsewhere")
        there = {path.name for path in folder.glob("index-*")}
        number = next(n for n in range(1, len(there) + 2) if f"index-{n}" not in there)
        own = folder / f"index-{number}"
        try:
            kept.index.save(own, weights=files[WEIGHTS]["sha256"])
            new = fingerprints(folder, [own / GRAPH, own / INFO])
            others = {n: file for n, file in files.items() if not n.startswith("index-")}
            write_manifest(folder, others | new)
        except OSError as error:
            raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
        for name in there:
            shutil.rmtree(folder / name, ignore_errors=True)
    return folder
