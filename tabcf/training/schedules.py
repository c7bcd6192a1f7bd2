"""Learning rate and first beta as functions of progress through the training."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["Schedule", "constant", "cosine", "one_cycle"]

Schedule = Callable[[float], tuple[float, float | None]]
"""Maps progress in [0, 1] to a factor of the learning rate and to the optimiser's first beta;
None leaves that as it is."""


def one_cycle(
    *,
    warmup: float = 0.25,
    start_divisor: float = 25.0,
    end_divisor: float = 1e5,
    beta_high: float = 0.95,
    beta_low: float = 0.85,
) -> Schedule:
    """Up to the peak and down again by half cosines, the first beta down and up against it.

    Defaults are fastai's `fit_one_cycle` (Smith, 2018).
    """

    def at(progress: float) -> tuple[float, float | None]:
        if progress < warmup:
            share = progress / warmup
            factor = _half_cosine(1 / start_divisor, 1.0, share)
            return factor, _half_cosine(beta_high, beta_low, share)
        share = (progress - warmup) / (1 - warmup) if warmup < 1 else 1.0
        return _half_cosine(1.0, 1 / end_divisor, share), _half_cosine(beta_low, beta_high, share)

    return at


def cosine(*, warmup: float = 0.0, end_factor: float = 0.0) -> Schedule:
    """A straight warm-up, then a half cosine down to `end_factor`."""

    def at(progress: float) -> tuple[float, float | None]:
        if progress < warmup:
            return progress / warmup, None
        share = (progress - warmup) / (1 - warmup) if warmup < 1 else 1.0
        return _half_cosine(1.0, end_factor, share), None

    return at


def constant() -> Schedule:
    """The learning rate as given."""
    return lambda progress: (1.0, None)


def _half_cosine(start: float, end: float, share: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * share)) / 2
