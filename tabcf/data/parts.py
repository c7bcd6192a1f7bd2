"""Parts of a split: their numbers, how many rows each has, and in what order rows are dealt."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from tabcf.data.dates import dates
from tabcf.data.sources import Source
from tabcf.errors import DataError

__all__ = ["GIVEN", "TEST", "TRAIN", "VALID", "counts", "dealt", "require", "times"]

TRAIN, VALID, TEST = 0, 1, 2
# Told of those who test, to fold in; neither learnt from nor scored.
GIVEN = 3


def require(events: pd.DataFrame, column: str) -> None:
    """Raise unless there is such a column."""
    Source(events, "split").require([column])


def counts(n: int, valid: float, test: float, *, what: str) -> tuple[int, int]:
    """How many of n validate and test; at least one is left to train on."""
    for name, share in (("valid", valid), ("test", test)):
        if not 0 <= share < 1:
            raise DataError(f"split: expected a share {name} in [0, 1), got {share:g}")
    shares = (n * valid, n * test)
    n_valid, n_test = (max(math.floor(share + 0.5), 1) if share else 0 for share in shares)
    if n_valid + n_test >= n:
        # Two shares of 0.4 are 2 and 2 of 4 rows if rounded, 1 and 1 if cut off.
        n_valid, n_test = (max(math.floor(share), 1) if share else 0 for share in shares)
    if valid + test >= 1 or n_valid + n_test >= n:
        raise DataError(
            f"split: valid {valid:g} and test {test:g} of {n:,} {what} leave none to train on"
        )
    return n_valid, n_test


def dealt(n: int, order: np.ndarray, n_valid: int, n_test: int) -> np.ndarray:
    """The first rows of an order test, the next ones validate."""
    part = np.full(n, TRAIN, dtype=np.int8)
    part[order[:n_test]] = TEST
    part[order[n_test : n_test + n_valid]] = VALID
    return part


def times(events: pd.DataFrame, column: str) -> np.ndarray:
    """`(N,)` int64 that are ordered as the times are."""
    require(events, column)
    series = events[column]
    is_missing = series.isna().to_numpy()
    if is_missing.any():
        raise DataError(
            f"split: column '{column}': {int(is_missing.sum()):,} of {len(series):,} rows have no "
            f"time; first row {int(np.argmax(is_missing)):,}"
        )
    # Numbers may be in any unit; only their order matters.
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iM":
        return series.to_numpy().astype(np.int64)
    values = series if pd.api.types.is_numeric_dtype(series.dtype) else dates(series)
    codes, _ = pd.factorize(values, sort=True)
    return codes.astype(np.int64)
