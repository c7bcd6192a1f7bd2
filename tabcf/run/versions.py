"""Versions of a run in its folder: what it was fitted as, and what it has grown to since.

The first version is the folder itself; each later one is a folder like it in `versions/`.
`versions.json` says which there are and which one is in use. It is replaced at once and after the
version is complete, so that a killed process leaves the run as it was; a folder that it does not
name is no version, and goes when the next one is made.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tabcf.errors import RunError
from tabcf.run.locked import locked
from tabcf.run.manifest import check_file, is_within_run, read_json, read_manifest, write_json

__all__ = [
    "Version",
    "add_version",
    "read_versions",
    "rollback",
    "version_folder",
    "version_in_use",
]

_FORMAT = 1
_NAMES = "versions.json"
_FOLDER = "versions"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a run.

    Attributes:
        version: Its number, from 1.
        kind: `fit`, `extend` or `update`.
        made: When, in UTC.
        based_on: The version that it grew from; None for the first one.
        summary: What it came to, in one line.
        is_used: Whether it is the one that the run answers with.
    """

    version: int
    kind: str
    made: str
    based_on: int | None = None
    summary: str = ""
    is_used: bool = False


def read_versions(home: Path) -> list[Version]:
    """The versions of a run, the first one first.

    Raises:
        RunError: The folder is no run, or what names its versions cannot be read.
    """
    if not (home / _NAMES).is_file():
        read_manifest(home)
        made = datetime.fromtimestamp((home / "manifest.json").stat().st_mtime, UTC)
        return [Version(1, "fit", _text(made), is_used=True)]
    state = read_json(home / _NAMES)
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise RunError(f"{home / _NAMES}: expected format {_FORMAT}; it was written otherwise")
    try:
        found = [Version(**entry) for entry in state["versions"]]
        used = state["used"]
    except (KeyError, TypeError) as error:
        raise RunError(f"{home / _NAMES}: cannot be read: {error}") from None
    return [replace(version, is_used=version.version == used) for version in found]


def version_in_use(home: Path) -> int:
    """The number of the version that a run answers with."""
    return next((v.version for v in read_versions(home) if v.is_used), 1)


def version_folder(home: Path, version: int) -> Path:
    """Where the files of a version are."""
    return home if version == 1 else home / _FOLDER / str(version)


def add_version(
    home: Path, write: Callable[[Path, int], Any], *, kind: str, based_on: int, summary: str
) -> int:
    """Write a version and use it; killed in between, it leaves the run as it was.

    Args:
        home: The run's folder.
        write: Writes the files of the version of a number into a folder.
        kind: `extend` or `update`.
        based_on: The version that it grew from, which has to be in use.
        summary: One line.

    Returns:
        Its number.

    Raises:
        RunError: The folder is the first stage of another run, cannot be written, is being changed
            by another process, or has another version in use.
    """
    if is_within_run(home):
        raise RunError(f"{home}: the run is the first stage of another; grow that one")
    with locked(home):
        versions = read_versions(home)
        used = next((v.version for v in versions if v.is_used), None)
        if used != based_on:
            raise RunError(
                f"{home}: grows from version {based_on}, but version {used} is in use by now; load "
                "it anew, or roll back first"
            )
        number = max(v.version for v in versions) + 1
        scratch: Path | None = None
        try:
            (home / _FOLDER).mkdir(exist_ok=True)
            _sweep(home, versions)
            scratch = Path(tempfile.mkdtemp(prefix=f".{number}.", dir=home / _FOLDER))
            write(scratch, number)
            scratch.chmod(0o755)
            _sync(scratch)
            scratch.rename(version_folder(home, number))
            made = _text(datetime.now(UTC))
            _write(home, [*versions, Version(number, kind, made, based_on, summary)], used=number)
        except OSError as error:
            _remove(scratch)
            raise RunError(f"{home}: cannot be written: {error.strerror}") from None
        except BaseException:
            _remove(scratch)
            raise
    return number


def rollback(home: Path, version: int | None = None) -> int:
    """Use another version from now on; all versions stay.

    Args:
        home: The run's folder.
        version: Which; by default the one that the version in use grew from.

    Returns:
        Its number.

    Raises:
        RunError: There is no such version, or its files are not what was saved; the run then stays
            as it is.
    """
    with locked(home):
        versions = read_versions(home)
        numbers = [v.version for v in versions]
        if version is None:
            used = next((v for v in versions if v.is_used), versions[0])
            if used.based_on is None:
                raise RunError(f"{home}: version {used.version} in use is the first one")
            version = used.based_on
        if version not in numbers:
            known = ", ".join(map(str, numbers))
            raise RunError(f"{home}: there is no version {version}; there are: {known}")
        folder = version_folder(home, version)
        for name, expected in read_manifest(folder).items():
            check_file(folder, name, expected)
        try:
            _write(home, versions, used=version)
        except OSError as error:
            raise RunError(f"{home}: cannot be written: {error.strerror}") from None
    return version


def _write(home: Path, versions: list[Version], *, used: int) -> None:
    """Replace what names the versions."""
    entries = []
    for version in versions:
        entry = asdict(version)
        del entry["is_used"]
        entries.append(entry)
    scratch = home / f".{_NAMES}"
    write_json(scratch, {"format": _FORMAT, "used": used, "versions": entries})
    _sync_file(scratch)
    scratch.replace(home / _NAMES)


def _sweep(home: Path, versions: list[Version]) -> None:
    """Remove what killed processes left behind."""
    known = {str(version.version) for version in versions}
    for path in (home / _FOLDER).iterdir():
        if path.name not in known:
            shutil.rmtree(path, ignore_errors=True)


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have the disk hold all files of a folder, before anything names it."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync_file(path)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
