"""The manifest of a run's folder: the size and SHA-256 of each of its files.

A file that it does not name is no part of the run. It is replaced at once and as the last one, so
that a folder is what it was before or what it is to be, and nothing between.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tabcf.errors import RunError

__all__ = [
    "FOLDS",
    "FORMAT",
    "check_file",
    "fingerprints",
    "is_within_run",
    "read_json",
    "read_manifest",
    "write_json",
    "write_manifest",
]

FORMAT = 1
# What makes a folder that of a cross-validation, whose folds are runs within it.
FOLDS = "folds.json"
_MANIFEST = "manifest.json"


def fingerprints(folder: Path, paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of some files by their names in a folder."""
    return {path.relative_to(folder).as_posix(): _fingerprint(path) for path in paths}


def write_manifest(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    """Name the files that are the run; those named before are no part of it any more."""
    scratch = folder / f".{_MANIFEST}"
    write_json(scratch, {"format": FORMAT, "files": files})
    scratch.replace(folder / _MANIFEST)


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """The fingerprints of a run's files by their names.

    Raises:
        RunError: The folder is no run, or is of another format.
    """
    path = folder / _MANIFEST
    if (folder / FOLDS).is_file() and not path.is_file():
        one = min(folder.glob("fold-*"), default=folder / "fold-1")
        raise RunError(
            f"{folder}: holds the folds of a cross-validation; give one of them, such as {one}, or "
            "read all with tabcf.CrossValidation.load"
        )
    if not path.is_file():
        what = "no such folder" if not folder.is_dir() else f"no {_MANIFEST} in it"
        raise RunError(f"{folder}: expected the folder of a run; {what}")
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise RunError(
            f"{folder}: expected format {FORMAT}, got {manifest.get('format')!r}; it was written "
            "by another version of tabcf"
        )
    files: dict[str, dict[str, Any]] = manifest["files"]
    return files


def is_within_run(folder: Path) -> bool:
    """Whether a folder is part of the run in the folder around it, whose manifest names it."""
    if not (folder.parent / _MANIFEST).is_file():
        return False
    return f"{folder.name}/{_MANIFEST}" in read_manifest(folder.parent)


def check_file(folder: Path, name: str, expected: dict[str, Any]) -> None:
    """Raise RunError unless a file is there and as it was saved."""
    file = folder / name
    if not file.is_file():
        raise RunError(f"{folder}: the file {name} is missing")
    if _fingerprint(file) != expected:
        raise RunError(f"{folder}: the file {name} was changed after the run was saved")


def write_json(path: Path, value: Any) -> None:
    """Write plain data, which a person can read as well."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The plain data in a file.

    Raises:
        RunError: It cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
