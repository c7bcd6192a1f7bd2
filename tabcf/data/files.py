"""Reading one file or folder of data: delimited text, Parquet, Arrow.

Text files are read as text; a column becomes whole numbers only if every value reads back as it
was written, so that the id `007` stays `007`.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tabcf.data.source import Source
from tabcf.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ENDINGS", "is_partitioned", "read_file", "read_partitioned", "to_frame"]

_MISSING_NUMBERS = ("", "NA", "NaN", "nan", "N/A", "null", "NULL", "None", "?")


def read_file(path: Path, *, name: str) -> Source:
    """Read a file by its ending.

    Raises:
        DataError: It is of another type, cannot be read, or has no rows.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        kinds = ", ".join(ENDINGS)
        raise DataError(f"{name}: expected one of the file types {kinds}, got '{path.suffix}'")
    return _not_empty(reader(path, name))


def _not_empty(source: Source) -> Source:
    if len(source.frame) == 0:
        raise DataError(f"{source.name}: expected rows below the header, got none")
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


def _to_pandas(array: pa.Array | pa.ChunkedArray) -> pd.Series[Any]:
    """Numbers as numpy (`Int64` where some are missing), text as pandas' string type."""
    import pyarrow as pa

    if pa.types.is_integer(array.type) and array.null_count:
        types = {pa.int64(): pd.Int64Dtype()}
        return pd.Series(array.to_pandas(types_mapper=types.get))
    return pd.Series(array.to_pandas())


def is_partitioned(path: Path) -> bool:
    """Whether a folder holds no data files itself, and Parquet files in folders below."""
    if not path.is_dir() or any(p.suffix.lower() in ENDINGS for p in path.iterdir()):
        return False
    return any(p.suffix.lower() in _PARQUET for p in path.rglob("*") if p.is_file())


def read_partitioned(path: Path, *, name: str) -> Source:
    """Read a folder of Parquet files in folders such as `year=2024/month=7/`.

    Raises:
        DataError: A file cannot be read, or has other columns than the others.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    files = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in _PARQUET)
    try:
        parts = ds.dataset(
            files, format="parquet", partitioning="hive", partition_base_dir=str(path)
        )
        for file in parts.files:
            own = ds.dataset(file, format="parquet").schema.names
            missing = [column for column in own if column not in parts.schema.names]
            if missing:
                raise DataError(
                    f"{name}: expected the same columns in each file, got "
                    f"'{missing[0]}' in {Path(file).relative_to(path)} alone"
                )
        table = parts.to_table(use_threads=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise DataError(f"{name}: cannot be read: {str(error).splitlines()[0]}") from None
    return _not_empty(Source(to_frame(table), name))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a frame: numbers as numpy, `Int64` where whole numbers are missing.

    Decimals become floats, since nothing here adds up money.
    """
    import pyarrow as pa

    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        columns[name] = _to_pandas(column)
    return pd.DataFrame(columns)


def _read_parquet(path: Path, name: str) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # The file alone: what the folders around it are called is no column.
        table = pq.ParquetFile(path).read(use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{name}: not a Parquet file: {str(error).splitlines()[0]}") from None
    return Source(to_frame(table), name)


def _read_arrow(path: Path, name: str) -> Source:
    """Read Arrow's own format, of files (also called Feather) or of streams."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        try:
            try:
                table = pa.ipc.open_file(file).read_all()
            except pa.ArrowInvalid:
                file.seek(0)
                table = pa.ipc.open_stream(file).read_all()
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{name}: not an Arrow file: {str(error).splitlines()[0]}") from None
        return Source(to_frame(table), name)


_PARQUET = (".parquet", ".pq")
_READERS = {
    ".csv": _read_text,
    ".tsv": _read_text,
    ".tab": _read_text,
    ".txt": _read_text,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
}
ENDINGS = tuple(_READERS)
"""Of the files that can be read."""
