"""Mean and deviation of a column that may be larger than memory."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["mean_and_deviation"]

# Values in memory at a time; up to here the sums are numpy's own.
_BLOCK = 1 << 18


def mean_and_deviation(values: np.ndarray) -> tuple[float, float]:
    """Of `(N,)` float64 without gaps the mean and the standard deviation, over N.

    Example:
        >>> mean_and_deviation(np.array([1.0, 3.0]))
        (2.0, 1.0)
    """
    n = len(values)
    blocks = [values[start : start + _BLOCK] for start in range(0, n, _BLOCK)]
    mean = math.fsum(float(block.sum()) for block in blocks) / n
    squares = math.fsum(float(np.square(block - mean).sum()) for block in blocks)
    return mean, math.sqrt(squares / n)
