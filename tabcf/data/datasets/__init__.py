"""Data sets that can be named in a spec, such as `builtin:movielens-100k/ratings`.

They are fetched at first use and kept in the user's cache folder (or the one in the environment
variable TABCF_CACHE); after that no network is needed.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from tabcf.data.datasets.cache import cache_root, check_files, is_complete, normal_folder
from tabcf.data.datasets.catalogue import CATALOGUE
from tabcf.data.datasets.fetching import materialise
from tabcf.data.datasets.records import Dataset, DatasetInfo, TableInfo, Unavailable
from tabcf.errors import DataError

__all__ = [
    "DatasetInfo",
    "TableInfo",
    "describe",
    "fetch",
    "folder",
    "is_cached",
    "names",
    "verify",
]


def names() -> list[str]:
    """The names of all built-in data sets.

    Example:
        >>> names()[0]
        'movielens-100k'
    """
    return [dataset.info.name for dataset in CATALOGUE]


def describe(name: str) -> DatasetInfo:
    """What a data set is, what its owners allow and how to cite it; fetches nothing.

    Raises:
        DataError: There is no such data set.

    Example:
        >>> [table.name for table in describe("movielens-100k").tables]
        ['ratings', 'users', 'items']
    """
    return _find(name).info


def folder(name: str) -> Path:
    """Where a data set's files are or, before the first fetch, will be.

    Raises:
        DataError: There is no such data set.
    """
    return normal_folder(cache_root(), _find(name).info.name)


def is_cached(name: str) -> bool:
    """Whether `fetch` can answer from this machine alone.

    Raises:
        DataError: There is no such data set.
    """
    return is_complete(_find(name), cache_root())


def fetch(name: str, *, thorough: bool = False) -> Path:
    """The folder of a data set's files, one CSV per table; fetched if it is not yet there.

    Args:
        name: One of `names()`.
        thorough: Read every kept file and fetch again what is damaged. By default only sizes
            are looked at, as this runs at each use.

    Raises:
        DataError: There is no such data set; no source can be used (says what to place where);
            or the cache cannot be written.
        MissingExtraError: It comes with a package that is not installed.
    """
    dataset, root = _find(name), cache_root()
    if is_complete(dataset, root) and not (thorough and _damage(dataset, root)):
        return normal_folder(root, name)
    return materialise(dataset, root=root)


def verify(name: str) -> None:
    """Read every file of a fetched data set and compare its sha256.

    Raises:
        DataError: There is no such data set, it was not fetched, or a file is damaged; then
            `fetch(name, thorough=True)` mends it.
    """
    dataset, root = _find(name), cache_root()
    if damage := _damage(dataset, root):
        raise DataError(f"{name} in {normal_folder(root, name)}: {damage}; fetch it again")


def _damage(dataset: Dataset, root: Path) -> str | None:
    try:
        check_files(dataset, normal_folder(root, dataset.info.name))
    except Unavailable as error:
        return str(error)
    return None


def _find(name: str) -> Dataset:
    for dataset in CATALOGUE:
        if dataset.info.name == name:
            return dataset
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise DataError(f"no built-in data set '{name}'; {hint}known: {', '.join(names())}")
