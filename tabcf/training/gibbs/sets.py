"""A column of several values, whose rows are drawn together.

Dimension letters: see `tabcf.training.gibbs`; O owners, S rank of owners by values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag
from tabcf.training.gibbs.columns import LinearColumn, padded_blocks
from tabcf.training.gibbs.priors import ColumnPrior, Normal

__all__ = ["SetColumn", "SetSystem", "bag_matrix", "conjugate_gradients"]

# How much smaller than at first what is left must be, and steps of conjugate gradients at most. A
# draw is then off by about a thirtieth of its own standard deviation.
_CG_TOLERANCE, _CG_STEPS = 2e-2, 300
# Largest rank and largest matrix that are taken apart, some seconds once a fit.
_MOST_RANK, _MOST_NUMBERS = 1500, 1 << 24
_MOST_DENSE = 1 << 22


class _Basis(NamedTuple):
    """The eigenvectors of owners by values, each owner weighing as its events.

    Shape:
        values: `(R, S)`: of `Bᵀ diag(events) B`, those with a positive eigenvalue.
        owners: `(O, S)`: B times the same.
        strength: `(S,)`: the eigenvalues.
    """

    values: Tensor
    owners: Tensor
    strength: Tensor


class SetSystem:
    """All rows of a set's values, drawn together from what is known of each owner's events.

    With the matrix B of owners by values, 1 / √n where an owner has a value, an owner's added row
    is `B V`. The precision of all values' rows together is `noise · Bᵀ G B + prior`, G holding each
    owner's gram matrix: never formed, only multiplied by. Conjugate gradients are preconditioned by
    the same system with each owner's gram matrix taken as its number of events times the mean of
    all events: a Kronecker product, diagonal in the eigenvectors of `Bᵀ diag(events) B`, which
    never change. Sets too large for these are preconditioned by the prior.

    Args:
        bag: O rows.
        n_events: `(O,)`: events of each owner.
        n: Values, R.
        first: `(R, W)` first rows.
        prior: Of all rows.
        norm: `sqrt` or `mean`.
    """

    def __init__(
        self, bag: Bag, n_events: Tensor, n: int, first: Tensor, prior: ColumnPrior, *, norm: str
    ) -> None:
        self.rows = first
        self.prior = prior
        matrix = bag_matrix(bag, n, norm=norm)
        shape = tuple(matrix.shape)
        self._matrix = matrix.to_dense() if shape[0] * shape[1] <= _MOST_DENSE else matrix
        rank = min(shape)
        is_small = rank <= _MOST_RANK and rank * max(shape) <= _MOST_NUMBERS
        self._basis = _taken_apart(matrix.to_dense(), n_events) if is_small else None
        self.of_owner = _times(self._matrix, first)

    def draw(self, gram: Tensor, moment: Tensor, noise: float, normal: Normal) -> None:
        """Draw the rows, and what each owner has of them.

        Args:
            gram: `(O, W, W)`: sums of outer products of each owner's events' features.
            moment: `(O, W)`: sums of features times what is left to explain and its own noise, at
                the scale of `noise`.
            noise: The precision of an event.
            normal: Random numbers.
        """
        precision, mean = self.prior.precision, self.prior.mean
        # A draw from N(A⁻¹ b, A⁻¹) solves A x = b + e with e of covariance A: each event and each
        # prior number brings its own noise.
        own = precision * mean + precision.sqrt() * normal.like(tuple(self.rows.shape))
        if self._basis is None:
            self._draw_plainly(own, gram, moment, noise)
            return
        basis = self._basis
        right = _back(basis.values, own) + _back(basis.owners, moment)

        def product(found: Tensor) -> Tensor:
            of_owners = torch.bmm(gram, _times(basis.owners, found).unsqueeze(2)).squeeze(2)
            return noise * _back(basis.owners, of_owners) + precision * found

        n_events = gram[:, 0, 0].sum().clamp_min(1)
        ready = _kronecker(noise * gram.sum(0) / n_events, basis.strength, precision)
        found = conjugate_gradients(product, right, _back(basis.values, self.rows), ready)
        # What no owner with events sees of the rows is as the prior has it.
        unseen = (own - _times(basis.values, _back(basis.values, own))) / precision
        self.rows = unseen + _times(basis.values, found)
        self.of_owner = _times(self._matrix, self.rows)

    def _draw_plainly(self, own: Tensor, gram: Tensor, moment: Tensor, noise: float) -> None:
        precision = self.prior.precision

        def product(found: Tensor) -> Tensor:
            of_owners = torch.bmm(gram, _times(self._matrix, found).unsqueeze(2)).squeeze(2)
            return noise * _back(self._matrix, of_owners) + precision * found

        right = own + _back(self._matrix, moment)
        self.rows = conjugate_gradients(product, right, self.rows, lambda left: left / precision)
        self.of_owner = _times(self._matrix, self.rows)


class SetColumn(LinearColumn):
    """A column of several values a row of an entity, or of the events: their sum over √n."""

    def __init__(
        self, bag: Bag, owner: Tensor, n: int, first: Tensor, prior: ColumnPrior, *, norm: str
    ) -> None:
        n_owners = len(bag.offsets)
        self._owner = owner
        self._n_owners = n_owners
        n_events = torch.bincount(owner, minlength=n_owners)
        self._system = SetSystem(bag, n_events, n, first, prior, norm=norm)
        self._blocks = list(padded_blocks(owner, n_owners, first.shape[1]))

    @property
    def rows(self) -> Tensor:
        """`(R, W)`."""
        return self._system.rows

    def added(self) -> Tensor:
        return self._system.of_owner.index_select(0, self._owner)

    def draw(self, others: Tensor, rest: Tensor, noise: float, normal: Normal) -> None:
        self._system.prior.draw(self.rows, normal)
        width = self.rows.shape[1]
        features = torch.cat([others.new_ones(len(others), 1), others], 1)
        gram = self._grams(features)
        scaled = noise * rest + noise**0.5 * normal.like((len(rest),))
        moment = torch.zeros(self._n_owners, width).index_add_(
            0, self._owner, features * scaled[:, None]
        )
        self._system.draw(gram, moment, noise, normal)

    def _grams(self, features: Tensor) -> Tensor:
        width = features.shape[1]
        padded = torch.cat([features, features.new_zeros(1, width)])
        gram = features.new_zeros(self._n_owners, width, width)
        for rows, places in self._blocks:
            own = padded.index_select(0, places.flatten()).view(*places.shape, width)
            gram[rows] = own.mT @ own
        return gram


def bag_matrix(bag: Bag, n: int, *, norm: str) -> Tensor:
    """`(O, R)`, sparse: how much of each value's row a set adds.

    Args:
        bag: O rows.
        n: Values, R.
        norm: `sqrt` or `mean`.
    """
    lengths = bag.lengths.clamp_min(1).float()
    weight = lengths.rsqrt() if norm == "sqrt" else lengths.reciprocal()
    rows = bag.row_of_value
    values = weight.index_select(0, rows)
    if bag.weights is not None:
        values = values * bag.weights
    indices = torch.stack([rows, bag.values.long()])
    with torch.sparse.check_sparse_tensor_invariants(enable=True):
        return torch.sparse_coo_tensor(indices, values, (len(bag.offsets), n)).coalesce()


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    right: Tensor,
    start: Tensor,
    ready: Callable[[Tensor], Tensor],
) -> Tensor:
    """Solve `product(x) = right` from a start.

    Args:
        product: Multiplies by a symmetric, positive matrix.
        right: Any shape.
        start: The same shape.
        ready: Divides by a matrix that is like the product's: the preconditioner.
    """
    found = start
    left = right - product(found)
    turned = ready(left)
    way = turned
    size = (left * turned).sum()
    goal = _CG_TOLERANCE**2 * size
    for _ in range(_CG_STEPS):
        if size <= goal:
            break
        along = product(way)
        step = size / (way * along).sum()
        found = found + step * way
        left = left - step * along
        turned = ready(left)
        bigger = (left * turned).sum()
        way = turned + bigger / size * way
        size = bigger
    return found


def _times(matrix: Tensor, found: Tensor) -> Tensor:
    """`matrix @ found`, in the order that is several times faster for a narrow, dense `found`."""
    return matrix @ found if matrix.is_sparse else (found.T @ matrix.T).T


def _back(matrix: Tensor, found: Tensor) -> Tensor:
    """`matrix.T @ found`, likewise."""
    return matrix.T @ found if matrix.is_sparse else (found.T @ matrix).T


def _taken_apart(matrix: Tensor, n_events: Tensor) -> _Basis:
    """The eigenvectors, by the smaller side of the matrix `(O, R)`."""
    weighed = matrix.double() * n_events.double().sqrt()[:, None]
    n_owners, n_values = matrix.shape
    if n_values <= n_owners:
        strength, vectors = torch.linalg.eigh(weighed.T @ weighed)
    else:
        strength, of_owners = torch.linalg.eigh(weighed @ weighed.T)
        vectors = weighed.T @ of_owners
    is_seen = strength > 1e-9 * strength[-1].clamp_min(1)
    vectors = vectors[:, is_seen]
    vectors = vectors / vectors.norm(dim=0)
    owners = matrix.double() @ vectors
    return _Basis(vectors.float(), owners.float(), strength[is_seen].float())


def _kronecker(gram: Tensor, strength: Tensor, precision: Tensor) -> Callable[[Tensor], Tensor]:
    """Divides `(S, W)` by `diag(strength) ⊗ gram + I ⊗ diag(precision)`."""
    root = precision.rsqrt()
    turns, vectors = torch.linalg.eigh(root[:, None] * gram * root)
    into = root[:, None] * vectors
    divisor = strength[:, None] * turns.clamp_min(0) + 1
    return lambda left: ((left @ into) / divisor) @ into.T
