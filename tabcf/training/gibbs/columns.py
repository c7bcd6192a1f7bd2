"""Columns of one value an event, and numbers: their rows, and how these are drawn.

Dimension letters: see `tabcf.training.gibbs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tabcf.training.gibbs.priors import ColumnPrior, Normal, regressions

__all__ = [
    "Categorical",
    "Column",
    "Events",
    "Holder",
    "LinearColumn",
    "Number",
    "SingleColumn",
    "padded_blocks",
    "squares_of",
]

# Numbers that a block of padded events may hold: 16 MB.
_BUDGET = 1 << 22


@dataclass(slots=True)
class Events:
    """What all columns add up to, kept up to date by each that is drawn.

    Shape:
        total: `(N, W)`: sums of the columns' rows.
        score: `(N,)`.
        target: `(N,)`: what the scores should be.
    """

    total: Tensor
    score: Tensor
    target: Tensor


class Holder(Protocol):
    """A column's rows."""

    @property
    def rows(self) -> Tensor:
        """`(R, W)`."""


class Column(Protocol):
    """One column, or several of an entity: what they add to each event, and how they are drawn."""

    def added(self) -> Tensor:
        """`(N, W)`: the bias and the vector that each event gets from it."""

    def squares(self) -> Tensor:
        """`(N,)`: of that vector; of several columns, the sum of each one's."""

    def redraw(self, events: Events, noise: float, normal: Normal) -> None:
        """Draw all rows given all other columns, and bring the events up to date."""


class SingleColumn(Column, Holder, Protocol):
    """One column that is drawn by itself."""


class LinearColumn:
    """A column by what its rows are drawn from: all features, and what is left to explain."""

    def added(self) -> Tensor:
        """`(N, W)`: the bias and the vector that each event gets from it."""
        raise NotImplementedError

    def squares(self) -> Tensor:
        """`(N,)`: of that vector."""
        return squares_of(self.added())

    def draw(self, others: Tensor, rest: Tensor, noise: float, normal: Normal) -> None:
        """Draw all rows, given the sum of the other vectors `(N, D)` and what is left `(N,)`."""
        raise NotImplementedError

    def redraw(self, events: Events, noise: float, normal: Normal) -> None:
        """Draw all rows given all other columns, and bring the events up to date."""
        own = self.added()
        others = events.total[:, 1:] - own[:, 1:]
        without = events.score - own[:, 0] - (own[:, 1:] * others).sum(1)
        self.draw(others, events.target - without, noise, normal)
        new = self.added()
        events.score = without + new[:, 0] + (new[:, 1:] * others).sum(1)
        events.total += new - own


class Categorical(LinearColumn):
    """A column of one value an event."""

    def __init__(self, index: Tensor, n: int, first: Tensor, prior: ColumnPrior) -> None:
        self.rows = first
        self._index = index
        self._prior = prior
        self._blocks = list(padded_blocks(index, n, first.shape[1]))
        is_met = torch.zeros(n, dtype=torch.bool)
        is_met[index] = True
        self._met = torch.nonzero(is_met).squeeze(1)
        self._unmet = torch.nonzero(~is_met).squeeze(1)

    def added(self) -> Tensor:
        return self.rows.index_select(0, self._index)

    def draw(self, others: Tensor, rest: Tensor, noise: float, normal: Normal) -> None:
        features = torch.cat([others.new_ones(len(others), 1), others, rest[:, None]], 1)
        # A padded place is a row of zeros: it adds nothing to any sum.
        features = torch.cat([features, features.new_zeros(1, features.shape[1])])
        width = self.rows.shape[1]
        self._prior.draw(self.rows[self._met], normal)
        drawn = normal.like(tuple(self.rows.shape))
        for rows, places in self._blocks:
            own = features.index_select(0, places.flatten()).view(*places.shape, width + 1)
            products = own.mT @ own
            self.rows[rows] = regressions(
                products[:, :width, :width],
                products[:, :width, width],
                self._prior,
                noise,
                drawn[rows],
            )
        # Nobody has seen these; they are as the prior has them, at its mean.
        self.rows[self._unmet] = self._prior.mean


class Number(LinearColumn):
    """A continuous feature: one row, times the feature."""

    def __init__(self, values: Tensor, first: Tensor, prior: ColumnPrior) -> None:
        self.rows = first
        self._values = values
        self._prior = prior

    def added(self) -> Tensor:
        return self._values[:, None] * self.rows

    def draw(self, others: Tensor, rest: Tensor, noise: float, normal: Normal) -> None:
        self._prior.draw(self.rows, normal)
        features = torch.cat([others.new_ones(len(others), 1), others], 1) * self._values[:, None]
        gram, moment = features.T @ features, features.T @ rest
        drawn = normal.like(tuple(self.rows.shape))
        self.rows = regressions(gram[None], moment[None], self._prior, noise, drawn)


def squares_of(rows: Tensor) -> Tensor:
    """Squares of vectors, behind their biases: `(...)` of `(..., W)`."""
    return rows[..., 1:].square().sum(-1)


def padded_blocks(index: Tensor, n: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows with about as many events as each other, and the events `(B, L)`, N where none."""
    counts = torch.bincount(index, minlength=n)
    order = torch.argsort(index, stable=True)
    starts = counts.cumsum(0) - counts
    by_count = torch.argsort(counts, descending=True, stable=True)
    by_count = by_count[counts[by_count] > 0]
    start = 0
    while start < len(by_count):
        longest = int(counts[by_count[start]])
        is_near = counts[by_count[start:]] * 2 >= longest
        held = max(longest, width + 1) * (width + 1)
        size = min(int(is_near.sum()), max(_BUDGET // held, 1))
        rows = by_count[start : start + size]
        within = torch.arange(longest)[None]
        places = (starts[rows][:, None] + within).clamp_max(len(index) - 1)
        places = torch.where(within < counts[rows][:, None], order[places], len(index))
        yield rows, places
        start += size
