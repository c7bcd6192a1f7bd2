"""The fused step as compiled code; imported only where it is used, since it imports numba.

What differs between trainings are values and never types, so that one version is compiled. Loops
over factors stand in functions that unpack their records once a batch: they become vector
instructions there, and a record handed on for each row would cost more than the row.

Dimension letters: see `tabcf.training.fused.state`; E events of some batches, B events of one,
C rows of an event.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tabcf.training.compiling import compiled, prefetch
from tabcf.training.fused.compiled_losses import pairwise, pointwise, shares
from tabcf.training.fused.state import BPR, Rows, Scratch, Sequences, Settings
from tabcf.training.store.replay import nodes

__all__ = ["settle", "take_steps"]

_f32 = np.float32
_nodes = compiled(nodes)
# Steps back that the table of missed steps reaches; it costs as much as a few rows.
_REACH = 128
# Rows ahead that are fetched from memory while one is worked on.
_AHEAD = 4


@compiled
def take_steps(
    rows: Rows,
    scratch: Scratch,
    sequences: Sequences,
    settings: Settings,
    ids: NDArray[np.int32],
    target: NDArray[np.float32],
    weight: NDArray[np.float32],
    first: int,
    losses: NDArray[np.float64],
) -> int:
    """Take the steps of some batches.

    Args:
        rows: Trained in place.
        scratch: Room for a batch.
        sequences: The epoch's numbers.
        settings: The training's.
        ids: `(E, C)`: each event's rows: left, right, and drawn ones; -1 does not count.
        target: `(E,)`, or empty where the loss has none.
        weight: `(E,)`, or empty where all events weigh the same.
        first: The first batch's step of the epoch, from 1.
        losses: Is given each step's loss.

    Returns:
        The steps taken: fewer than there are batches where the next one's loss is not finite.
    """
    size = settings.batch_size
    share = np.empty(size, np.float32)
    n_events = ids.shape[0]
    n_done = 0
    for start in range(0, n_events, size):
        stop = min(start + size, n_events)
        t = first + n_done
        batch = ids[start:stop]
        shares(weight[start:stop], share[: stop - start])
        n_touched = _gather(rows, scratch, sequences, settings, batch, t)
        if settings.form == BPR:
            loss = pairwise(rows, scratch, batch, share)
        else:
            loss = pointwise(rows, scratch, settings, batch, target[start:stop], share)
        losses[n_done] = loss
        if not np.isfinite(loss):
            break
        scale = 1.0
        if settings.clip_norm > 0:
            scale = _clipping(scratch, settings, n_touched)
        _update(rows, scratch, sequences, settings, t, n_touched, scale)
        n_done += 1
    return n_done


@compiled
def settle(rows: Rows, scratch: Scratch, sequences: Sequences, settings: Settings, t: int) -> None:
    """Bring all rows up to step t, their means and roots as well."""
    touched, faded = scratch.touched, scratch.faded
    n_rows, n_factors = rows.value.shape
    for start in range(0, n_rows, len(touched)):
        n = min(len(touched), n_rows - start)
        for k in range(n):
            touched[k] = start + k
        _catch_up(rows, scratch, sequences, settings, n, t, 0)
        for k in range(n):
            r = start + k
            beta, fade = _f32(faded[k, 0]), _f32(faded[k, 1])
            rows.last[r] = t
            rows.bias_mean[r] *= beta
            rows.bias_root[r] *= fade
            for d in range(n_factors):
                rows.mean[r, d] *= beta
                rows.root[r, d] *= fade


@compiled
def _gather(
    rows: Rows,
    scratch: Scratch,
    sequences: Sequences,
    settings: Settings,
    ids: NDArray[np.int32],
    t: int,
) -> int:
    """List a batch's rows, bring them up to before step t, clear their gradients; how many."""
    slot, touched = scratch.slot, scratch.touched
    gradient, bias_gradient = scratch.gradient, scratch.bias_gradient
    n_touched = 0
    for b in range(ids.shape[0]):
        for c in range(ids.shape[1]):
            r = ids[b, c]
            if r >= 0 and slot[r] < 0:
                slot[r] = n_touched
                touched[n_touched] = r
                n_touched += 1
    for k in range(n_touched):
        bias_gradient[k] = 0
        for d in range(gradient.shape[1]):
            gradient[k, d] = 0
    reach = _tabulate(scratch, sequences, settings, t - 1) if t > 1 else 0
    _catch_up(rows, scratch, sequences, settings, n_touched, t - 1, reach)
    return n_touched


@compiled
def _tabulate(scratch: Scratch, sequences: Sequences, settings: Settings, t: int) -> int:
    """Tabulate what becomes of rows up to step t, by the step that they were last brought up to.

    Follows on from the table for step t - 1; gives how many steps back it now reaches.
    """
    betas, keeps, ratios, moves = scratch.betas, scratch.keeps, scratch.ratios, scratch.moves
    tail, fade, beta1 = sequences.tail, sequences.fade, sequences.beta1[t]
    eps = settings.base_eps
    n = min(t, _REACH)
    betas[t - 1] = 1.0
    for s in range(t - n, t):
        betas[s] *= beta1
    for own in range(tail.shape[0]):
        keep = sequences.keep[own, t]
        ratio = beta1 / (keep * fade[1])
        keeps[own, t - 1] = ratios[own, t - 1] = 1.0
        for s in range(t - n, t):
            keeps[own, s] *= keep
            ratios[own, s] *= ratio
        rest0, rest1 = tail[own, 0, t], tail[own, 1, t]
        rest2, rest3 = tail[own, 2, t], tail[own, 3, t]
        for s in range(t - n, t):
            kept, q, grown = keeps[own, s], ratios[own, s], 1 / fade[t - s]
            first, second, a, b = _nodes(
                tail[own, 0, s] - q * rest0,
                tail[own, 1, s] - q * grown * rest1,
                tail[own, 2, s] - q * grown * grown * rest2,
                tail[own, 3, s] - q * grown * grown * grown * rest3,
            )
            moves[own, 0, s] = kept
            moves[own, 1, s] = kept * first
            moves[own, 2, s] = kept * second * eps
            moves[own, 3, s] = a * eps
            moves[own, 4, s] = b * eps
    return n


@compiled
def _catch_up(
    rows: Rows,
    scratch: Scratch,
    sequences: Sequences,
    settings: Settings,
    n: int,
    t: int,
    reach: int,
) -> None:
    """Move the first n touched rows by the steps up to t that they missed.

    Their means and roots stay as they were; `faded` says what to multiply them with. The table
    for step t reaches so many steps back; other rows' numbers are worked out one by one.
    """
    value, mean, root, bias, bias_mean, bias_root, last = rows
    touched, faded = scratch.touched, scratch.faded
    betas, moves = scratch.betas, scratch.moves
    n_left, has_bias = settings.n_left, settings.has_bias
    left, right = settings.left, settings.right
    left_bias, right_bias = settings.left_bias, settings.right_bias
    n_bytes = 4 * value.shape[1]
    for k in range(n):
        if k + _AHEAD < n:
            ahead = touched[k + _AHEAD]
            for byte in range(0, n_bytes, 64):
                prefetch(value, ahead, byte)
                prefetch(mean, ahead, byte)
                prefetch(root, ahead, byte)
        r = touched[k]
        s = last[r]
        beta = 1.0
        fade = 1.0
        if s < t:
            fade = sequences.fade[t - s]
            own = left if r < n_left else right
            of_bias = left_bias if r < n_left else right_bias
            if t - s <= reach:
                beta = betas[s]
                kept, first, second = moves[own, 0, s], moves[own, 1, s], moves[own, 2, s]
                a, b = moves[own, 3, s], moves[own, 4, s]
            else:
                beta = np.exp(sequences.log_beta1[t] - sequences.log_beta1[s])
                kept, first, second, a, b = _missed(sequences, settings, own, s, t)
            for d in range(value.shape[1]):
                size = (root[r, d] + a) * (root[r, d] + b)
                moved = mean[r, d] * (root[r, d] * first + second) / size
                value[r, d] = kept * value[r, d] - moved
            if has_bias:
                if own != of_bias and t - s <= reach:
                    kept, first = moves[of_bias, 0, s], moves[of_bias, 1, s]
                    second = moves[of_bias, 2, s]
                    a, b = moves[of_bias, 3, s], moves[of_bias, 4, s]
                elif own != of_bias:
                    kept, first, second, a, b = _missed(sequences, settings, of_bias, s, t)
                size = (bias_root[r] + a) * (bias_root[r] + b)
                moved = bias_mean[r] * (bias_root[r] * first + second) / size
                bias[r] = kept * bias[r] - moved
        faded[k, 0] = beta
        faded[k, 1] = fade


@compiled
def _missed(
    sequences: Sequences, settings: Settings, own: int, s: int, t: int
) -> tuple[np.float32, np.float32, np.float32, np.float32, np.float32]:
    """What a row missed from step s to t, worked out on its own: kept, first, second, a and b."""
    tail, log_keep, log_beta1 = sequences.tail, sequences.log_keep, sequences.log_beta1
    log_kept = log_keep[own, t] - log_keep[own, s]
    log_grown = -(t - s) / 2 * math.log(settings.beta2)
    log_ratio = log_beta1[t] - log_beta1[s] - log_kept
    kept, eps = math.exp(log_kept), settings.base_eps
    first, second, a, b = _nodes(
        tail[own, 0, s] - math.exp(log_ratio + log_grown) * tail[own, 0, t],
        tail[own, 1, s] - math.exp(log_ratio + 2 * log_grown) * tail[own, 1, t],
        tail[own, 2, s] - math.exp(log_ratio + 3 * log_grown) * tail[own, 2, t],
        tail[own, 3, s] - math.exp(log_ratio + 4 * log_grown) * tail[own, 3, t],
    )
    return _f32(kept), _f32(kept * first), _f32(kept * second * eps), _f32(a * eps), _f32(b * eps)


@compiled
def _clipping(scratch: Scratch, settings: Settings, n_touched: int) -> float:
    """What the gradients are multiplied with to keep their norm in bounds, as torch does it."""
    gradient, bias_gradient = scratch.gradient, scratch.bias_gradient
    squares = 0.0
    for k in range(n_touched):
        own = _f32(0)
        for d in range(gradient.shape[1]):
            own += gradient[k, d] * gradient[k, d]
        squares += float(own)
        if settings.has_bias:
            squares += bias_gradient[k] * bias_gradient[k]
    return min(1.0, settings.clip_norm / (math.sqrt(squares) + 1e-6))


@compiled
def _update(
    rows: Rows,
    scratch: Scratch,
    sequences: Sequences,
    settings: Settings,
    t: int,
    n_touched: int,
    scale: float,
) -> None:
    """Take step t with the touched rows."""
    value, mean, root, bias, bias_mean, bias_root, last = rows
    slot, touched, faded = scratch.slot, scratch.touched, scratch.faded
    gradient, bias_gradient = scratch.gradient, scratch.bias_gradient
    step_size, eps = _f32(sequences.step_size[t]), _f32(sequences.eps[t])
    keep_left = _f32(sequences.keep[settings.left, t])
    keep_right = _f32(sequences.keep[settings.right, t])
    keep_left_bias = _f32(sequences.keep[settings.left_bias, t])
    keep_right_bias = _f32(sequences.keep[settings.right_bias, t])
    n_left, has_bias = settings.n_left, settings.has_bias
    beta1, beta2 = sequences.beta1[t], settings.beta2
    new_mean = _f32((1 - beta1) * scale)
    new_square = _f32((1 - beta2) * scale * scale)
    for k in range(n_touched):
        r = touched[k]
        slot[r] = -1
        last[r] = t
        old_mean = _f32(beta1 * faded[k, 0])
        old_square = _f32(beta2 * faded[k, 1] * faded[k, 1])
        keep = keep_left if r < n_left else keep_right
        for d in range(value.shape[1]):
            slope = gradient[k, d]
            m = old_mean * mean[r, d] + new_mean * slope
            v = np.sqrt(old_square * (root[r, d] * root[r, d]) + new_square * (slope * slope))
            mean[r, d] = m
            root[r, d] = v
            value[r, d] = keep * value[r, d] - step_size * m / (v + eps)
        if has_bias:
            keep = keep_left_bias if r < n_left else keep_right_bias
            slope = bias_gradient[k]
            square = old_square * (bias_root[r] * bias_root[r]) + new_square * (slope * slope)
            m = old_mean * bias_mean[r] + new_mean * slope
            v = np.sqrt(square)
            bias_mean[r] = m
            bias_root[r] = v
            bias[r] = keep * bias[r] - step_size * m / (v + eps)
