"""From Arrow's tables to pandas' frames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tabcf.data.distinct import CategoryValues

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["as_table", "chosen_columns", "listed_texts", "to_frame", "to_series"]


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


def listed_texts(column: pa.ChunkedArray) -> CategoryValues:
    """Text of an Arrow dictionary, or of a few, with each value listed once."""
    encoded = column.unify_dictionaries().combine_chunks()
    if len(encoded.dictionary.unique()) < len(encoded.dictionary):
        encoded = encoded.dictionary_decode().dictionary_encode()
    listed = encoded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    is_missing = np.asarray(encoded.is_null())
    codes = encoded.indices
    if is_missing.any():
        codes = codes.fill_null(len(listed))
        listed = np.append(listed, np.array([""], dtype=object))
    return CategoryValues(listed, is_missing, "str", np.asarray(codes, dtype=np.int32))


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
