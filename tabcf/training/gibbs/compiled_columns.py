"""Columns whose loops are compiled; imports numba, so it is imported only where it is used.

They draw from the same numbers as the columns in torch, in the same order, and so come to the same
rows but for rounding.

Dimension letters: see `tabcf.training.gibbs`; O owners.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tabcf.contracts.inputs import Bag
from tabcf.errors import TrainingError
from tabcf.training.gibbs import compiled
from tabcf.training.gibbs.columns import Events
from tabcf.training.gibbs.priors import ColumnPrior, Normal
from tabcf.training.gibbs.sets import SetSystem

__all__ = ["CompiledCategorical", "CompiledSet"]


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
        if not is_drawn:
            raise TrainingError("gibbs: the precision of a row is not positive")
        # Nobody has seen these; they are as the prior has them, at its mean.
        self.rows[self._unmet] = self._prior.mean


class CompiledSet:
    """A column of several values a row of an entity, or of the events: their sum over √n."""

    def __init__(
        self, bag: Bag, owner: Tensor, n: int, first: Tensor, prior: ColumnPrior, *, norm: str
    ) -> None:
        n_owners = len(bag.offsets)
        self._owner = owner
        self._order, self._starts, counts = _sorted(owner, n_owners)
        self._system = SetSystem(bag, counts, n, first, prior, norm=norm)
        width = first.shape[1]
        self._gram = torch.zeros(n_owners, width, width)
        self._moment = torch.zeros(n_owners, width)

    @property
    def rows(self) -> Tensor:
        """`(R, W)`."""
        return self._system.rows

    def added(self) -> Tensor:
        """`(N, W)`: the bias and the vector that each event gets from it."""
        return self._system.of_owner.index_select(0, self._owner)

    def redraw(self, events: Events, noise: float, normal: Normal) -> None:
        """Draw all rows given all other columns, and bring the events up to date."""
        self._system.prior.draw(self.rows, normal)
        old = _array(self._system.of_owner)
        total, score = events.total.numpy(), events.score.numpy()
        compiled.sum_owners(
            self._order,
            self._starts,
            old,
            total,
            score,
            events.target.numpy(),
            noise,
            normal.like((len(score),)).numpy(),
            self._gram.numpy(),
            self._moment.numpy(),
        )
        self._system.draw(self._gram, self._moment, noise, normal)
        new = _array(self._system.of_owner)
        compiled.change_owners(self._order, self._starts, old, new, total, score)


def _sorted(index: Tensor, n: int) -> tuple[NDArray[np.int32], NDArray[np.int32], Tensor]:
    """Events sorted by row, where each row's events start, and how many each has."""
    counts = torch.bincount(index, minlength=n)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    order = torch.argsort(index, stable=True)
    return order.int().numpy(), starts.int().numpy(), counts


def _array(values: Tensor) -> NDArray[np.float32]:
    """The numbers in rows, one after another: for this order code is compiled once."""
    found: NDArray[np.float32] = values.contiguous().numpy()
    return found
