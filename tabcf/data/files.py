"""Reading one file or folder of data: delimited text, Parquet, Arrow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tabcf.data.arrow import to_frame
from tabcf.data.delimited import read_text
from tabcf.data.source import Source
from tabcf.errors import DataError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["ENDINGS", "is_partitioned", "read_file", "read_partitioned"]


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


def _read_parquet(path: Path, name: str) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # The file alone: what the folders around it are called is no column.
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        # Dots and repeats would make it doubtful which column is asked for.
        is_plain = len(set(names)) == len(names) and not any("." in key for key in names)
        numbers = _complete_numbers(file) if is_plain else {}
        if not numbers:
            return Source(to_frame(file.read(use_threads=False)), name)
        rest = [key for key in names if key not in numbers]
        frame = to_frame(file.read(columns=rest, use_threads=False)) if rest else pd.DataFrame()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{name}: not a Parquet file: {str(error).splitlines()[0]}") from None
    columns = {key: numbers[key] if key in numbers else frame[key] for key in names}
    return Source(pd.DataFrame(columns, copy=False), name)


def _complete_numbers(file: pq.ParquetFile) -> dict[str, np.ndarray]:
    """The columns of numbers without missing ones, filled in some rows at a time."""
    import pyarrow as pa

    n = file.metadata.num_rows
    columns = {
        field.name: np.empty(n, field.type.to_pandas_dtype())
        for field in file.schema_arrow
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    }
    if not columns:
        return {}
    start = 0
    for batch in file.iter_batches(_ROWS, columns=list(columns), use_threads=False):
        for key, part in zip(batch.schema.names, batch.columns, strict=True):
            if part.null_count:
                columns.pop(key, None)
            elif key in columns:
                columns[key][start : start + len(part)] = part.to_numpy()
        start += len(batch)
    return columns


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


# Of a Parquet file at a time.
_ROWS = 1 << 17
_PARQUET = (".parquet", ".pq")
_READERS = {
    ".csv": read_text,
    ".tsv": read_text,
    ".tab": read_text,
    ".txt": read_text,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
}
ENDINGS = tuple(_READERS)
"""Of the files that can be read."""
