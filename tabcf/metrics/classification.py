"""Metrics of predicted classes.

`(N,)` probabilities are those of a binary target's second label, whose truth is 0 or 1; `(N, K)`
ones are those of K classes, whose truth is a class number. A NaN among them makes the metric NaN.

Dimension letters: N rows, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tabcf.errors import DataError

__all__ = ["accuracy", "auc", "log_loss"]

# The bound that scikit-learn used for float64; a certain and wrong prediction costs 34.5.
_LEAST = 1e-15


def accuracy(probability: Tensor, truth: Tensor) -> Tensor:
    """Share of rows whose likeliest class is right; at 0.5 the second label is predicted.

    Args:
        probability: `(N,)` or `(N, K)`.
        truth: `(N,)`.

    Returns:
        A float64 scalar.

    Example:
        >>> accuracy(torch.tensor([0.9, 0.5, 0.2]), torch.tensor([1, 0, 0]))
        tensor(0.6667, dtype=torch.float64)
    """
    _check(probability, truth)
    if probability.isnan().any():
        return _nan()
    if probability.ndim == 1:
        is_right = (probability >= 0.5) == (truth >= 0.5)
    else:
        is_right = probability.argmax(1) == truth
    return is_right.to(torch.float64).mean()


def auc(probability: Tensor, truth: Tensor) -> Tensor:
    """Chance that a positive is scored above a negative, equal scores counting half.

    Exact, by average ranks (Mann and Whitney, 1947). Several classes: each against the rest,
    averaged over the classes that have both positives and negatives.

    Args:
        probability: `(N,)` or `(N, K)`; any scores will do.
        truth: `(N,)`.

    Returns:
        A float64 scalar; NaN where there are no positives or no negatives.

    Example:
        >>> auc(torch.tensor([0.9, 0.5, 0.5, 0.1]), torch.tensor([1, 1, 0, 0]))
        tensor(0.8750, dtype=torch.float64)
    """
    _check(probability, truth)
    if probability.isnan().any():
        return _nan()
    if probability.ndim == 1:
        return _binary_auc(probability, truth >= 0.5)
    classes = range(probability.shape[1])
    return torch.stack([_binary_auc(probability[:, k], truth == k) for k in classes]).nanmean()


def log_loss(probability: Tensor, truth: Tensor) -> Tensor:
    """Mean of -log of the true class's probability, kept within [1e-15, 1 - 1e-15].

    Args:
        probability: `(N,)` or `(N, K)`; a row of K sums to 1.
        truth: `(N,)`.

    Returns:
        A float64 scalar, in nats.

    Example:
        >>> log_loss(torch.tensor([0.5, 0.25]), torch.tensor([1, 0]))
        tensor(0.4904, dtype=torch.float64)
    """
    _check(probability, truth)
    if probability.isnan().any():
        return _nan()
    kept = probability.to(torch.float64).clamp(_LEAST, 1 - _LEAST)
    if probability.ndim == 1:
        positive = truth.to(torch.float64)
        return -(positive * kept.log() + (1 - positive) * (-kept).log1p()).mean()
    return -kept.gather(1, truth.long()[:, None]).log().mean()


def _binary_auc(score: Tensor, is_positive: Tensor) -> Tensor:
    n_positive = int(is_positive.sum())
    n_negative = len(score) - n_positive
    if not n_positive or not n_negative:
        return _nan()
    _, place, counts = torch.unique(score, return_inverse=True, return_counts=True)
    # Scores 0.1, 0.5, 0.5, 0.9 have the ranks 1, 2.5, 2.5, 4.
    rank = counts.cumsum(0).to(torch.float64) - (counts - 1) / 2
    ranks_of_positives = rank[place[is_positive]].sum()
    n_pairs_won: Tensor = ranks_of_positives - n_positive * (n_positive + 1) / 2
    return n_pairs_won / (n_positive * n_negative)


def _check(probability: Tensor, truth: Tensor) -> None:
    if probability.ndim not in (1, 2) or truth.shape != probability.shape[:1]:
        raise DataError(
            "expected probabilities of shape (N,) or (N, K) and truth of shape (N,), got "
            f"{tuple(probability.shape)} and {tuple(truth.shape)}"
        )


def _nan() -> Tensor:
    return torch.tensor(float("nan"), dtype=torch.float64)
