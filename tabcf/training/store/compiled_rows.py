"""The updates of touched rows as compiled code; imported only where it is used: it imports numba.

Loops over a row's numbers stand in functions that unpack their records once a batch, so that they
become vector instructions.

Dimension letters: see `tabcf.training.store.rows`; T steps, W of them within reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tabcf.training.compiling import compiled, prefetch
from tabcf.training.store.ledger import REACH, Ledger, Step
from tabcf.training.store.replay import Missed
from tabcf.training.store.rows import ADAGRAD_EPS, State, Touched

__all__ = ["CompiledRows"]

_f32 = np.float32
# Rows ahead that are fetched from memory while one is worked on.
_AHEAD = 8
_Floats = NDArray[np.float32]
_Integers = NDArray[np.int64]


class _Arrays(NamedTuple):
    """A `State` as arrays."""

    value: _Floats
    moments: _Floats
    square: _Floats
    last: NDArray[np.int32]
    stops: _Integers
    own: _Integers


class CompiledRows:
    """The updates as compiled code: the same numbers to the tolerance of floats."""

    def __init__(self, state: State) -> None:
        self._arrays = _Arrays(*(tensor.numpy() for tensor in state))
        self._slot = np.full(len(state.value), -1, np.int32)
        self._table: tuple[int, int, _Floats] | None = None

    def collect(self, gradient: Tensor) -> Touched:
        index, values = gradient._indices()[0].numpy(), gradient._values().contiguous().numpy()
        rows = np.empty(len(index), np.int64)
        total = np.empty_like(values)
        n = _collect(index, values, self._slot, rows, total)
        return Touched(torch.from_numpy(rows[:n]), torch.from_numpy(total[:n]))

    def bring_up(self, index: Tensor, ledger: Ledger) -> None:
        start, table = self._tabulated(ledger)
        rows = index.flatten().numpy()
        early, since = np.empty(len(rows), np.int64), np.empty(len(rows), np.int32)
        n = _bring_up(self._arrays, rows, ledger.t, start, table, early, since)
        if n:
            early, since = early[:n], since[:n]
            stops, own = self._arrays.stops, self._arrays.own
            of_rows = own[np.searchsorted(stops, early, side="right")]
            _bring_up_each(self._arrays, early, since, ledger.missed(of_rows, since))

    def adamw(self, touched: Touched, step: Step, t: int, scale: float) -> None:
        _adamw(
            self._arrays,
            touched.rows.numpy(),
            touched.gradient.numpy(),
            step.keep,
            (step.size, step.eps, step.beta1, step.beta2, scale),
            t,
        )

    def adagrad(self, touched: Touched, rate: float, keep: Sequence[float], scale: float) -> None:
        rows, gradient = touched.rows.numpy(), touched.gradient.numpy()
        _adagrad(self._arrays, rows, gradient, np.array(keep), rate, ADAGRAD_EPS, scale)

    def _tabulated(self, ledger: Ledger) -> tuple[int, _Floats]:
        """The first of the last steps, and what rows missed that were brought up to each.

        Shape:
            `(K, W, 7)`: the numbers of `Missed` side by side.
        """
        if self._table is None or self._table[0] != ledger.t:
            start = max(ledger.t - REACH, 0)
            own = np.arange(ledger.n_decays)[:, None]
            since = np.broadcast_to(np.arange(start, ledger.t), (len(own), ledger.t - start))
            self._table = ledger.t, start, np.stack(ledger.missed(own, since), -1)
        return self._table[1:]


@compiled
def _collect(
    index: _Integers,
    values: _Floats,
    slot: NDArray[np.int32],
    rows: _Integers,
    total: _Floats,
) -> int:
    """List the rows of a gradient and sum up what each is given; how many there are."""
    n = 0
    for k in range(len(index)):
        if k + 2 * _AHEAD < len(index):
            prefetch(slot, index[k + 2 * _AHEAD], 0)
        r = index[k]
        at = slot[r]
        if at < 0:
            slot[r] = n
            rows[n] = r
            for d in range(values.shape[1]):
                total[n, d] = values[k, d]
            n += 1
        else:
            for d in range(values.shape[1]):
                total[at, d] += values[k, d]
    for k in range(n):
        slot[rows[k]] = -1
    return n


@compiled
def _fetch(array: _Floats, row: int, n_bytes: int) -> None:
    """Have a row fetched that will soon be needed."""
    for byte in range(0, n_bytes, 64):
        prefetch(array, row, byte)


@compiled
def _own(stops: _Integers, own: _Integers, r: int) -> int:
    """Which of the decays is a row's."""
    at = 0
    while r >= stops[at]:
        at += 1
    return int(own[at])


@compiled
def _bring_up(
    arrays: _Arrays,
    index: NDArray[np.int32],
    t: int,
    start: int,
    missed: _Floats,
    early: _Integers,
    early_since: NDArray[np.int32],
) -> int:
    """Bring rows up to step t by a table; list those from before its start, and how many."""
    value, moments, _, last, stops, own_of = arrays
    n_bytes = 4 * value.shape[1]
    n_early = 0
    for k in range(len(index)):
        if k + 2 * _AHEAD < len(index):
            prefetch(last, index[k + 2 * _AHEAD], 0)
            _fetch(value, index[k + _AHEAD], n_bytes)
            _fetch(moments, index[k + _AHEAD], 2 * n_bytes)
        r = index[k]
        since = last[r]
        if since >= t:
            continue
        last[r] = t
        if since < start:
            early[n_early] = r
            early_since[n_early] = since
            n_early += 1
            continue
        own = missed[_own(stops, own_of, r), since - start]
        kept = own[0]
        if since == 0:  # it has no momentum yet
            for d in range(value.shape[1]):
                value[r, d] *= kept
            continue
        first, second, a, b, beta, fade = own[1], own[2], own[3], own[4], own[5], own[6]
        for d in range(value.shape[1]):
            size = (moments[r, 1, d] + a) * (moments[r, 1, d] + b)
            moved = moments[r, 0, d] * (moments[r, 1, d] * first + second) / size
            value[r, d] = kept * value[r, d] - moved
            moments[r, 0, d] *= beta
            moments[r, 1, d] *= fade
    return n_early


@compiled
def _bring_up_each(
    arrays: _Arrays, rows: _Integers, since: NDArray[np.int32], missed: Missed
) -> None:
    """Bring rows up by numbers of their own."""
    value, moments = arrays.value, arrays.moments
    kept_of, first_of, second_of, a_of, b_of, beta_of, fade_of = missed
    for k in range(len(rows)):
        r = rows[k]
        kept = kept_of[k]
        if since[k] == 0:
            for d in range(value.shape[1]):
                value[r, d] *= kept
            continue
        first, second, a, b = first_of[k], second_of[k], a_of[k], b_of[k]
        beta, fade = beta_of[k], fade_of[k]
        for d in range(value.shape[1]):
            size = (moments[r, 1, d] + a) * (moments[r, 1, d] + b)
            moved = moments[r, 0, d] * (moments[r, 1, d] * first + second) / size
            value[r, d] = kept * value[r, d] - moved
            moments[r, 0, d] *= beta
            moments[r, 1, d] *= fade


@compiled
def _adamw(
    arrays: _Arrays,
    rows: _Integers,
    gradient: _Floats,
    keep_of: NDArray[np.float64],
    numbers: tuple[float, float, float, float, float],
    t: int,
) -> None:
    """Take step t of AdamW with some rows."""
    value, moments, _, last, stops, own_of = arrays
    step_size, step_eps, step_beta1, step_beta2, scale = numbers
    size, eps = _f32(step_size), _f32(step_eps)
    beta1, beta2 = _f32(step_beta1), _f32(step_beta2)
    new_mean = _f32((1 - step_beta1) * scale)
    new_square = _f32((1 - step_beta2) * scale * scale)
    n_bytes = 4 * value.shape[1]
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            _fetch(value, rows[k + _AHEAD], n_bytes)
            _fetch(moments, rows[k + _AHEAD], 2 * n_bytes)
        r = rows[k]
        keep = _f32(keep_of[_own(stops, own_of, r)])
        for d in range(value.shape[1]):
            slope = gradient[k, d]
            m = beta1 * moments[r, 0, d] + new_mean * slope
            v = np.sqrt(
                beta2 * (moments[r, 1, d] * moments[r, 1, d]) + new_square * (slope * slope)
            )
            moments[r, 0, d] = m
            moments[r, 1, d] = v
            value[r, d] = keep * value[r, d] - size * m / (v + eps)
        if len(last):
            last[r] = t


@compiled
def _adagrad(
    arrays: _Arrays,
    rows: _Integers,
    gradient: _Floats,
    keep_of: NDArray[np.float64],
    rate: float,
    eps: float,
    scale: float,
) -> None:
    """Take a step of row-wise Adagrad with some rows."""
    value, square, stops, own_of = arrays.value, arrays.square, arrays.stops, arrays.own
    width = value.shape[1]
    for k in range(len(rows)):
        if k + _AHEAD < len(rows):
            _fetch(value, rows[k + _AHEAD], 4 * width)
        r = rows[k]
        keep = _f32(keep_of[_own(stops, own_of, r)])
        squares = _f32(0)
        for d in range(width):
            squares += gradient[k, d] * gradient[k, d]
        square[r] += _f32(scale * scale) * squares / _f32(width)
        size = _f32(rate * scale / (np.sqrt(square[r]) + eps))
        for d in range(width):
            value[r, d] = keep * value[r, d] - size * gradient[k, d]
