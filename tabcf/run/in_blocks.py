"""What a run says of files that need not fit into memory: rows in, results out, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from tabcf.contracts.table import Table
from tabcf.data.conditions import matching
from tabcf.data.disk_table import DiskTable
from tabcf.data.sources import Source, as_source, files_of, read_batches
from tabcf.errors import DataError
from tabcf.recommend.trained import Trained
from tabcf.run.prepare import encode_rows

__all__ = ["batches_of", "encoded", "is_large", "users_of", "write_frames"]

# Files from so many bytes on are gone through in blocks.
_LARGE = 1 << 26
# Rows of a frame at a time, and users whose lists are made at a time.
_BLOCK, _USERS = 1 << 17, 1 << 13


class _Writer(Protocol):
    def __call__(self, frame: pd.DataFrame) -> None:
        """Write a frame behind the others."""


def is_large(data: Any) -> bool:
    """Whether data are files, and so large that they had better not be read at once."""
    if not isinstance(data, (str, Path)):
        return False
    files = files_of(str(data))
    if isinstance(files, Path):
        files = [path for path in files.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) >= _LARGE


def batches_of(data: Any) -> Iterator[Source]:
    """The rows of a path, or of a frame, some at a time."""
    if isinstance(data, (str, Path)):
        yield from read_batches(str(data))
        return
    source = as_source(data)
    for start in range(0, len(source.frame), _BLOCK):
        yield source.with_rows(source.frame.iloc[start : start + _BLOCK].reset_index(drop=True))


def users_of(users: Any) -> Iterator[Any]:
    """Ids of users, or the rows of a file or a frame of their attributes, some at a time."""
    if isinstance(users, Sequence) and not isinstance(users, str):
        for start in range(0, len(users), _USERS):
            yield users[start : start + _USERS]
        return
    for batch in batches_of(users):
        for start in range(0, len(batch.frame), _USERS):
            yield batch.frame.iloc[start : start + _USERS].reset_index(drop=True)


def encoded(trained: Trained, batches: Iterable[Source], positive: str | None) -> Table:
    """Rows with their target as numbers, kept on disk; of an implicit target those that count.

    Args:
        trained: Whose numbers.
        batches: The rows.
        positive: The condition that says which count.

    Raises:
        DataError: No row counts, or a value does not fit what was trained.
    """
    where = "target.implicit.positive"
    written, n, name = DiskTable(), 0, "data"
    for batch in batches:
        name = batch.name
        if positive is not None:
            is_counted = matching(batch, positive, where=where)
            if not is_counted.all():
                frame = batch.frame[is_counted].reset_index(drop=True)
                batch = batch.with_rows(frame)
        written.append(encode_rows(trained.encoder, trained.target, batch))
        n += len(batch.frame)
    if not n:
        raise DataError(f"{where}: no event of {name} fulfils {positive!r}")
    return written.opened(trained.encoder.tables)


def write_frames(frames: Iterable[pd.DataFrame], path: str | Path) -> int:
    """Write frames of the same columns behind one another, and give their number of rows.

    The file appears under its name only when it is complete.

    Args:
        frames: At least one.
        path: A `.csv` or `.parquet` file that does not exist.

    Raises:
        DataError: It has another ending, exists or cannot be written.
    """
    path = Path(path)
    opened = {".csv": _csv, ".parquet": _parquet}.get(path.suffix.lower())
    if opened is None:
        raise DataError(f"{path}: expected a file that ends with .csv or .parquet")
    if path.exists():
        raise DataError(f"{path}: already exists; give another name")
    scratch = path.with_name(f".{path.name}.partial")
    n = 0
    try:
        write, close = opened(scratch)
        try:
            for frame in frames:
                write(frame)
                n += len(frame)
        finally:
            close()
        scratch.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        scratch.unlink(missing_ok=True)
    return n


def _csv(path: Path) -> tuple[_Writer, Callable[[], None]]:
    file = path.open("w", encoding="utf-8", newline="")

    def write(frame: pd.DataFrame) -> None:
        frame.to_csv(file, index=False, header=file.tell() == 0)

    return write, file.close


def _parquet(path: Path) -> tuple[_Writer, Callable[[], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writers: list[pq.ParquetWriter] = []

    def write(frame: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if not writers:
            writers.append(pq.ParquetWriter(path, table.schema))
        writers[0].write_table(table.cast(writers[0].schema))

    def close() -> None:
        for writer in writers:
            writer.close()

    return write, close
