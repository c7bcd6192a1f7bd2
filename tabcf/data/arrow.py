"""From Arrow's tables to pandas' frames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["as_table", "chosen_columns", "to_frame", "to_series"]


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
        columns[name] = to_series(column)
    # The columns are this frame's own.
    return pd.DataFrame(columns, copy=False)


def to_series(array: pa.Array | pa.ChunkedArray) -> pd.Series[Any]:
    """Numbers as numpy (`Int64` where some are missing), text as pandas' string type."""
    import pyarrow as pa

    if pa.types.is_integer(array.type) and array.null_count:
        types = {pa.int64(): pd.Int64Dtype()}
        return pd.Series(array.to_pandas(types_mapper=types.get))
    return pd.Series(array.to_pandas())


def as_table(batch: pa.RecordBatch) -> pa.Table:
    """A record batch as a table."""
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def chosen_columns(
    names: Sequence[str], columns: Collection[str] | None
) -> tuple[list[str], tuple[str, ...]]:
    """The columns to read, at least one, and all that there are unless these are all."""
    chosen = [key for key in names if columns is None or key in columns] or list(names[:1])
    return chosen, tuple(names) if len(chosen) < len(names) else ()
