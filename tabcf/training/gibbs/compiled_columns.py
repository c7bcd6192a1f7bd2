"""Columns whose loops are compiled; imports numba, so it is imported only where it is used.

Columns of one value draw from the same numbers as those in torch, in the same order, and so come to
the same rows but for rounding. Columns of one entity are drawn from each owner's sums over its
events, which are taken once a sweep for all of them; rows of a set's values one after another.

Dimension letters: see `tabcf.training.gibbs`; O owners.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tabcf.errors import TrainingError
from tabcf.training.gibbs import compiled, compiled_values
from tabcf.training.gibbs.columns import Events, squares_of
from tabcf.training.gibbs.priors import ColumnPrior, Normal

__all__ = ["CompiledCategorical", "CompiledEntity", "OwnedColumn"]


class CompiledCategorical:
    """A column of one value an event."""

    def __init__(self, index: Tensor, n: int, first: Tensor, prior: ColumnPrior) -> None:
        self.rows = first
        self._index = index
        self._prior = prior
        self._order, self._starts, counts = _sorted(index, n)
        self._met = torch.nonzero(counts).squeeze(1)
        self._unmet = torch.nonzero(counts == 0).squeeze(1)

    def added(self) -> Tensor:
        """`(N, W)`: the bias and the vector that each event gets from it."""
        return self.rows.index_select(0, self._index)

    def squares(self) -> Tensor:
        """`(N,)`: of that vector."""
        return squares_of(self.rows).index_select(0, self._index)

    def redraw(self, events: Events, noise: float, normal: Normal) -> None:
        """Draw all rows given all other columns, and bring the events up to date."""
        self._prior.draw(self.rows[self._met], normal)
        is_drawn = compiled.draw_rows(
            self._order,
            self._starts,
            self.rows.numpy(),
            events.total.numpy(),
            events.score.numpy(),
            events.target.numpy(),
            noise,
            self._prior.mean.numpy(),
            self._prior.precision.numpy(),
            normal.like(tuple(self.rows.shape)).numpy(),
        )
        _check(is_drawn)
        # Nobody has seen these; they are as the prior has them, at its mean.
        self.rows[self._unmet] = self._prior.mean


class OwnedColumn:
    """A column of an entity, whatever its kind: how much of which values' rows each owner adds.

    Args:
        matrix: `(O, R)`, sparse and coalesced.
        n_events: `(O,)`: events of each owner; those without any tell nothing.
        first: `(R, W)` first rows.
        prior: Of all rows.
    """

    def __init__(self, matrix: Tensor, n_events: Tensor, first: Tensor, prior: ColumnPrior) -> None:
        self.rows = first
        self._matrix = matrix
        self._prior = prior
        by_value = matrix.t().coalesce()
        value, owner = by_value.indices()
        is_told = n_events[owner] > 0
        self._owners = owner[is_told].int().numpy()
        self._weights = by_value.values()[is_told].numpy()
        _, self._starts, counts = _sorted(value[is_told], len(first))
        self._met = torch.nonzero(counts).squeeze(1)
        self._unmet = torch.nonzero(counts == 0).squeeze(1)
        self.of_owner = matrix @ first

    def sum_anew(self) -> Tensor:
        """`(O, W)`: what each owner adds, without the rounding of many changes."""
        self.of_owner = self._matrix @ self.rows
        return self.of_owner

    def redraw(self, gram: Tensor, moment: Tensor, noise: float, normal: Normal) -> None:
        """Draw all rows, and bring up to date what owners add and are told by their events."""
        self._prior.draw(self.rows[self._met], normal)
        is_drawn = compiled_values.draw_values(
            self._owners,
            self._weights,
            self._starts,
            self.rows.numpy(),
            self.of_owner.numpy(),
            gram.numpy(),
            moment.numpy(),
            noise,
            self._prior.mean.numpy(),
            self._prior.precision.numpy(),
            normal.like(tuple(self.rows.shape)).numpy(),
        )
        _check(is_drawn)
        self.rows[self._unmet] = self._prior.mean


class CompiledEntity:
    """All columns of one entity, or a set of the events.

    All that an owner's events tell of its vectors is in two sums over what others bring to them:
    of products, and of what is brought times the error. Both follow exactly as the owner's own
    vectors change, so that events are walked twice a sweep, however many columns there are.

    Args:
        owner: `(N,)`: whose each event is.
        columns: Of O owners each.
    """

    def __init__(self, owner: Tensor, columns: Sequence[OwnedColumn]) -> None:
        self._owner = owner
        self._columns = columns
        n_owners, width = columns[0].of_owner.shape
        self._order, self._starts, _ = _sorted(owner, n_owners)
        self._gram = torch.zeros(n_owners, width, width)
        self._moment = torch.zeros(n_owners, width)

    def added(self) -> Tensor:
        """`(N, W)`: the biases and the vectors that each event gets from them."""
        return _sum(column.sum_anew() for column in self._columns).index_select(0, self._owner)

    def squares(self) -> Tensor:
        """`(N,)`: of these vectors."""
        return self._own_squares().index_select(0, self._owner)

    def redraw(self, events: Events, noise: float, normal: Normal) -> None:
        """Draw all rows given all other columns, and bring the events up to date."""
        old, old_within = self._summed()
        total, score = events.total.numpy(), events.score.numpy()
        gram, moment = self._gram, self._moment
        compiled.sum_owners(
            self._order,
            self._starts,
            old.numpy(),
            total,
            score,
            events.target.numpy(),
            gram.numpy(),
            moment.numpy(),
        )
        now, shifted = old.clone(), torch.zeros_like(old)
        for column in self._columns:
            now -= column.of_owner
            compiled_values.shift(gram.numpy(), moment.numpy(), now.numpy(), shifted.numpy())
            column.redraw(gram, moment, noise, normal)
            now += column.of_owner
        new, within = self._summed()
        compiled.change_owners(
            self._order,
            self._starts,
            old.numpy(),
            new.numpy(),
            (within - old_within).numpy(),
            total,
            score,
        )

    def _summed(self) -> tuple[Tensor, Tensor]:
        """What the owners add `(O, W)`, and the products among an owner's own vectors `(O,)`."""
        total = _sum(column.of_owner for column in self._columns)
        return total, 0.5 * (squares_of(total) - self._own_squares())

    def _own_squares(self) -> Tensor:
        return _sum(squares_of(column.of_owner) for column in self._columns)


def _check(is_drawn: bool) -> None:
    if not is_drawn:
        raise TrainingError("gibbs: the precision of a row is not positive")


def _sum(parts: Iterable[Tensor]) -> Tensor:
    """A new tensor, also of one part."""
    return torch.stack(list(parts)).sum(0)


def _sorted(index: Tensor, n: int) -> tuple[NDArray[np.int32], NDArray[np.int32], Tensor]:
    """Places sorted by row, where each row's start, and how many each has."""
    counts = torch.bincount(index, minlength=n)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    order = torch.argsort(index, stable=True)
    return order.int().numpy(), starts.int().numpy(), counts
