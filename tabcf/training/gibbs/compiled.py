"""The loops over events as compiled code; imports numba, so it is imported only where it is used.

Dimension letters: see `tabcf.training.gibbs`; O owners. The events of row or owner r are
`order[starts[r]:starts[r + 1]]`. An event's error is what its score leaves to explain.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tabcf.training.compiling import compiled, prefetch

__all__ = ["change_owners", "draw_regression", "draw_rows", "sum_owners"]

_Floats = NDArray[np.float32]
_Indices = NDArray[np.int32]
# Events that are taken at once, so that their features stay in the nearest cache.
_CHUNK = 256
# How many events ahead the memory is asked for what is known of one: they lie anywhere, and waiting
# for each would take several times as long as the sums.
_AHEAD = 12


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
    for r in range(rows.shape[0]):
        first, last = starts[r], starts[r + 1]
        if first == last:
            continue
        old[:] = rows[r]
        sums[:] = 0
        for start in range(first, last, _CHUNK):
            n = min(_CHUNK, last - start)
            _gather(order, start, n, old, total, score, target, features)
            _add_products(features, n, sums)
        if not draw_regression(sums, old, noise, mean, precision, drawn[r], new):
            return False
        rows[r] = new
        new -= old
        _change(order[first:last], old, new, total, score)
    return True


@compiled
def _gather(
    order: _Indices,
    start: int,
    n_events: int,
    own: _Floats,
    total: _Floats,
    score: _Floats,
    target: _Floats,
    features: _Floats,
) -> None:
    """Some events' features without a row's own part, event by event along the last axis.

    The first is 1, and behind the features `(W, ...)` stand the errors. Dot products along the last
    axis become vector instructions, as short ones would not.
    """
    width = len(own)
    for p in range(n_events):
        _fetch(order, start + p, total, score)
        n = order[start + p]
        for d in range(1, width):
            features[d, p] = total[n, d] - own[d]
        features[0, p] = 1
        features[width, p] = target[n] - score[n]


@compiled
def _fetch(order: _Indices, place: int, total: _Floats, score: _Floats) -> None:
    """Ask the memory for what will be needed some events later."""
    n = order[min(place + _AHEAD, len(order) - 1)]
    # A row of numbers may lie across two lines of the cache.
    prefetch(total, n, 0)
    prefetch(total, n, 4 * (total.shape[1] - 1))
    prefetch(score, n, 0)


@compiled
def _add_products(features: _Floats, n: int, sums: _Floats) -> None:
    """Add the lower half of the first n events' products, and those with their errors."""
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
def draw_regression(
    sums: _Floats,
    old: _Floats,
    noise: float,
    mean: _Floats,
    precision: _Floats,
    drawn: _Floats,
    found: _Floats,
) -> bool:
    """Draw a row from its posterior.

    Args:
        sums: `(W + 1, W)`: the lower half of the features' products; in the last row, theirs with
            the errors. Overwritten.
        old: `(W,)`: the row that the errors are those of.
        noise: The precision of an event.
        mean: `(W,)` of the row's prior.
        precision: `(W,)` of the same.
        drawn: `(W,)` standard normal numbers.
        found: `(W,)`, overwritten.

    Returns:
        Whether the row's precision is positive.
    """
    width = len(found)
    own_noise = np.float32(noise)
    # What is to be explained is the error and what the old row explains of it.
    for d in range(width):
        for e in range(d):
            sums[width, d] += sums[d, e] * old[e]
            sums[width, e] += sums[d, e] * old[d]
        sums[width, d] += sums[d, d] * old[d]
    for d in range(width):
        for e in range(d + 1):
            sums[d, e] *= own_noise
        sums[d, d] += precision[d]
        sums[width, d] = own_noise * sums[width, d] + precision[d] * mean[d]
    return _draw(sums, drawn, found)


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
    gram: _Floats,
    moment: _Floats,
) -> None:
    """Each owner's sums over its events of what others than the owner bring to them.

    Args:
        order: `(N,)` events, sorted by owner.
        starts: `(O + 1,)`.
        owned: `(O, W)`: what each owner adds to its events.
        total: `(N, W)`.
        score: `(N,)`.
        target: `(N,)`.
        gram: `(O, W, W)`, overwritten: of products of features.
        moment: `(O, W)`, overwritten: of features times errors.
    """
    width = owned.shape[1]
    features = np.zeros((width + 1, _CHUNK), np.float32)
    sums = np.zeros((width + 1, width), np.float32)
    for r in range(owned.shape[0]):
        sums[:] = 0
        for start in range(starts[r], starts[r + 1], _CHUNK):
            n = min(_CHUNK, starts[r + 1] - start)
            _gather(order, start, n, owned[r], total, score, target, features)
            _add_products(features, n, sums)
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
    within: _Floats,
    total: _Floats,
    score: _Floats,
) -> None:
    """Bring events up to date as what their owners add changes.

    Args:
        order: `(N,)` events, sorted by owner.
        starts: `(O + 1,)`.
        old: `(O, W)`: what the owners added.
        new: `(O, W)`: what they add now.
        within: `(O,)`: how the products of an owner's own vectors changed.
        total: `(N, W)`.
        score: `(N,)`.
    """
    width = old.shape[1]
    change = np.zeros(width, np.float32)
    for r in range(old.shape[0]):
        always = within[r] + new[r, 0] - old[r, 0]
        for d in range(width):
            change[d] = new[r, d] - old[r, d]
        for d in range(1, width):
            always -= old[r, d] * change[d]
        for p in range(starts[r], starts[r + 1]):
            _fetch(order, p, total, score)
            n = order[p]
            more = always
            for d in range(1, width):
                more += total[n, d] * change[d]
            for d in range(width):
                total[n, d] += change[d]
            score[n] += more
