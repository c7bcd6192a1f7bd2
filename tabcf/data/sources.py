"""Reading events and entity tables: CSV, TSV, Parquet, globs, data frames, built-in data sets.

Text files are read as text; a column becomes whole numbers only if every value reads back as it
was written, so that the id `007` stays `007`.
"""

from __future__ import annotations

import csv
import difflib
import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tabcf.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Source", "path_beside", "read_beside", "read_source", "source_of_frame"]

_MISSING_NUMBERS = ("", "NA", "NaN", "nan", "N/A", "null", "NULL", "None", "?")
_BUILTIN = "builtin:"


@dataclass(frozen=True, slots=True)
class Source:
    """A frame and what to call it in messages.

    `is_text` says that it came from a text file, where the type of a value is not its author's
    word; `first_line` is the line number of its first row there.
    """

    frame: pd.DataFrame
    name: str
    is_text: bool = False
    first_line: int | None = None

    def place(self, position: int) -> str:
        """Where a row is, in the user's words: `line 4,512`, or `row 4,510` of a frame."""
        if self.first_line is None:
            return f"row {position:,}"
        return f"line {position + self.first_line:,}"

    def require(self, columns: Sequence[str]) -> None:
        """Raise if a column is missing; names the nearest one that is there."""
        for column in columns:
            if column not in self.frame.columns:
                known = [str(name) for name in self.frame.columns]
                near = difflib.get_close_matches(column, known, n=1)
                hint = f"did you mean '{near[0]}'? " if near else ""
                raise DataError(
                    f"{self.name}: no column '{column}'; {hint}columns: {', '.join(known)}"
                )


def source_of_frame(data: Any, *, name: str = "data") -> Source:
    """Take a pandas frame, or anything with `to_pandas()` such as a polars or Arrow table."""
    if not isinstance(data, pd.DataFrame):
        if not hasattr(data, "to_pandas"):
            raise DataError(f"{name}: expected a data frame or a path, got {type(data).__name__}")
        data = data.to_pandas()
    names = [str(column) for column in data.columns]
    if len(set(names)) != len(names):
        twice = sorted({column for column in names if names.count(column) > 1})
        raise DataError(f"{name}: column names must be unique; given twice: {', '.join(twice)}")
    frame = data if names == list(data.columns) else data.set_axis(names, axis=1)
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.start != 0:
        frame = frame.reset_index(drop=True)
    return Source(frame, name)


def read_source(source: str, *, folder: Path | None = None, where: str = "data") -> Source:
    """Read `builtin:NAME/TABLE`, a file, a folder or a glob; `folder` is what paths start from."""
    if source.startswith(_BUILTIN):
        path = _builtin_path(source, where)
        return _read_file(path, name=path.name)
    files = _files(source, folder or Path(), where)
    parts = [_read_file(file, name=file.name) for file in files]
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
    return _read_file(found, name=path).frame


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
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in _READERS)
        if not found:
            kinds = ", ".join(sorted(_READERS))
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


def _read_file(path: Path, *, name: str) -> Source:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        kinds = ", ".join(sorted(_READERS))
        raise DataError(f"{name}: expected one of the file types {kinds}, got '{path.suffix}'")
    source: Source = reader(path, name)
    if len(source.frame) == 0:
        raise DataError(f"{name}: expected rows below the header, got none")
    return source


def _read_text(path: Path, name: str) -> Source:
    """Read a delimited text file; columns get the type that all their values have."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    header, delimiter = _header(path, name)
    try:
        table = pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(use_threads=False),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{name}: {_csv_problem(str(error))}") from None
    columns = {column: _typed(table.column(column)) for column in table.column_names}
    return Source(pd.DataFrame(columns), name, is_text=True, first_line=2)


def _header(path: Path, name: str) -> tuple[list[str], str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: expected UTF-8 text; {error.reason}") from None
    if not line.strip():
        raise DataError(f"{name}: expected a header line with column names, got an empty line")
    delimiter = "\t" if path.suffix.lower() in {".tsv", ".tab"} else _delimiter(line)
    names = next(csv.reader([line], delimiter=delimiter))
    names = [column.strip() for column in names]
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise DataError(f"{name}:1: column names must be unique; given twice: {', '.join(twice)}")
    if "" in names:
        raise DataError(f"{name}:1: column {names.index('') + 1} of {len(names)} has no name")
    return names, delimiter


def _delimiter(header: str) -> str:
    return max(",;\t|", key=header.count)


def _csv_problem(message: str) -> str:
    """Say pyarrow's complaint in one short line."""
    first = message.splitlines()[0].removeprefix("CSV parse error: ")
    if "UTF8" in first or "utf8" in first.lower():
        return "expected UTF-8 text; save the file in that encoding"
    return first[:200]


def _typed(column: pa.ChunkedArray) -> pd.Series[Any]:
    """Whole numbers if each reads back as written, else numbers, else text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(column.combine_chunks())
    is_missing = pc.is_in(text, value_set=pa.array(_MISSING_NUMBERS))
    present = pc.if_else(is_missing, pa.scalar(None, pa.string()), text)
    if pc.all(is_missing).as_py():
        return _to_pandas(pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text))
    try:
        whole = present.cast(pa.int64())
        if pc.all(pc.equal(whole.cast(pa.string()), present)).as_py():
            return _to_pandas(whole)
    except pa.ArrowInvalid:
        pass
    has_leading_zero = pc.any(pc.match_substring_regex(present, r"^[+-]?0\d|^\+")).as_py()
    if not has_leading_zero:
        try:
            return _to_pandas(present.cast(pa.float64()))
        except pa.ArrowInvalid:
            pass
    return _to_pandas(pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text))


def _to_pandas(array: pa.Array) -> pd.Series[Any]:
    """Numbers as numpy (`Int64` where some are missing), text as pandas' string type."""
    import pyarrow as pa

    if pa.types.is_integer(array.type) and array.null_count:
        types = {pa.int64(): pd.Int64Dtype()}
        return pd.Series(array.to_pandas(types_mapper=types.get))
    return pd.Series(array.to_pandas())


def _read_parquet(path: Path, name: str) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{name}: not a Parquet file: {str(error).splitlines()[0]}") from None
    return Source(table.to_pandas(), name)


_READERS = {
    ".csv": _read_text,
    ".tsv": _read_text,
    ".tab": _read_text,
    ".txt": _read_text,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
}
