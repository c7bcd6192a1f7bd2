"""What a re-ranker sees of some users: the items that a model puts first, and facts about them.

Dimension letters: B users, N items of a pool, K places of a list, I items that may be recommended,
A values of an attribute, E width of items' vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Aspects", "Facts", "Pool", "Rerank"]


class Aspects(NamedTuple):
    """What items are like by an attribute, and what the users' past items were like.

    Shape:
        values: A names.
        of_items: `(I, A)` booleans: which values each item has.
        had: `(B, A)` float64: shares of the users' past items, an item spreading a weight of 1
            evenly over its own values; zeros for a user whose past has none.
    """

    values: list[str]
    of_items: Tensor
    had: Tensor


class Facts(Protocol):
    """What is known of the items that may be recommended and of B users."""

    @property
    def popularity(self) -> Tensor:
        """`(I,)` float64: each item's training events."""

    def aspects(self, column: str | None) -> Aspects:
        """Items and users by a column of the items' table; None where the table has just one."""

    def tail(self, head: float) -> Aspects:
        """The same by `head`, the most popular items that have this share of events, and `tail`."""

    def vectors(self) -> Tensor:
        """`(I, E)`: the items' trained vectors."""

    def spread(self, columns: Tensor, scores: Tensor, *, kind: str) -> Tensor:
        """`(B, N)` float64: standard deviations of the users' scores of some items."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Lists of B users that are to be put into another order.

    Attributes:
        columns: `(B, N)` int64, places among the items that may be recommended, best first; -1
            where a list is short.
        scores: `(B, N)` float64, falling, what the order rests on; -inf where a list is short.
        facts: About the items and the users.
        k: K, the length of the lists that are asked for.
        propensities: `(B, N)` float64, how likely each item was to come to its place; None where
            nothing was left to chance.
    """

    columns: Tensor
    scores: Tensor
    facts: Facts
    k: int
    propensities: Tensor | None = None

    def first(self, n: int) -> Pool:
        """The first n of each list."""
        chances = self.propensities
        return replace(
            self,
            columns=self.columns[:, :n],
            scores=self.scores[:, :n],
            propensities=None if chances is None else chances[:, :n],
        )

    def ordered(self, places: Tensor, *, propensities: Tensor | None = None) -> Pool:
        """The lists in another order.

        What comes to a place has its score, so that scores go on falling: a further re-ranker sees
        the new order.

        Args:
            places: `(B, K)` int64: which place each item comes from; -1, behind all others, where
                there is none.
            propensities: `(B, K)`.
        """
        is_empty = places < 0
        columns = self.columns.gather(1, places.clamp_min(0)).masked_fill(is_empty, -1)
        scores = self.scores[:, : places.shape[1]].masked_fill(columns < 0, float("-inf"))
        return replace(self, columns=columns, scores=scores, propensities=propensities)


Rerank = Callable[[Pool, int, "Generator"], Pool]
"""Puts a pool into another order, of which the first so many places will be used: K or more."""
