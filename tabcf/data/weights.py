"""What events count, by a column of theirs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tabcf.data.sources import Source
from tabcf.data.values import numbers
from tabcf.errors import DataError

__all__ = ["event_weights"]


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
