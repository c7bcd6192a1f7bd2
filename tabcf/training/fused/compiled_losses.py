"""Losses of a batch with their gradients as compiled code; imports numba.

Dimension letters: see `tabcf.training.fused.state`; B events of a batch, C rows of an event.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tabcf.training.compiling import compiled
from tabcf.training.fused.state import HUBER, MSE, Rows, Scratch, Settings

__all__ = ["pairwise", "pointwise", "shares"]

_f32 = np.float32


@compiled
def shares(weight: NDArray[np.float32], share: NDArray[np.float32]) -> None:
    """What each event counts in the mean of its batch; all the same without weights."""
    if not len(weight):
        share[:] = 1 / len(share)
        return
    total = 0.0
    for b in range(len(share)):
        total += weight[b]
    smallest = np.finfo(np.float32).tiny
    for b in range(len(share)):
        share[b] = weight[b] / max(total, smallest)


@compiled
def pointwise(
    rows: Rows,
    scratch: Scratch,
    settings: Settings,
    ids: NDArray[np.int32],
    target: NDArray[np.float32],
    share: NDArray[np.float32],
) -> float:
    """Add up the gradients of events that have a target; gives their loss.

    All outputs first, then what pushes them, then the gradients: three short loops leave a
    processor more to do at a time than a long one.
    """
    value, bias = rows.value, rows.bias
    slot, gradient, bias_gradient = scratch.slot, scratch.gradient, scratch.bias_gradient
    push = np.empty(len(ids), np.float32)
    for b in range(len(ids)):
        left, right = ids[b, 0], ids[b, 1]
        output = bias[left] + bias[right]
        for d in range(value.shape[1]):
            output += value[left, d] * value[right, d]
        push[b] = output
    total = _push(settings, push, target, share)
    for b in range(len(ids)):
        left, right = ids[b, 0], ids[b, 1]
        u, i, slope = slot[left], slot[right], push[b]
        for d in range(value.shape[1]):
            gradient[u, d] += slope * value[right, d]
        for d in range(value.shape[1]):
            gradient[i, d] += slope * value[left, d]
        bias_gradient[u] += slope
        bias_gradient[i] += slope
    if settings.l2 > 0:
        total += _penalise(rows, scratch, settings, ids)
    return total


@compiled
def _push(
    settings: Settings,
    raw: NDArray[np.float32],
    target: NDArray[np.float32],
    share: NDArray[np.float32],
) -> float:
    """The loss of raw outputs, which it replaces by its slopes."""
    form, has_range, delta = settings.form, settings.has_range, _f32(settings.delta)
    low, width = _f32(settings.low), _f32(settings.high - settings.low)
    one, two, half = _f32(1), _f32(2), _f32(0.5)
    total = 0.0
    for b in range(len(raw)):
        output, slope = raw[b], one
        if has_range:
            sigmoid = one / (one + np.exp(-output))
            output = sigmoid * width + low
            slope = width * sigmoid * (one - sigmoid)
        error = output - target[b]
        size = abs(error)
        if form == MSE:
            loss = error * error
            push = two * error
        elif form == HUBER and size <= delta:
            loss = half * error * error
            push = error
        elif form == HUBER:
            loss = delta * (size - half * delta)
            push = delta * np.sign(error)
        else:
            loss = size
            push = np.sign(error)
        total += share[b] * loss
        raw[b] = push * slope * share[b]
    return total


@compiled
def _penalise(rows: Rows, scratch: Scratch, settings: Settings, ids: NDArray[np.int32]) -> float:
    """Add the gradients of the squares of the rows that events use; gives what they cost."""
    value, bias = rows.value, rows.bias
    slot, gradient, bias_gradient = scratch.slot, scratch.gradient, scratch.bias_gradient
    l2, two = _f32(settings.l2 / len(ids)), _f32(2)
    total = 0.0
    for b in range(len(ids)):
        for c in range(2):
            r = ids[b, c]
            k = slot[r]
            squares = bias[r] * bias[r]
            for d in range(value.shape[1]):
                squares += value[r, d] * value[r, d]
            for d in range(value.shape[1]):
                gradient[k, d] += two * l2 * value[r, d]
            bias_gradient[k] += two * l2 * bias[r]
            total += l2 * squares
    return total


@compiled
def pairwise(
    rows: Rows, scratch: Scratch, ids: NDArray[np.int32], share: NDArray[np.float32]
) -> float:
    """Add up the gradients of events and of the items drawn for them; gives their loss."""
    value, bias = rows.value, rows.bias
    slot, gradient, bias_gradient = scratch.slot, scratch.gradient, scratch.bias_gradient
    one, zero = _f32(1), _f32(0)
    total = 0.0
    for b in range(ids.shape[0]):
        left, right = ids[b, 0], ids[b, 1]
        u, i = slot[left], slot[right]
        n_drawn = 0
        for c in range(2, ids.shape[1]):
            n_drawn += ids[b, c] >= 0
        for c in range(2, ids.shape[1]):
            other = ids[b, c]
            if other < 0:
                continue
            j = slot[other]
            behind = bias[other] - bias[right]
            for d in range(value.shape[1]):
                behind += value[left, d] * (value[other, d] - value[right, d])
            # softplus and its slope, without overflow
            small = np.exp(-abs(behind))
            counts = share[b] / _f32(n_drawn)
            total += counts * (max(behind, zero) + np.log1p(small))
            push = counts * (one if behind > 0 else small) / (one + small)
            for d in range(value.shape[1]):
                gradient[u, d] += push * (value[other, d] - value[right, d])
            for d in range(value.shape[1]):
                gradient[i, d] -= push * value[left, d]
            for d in range(value.shape[1]):
                gradient[j, d] += push * value[left, d]
            bias_gradient[i] -= push
            bias_gradient[j] += push
    return total
