"""What events count, by a column of theirs: a weight, or their time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from tabcf.data.derive.times import microseconds
from tabcf.data.sources import Source
from tabcf.data.values import numbers
from tabcf.errors import DataError

__all__ = ["decayed_weights", "event_weights"]

_MICROSECONDS = {"second": 1e6, "minute": 6e7, "hour": 3.6e9, "day": 8.64e10}


def event_weights(source: Source, column: str | None) -> Tensor | None:
    """`(N,)` float32: what each row counts; None without a column, where each counts 1.

    Raises:
        DataError: There is no such column, or it holds anything but numbers of at least 0.
    """
    if column is None:
        return None
    source.require([column])
    values = numbers(source.frame[column], source)
    if not (np.isfinite(values) & (values >= 0)).all():
        raise DataError(
            f"{source.name}: weight '{column}': expected numbers of at least 0 without gaps"
        )
    return torch.from_numpy(values.astype(np.float32))


def decayed_weights(
    sources: Iterable[Source], at: str, *, half_life: float, unit: str = "day"
) -> Tensor:
    """`(N,)` float32: 1 for the newest row, half of it for each `half_life` that a row is older.

    Args:
        sources: N rows, in one part or in several.
        at: Their column of times; see `tabcf.data.dates.dates`.
        half_life: How much older a row is that counts half, in units.
        unit: `second`, `minute`, `hour` or `day`.

    Raises:
        DataError: There is no such column, it holds no dates, or one is missing.
    """
    times = np.concatenate([_times(source, at) for source in sources])
    age = (times.max(initial=np.iinfo(np.int64).min) - times) / (half_life * _MICROSECONDS[unit])
    np.negative(age, out=age)
    return torch.from_numpy(np.exp2(age, out=age).astype(np.float32))


def _times(source: Source, at: str) -> np.ndarray:
    """`(n,)` int64 microseconds since 1970."""
    source.require([at])
    times, is_missing = microseconds(source.frame[at])
    if is_missing.any():
        raise DataError(
            f"{source.name}: time_decay: column '{at}': {is_missing.sum():,} of {len(times):,} "
            "events have no time; an event without one has no age"
        )
    return times
