"""The loops over events as compiled code; imports numba, so it is imported only where it is used.

Dimension letters: see `tabcf.training.gibbs`; O owners. The events of row or owner r are
`order[starts[r]:starts[r + 1]]`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tabcf.training.compiling import compiled

__all__ = ["change_owners", "draw_rows", "sum_owners"]

_Floats = NDArray[np.float32]
_Indices = NDArray[np.int32]
# Events that are taken at once, so that their features stay in the nearest cache.
_CHUNK = 256


@compiled
def draw_rows(
    order: _Indices,
    starts: _Indices,
    rows: _Floats,
    total: _Floats,
    score: _Floats,
    target: _Floats,
    noise: float,
    mean: _Floats,
    precision: _Floats,
    drawn: _Floats,
) -> bool:
    """Draw each row of a column given all other columns, and bring its events up to date.

    Args:
        order: `(N,)` events, sorted by row.
        starts: `(R + 1,)`.
        rows: `(R, W)`, overwritten; those without events are left alone.
        total: `(N, W)`, and
        score: `(N,)`: brought up to date.
        target: `(N,)`.
        noise: The precision of an event.
        mean: `(W,)` of the rows' prior.
        precision: `(W,)` of the same.
        drawn: `(R, W)` standard normal numbers.

    Returns:
        Whether every row could be drawn.
    """
    width = rows.shape[1]
    features = np.zeros((width + 1, _CHUNK), np.float32)
    sums = np.zeros((width + 1, width), np.float32)
    old = np.zeros(width, np.float32)
    new = np.zeros(width, np.float32)
    own_noise = np.float32(noise)
    for r in range(rows.shape[0]):
        first, last = starts[r], starts[r + 1]
        if first == last:
            continue
        old[:] = rows[r]
        sums[:] = 0
        for start in range(first, last, _CHUNK):
            events = order[start : min(start + _CHUNK, last)]
            _gather(events, old, total, score, target, features)
            _add_products(features, len(events), sums)
        for d in range(width):
            for e in range(d + 1):
                sums[d, e] *= own_noise
            sums[d, d] += precision[d]
            sums[width, d] = own_noise * sums[width, d] + precision[d] * mean[d]
        if not _draw(sums, drawn[r], new):
            return False
        rows[r] = new
        new -= old
        _change(order[first:last], old, new, total, score)
    return True


@compiled
def _gather(
    events: _Indices,
    own: _Floats,
    total: _Floats,
    score: _Floats,
    target: _Floats,
    features: _Floats,
) -> None:
    """Some events' features without a row's own part, event by event along the last axis.

    The first is 1, and behind the features `(W, ...)` stands what the others' score leaves to
    explain. Dot products along the last axis become vector instructions, as short ones would not.
    """
    width = len(own)
    for p in range(len(events)):
        n = events[p]
        rest = target[n] - score[n] + own[0]
        for d in range(1, width):
            x = total[n, d] - own[d]
            features[d, p] = x
            rest += x * own[d]
        features[0, p] = 1
        features[width, p] = rest


@compiled
def _add_products(features: _Floats, n: int, sums: _Floats) -> None:
    """Add the lower half of the first n events' products, and those with what is left."""
    width = sums.shape[1]
    for d in range(width + 1):
        for e in range(min(d + 1, width)):
            total = np.float32(0)
            for p in range(n):
                total += features[d, p] * features[e, p]
            sums[d, e] += total


@compiled
def _change(
    events: _Indices, old: _Floats, change: _Floats, total: _Floats, score: _Floats
) -> None:
    """Bring events up to date as what is added to them changes from an old row."""
    width = len(old)
    for p in range(len(events)):
        n = events[p]
        more = change[0]
        total[n, 0] += change[0]
        for d in range(1, width):
            more += (total[n, d] - old[d]) * change[d]
            total[n, d] += change[d]
        score[n] += more


@compiled
def _draw(gram: _Floats, drawn: _Floats, found: _Floats) -> bool:
    """Draw from N(gram⁻¹ moment, gram⁻¹); the lower half becomes the Cholesky factor.

    The moment is the row below the gram matrix.
    """
    width = len(found)
    for d in range(width):
        for e in range(d + 1):
            value = gram[d, e]
            for f in range(e):
                value -= gram[d, f] * gram[e, f]
            if d == e:
                if not value > 0:
                    return False
                gram[d, d] = math.sqrt(value)
            else:
                gram[d, e] = value / gram[e, e]
    for d in range(width):
        value = gram[width, d]
        for e in range(d):
            value -= gram[d, e] * found[e]
        found[d] = value / gram[d, d]
    # With L the factor, the mean and the noise share the solution by Lᵀ.
    for k in range(width):
        d = width - 1 - k
        value = found[d] + drawn[d]
        for e in range(d + 1, width):
            value -= gram[e, d] * found[e]
        found[d] = value / gram[d, d]
    return True


@compiled
def sum_owners(
    order: _Indices,
    starts: _Indices,
    owned: _Floats,
    total: _Floats,
    score: _Floats,
    target: _Floats,
    noise: float,
    drawn: _Floats,
    gram: _Floats,
    moment: _Floats,
) -> None:
    """Each owner's sums over its events of features, as `SetSystem.draw` takes them.

    Args:
        order: `(N,)` events, sorted by owner.
        starts: `(O + 1,)`.
        owned: `(O, W)`: what each owner adds to its events.
        total: `(N, W)`.
        score: `(N,)`.
        target: `(N,)`.
        noise: The precision of an event.
        drawn: `(N,)` standard normal numbers.
        gram: `(O, W, W)`, overwritten.
        moment: `(O, W)`, overwritten.
    """
    width = owned.shape[1]
    features = np.zeros((width + 1, _CHUNK), np.float32)
    sums = np.zeros((width + 1, width), np.float32)
    own_noise, root = np.float32(noise), np.float32(math.sqrt(noise))
    for r in range(owned.shape[0]):
        sums[:] = 0
        for start in range(starts[r], starts[r + 1], _CHUNK):
            events = order[start : min(start + _CHUNK, starts[r + 1])]
            _gather(events, owned[r], total, score, target, features)
            for p in range(len(events)):
                features[width, p] = own_noise * features[width, p] + root * drawn[events[p]]
            _add_products(features, len(events), sums)
        for d in range(width):
            moment[r, d] = sums[width, d]
            for e in range(d + 1):
                gram[r, d, e] = sums[d, e]
                gram[r, e, d] = sums[d, e]


@compiled
def change_owners(
    order: _Indices,
    starts: _Indices,
    old: _Floats,
    new: _Floats,
    total: _Floats,
    score: _Floats,
) -> None:
    """Bring events up to date as what their owners add goes from old to new, `(O, W)` each."""
    for r in range(old.shape[0]):
        _change(order[starts[r] : starts[r + 1]], old[r], new[r] - old[r], total, score)
