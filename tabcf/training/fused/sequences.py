"""Numbers of an epoch's steps, from which a row's missed steps follow at once.

AdamW moves and decays a row at every step, whether a batch touched it or not. Without a gradient
the mean m and the root r = √v of step s shrink by fixed factors, m_k = m_s · Π β1 and
r_k = r_s · √β2^(k - s), and the row itself goes

    p_k = keep_k · p_(k-1) - rate_k · m_k / (r_k + eps_k)

with keep = 1 - learning rate · decay. So after the steps s + 1 … t that it missed

    p_t = (Π keep) · p_s - m_s · [r_s · h1 + e · h2] / (r_s + e)²

where h1 and h2 are sums over k of rate_k · Π β1 · Π keep after k: the first with 1/√β2^(k - s), as
if eps were nothing, the second with e/eps_k, as if there were nothing but eps; e is eps_k over
√β2^(k - s) at k = s + 5, about the middle of the sums. The mixture is exact there and right to the
first order around it, and exact everywhere where r is far above eps or far below. At its worst it
is off by 8 % of what the momentum still moves, for a row touched once in the first steps of all,
where corrections change quickly; by 3 % after twenty steps.

Each sum is the difference of two that run to the end of the epoch, `tail`, one of them scaled:

    sum(s + 1 … t) = Π keep · tail[s] - Π β1 / fade · tail[t]

The tails come from the last step backwards, tail[s] = ratio[s+1] · (rate[s+1] + tail[s+1]), and
so lose nothing to rounding as long as the ratio β1 / (√β2 · keep) is below 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tabcf.training.fused.state import Sequences
from tabcf.training.steps import Rate

__all__ = ["is_stable", "sequences"]

# Steps from the last gradient at which the denominator of missed steps is exact.
_MIDDLE = 5


def is_stable(rate: Rate, *, decay: float, beta2: float) -> bool:
    """Whether what a row missed can be summed up without loss: decay must not outrun momentum."""
    keep = 1 - rate.learning_rate * decay
    return keep > 0 and rate.beta1 < math.sqrt(beta2) * keep


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
    middle = np.sqrt(1 - beta2 ** (step + _MIDDLE)) / beta2 ** (_MIDDLE / 2)
    keep = 1 - np.outer(decays, learning_rate)
    step_size = learning_rate * correction / first
    fade = beta2 ** (np.arange(n + 1) / 2)
    tail = np.zeros((len(decays), 2, n + 1))
    for own, own_keep in zip(tail, keep, strict=True):
        own[0] = _tail(step_size, beta1 / (math.sqrt(beta2) * own_keep))
        own[1] = _tail(learning_rate / first, beta1 / own_keep)
    return Sequences(
        step_size=step_size,
        eps=eps * correction,
        missed_eps=eps * middle,
        missed_scale=eps * middle**2,
        beta1=beta1,
        log_beta1=np.cumsum(np.log(np.maximum(beta1, 1e-30))),
        fade=fade,
        keep=keep,
        log_keep=np.cumsum(np.log(keep), 1),
        tail=tail,
    )


def _tail(rate: NDArray[np.float64], ratio: NDArray[np.float64]) -> list[float]:
    """tail[s] = ratio[s + 1] * (rate[s + 1] + tail[s + 1]), and 0 at the end."""
    total = 0.0
    found = [total]
    # Plain floats: a numpy scalar costs ten times as much.
    for own_rate, own_ratio in zip(rate[:0:-1].tolist(), ratio[:0:-1].tolist(), strict=True):
        total = own_ratio * (own_rate + total)
        found.append(total)
    return found[::-1]
