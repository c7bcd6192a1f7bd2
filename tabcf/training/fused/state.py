"""What a fused step reads and writes: plain arrays, which compiled code and torch share.

Dimension letters: R rows of the model's one table (the left column's rows, then the right one's),
D factors, S rows that a batch can touch, T steps of an epoch, K different decays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BPR", "HUBER", "MAE", "MSE", "Rows", "Scratch", "Sequences", "Settings"]

# What `Settings.form` may be.
MSE, MAE, HUBER, BPR = range(4)

_Floats = NDArray[np.float32]
_Doubles = NDArray[np.float64]
_Integers = NDArray[np.int32]


class Rows(NamedTuple):
    """The trained rows with their state of AdamW, each as it was after its step `last`.

    Shape:
        value, mean, root: `(R, D)`: factors, running mean of their gradients, root of the running
            mean of the gradients' squares.
        bias, bias_mean, bias_root: `(R,)`: the same of biases; not used without `has_bias`.
        last: `(R,)`: the step of the epoch that a row was last brought up to; 0 is its beginning.
    """

    value: _Floats
    mean: _Floats
    root: _Floats
    bias: _Floats
    bias_mean: _Floats
    bias_root: _Floats
    last: _Integers


class Scratch(NamedTuple):
    """Room for one batch, and for a table of what rows missed.

    Shape:
        slot: `(R,)`: where a row's gradient is in this batch; -1 for none.
        touched: `(S,)`: the rows of the batch, in the order in which they came.
        gradient: `(S, D)`. bias_gradient: `(S,)`.
        faded: `(S, 2)`: what became of a row's mean and root over the steps that it missed.
        betas: `(T + 1,)`; keeps, ratios: `(K, T + 1)`: products of beta1, of keep, and of what the
            sum of w falls off by, of the steps after one.
        moves: `(K, 5, T + 1)`: what a row that was last brought up to a step missed: kept, first,
            second, a and b of `tabcf.training.store.replay.Missed`.
    """

    slot: _Integers
    touched: _Integers
    gradient: _Floats
    bias_gradient: _Floats
    faded: _Doubles
    betas: _Doubles
    keeps: _Doubles
    ratios: _Doubles
    moves: _Floats


class Sequences(NamedTuple):
    """The numbers of an epoch's steps; entry t is that of step t, entry 0 of its beginning.

    Shape:
        step_size: `(T + 1,)`: the learning rate times the correction of the root for its early
            bias, over that of the mean.
        eps: `(T + 1,)`: eps times the correction of the root.
        beta1: `(T + 1,)`. log_beta1: `(T + 1,)` its logarithms, summed.
        fade: `(T + 1,)`: what a root is multiplied with over so many steps without a gradient.
        keep: `(K, T + 1)`: 1 less learning rate times decay. log_keep: its logarithms, summed.
        tail: `(K, 4, T + 1)`: see `tabcf.training.fused.sequences`.
    """

    step_size: _Doubles
    eps: _Doubles
    beta1: _Doubles
    log_beta1: _Doubles
    fade: _Doubles
    keep: _Doubles
    log_keep: _Doubles
    tail: _Doubles


class Settings(NamedTuple):
    """What stays the same for a whole training.

    Attributes:
        form: The loss.
        delta: Where the Huber loss turns straight.
        has_range: Whether outputs go through a sigmoid that reaches from `low` to `high`.
        has_bias: Whether there are biases.
        l2: Factor of the squares of the rows that an event uses.
        clip_norm: Largest norm of a batch's gradient; 0 for no such limit.
        beta2: Decay of the running mean of squares.
        base_eps: AdamW's eps, without a correction.
        batch_size: Events a step.
        n_left: Rows of the left column.
        left, right, left_bias, right_bias: Which of the decays is whose.
    """

    form: int
    delta: float
    has_range: bool
    low: float
    high: float
    has_bias: bool
    l2: float
    clip_norm: float
    beta2: float
    base_eps: float
    batch_size: int
    n_left: int
    left: int
    right: int
    left_bias: int
    right_bias: int
