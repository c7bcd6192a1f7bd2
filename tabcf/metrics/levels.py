"""Whether probabilities and intervals hold what they say.

Dimension letters: N rows, K classes or levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tabcf.errors import DataError

__all__ = ["calibration_error", "interval_coverage", "level_coverage", "level_numbers"]


def level_numbers(truth: Tensor, levels: Tensor) -> Tensor:
    """`(N,)` int64: the place of the level nearest to each value, from 0.

    Args:
        truth: `(N,)`, in the levels' units.
        levels: `(K,)`, rising.
    """
    return torch.bucketize(truth.double(), (levels[1:] + levels[:-1]).double() / 2)


def calibration_error(probabilities: Tensor, truth: Tensor, *, n_bins: int = 15) -> Tensor:
    """How far probabilities are from frequencies, over all classes (Nixon et al., 2019).

    For each class the rows are cut into bins of equal width by its probability; the error is the
    mean distance between a bin's mean probability and the share of its rows that are of the class,
    each bin weighing as many rows as it has, averaged over the classes. A finite sample leaves some
    even where all probabilities are true.

    Args:
        probabilities: `(N, K)`, or `(N,)` of the second of two classes.
        truth: `(N,)` class numbers.
        n_bins: Bins of [0, 1].

    Returns:
        A float64 scalar, 0 at best; NaN without rows.

    Example:
        >>> calibration_error(torch.tensor([0.25, 0.25, 0.25, 0.25]), torch.tensor([1, 0, 0, 0]))
        tensor(0., dtype=torch.float64)
    """
    if probabilities.ndim == 1:
        probabilities = torch.stack([1 - probabilities, probabilities], 1)
    n, n_classes = probabilities.shape
    if truth.shape != (n,):
        raise DataError(
            f"expected truth of shape ({n},) for probabilities of {n} rows, got "
            f"{tuple(truth.shape)}"
        )
    own = probabilities.double()
    is_class = (truth.long()[:, None] == torch.arange(n_classes)).double()
    places = (own * n_bins).long().clamp(0, n_bins - 1) + torch.arange(n_classes) * n_bins
    gaps = torch.zeros(n_classes * n_bins, dtype=torch.float64)
    gaps.index_add_(0, places.flatten(), (own - is_class).flatten())
    return gaps.abs().sum() / (n * n_classes)


def interval_coverage(value: Tensor, sd: Tensor, truth: Tensor, *, share: float = 0.9) -> Tensor:
    """Share of rows within the central interval of a normal distribution.

    Args:
        value: `(N,)` its means.
        sd: `(N,)` its standard deviations.
        truth: `(N,)`.
        share: What the interval should hold.

    Example:
        >>> zeros, ones = torch.zeros(2), torch.ones(2)
        >>> interval_coverage(zeros, ones, torch.tensor([1.6, 1.7]))  # 90 % lie within 1.645
        tensor(0.5000, dtype=torch.float64)
    """
    reach = torch.special.ndtri(torch.tensor(0.5 + share / 2, dtype=torch.float64))
    is_within = (truth - value).abs().double() <= reach * sd.double()
    found: Tensor = is_within.double().mean()
    return found


def level_coverage(probabilities: Tensor, truth: Tensor, *, share: float = 0.9) -> Tensor:
    """Share of rows within the central interval of probabilities of levels.

    Whole levels cannot hold exactly 90 % of a row's probability. A level that the interval's end
    cuts through counts by the part of its probability that lies within, so that true probabilities
    come to `share` (the non-randomised PIT of Czado et al., 2009).

    Args:
        probabilities: `(N, K)`.
        truth: `(N,)` level numbers.
        share: What the interval should hold.

    Example:
        >>> level_coverage(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([1]), share=0.8)
        tensor(0.8000, dtype=torch.float64)
    """
    own = probabilities.double().gather(1, truth.long()[:, None]).squeeze(1)
    above = probabilities.double().cumsum(1).gather(1, truth.long()[:, None]).squeeze(1)
    low, high = (1 - share) / 2, (1 + share) / 2
    within = above.clamp(low, high) - (above - own).clamp(low, high)
    # A level said to be impossible is outside.
    return torch.where(own > 0, within / own.clamp_min(1e-300), 0.0).mean()
