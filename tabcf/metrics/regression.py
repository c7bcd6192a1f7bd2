"""Metrics of predicted numbers.

Dimension letters: N rows, T target columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tabcf.errors import DataError

__all__ = ["mae", "rmse"]


def rmse(prediction: Tensor, truth: Tensor) -> Tensor:
    """Root of the mean squared error over all rows and columns; NaN without rows.

    Args:
        prediction: `(N,)` or `(N, T)`, in the target's units.
        truth: The same shape.

    Returns:
        A float64 scalar.

    Raises:
        DataError: The shapes differ.

    Example:
        >>> rmse(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(1.4142, dtype=torch.float64)
    """
    return _errors(prediction, truth).square().mean().sqrt()


def mae(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error over all rows and columns; NaN without rows.

    Args:
        prediction: `(N,)` or `(N, T)`, in the target's units.
        truth: The same shape.

    Returns:
        A float64 scalar.

    Raises:
        DataError: The shapes differ.

    Example:
        >>> mae(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(1., dtype=torch.float64)
    """
    return _errors(prediction, truth).abs().mean()


def _errors(prediction: Tensor, truth: Tensor) -> Tensor:
    if prediction.shape != truth.shape:
        raise DataError(
            f"expected predictions and truth of one shape, got {tuple(prediction.shape)} and "
            f"{tuple(truth.shape)}"
        )
    return prediction.to(torch.float64) - truth.to(torch.float64)
