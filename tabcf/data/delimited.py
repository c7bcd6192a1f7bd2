"""Reading delimited text in blocks, each of which is typed on its own and kept as narrow as that.

So the text of one block only is in memory.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tabcf.data.source import OnRows, Source
from tabcf.data.text_types import Kind, TextColumn, typed
from tabcf.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_text", "text_batches"]

_FIRST_LINE = 2
_BLOCK_BYTES = 1 << 22


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
    read = _columns(text, {}, on_rows)
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
        delimiter: What stands between values.
        columns: Those to read.
    """

    path: Path
    name: str
    header: tuple[str, ...]
    delimiter: str
    columns: tuple[str, ...]

    @classmethod
    def opened(cls, path: Path, name: str, columns: Collection[str] | None) -> _Text:
        header, delimiter = _header(path, name)
        chosen = tuple(key for key in header if columns is None or key in columns)
        # Without any, its rows are counted by the first one.
        return cls(path, name, tuple(header), delimiter, chosen or tuple(header[:1]))

    def source(self, frame: pd.DataFrame) -> Source:
        others = self.header if len(self.columns) < len(self.header) else ()
        return Source(frame, self.name, is_text=True, first_line=_FIRST_LINE, all_columns=others)

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Its rows as text, a block at a time."""
        import pyarrow as pa
        from pyarrow import csv as pa_csv

        try:
            yield from pa_csv.open_csv(
                self.path,
                read_options=pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK_BYTES,
                    column_names=self.header,
                    skip_rows=1,
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=_has_quotes(self.path)
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(self.header, pa.string()),
                    strings_can_be_null=False,
                    include_columns=self.columns,
                ),
            )
        except pa.ArrowInvalid as error:
            raise DataError(f"{self.name}: {_csv_problem(str(error))}") from None


def _columns(
    text: _Text, kinds: Mapping[str, Kind], on_rows: OnRows | None
) -> dict[str, TextColumn]:
    """The chosen columns, none narrower than `kinds` says."""
    columns = {key: TextColumn(kinds.get(key, Kind.MISSING)) for key in text.columns}
    n_rows, n_bytes, size = 0, 0, text.path.stat().st_size
    for batch in text.blocks():
        for key, values in zip(batch.schema.names, batch.columns, strict=True):
            columns[key].add(values)
        n_rows, n_bytes = n_rows + len(batch), n_bytes + _BLOCK_BYTES
        if on_rows is not None:
            on_rows(n_rows, min(n_bytes / size, 1.0))
    return columns


def _has_quotes(path: Path) -> bool:
    """Whether a value may go over several lines, which takes a second look at each block."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return content.find(b'"', content.find(b"\n") + 1) >= 0


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
