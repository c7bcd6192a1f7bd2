"""Reading events and entity tables: files, folders, globs, built-in data sets, queries, frames.

What one file holds is read by `tabcf.data.files`, what a query gives by `tabcf.data.sql`.
"""

from __future__ import annotations

import difflib
import glob
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from tabcf.data.arrow import to_frame
from tabcf.data.files import (
    ENDINGS,
    file_batches,
    is_partitioned,
    partitioned_batches,
    read_file,
    read_partitioned,
)
from tabcf.data.parquet import PARQUET, RowGroup, partitioned_row_groups, row_groups
from tabcf.data.source import OnRows, Source
from tabcf.errors import DataError

__all__ = [
    "OnRows",
    "Source",
    "as_source",
    "files_of",
    "path_beside",
    "read_batches",
    "read_beside",
    "read_source",
    "row_groups_of",
    "source_of_frame",
]

_BUILTIN = "builtin:"


def source_of_frame(data: Any, *, name: str = "data") -> Source:
    """Take a pandas frame, or any table of the Arrow C stream interface, such as polars' frames.

    Raises:
        DataError: It is neither, or two columns share a name.
    """
    if not isinstance(data, pd.DataFrame):
        if hasattr(data, "__arrow_c_stream__"):
            import pyarrow as pa

            data = to_frame(pa.table(data))
        elif hasattr(data, "to_pandas"):
            data = data.to_pandas()
        else:
            raise DataError(f"{name}: expected a data frame or a path, got {type(data).__name__}")
    labels = list(data.columns)
    names = [str(label) for label in labels]
    if len(set(names)) != len(names):
        twice = sorted({column for column in names if names.count(column) > 1})
        raise DataError(f"{name}: column names must be unique; given twice: {', '.join(twice)}")
    frame = data if names == labels else data.set_axis(names, axis=1)
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.start != 0:
        frame = frame.reset_index(drop=True)
    return Source(frame, name)


def as_source(data: Any) -> Source:
    """A source as it is, the file at a path, or a frame."""
    if isinstance(data, Source):
        return data
    return read_source(str(data)) if isinstance(data, (str, Path)) else source_of_frame(data)


def read_source(
    source: str,
    *,
    folder: Path | None = None,
    where: str = "data",
    columns: Collection[str] | None = None,
    on_rows: OnRows | None = None,
) -> Source:
    """Read `builtin:NAME/TABLE`, a file, a folder or a glob.

    A folder of folders such as `year=2024/` is one Parquet data set, and `year` a column of it.

    Args:
        source: Which.
        folder: What paths start from.
        where: What to call it in messages.
        columns: Which to read, as far as they are there; all of them by default.
        on_rows: Told by the way of what is read.
    """
    files = files_of(source, folder=folder, where=where)
    if isinstance(files, Path):
        return read_partitioned(files, name=source, columns=columns)
    parts, n_rows = [], 0
    for file, told in zip(files, _shares(files, on_rows), strict=True):
        part = read_file(
            file, name=file.name, columns=columns, on_rows=told and partial(told, n_rows)
        )
        parts.append(part)
        n_rows += len(part.frame)
        _check_same_columns(_named(parts[0]), _named(part))
    if len(parts) == 1:
        return parts[0]
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    is_text = any(part.is_text for part in parts)
    return Source(frame, source, is_text, all_columns=parts[0].all_columns)


def read_batches(
    source: str,
    *,
    folder: Path | None = None,
    where: str = "data",
    columns: Collection[str] | None = None,
) -> Iterator[Source]:
    """The rows of what `read_source` reads, some hundred thousand at a time.

    Of a text file, a column's type is that which all of its values have, for which it is read
    twice. Other files may have whole numbers as `int64` in one block and `Int64`, with missing
    ones, in another; several files may differ in their types.
    """
    files = files_of(source, folder=folder, where=where)
    if isinstance(files, Path):
        yield from partitioned_batches(files, name=source, columns=columns)
        return
    first = None
    for file in files:
        for batch in file_batches(file, name=file.name, columns=columns):
            first = first or batch
            _check_same_columns(_named(first), _named(batch))
            yield batch


def row_groups_of(
    source: str,
    *,
    folder: Path | None = None,
    where: str = "data",
    columns: Collection[str] | None = None,
) -> list[RowGroup] | None:
    """The row groups of what `read_source` reads, in its order; None if not all is Parquet."""
    files = files_of(source, folder=folder, where=where)
    if isinstance(files, Path):
        return partitioned_row_groups(files, name=source, columns=columns)
    if any(file.suffix.lower() not in PARQUET for file in files):
        return None
    found = [own for file in files for own in row_groups(file, file.name, columns=columns)]
    for group in found:
        _check_same_columns((found[0].file, found[0].columns), (group.file, group.columns))
    return found


def files_of(source: str, *, folder: Path | None = None, where: str = "data") -> list[Path] | Path:
    """The files that a source is of, or the folder of one partitioned Parquet data set.

    Raises:
        DataError: There are none.
    """
    if source.startswith(_BUILTIN):
        return [_builtin_path(source, where)]
    path = (folder or Path()) / Path(source).expanduser()
    return path if is_partitioned(path) else _files(source, folder or Path(), where)


def _shares(
    files: Sequence[Path], on_rows: OnRows | None
) -> Iterator[Callable[[int, int, float], None] | None]:
    """What each of several files tells of the rows before its own, and of its own."""
    if on_rows is None:
        yield from (None for _ in files)
        return
    sizes = [file.stat().st_size for file in files]
    total, done = max(sum(sizes), 1), 0

    def told(done: int, size: int, before: int, n: int, share: float) -> None:
        on_rows(before + n, (done + share * size) / total)

    for size in sizes:
        yield partial(told, done, size)
        done += size


def _named(part: Source) -> tuple[str, Sequence[str]]:
    """A part's name, and those of its columns."""
    return part.name, part.all_columns or tuple(map(str, part.frame.columns))


def _check_same_columns(first: tuple[str, Sequence[str]], part: tuple[str, Sequence[str]]) -> None:
    (of, expected), (name, got) = first, part
    if set(got) != set(expected):
        raise DataError(
            f"{name}: expected the columns of {of} ({', '.join(expected)}), got {', '.join(got)}"
        )


def path_beside(path: str, folder: Path | None) -> Path:
    """A path below a folder, for files that a plugin's or a spec's author names.

    Raises:
        DataError: It leads out of the folder, also by a symbolic link.
    """
    root = (folder or Path()).resolve()
    found = (root / path).resolve()
    if Path(path).is_absolute() or not found.is_relative_to(root):
        raise DataError(f"{path}: expected a file in the folder of the spec or plugin, or below it")
    return found


def read_beside(path: str, folder: Path | None) -> pd.DataFrame:
    """Read a look-up file that lies beside the spec or the plugin that names it."""
    found = path_beside(path, folder)
    if not found.is_file():
        raise DataError(f"{path}: no such file in {(folder or Path()).resolve()}")
    return read_file(found, name=path).frame


def _builtin_path(source: str, where: str) -> Path:
    from tabcf.data import datasets

    name, _, table = source.removeprefix(_BUILTIN).partition("/")
    if name not in datasets.names():
        near = difflib.get_close_matches(name, datasets.names(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        known = ", ".join(datasets.names())
        raise DataError(f"{where}: no built-in data set '{name}'; {hint}known: {known}")
    folder = datasets.fetch(name)
    tables = {path.stem: path for path in sorted(folder.glob("*.csv"))}
    if not table and len(tables) == 1:
        return next(iter(tables.values()))
    if table not in tables:
        choices = ", ".join(f"{_BUILTIN}{name}/{stem}" for stem in tables)
        raise DataError(f"{where}: no table '{table}' in '{name}'; choose one of: {choices}")
    return tables[table]


def _files(source: str, folder: Path, where: str) -> list[Path]:
    path = folder / Path(source).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS)
        if not found:
            kinds = ", ".join(ENDINGS)
            raise DataError(f"{where}: no data files in the folder '{source}' (known: {kinds})")
        return found
    if glob.has_magic(source) and not path.is_file():
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 - the pattern may be absolute
        if not found:
            raise DataError(f"{where}: no file matches '{source}' in {folder.resolve()}")
        return found
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise DataError(f"{where}: no file '{source}' in {folder.resolve()}{hint}")
    return [path]
