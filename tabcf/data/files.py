"""Reading one file or folder of data: delimited text, Parquet, Arrow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabcf.data.arrow import as_table, chosen_columns, to_frame
from tabcf.data.delimited import read_text, text_batches
from tabcf.data.parquet import (
    PARQUET,
    ROWS,
    parquet_batches,
    partitioned_batches,
    read_parquet,
    read_partitioned,
)
from tabcf.data.source import OnRows, Source, no_rows, not_empty
from tabcf.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ENDINGS",
    "file_batches",
    "is_partitioned",
    "partitioned_batches",
    "read_file",
    "read_partitioned",
]


def read_file(
    path: Path,
    *,
    name: str,
    columns: Collection[str] | None = None,
    on_rows: OnRows | None = None,
) -> Source:
    """Read a file by its ending.

    Args:
        path: Where it is.
        name: What to call it in messages.
        columns: Which to read, as far as they are there; all of them by default.
        on_rows: Told of each block.

    Raises:
        DataError: It is of another type, cannot be read, or has no rows.
    """
    return not_empty(_by_ending(path, name, _READERS)(path, name, columns=columns, on_rows=on_rows))


def file_batches(
    path: Path, *, name: str, columns: Collection[str] | None = None
) -> Iterator[Source]:
    """The rows of a file some at a time; arguments and errors are those of `read_file`.

    Of text, a column's type is that which all of its values have. Whole numbers of other files are
    numpy's in blocks without missing ones, and pandas' `Int64` in others.
    """
    is_empty = True
    for source in _by_ending(path, name, _BATCHES)(path, name, columns=columns):
        if len(source.frame):
            is_empty = False
            yield source
    if is_empty:
        raise no_rows(name)


def is_partitioned(path: Path) -> bool:
    """Whether a folder holds no data files itself, and Parquet files in folders below."""
    if not path.is_dir() or any(p.suffix.lower() in ENDINGS for p in path.iterdir()):
        return False
    return any(p.suffix.lower() in PARQUET for p in path.rglob("*") if p.is_file())


def _by_ending(path: Path, name: str, readers: Mapping[str, Any]) -> Any:
    reader = readers.get(path.suffix.lower())
    if reader is None:
        kinds = ", ".join(ENDINGS)
        raise DataError(f"{name}: expected one of the file types {kinds}, got '{path.suffix}'")
    return reader


def _read_arrow(
    path: Path, name: str, *, columns: Collection[str] | None, on_rows: OnRows | None
) -> Source:
    """Read Arrow's own format, of files (also called Feather) or of streams."""
    import pyarrow as pa

    batches: list[pa.RecordBatch] = []
    with _arrow_file(path, name, columns) as (schema, read, others):
        batches += read
        return Source(to_frame(pa.Table.from_batches(batches, schema)), name, all_columns=others)


def _arrow_batches(path: Path, name: str, *, columns: Collection[str] | None) -> Iterator[Source]:
    with _arrow_file(path, name, columns) as (_, read, others):
        for batch in read:
            for start in range(0, len(batch), ROWS):
                part = as_table(batch.slice(start, ROWS))
                yield Source(to_frame(part), name, all_columns=others)


@contextmanager
def _arrow_file(
    path: Path, name: str, columns: Collection[str] | None
) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch], tuple[str, ...]]]:
    """The schema and record batches of chosen columns, and all columns' names."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        try:
            try:
                reader = pa.ipc.open_file(file)
                read = (reader.get_batch(n) for n in range(reader.num_record_batches))
            except pa.ArrowInvalid:
                file.seek(0)
                reader = pa.ipc.open_stream(file)
                read = iter(reader)
            chosen, others = chosen_columns(reader.schema.names, columns)
            if not others:
                yield reader.schema, read, others
                return
            places = [reader.schema.get_field_index(key) for key in chosen]
            schema = pa.schema([reader.schema.field(place) for place in places])
            yield schema, (batch.select(places) for batch in read), others
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{name}: not an Arrow file: {str(error).splitlines()[0]}") from None


_READERS: dict[str, Any] = {
    ".csv": read_text,
    ".tsv": read_text,
    ".tab": read_text,
    ".txt": read_text,
    ".parquet": read_parquet,
    ".pq": read_parquet,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
}
_BATCHES: dict[str, Any] = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt"), text_batches),
    **dict.fromkeys(PARQUET, parquet_batches),
    **dict.fromkeys((".arrow", ".feather"), _arrow_batches),
}
ENDINGS = tuple(_READERS)
"""Of the files that can be read."""
