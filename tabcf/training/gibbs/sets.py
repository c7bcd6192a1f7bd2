"""A column of several values, whose rows are drawn together.

Dimension letters: see `tabcf.training.gibbs`; O owners.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag
from tabcf.training.gibbs.columns import LinearColumn, padded_blocks
from tabcf.training.gibbs.priors import ColumnPrior, Normal

__all__ = ["SetColumn", "conjugate_gradients"]

# Steps of conjugate gradients at most, and how much smaller than at first what is left must be.
_CG_STEPS, _CG_TOLERANCE = 60, 1e-4


class SetColumn(LinearColumn):
    """A column of several values a row of an entity, or of the events: their sum over √n.

    With the matrix B of owners by values, 1 / √n where an owner has a value, an owner's added row
    is `B V`. The precision of all values' rows together is `noise · Bᵀ G B + prior`, G holding each
    owner's gram matrix: never formed, only multiplied by.
    """

    def __init__(
        self, bag: Bag, owner: Tensor, n: int, first: Tensor, prior: ColumnPrior, *, norm: str
    ) -> None:
        self.rows = first
        self._owner = owner
        self._prior = prior
        lengths = bag.lengths.clamp_min(1).float()
        weight = lengths.rsqrt() if norm == "sqrt" else lengths.reciprocal()
        rows = bag.row_of_value
        shape = (len(bag.offsets), n)
        indices = torch.stack([rows, bag.values.long()])
        values = weight.index_select(0, rows)
        if bag.weights is not None:
            values = values * bag.weights
        with torch.sparse.check_sparse_tensor_invariants(enable=True):
            self._matrix = torch.sparse_coo_tensor(indices, values, shape).coalesce()
        if shape[0] * shape[1] <= 1 << 22:
            self._matrix = self._matrix.to_dense()
        self._transposed = self._matrix.T.contiguous() if not self._matrix.is_sparse else None
        self._blocks = list(padded_blocks(owner, len(bag.offsets), first.shape[1]))

    def added(self) -> Tensor:
        return (self._matrix @ self.rows).index_select(0, self._owner)

    def draw(self, others: Tensor, rest: Tensor, noise: float, normal: Normal) -> None:
        self._prior.draw(self.rows, normal)
        width, n_owners = self.rows.shape[1], self._matrix.shape[0]
        features = torch.cat([others.new_ones(len(others), 1), others], 1)
        gram = self._grams(features, n_owners)
        # A draw from N(A⁻¹ b, A⁻¹) solves A x = b + e with e of covariance A: each event and each
        # prior number brings its own noise.
        scaled = noise * rest + noise**0.5 * normal.like((len(rest),))
        per_owner = torch.zeros(n_owners, width).index_add_(
            0, self._owner, features * scaled[:, None]
        )
        precision, mean = self._prior.precision, self._prior.mean
        right = self._back(per_owner) + precision * mean
        right = right + precision.sqrt() * normal.like(tuple(self.rows.shape))

        def product(values: Tensor) -> Tensor:
            of_owners = torch.bmm(gram, (self._matrix @ values).unsqueeze(2)).squeeze(2)
            return noise * self._back(of_owners) + precision * values

        self.rows = conjugate_gradients(product, right, self.rows, precision)

    def _back(self, per_owner: Tensor) -> Tensor:
        """`(R, W)`: Bᵀ times something of the owners."""
        if self._transposed is not None:
            return self._transposed @ per_owner
        return self._matrix.T @ per_owner

    def _grams(self, features: Tensor, n_owners: int) -> Tensor:
        width = features.shape[1]
        padded = torch.cat([features, features.new_zeros(1, width)])
        gram = features.new_zeros(n_owners, width, width)
        for rows, places in self._blocks:
            own = padded.index_select(0, places.flatten()).view(*places.shape, width)
            gram[rows] = own.mT @ own
        return gram


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], right: Tensor, start: Tensor, scale: Tensor
) -> Tensor:
    """Solve `product(x) = right`, preconditioned by a diagonal `scale` `(W,)`."""
    found = start
    left = right - product(found)
    ready = left / scale
    way = ready
    size = (left * ready).sum()
    goal = _CG_TOLERANCE**2 * size
    for _ in range(_CG_STEPS):
        if size <= goal:
            break
        along = product(way)
        step = size / (way * along).sum()
        found = found + step * way
        left = left - step * along
        ready = left / scale
        bigger = (left * ready).sum()
        way = ready + bigger / size * way
        size = bigger
    return found
