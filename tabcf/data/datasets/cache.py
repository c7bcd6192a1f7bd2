"""Where data sets are kept on this machine, and whether what is kept is whole.

    <cache>/downloads/          files that the user placed there, used before any other source
    <cache>/datasets/<name>/    the normal form, and manifest.json with its checksums

Files are moved into place one by one, the manifest last. As a data set always comes to the same
bytes, two processes that fetch it at once replace a file by its equal, and no lock is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import platformdirs

from tabcf.data.datasets.records import Checksum, Dataset, Unavailable
from tabcf.errors import DataError

__all__ = [
    "cache_root",
    "check_archive",
    "check_files",
    "downloads_folder",
    "file_digest",
    "is_complete",
    "normal_folder",
    "publish",
    "workspace",
]

_MANIFEST = "manifest.json"
_VARIABLE = "TABCF_CACHE"


def cache_root() -> Path:
    """The folder in the environment variable TABCF_CACHE, else the user's cache folder."""
    chosen = os.environ.get(_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("tabcf", appauthor=False))


def downloads_folder(root: Path) -> Path:
    """Where a user places a file that this machine cannot fetch."""
    return root / "downloads"


def normal_folder(root: Path, name: str) -> Path:
    """Where the normal form of a data set is, or will be."""
    return root / "datasets" / name


@contextmanager
def workspace(root: Path) -> Iterator[Path]:
    """A fresh folder on the cache's file system, removed at the end.

    Raises:
        DataError: The cache cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        work = TemporaryDirectory(dir=root, prefix=".partial-", ignore_cleanup_errors=True)
    except OSError as error:
        raise DataError(
            f"{root}: cannot write to the cache folder ({error.strerror}); "
            f"name another in the environment variable {_VARIABLE}"
        ) from None
    with work as folder:
        yield Path(folder)


def is_complete(dataset: Dataset, root: Path) -> bool:
    """Whether every file is there in its right size, as written by this version of the format.

    The sums in the manifest are compared, not computed: this runs at each use of a data set.
    """
    folder = normal_folder(root, dataset.info.name)
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        sizes = [(folder / file.name).stat().st_size for file in dataset.files]
    except (OSError, ValueError):
        return False
    is_current = isinstance(manifest, dict) and manifest.get("files") == _sums(dataset)
    return is_current and sizes == [file.n_bytes for file in dataset.files]


def check_files(dataset: Dataset, folder: Path) -> None:
    """Read every file and compare its sha256.

    Raises:
        Unavailable: A file is missing or another; says both sums.
    """
    for file in dataset.files:
        path = folder / file.name
        if not path.is_file():
            raise Unavailable(f"{file.name} is missing")
        found = file_digest(path, "sha256")
        if found != file.sha256:
            raise Unavailable(f"{file.name}: expected sha256 {file.sha256}, got {found}")


def publish(dataset: Dataset, work: Path, *, root: Path, source: str) -> Path:
    """Move checked files from `work` to their final place; `source` is kept in the manifest."""
    folder = normal_folder(root, dataset.info.name)
    (work / _MANIFEST).write_text(
        json.dumps(_manifest(dataset, source), indent=2) + "\n", encoding="utf-8"
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*(file.name for file in dataset.files), _MANIFEST):
        (work / name).replace(folder / name)
    return folder


def file_digest(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        # md5 guards against damage here, as published by the data's owners; it is no secret.
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return digest.hexdigest()


def check_archive(path: Path, checksum: Checksum) -> None:
    """Compare a downloaded file with its published digest.

    Raises:
        Unavailable: It is another; says both.
    """
    found = file_digest(path, checksum.algorithm)
    if found != checksum.digest:
        raise Unavailable(f"expected {checksum.algorithm} {checksum.digest}, got {found}")


def _sums(dataset: Dataset) -> dict[str, dict[str, int | str]]:
    return {file.name: {"bytes": file.n_bytes, "sha256": file.sha256} for file in dataset.files}


def _manifest(dataset: Dataset, source: str) -> dict[str, Any]:
    info = dataset.info
    return {
        "name": info.name,
        "title": info.title,
        "homepage": info.homepage,
        "license": info.license,
        "citation": info.citation,
        "source": source,
        "files": _sums(dataset),
    }
