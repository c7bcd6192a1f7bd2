"""Times of day as categories, and points in time as whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.dates import dates
from tabcf.data.derive.bins import interval_labels, labelled

__all__ = ["hour_bins", "microseconds"]


def hour_bins(
    series: pd.Series[Any], edges: Sequence[float], *, timezone: str = "UTC"
) -> pd.Series[Any]:
    """The part of the day that each date lies in, by the clock of a time zone.

    Args:
        series: Dates; see `tabcf.data.dates.dates`.
        edges: Hours in (0, 24), rising; 6.5 is half past six.
        timezone: Whose clock counts; an hour that a change of clocks repeats is the same bin
            twice.

    Example:
        >>> hour_bins(pd.Series(["2024-05-31T05:59", "2024-05-31T18:00", None]), [6, 18]).tolist()
        ['[0, 6)', '[18, 24)', nan]
    """
    found = dates(series, timezone=timezone)
    is_missing = np.asarray(found.isna())
    # Seconds, not hours: 6.1 h is 21,960 s exactly, while 6 + 6 / 60 need not equal 6.1.
    seconds = (
        np.asarray(found.hour, dtype=np.float64) * 3600
        + np.asarray(found.minute, dtype=np.float64) * 60
        + np.asarray(found.second, dtype=np.float64)
        + np.asarray(found.microsecond, dtype=np.float64) / 1e6
    )
    starts = np.round(np.asarray(edges, dtype=np.float64) * 3600, 6)
    bins = np.searchsorted(starts, np.where(is_missing, 0.0, seconds), side="right")
    return labelled(bins, interval_labels(edges, first="[0", last="24"), is_missing)


def microseconds(series: pd.Series[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Dates as `(N,)` int64 microseconds since 1970, and which are missing (theirs is 0)."""
    found = dates(series)
    is_missing = np.asarray(found.isna())
    stamps = found.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)
    return np.where(is_missing, 0, stamps), is_missing
