"""The loops over an entity's values as compiled code; imports numba, as `compiled.py` does.

Given each owner's sums over its events, what columns of one entity have to do with one another
needs no event. Dimension letters: see `tabcf.training.gibbs`; O owners. The owners of value r are
`owners[starts[r]:starts[r + 1]]`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tabcf.training.compiling import compiled
from tabcf.training.gibbs.compiled import draw_regression

__all__ = ["draw_values", "shift"]

_Floats = NDArray[np.float32]
_Indices = NDArray[np.int32]


@compiled
def shift(gram: _Floats, moment: _Floats, vectors: _Floats, shifted: _Floats) -> None:
    """Sums over features `[1, x]` become those over `[1, x + a]`, owner by owner.

    Args:
        gram: `(O, W, W)`: sums of products of features.
        moment: `(O, W)`: sums of features times errors.
        vectors: `(O, W)`: what the owners should add to x; the first number is left alone.
        shifted: `(O, W)`: what they added so far; it becomes the same.
    """
    n_owners, width = moment.shape
    by = np.zeros(width, np.float32)
    for r in range(n_owners):
        n = gram[r, 0, 0]
        if n == 0:
            continue
        for d in range(1, width):
            by[d] = vectors[r, d] - shifted[r, d]
            shifted[r, d] = vectors[r, d]
            moment[r, d] += by[d] * moment[r, 0]
        # By the old sums s of x and the new ones t: x xᵀ + a tᵀ + s aᵀ.
        for d in range(1, width):
            for e in range(1, width):
                gram[r, d, e] += by[d] * (gram[r, 0, e] + n * by[e]) + gram[r, 0, d] * by[e]
        for d in range(1, width):
            gram[r, 0, d] += n * by[d]
            gram[r, d, 0] = gram[r, 0, d]


@compiled
def draw_values(
    owners: _Indices,
    weights: _Floats,
    starts: _Indices,
    rows: _Floats,
    added: _Floats,
    gram: _Floats,
    moment: _Floats,
    noise: float,
    mean: _Floats,
    precision: _Floats,
    drawn: _Floats,
) -> bool:
    """Draw each value's row given all others, and bring its owners up to date.

    Args:
        owners: Of each value, one after another.
        weights: How much of a value's row each of them adds.
        starts: `(R + 1,)`.
        rows: `(R, W)`, overwritten; those without owners are left alone.
        added: `(O, W)`: what owners add, brought up to date.
        gram: `(O, W, W)`: sums of products of features.
        moment: `(O, W)`: sums of features times errors, brought up to date.
        noise: The precision of an event.
        mean: `(W,)` of the rows' prior.
        precision: `(W,)` of the same.
        drawn: `(R, W)` standard normal numbers.

    Returns:
        Whether every row could be drawn.
    """
    width = rows.shape[1]
    flat = gram.reshape(len(gram), width * width)
    products = np.zeros(width * width, np.float32)
    sums = np.zeros((width + 1, width), np.float32)
    new = np.zeros(width, np.float32)
    change = np.zeros(width, np.float32)
    for r in range(rows.shape[0]):
        first, last = starts[r], starts[r + 1]
        if first == last:
            continue
        products[:] = 0
        sums[:] = 0
        for p in range(first, last):
            u, weight = owners[p], weights[p]
            square = weight * weight
            for k in range(width * width):
                products[k] += square * flat[u, k]
            for d in range(width):
                sums[width, d] += weight * moment[u, d]
        for d in range(width):
            for e in range(d + 1):
                sums[d, e] = products[d * width + e]
        if not draw_regression(sums, rows[r], noise, mean, precision, drawn[r], new):
            return False
        for p in range(first, last):
            u = owners[p]
            for d in range(width):
                change[d] = weights[p] * (new[d] - rows[r, d])
                added[u, d] += change[d]
            for d in range(width):
                explained = np.float32(0)
                for e in range(width):
                    explained += change[e] * gram[u, d, e]
                moment[u, d] -= explained
        rows[r] = new
    return True
