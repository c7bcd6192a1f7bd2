"""Reading delimited text in blocks, each of which is typed on its own and kept as narrow as that.

So the text of one block only is in memory.
"""

from __future__ import annotations

import csv
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tabcf.data.plain_text import is_plain
from tabcf.data.source import OnRows, Source
from tabcf.data.text_types import MISSING_NUMBERS, Kind, TextColumn, typed
from tabcf.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_text", "text_batches"]

_FIRST_LINE = 2
_BLOCK_BYTES = 1 << 22
# Of files of so many bytes the first ones are looked at, to guess which columns are numbers.
_LEAST_BYTES, _SAMPLE_BYTES = 1 << 22, 1 << 18


def read_text(
    path: Path,
    name: str,
    *,
    columns: Collection[str] | None = None,
    on_rows: OnRows | None = None,
) -> Source:
    """Read a delimited text file with a header line.

    Args:
        path: Where it is.
        name: What to call it in messages.
        columns: Which to read, as far as they are there; all of them by default.
        on_rows: Told of each block.

    Raises:
        DataError: It is no UTF-8 text, a row has too few or too many values, or a column's name
            is missing or given twice.
    """
    import pyarrow as pa

    text = _Text.opened(path, name, columns)
    read = _columns_guessed(text, on_rows) or _columns(text, {}, on_rows)
    if any(column.must_reread for column in read.values()):
        read = _columns(text, {key: column.kind for key, column in read.items()}, on_rows)
    made = {}
    for key in list(read):
        made[key] = read.pop(key).series()
        # Arrow keeps what it let go of for itself; here that is as much as all columns.
        pa.default_memory_pool().release_unused()
    return text.source(pd.DataFrame(made, copy=False))


def text_batches(
    path: Path, name: str, *, columns: Collection[str] | None = None
) -> Iterator[Source]:
    """The same rows, a few megabytes of text at a time.

    As a column's type is that which all of its values have, the file is read twice.
    """
    text = _Text.opened(path, name, columns)
    kinds = dict.fromkeys(text.columns, Kind.MISSING)
    for batch in text.blocks():
        for key, values in zip(batch.schema.names, batch.columns, strict=True):
            kinds[key] = max(kinds[key], typed(values, kinds[key])[0])
    line = _FIRST_LINE
    for batch in text.blocks():
        block = {}
        for key, values in zip(batch.schema.names, batch.columns, strict=True):
            block[key] = TextColumn(kinds[key])
            block[key].add(values)
        frame = pd.DataFrame({key: column.series() for key, column in block.items()}, copy=False)
        yield replace(text.source(frame), first_line=line)
        line += len(frame)


@dataclass(frozen=True, slots=True)
class _Text:
    """A text file whose header is read.

    Attributes:
        path: Where it is.
        name: What to call it in messages.
        header: The names of its columns.
        start: The byte where its values begin.
        delimiter: What stands between values.
        columns: Those to read.
    """

    path: Path
    name: str
    header: tuple[str, ...]
    start: int
    delimiter: str
    columns: tuple[str, ...]

    @classmethod
    def opened(cls, path: Path, name: str, columns: Collection[str] | None) -> _Text:
        header, start, delimiter = _header(path, name)
        chosen = tuple(key for key in header if columns is None or key in columns)
        # Without any, its rows are counted by the first one.
        return cls(path, name, tuple(header), start, delimiter, chosen or tuple(header[:1]))

    def source(self, frame: pd.DataFrame) -> Source:
        others = self.header if len(self.columns) < len(self.header) else ()
        return Source(frame, self.name, is_text=True, first_line=_FIRST_LINE, all_columns=others)

    def blocks(
        self, numbers: Mapping[str, Kind] | None = None, *, size: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Its rows a block at a time, as text but for the columns that are said to be numbers.

        Raises:
            DataError: A row has too few or too many values, a text is no UTF-8, or what is said to
                be a number is none.
        """
        import pyarrow as pa
        from pyarrow import csv as pa_csv

        types = {Kind.WHOLE: pa.int64(), Kind.NUMBER: pa.float64()}
        kinds = numbers or {}
        try:
            yield from pa_csv.open_csv(
                self.path,
                read_options=pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=size or _BLOCK_BYTES,
                    column_names=self.header,
                    skip_rows=1,
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self.delimiter,
                    newlines_in_values=numbers is None and self._has_quotes(),
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types={
                        key: types[kinds[key]] if key in kinds else pa.string()
                        for key in self.header
                    },
                    null_values=MISSING_NUMBERS,
                    strings_can_be_null=False,
                    include_columns=self.columns,
                ),
            )
        except pa.ArrowInvalid as error:
            raise DataError(f"{self.name}: {_csv_problem(str(error))}") from None

    def _has_quotes(self) -> bool:
        """Whether a value may go over several lines, which takes a second look at each block."""
        with self.path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return content.find(b'"', self.start) >= 0


def _columns_guessed(text: _Text, on_rows: OnRows | None) -> dict[str, TextColumn] | None:
    """The chosen columns of a large file, those of numbers read as such rather than as text first.

    Which these are is guessed from its first rows. None where that was wrong, or where the file has
    numbers that may have been written in another way than they are read.
    """
    if text.path.stat().st_size < _LEAST_BYTES:
        return None
    try:
        first = next(text.blocks(size=_SAMPLE_BYTES))
        kinds = {
            key: typed(values, Kind.MISSING)[0]
            for key, values in zip(first.schema.names, first.columns, strict=True)
        }
        numbers = {key: kind for key, kind in kinds.items() if kind in (Kind.WHOLE, Kind.NUMBER)}
        if not numbers or not is_plain(text.path, text.start, text.delimiter):
            return None
        return _columns(text, numbers, on_rows, are_numbers=True)
    except (DataError, StopIteration):
        return None


def _columns(
    text: _Text, kinds: Mapping[str, Kind], on_rows: OnRows | None, *, are_numbers: bool = False
) -> dict[str, TextColumn]:
    """The chosen columns, none narrower than `kinds` says, or read as the numbers that it says."""
    columns = {key: TextColumn(kinds.get(key, Kind.MISSING)) for key in text.columns}
    n_rows, n_bytes, size = 0, 0, text.path.stat().st_size
    for batch in text.blocks(kinds if are_numbers else None):
        for key, values in zip(batch.schema.names, batch.columns, strict=True):
            if are_numbers and key in kinds:
                columns[key].add_numbers(values)
            else:
                columns[key].add(values)
        n_rows, n_bytes = n_rows + len(batch), n_bytes + _BLOCK_BYTES
        if on_rows is not None:
            on_rows(n_rows, min(n_bytes / size, 1.0))
    return columns


def _header(path: Path, name: str) -> tuple[list[str], int, str]:
    """The columns' names, the byte behind them, and what stands between values."""
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
    with path.open("rb") as file:
        mark = len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0
    return names, mark + len(line.encode()), delimiter


def _delimiter(header: str) -> str:
    return max(",;\t|", key=header.count)


def _csv_problem(message: str) -> str:
    """Say pyarrow's complaint in one short line."""
    first = message.splitlines()[0].removeprefix("CSV parse error: ")
    if "UTF8" in first or "utf8" in first.lower():
        return "expected UTF-8 text; save the file in that encoding"
    return first[:200]
