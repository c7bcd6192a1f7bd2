"""Numbers of an epoch's steps, from which what a row missed follows at once.

`tabcf.training.store.replay` says how. The sums over the steps s + 1 … t that it goes by are each
the difference of two that run to the end of the epoch, whose rates are known: with
ratio = β1 / (keep · √β2^(1 + power)),

    sum(s + 1 … t) = tail[s] - (Π ratio) · tail[t]

The tails come from the last step backwards, tail[s] = ratio[s+1] · (term[s+1] + tail[s+1]), and so
lose nothing to rounding as long as the ratio is below 1. Imports numba.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tabcf.training.compiling import compiled
from tabcf.training.fused.state import Sequences
from tabcf.training.steps import Rate

__all__ = ["sequences"]


def sequences(
    rates: Sequence[Rate], *, n_before: int, decays: Sequence[float], beta2: float, eps: float
) -> Sequences:
    """The sequences of one epoch.

    Args:
        rates: Learning rate and first beta of each step.
        n_before: Steps of the epochs before.
        decays: The different weight decays.
        beta2: As in AdamW.
        eps: As in AdamW.
    """
    n = len(rates)
    learning_rate = np.array([0.0, *(rate.learning_rate for rate in rates)])
    beta1 = np.array([1.0, *(rate.beta1 for rate in rates)])
    step = n_before + np.arange(n + 1)
    first = np.ones(n + 1)
    first[1:] = 1 - beta1[1:] ** step[1:]
    correction = np.sqrt(1 - beta2**step)
    keep = 1 - np.outer(decays, learning_rate)
    step_size = learning_rate * correction / first
    tail = np.zeros((len(decays), 4, n + 1))
    for own, own_keep in zip(tail, keep, strict=True):
        ratio, term = beta1 / own_keep, step_size.copy()
        for power in range(4):
            ratio = ratio / math.sqrt(beta2)
            _sum_up(term, ratio, own[power])
            term = term * correction
    return Sequences(
        step_size=step_size,
        eps=eps * correction,
        beta1=beta1,
        log_beta1=np.cumsum(np.log(np.maximum(beta1, 1e-30))),
        fade=beta2 ** (np.arange(n + 1) / 2),
        keep=keep,
        log_keep=np.cumsum(np.log(keep), 1),
        tail=tail,
    )


@compiled
def _sum_up(
    term: NDArray[np.float64], ratio: NDArray[np.float64], tail: NDArray[np.float64]
) -> None:
    """tail[s] = ratio[s + 1] * (term[s + 1] + tail[s + 1]), and 0 at the end."""
    total = 0.0
    tail[-1] = total
    for s in range(len(tail) - 1, 0, -1):
        total = ratio[s] * (term[s] + total)
        tail[s - 1] = total
