"""A run's index in its folder: `index-1/`, or a later number where another one was there before.

That of the first of two stages is in that stage's own folder where it was saved with the run, and
in `retrieve-index-1/` where it was added later: then the manifest of the whole run names it, and it
holds in place of the stage's own.

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

_GRAPH_NAME = re.compile(rf"((retrieve-)?index-[1-9]\d*)/{re.escape(GRAPH)}")
# What the names of the first stage's own files and of its added index begin with.
_STAGE, _OF_STAGE = "retrieve", "retrieve-"


def is_read_later(name: str) -> bool:
    """Whether a file of a run, or of its first stage, is an index's graph.

    It is large, and is checked and read when it is first used.
    """
    return _GRAPH_NAME.fullmatch("/".join(name.split("/")[-2:])) is not None


def read_index(
    folder: Path, files: Mapping[str, Any], *, of_first: bool = False
) -> KeptIndex | None:
    """The index that a run's manifest names; it is checked and read when it is first used.

    Args:
        folder: The run's.
        files: What its manifest says.
        of_first: Whether it is the one that was added for the first of two stages.

    Raises:
        RunError: It is of other weights than the run's, or its graph is missing.
    """
    found = [match for match in map(_GRAPH_NAME.fullmatch, files) if match]
    names = [match[1] for match in found if (match[2] is not None) == of_first]
    if not names:
        return None
    name = names[0]
    graph, info = f"{name}/{GRAPH}", read_info(folder / name)[0]
    if not (folder / graph).is_file():
        raise RunError(f"{folder}: the file {graph} is missing")
    weights = f"{_STAGE}/{WEIGHTS}" if of_first else WEIGHTS
    if info.weights != files.get(weights, {}).get("sha256"):
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
    """Add a run's index, and that of its first stage, to the folder that it is saved in.

    Each takes the place of any other; what was read from there stays.

    Raises:
        RunError: The run is not saved, is the first stage of another or has no index; its folder
            has other weights, cannot be written, or is being changed by another process.
        DataError: The index is of another model.
    """
    folder, first = run.files, run.first_stage
    if folder is None:
        raise RunError("save_index: the run is not saved; `run.save(folder)` writes it as well")
    of_first = None if first is None else first.trained
    if run.trained.index is None and (of_first is None or of_first.index is None):
        raise RunError("save_index: the run has no index; `run.build_index()` builds one")
    if is_within_run(folder):
        raise RunError(
            f"{folder}: the run is the first stage of the one in {folder.parent}; save that one "
            "into a new folder, which writes the index as well"
        )
    if run.trained.index is not None:
        _add(folder, run.trained, folder, "")
    if of_first is not None and of_first.index is not None and of_first.index.info.weights is None:
        _add(folder, of_first, folder / _STAGE, _OF_STAGE)
    return folder


def _add(folder: Path, trained: Trained, own_folder: Path, prefix: str) -> None:
    """Write a model's index into the folder of a whole run, and name it in its manifest."""
    assert trained.index is not None
    check_index(trained.index.index, trained)
    with locked(folder):
        files = read_manifest(folder)
        if not has_weights_of(own_folder, trained):
            raise RunError(f"{own_folder}: its weights are not those of the run; save it elsewhere")
        name = f"{prefix}index-"
        there = {path.name for path in folder.glob(f"{name}*")}
        number = next(n for n in range(1, len(there) + 2) if f"{name}{n}" not in there)
        own = folder / f"{name}{number}"
        try:
            weights = (own_folder / WEIGHTS).relative_to(folder).as_posix()
            trained.index.index.save(own, weights=files[weights]["sha256"])
            new = fingerprints(folder, [own / GRAPH, own / INFO])
            others = {n: file for n, file in files.items() if not n.startswith(name)}
            write_manifest(folder, others | new)
        except OSError as error:
            raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
        for gone in there:
            shutil.rmtree(folder / gone, ignore_errors=True)
