"""What an entity's training events say: how many, how long ago, with whom.

Entities go by their embedding index, 0 being unknown; N events, R rows that ask, E indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.derive.texts import distinct

__all__ = ["bags", "counts", "grouped", "micros_since_last", "partners"]


def counts(index: np.ndarray) -> np.ndarray:
    """`(E,)` int64: each entity's number of events; 0 for the unknown one."""
    found = np.bincount(index, minlength=1).astype(np.int64)
    found[0] = 0
    return found


def grouped(
    index: np.ndarray, *orders: np.ndarray, is_left_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Events sorted by entity, those of unknown entities left out.

    Args:
        index: Each event's entity, `(N,)`.
        orders: What an entity's events are sorted by, the first key first; else row order.
        is_left_out: Further events to leave out, `(N,)`.

    Returns:
        Bounds `(E + 1,)` int64 and rows of events: entity e has `rows[bounds[e]:bounds[e + 1]]`.

    Example:
        >>> bounds, rows = grouped(np.array([2, 1, 0, 2]), is_left_out=np.zeros(4, dtype=bool))
        >>> bounds.tolist(), rows.tolist()
        ([0, 0, 1, 3], [1, 0, 3])
    """
    rows = np.lexsort((*reversed(orders), index))
    rows = rows[(index[rows] > 0) & ~is_left_out[rows]]
    sizes = np.bincount(index[rows], minlength=int(index.max(initial=0)) + 1)
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), rows


def micros_since_last(
    bounds: np.ndarray, times: np.ndarray, index: np.ndarray, at: np.ndarray
) -> np.ndarray:
    """Time since the latest of an entity's times that is strictly earlier.

    Since equal times are not earlier, a training event never counts for itself.

    Args:
        bounds: As `grouped` gives them, `(E + 1,)`.
        times: Microseconds of all events, rising within an entity.
        index: Each row's entity, `(R,)`.
        at: Each row's own time, `(R,)`.

    Returns:
        `(R,)` float64 microseconds, NaN where there is none.

    Example:
        >>> bounds, times = np.array([0, 0, 2]), np.array([10, 20])
        >>> micros_since_last(bounds, times, np.array([1, 1, 0]), np.array([20, 21, 30])).tolist()
        [10.0, 1.0, nan]
    """
    if not len(times):
        return np.full(len(index), np.nan)
    # All rows' binary searches at once, each within its own entity's bounds: `low` ends as the
    # first event that is not earlier.
    first = bounds[index]
    low, high = first.copy(), bounds[index + 1].copy()
    while (is_open := low < high).any():
        middle = (low + high) // 2
        is_earlier = is_open & (times[np.minimum(middle, len(times) - 1)] < at)
        high = np.where(is_open & ~is_earlier, middle, high)
        low = np.where(is_earlier, middle + 1, low)
    latest = times[np.maximum(low - 1, 0)]
    return np.where(low > first, (at - latest).astype(np.float64), np.nan)


def partners(
    index: np.ndarray, ids: pd.Series[Any], *, limit: int | None = None
) -> dict[str, np.ndarray]:
    """The ids that each entity has events with, in row order, as compressed rows.

    Args:
        index: Each event's entity, `(N,)`.
        ids: Each event's other id; events without one are left out.
        limit: How many of an entity's last events to keep; None for all.

    Returns:
        `bounds` `(E + 1,)`, `codes` and distinct `ids` as text: entity e has
        `ids[codes[bounds[e]:bounds[e + 1]]]`.
    """
    codes, texts = distinct(ids)
    bounds, rows = grouped(index, is_left_out=codes < 0)
    if limit is not None:
        # How many events of the same entity follow: an event is kept while these are few.
        n_after = np.repeat(bounds[1:], np.diff(bounds)) - np.arange(len(rows)) - 1
        rows = rows[n_after < limit]
        bounds = np.concatenate([[0], np.cumsum(np.minimum(np.diff(bounds), limit))])
    return {
        "bounds": bounds,
        "codes": codes[rows].astype(np.int32),
        "ids": np.array(texts, dtype=np.str_),
    }


def bags(state: dict[str, np.ndarray], index: np.ndarray) -> pd.Series[Any]:
    """Each row's list of ids as `partners` found them; empty for the unknown entity.

    Rows of one entity share one list.
    """
    bounds, codes, ids = state["bounds"], state["codes"], state["ids"]
    distinct_index, place = np.unique(index, return_inverse=True)
    lists = np.empty(len(distinct_index), dtype=object)
    for position, entity in enumerate(distinct_index.tolist()):
        lists[position] = ids[codes[bounds[entity] : bounds[entity + 1]]].tolist()
    return pd.Series(lists[place], dtype=object)
