"""Reading Parquet: one file, or a folder of folders such as `year=2024/`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from tabcf.data.arrow import as_table, chosen_columns, listed_texts, to_frame
from tabcf.data.distinct import CategoryValues
from tabcf.data.source import OnRows, Source, not_empty
from tabcf.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

__all__ = [
    "PARQUET",
    "ROWS",
    "RowGroup",
    "parquet_batches",
    "partitioned_batches",
    "partitioned_row_groups",
    "read_parquet",
    "read_partitioned",
    "row_groups",
]

PARQUET = (".parquet", ".pq")
"""How the names of Parquet files end."""
ROWS = 1 << 17
"""Rows that are read at a time."""
# Of a column so many rows or more are decoded at once, and then put where they stay.
_STRETCH = 1 << 24


class RowGroup(NamedTuple):
    """Rows that a Parquet file keeps together.

    Attributes:
        n: How many.
        read: Gives them some at a time.
        file: What their file is called in messages.
        columns: All that the file has.
    """

    n: int
    read: Callable[[], Iterator[Source]]
    file: str
    columns: tuple[str, ...]


@contextmanager
def _parquet_errors(what: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise DataError(f"{what}: {str(error).splitlines()[0]}") from None


def read_partitioned(path: Path, *, name: str, columns: Collection[str] | None = None) -> Source:
    """Read a folder of Parquet files in folders such as `year=2024/month=7/`.

    Raises:
        DataError: A file cannot be read, or has other columns than the others.
    """
    with _parquet_errors(f"{name}: cannot be read"):
        parts = _partitioned(path, name)
        chosen, others = chosen_columns(parts.schema.names, columns)
        table = parts.to_table(columns=chosen, use_threads=False)
    return not_empty(Source(to_frame(table), name, all_columns=others))


def partitioned_batches(
    path: Path, *, name: str, columns: Collection[str] | None = None
) -> Iterator[Source]:
    """The rows of such a folder some at a time."""
    with _parquet_errors(f"{name}: cannot be read"):
        parts = _partitioned(path, name)
        chosen, others = chosen_columns(parts.schema.names, columns)
        for batch in parts.to_batches(columns=chosen, batch_size=ROWS, use_threads=False):
            if len(batch):
                yield Source(to_frame(as_table(batch)), name, all_columns=others)


def partitioned_row_groups(
    path: Path, *, name: str, columns: Collection[str] | None = None
) -> list[RowGroup]:
    """The row groups of such a folder, in the order of its rows."""

    def read(group: ds.ParquetFileFragment) -> Iterator[Source]:
        with _parquet_errors(f"{name}: cannot be read"):
            for batch in group.to_batches(
                schema=parts.schema, columns=chosen, batch_size=ROWS, use_threads=False
            ):
                if len(batch):
                    yield Source(to_frame(as_table(batch)), name, all_columns=others)

    with _parquet_errors(f"{name}: cannot be read"):
        parts = _partitioned(path, name)
        chosen, others = chosen_columns(parts.schema.names, columns)
        groups = [own for file in parts.get_fragments() for own in file.split_by_row_group()]
        names = tuple(parts.schema.names)
        return [
            RowGroup(group.row_groups[0].num_rows, partial(read, group), name, names)
            for group in groups
        ]


def _partitioned(path: Path, name: str) -> ds.Dataset:
    import pyarrow.dataset as ds

    files = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in PARQUET)
    parts = ds.dataset(files, format="parquet", partitioning="hive", partition_base_dir=str(path))
    for file in parts.files:
        own = ds.dataset(file, format="parquet").schema.names
        missing = [column for column in own if column not in parts.schema.names]
        if missing:
            raise DataError(
                f"{name}: expected the same columns in each file, got "
                f"'{missing[0]}' in {Path(file).relative_to(path)} alone"
            )
    return parts


def _opened(path: Path, columns: Collection[str] | None) -> tuple[pq.ParquetFile, _Columns]:
    """A Parquet file alone: what the folders around it are called is no column."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    # Dots and repeats would make it doubtful which column is asked for.
    is_plain = len(set(names)) == len(names) and not any("." in key for key in names)
    return file, _Columns(*chosen_columns(names, columns if is_plain else None), is_plain)


class _Columns(NamedTuple):
    """`chosen` columns of `others`, or of just these; `is_plain` if they go by their names."""

    chosen: list[str]
    others: tuple[str, ...]
    is_plain: bool


def read_parquet(
    path: Path, name: str, *, columns: Collection[str] | None, on_rows: OnRows | None
) -> Source:
    """Read one file; columns of numbers into what they end up in."""
    import pyarrow as pa

    with _parquet_errors(f"{name}: not a Parquet file"):
        file, (chosen, others, is_plain) = _opened(path, columns)
        numbers = _complete_numbers(file, chosen, on_rows) if is_plain else {}
        if not numbers:
            table = file.read(columns=chosen if others else None, use_threads=False)
            return Source(to_frame(table), name, all_columns=others)
        rest = [key for key in chosen if key not in numbers]
        frame, listed = _others(path, file, rest) if rest else (pd.DataFrame(), {})
    # Arrow keeps what it let go of for itself.
    pa.default_memory_pool().release_unused()
    made = {key: numbers[key] if key in numbers else frame[key] for key in chosen}
    source = Source(pd.DataFrame(made, copy=False), name, all_columns=others)
    source.listed.update(listed)
    return source


def parquet_batches(path: Path, name: str, *, columns: Collection[str] | None) -> Iterator[Source]:
    """The rows of one file some at a time."""
    with _parquet_errors(f"{name}: not a Parquet file"):
        file, (chosen, others, _) = _opened(path, columns)
        for batch in file.iter_batches(ROWS, columns=chosen if others else None, use_threads=False):
            yield Source(to_frame(as_table(batch)), name, all_columns=others)


def row_groups(path: Path, name: str, *, columns: Collection[str] | None) -> list[RowGroup]:
    """The row groups of one file."""
    import pyarrow.parquet as pq

    def read(number: int) -> Iterator[Source]:
        with _parquet_errors(f"{name}: not a Parquet file"):
            own = pq.ParquetFile(path, metadata=about)
            for batch in own.iter_batches(
                ROWS, row_groups=[number], columns=chosen if others else None, use_threads=False
            ):
                yield Source(to_frame(as_table(batch)), name, all_columns=others)

    with _parquet_errors(f"{name}: not a Parquet file"):
        file, (chosen, others, _) = _opened(path, columns)
        about = file.metadata
    names = tuple(file.schema_arrow.names)
    return [
        RowGroup(about.row_group(number).num_rows, partial(read, number), name, names)
        for number in range(about.num_row_groups)
    ]


def _complete_numbers(
    file: pq.ParquetFile, chosen: Sequence[str], on_rows: OnRows | None
) -> dict[str, np.ndarray]:
    """The columns of numbers without missing ones, read one after the other.

    A column at a time is decoded in half the time that all together take some rows at a time.
    """
    n, names = file.metadata.num_rows, _numbers(file, chosen)
    columns = {
        name: np.empty(n, file.schema_arrow.field(name).type.to_pandas_dtype()) for name in names
    }
    for start, stop, groups in _stretches(file):
        for place, name in enumerate(names):
            if name in columns:
                found = file.read_row_groups(groups, [name], use_threads=False).column(0)
                if found.null_count:
                    del columns[name]
                else:
                    _fill(columns[name][start:stop], found)
            if on_rows is not None:
                read = start + (stop - start) * (place + 1) // len(names)
                on_rows(read, read / n)
    return columns


def _numbers(file: pq.ParquetFile, chosen: Sequence[str]) -> list[str]:
    import pyarrow as pa

    return [
        field.name
        for field in file.schema_arrow
        if field.name in chosen
        and (pa.types.is_integer(field.type) or pa.types.is_floating(field.type))
    ]


def _others(
    path: Path, file: pq.ParquetFile, names: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, CategoryValues]]:
    """Columns of text, times and all else, and the different texts of those that list them."""
    import pyarrow.parquet as pq

    # Texts that a file lists once and then numbers are taken over as that.
    listing = [name for name in names if _lists_texts(file, name)]
    file = pq.ParquetFile(path, read_dictionary=listing)
    frames, listed = {}, {}
    for name in names:
        table = file.read(columns=[name], use_threads=False)
        if name in listing:
            listed[name] = listed_texts(table.column(0))
        frames[name] = to_frame(table)[name]
    return pd.DataFrame(frames, copy=False), listed


def _lists_texts(file: pq.ParquetFile, name: str) -> bool:
    """Whether all row groups have the texts of a column as numbers of a list."""
    import pyarrow as pa

    place, type_ = file.schema_arrow.get_field_index(name), file.schema_arrow.field(name).type
    # Nested columns before it have several places each in the file.
    if file.metadata.num_columns != len(file.schema_arrow) or not pa.types.is_string(type_):
        return False
    chunks = [file.metadata.row_group(n).column(place) for n in range(file.metadata.num_row_groups)]
    return all(
        # A text that is not in a list takes four bytes and its own.
        "RLE_DICTIONARY" in chunk.encodings and chunk.total_uncompressed_size < 4 * chunk.num_values
        for chunk in chunks
    )


def _stretches(file: pq.ParquetFile) -> Iterator[tuple[int, int, list[int]]]:
    """Row groups that are read together, behind the rows from where to where they are."""
    start = stop = 0
    groups: list[int] = []
    for group in range(file.metadata.num_row_groups):
        groups.append(group)
        stop += file.metadata.row_group(group).num_rows
        if stop - start >= _STRETCH:
            yield start, stop, groups
            start, groups = stop, []
    if stop > start:
        yield start, stop, groups


def _fill(column: np.ndarray, parts: pa.ChunkedArray) -> None:
    start = 0
    for part in parts.chunks:
        column[start : start + len(part)] = part.to_numpy()
        start += len(part)
