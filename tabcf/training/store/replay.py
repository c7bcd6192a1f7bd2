"""What steps without a gradient do to a row: the one formula of everything that makes up for them.

AdamW moves and decays a row at every step, whether a batch touched it or not. Without a gradient
the mean m and the root r = √v of step s shrink by known factors, m_k = m_s · Π β1 and
r_k = r_s · √β2^(k - s), and the row goes

    p_k = keep_k · p_(k-1) - size_k · m_k / (r_k + eps_k)

with keep = 1 - learning rate · decay, and the corrections of means and roots for their early bias
in size and eps. So after the steps s + 1 … t without a gradient it is

    p_t = (Π keep) · p_s - m_s · Σ_k w_k / (r_s + x_k)

with w_k = size_k · Π β1 · Π keep after k / √β2^(k - s) and x_k = eps_k / √β2^(k - s). The sum is
taken by Gauss's rule with two nodes: numbers a, b, first and second with the same sums of w, w·x,
w·x² and w·x³, so that

    Σ_k w_k / (r + x_k) ≈ (r · first + second) / ((r + a) · (r + b))

whatever r is. That is exact for two steps. At its worst it is off by 1e-4 of what the momentum
still moves for a row last touched at step 100, by 0.2 % at step 20, and by 5 % at the very first
one, where corrections change quickly.

The four sums depend on s and t alone. `tabcf.training.store.ledger` has them of the steps taken so
far, for any schedule; `tabcf.training.fused.sequences` those of an epoch whose rates are known.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tabcf.training.steps import Rate

__all__ = ["Missed", "is_replayable", "nodes"]

# What is then left out from 1,024 steps on is 3e-5 of the sum of w·x³, which falls off most slowly.
_RATIO = 0.99
# Relative variance of x below which there is but one node.
_ONE_NODE = 1e-12
# Far below any sum there is: without momentum all sums are 0, and both nodes 1.
_NOTHING = 1e-200


class Missed(NamedTuple):
    """What the steps that they missed do to some rows; all float32 of one shape.

    The row becomes `kept · value - mean · (root · first + second) / ((root + a) · (root + b))`, its
    mean `beta · mean`, its root `fade · root`.
    """

    kept: NDArray[np.float32]
    first: NDArray[np.float32]
    second: NDArray[np.float32]
    a: NDArray[np.float32]
    b: NDArray[np.float32]
    beta: NDArray[np.float32]
    fade: NDArray[np.float32]


def is_replayable(rate: Rate, *, decay: float, beta2: float) -> bool:
    """Whether momentum is forgotten in time, and decay does not outrun it."""
    keep = 1 - rate.learning_rate * decay
    return keep > 0 and rate.beta1 <= _RATIO * beta2**2 * keep


def nodes(s0: Any, s1: Any, s2: Any, s3: Any) -> tuple[Any, Any, Any, Any]:
    """`first`, `second`, `a` and `b` by the sums of w, w·x, w·x² and w·x³.

    Without a branch, for arrays of float64 as well as for a number in compiled code.
    """
    s0 = s0 + _NOTHING
    inverse = 1 / s0
    mean = (s1 + _NOTHING) * inverse
    squares = s2 * inverse
    variance = np.maximum(squares - mean * mean, 0.0)
    third = s3 * inverse - mean * (3 * squares - 2 * mean * mean)
    # Nodes at mean + y with y² = skew · y + variance.
    smallest = _ONE_NODE * mean * mean
    skew = third * (variance > smallest) / np.maximum(variance, smallest)
    root = np.sqrt(skew * skew / 4 + variance)
    middle = mean + skew / 2
    return s0, s0 * (mean + skew), middle - root, middle + root
