"""Reading events and entity tables: files, folders, globs, built-in data sets, queries, frames.

What one file holds is read by `tabcf.data.files`, what a query gives by `tabcf.data.sql`.
"""

from __future__ import annotations

import difflib
import glob
from pathlib import Path
from typing import Any

import pandas as pd

from tabcf.data.arrow import to_frame
from tabcf.data.files import ENDINGS, is_partitioned, read_file, read_partitioned
from tabcf.data.source import Source
from tabcf.errors import DataError

__all__ = ["Source", "as_source", "path_beside", "read_beside", "read_source", "source_of_frame"]

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
    names = [str(column) for column in data.columns]
    if len(set(names)) != len(names):
        twice = sorted({column for column in names if names.count(column) > 1})
        raise DataError(f"{name}: column names must be unique; given twice: {', '.join(twice)}")
    frame = data if names == list(data.columns) else data.set_axis(names, axis=1)
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.start != 0:
        frame = frame.reset_index(drop=True)
    return Source(frame, name)


def as_source(data: Any) -> Source:
    """A source as it is, the file at a path, or a frame."""
    if isinstance(data, Source):
        return data
    return read_source(str(data)) if isinstance(data, (str, Path)) else source_of_frame(data)


def read_source(source: str, *, folder: Path | None = None, where: str = "data") -> Source:
    """Read `builtin:NAME/TABLE`, a file, a folder or a glob; `folder` is what paths start from.

    A folder of folders such as `year=2024/` is one Parquet data set, and `year` a column of it.
    """
    if source.startswith(_BUILTIN):
        path = _builtin_path(source, where)
        return read_file(path, name=path.name)
    path = (folder or Path()) / Path(source).expanduser()
    if is_partitioned(path):
        return read_partitioned(path, name=source)
    files = _files(source, folder or Path(), where)
    parts = [read_file(file, name=file.name) for file in files]
    if len(parts) == 1:
        return parts[0]
    expected = list(parts[0].frame.columns)
    for part in parts[1:]:
        if set(part.frame.columns) != set(expected):
            raise DataError(
                f"{part.name}: expected the columns of {parts[0].name} ({', '.join(expected)}), "
                f"got {', '.join(map(str, part.frame.columns))}"
            )
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    return Source(frame, source, is_text=any(part.is_text for part in parts))


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
