"""Items that a user did not choose, drawn at random; all of a block at once.

Dimension letters: B events, N items drawn for each.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from tabcf.data.pairs import stands_in

__all__ = [
    "Catalogue",
    "Chosen",
    "Drawn",
    "HardSampler",
    "InBatch",
    "PopularitySampler",
    "Sampler",
    "UniformSampler",
]

# Users × items up to which who chose what is kept as a table of booleans: 64 MB.
_MOST_CELLS = 1 << 26
# Pairs at a time while that table is filled.
_PAIRS = 1 << 20
# Times that an item is drawn anew because its user has chosen it.
_MOST_REDRAWS = 8
# Parts of 0 to 1 for each column, which say where to begin to look for one that is drawn.
_PARTS = 16
# Draws at once from which on that is faster than a search.
_MANY = 2048


class Catalogue(NamedTuple):
    """The items with training events.

    Shape:
        rows: `(I,)` their rows in the item table. counts: `(I,)` their training events.
    """

    rows: Tensor
    counts: Tensor


class Drawn(NamedTuple):
    """Columns of the catalogue drawn for each event.

    Shape:
        columns: `(B, N)` int64. is_valid: `(B, N)`: not one that the user has chosen.
        log_q: `(B, 1 + N)` or None: log of the chance of each, the event's own item first.
    """

    columns: Tensor
    is_valid: Tensor
    log_q: Tensor | None = None


class Chosen:
    """Which items users chose in training, which are no negatives.

    Args:
        items: `(P,)` int32 item rows of all users, one user's behind the other's and rising.
        bounds: `(U + 1,)` int64: user row u has `items[bounds[u]:bounds[u + 1]]`.
        rows: `(I,)` the item rows of the catalogue's columns, rising.

    Example:
        >>> pairs = torch.tensor([0, 1]), torch.tensor([2, 0])
        >>> chosen = Chosen.of_pairs(*pairs, n_users=2, n_items=3)
        >>> chosen.holds(torch.tensor([[0], [1]]), torch.tensor([[2, 1], [2, 0]])).tolist()
        [[True, False], [False, True]]
    """

    def __init__(self, items: Tensor, bounds: Tensor, rows: Tensor) -> None:
        self._items, self._bounds, self._rows = items, bounds, rows
        self._table: Tensor | None = None
        n_users = len(bounds) - 1
        if n_users * len(rows) <= _MOST_CELLS:
            self._table = self._as_table(n_users)

    @classmethod
    def of_pairs(cls, users: Tensor, columns: Tensor, *, n_users: int, n_items: int) -> Chosen:
        """The same of `(P,)` users and columns of a catalogue that has as many rows."""
        pairs = torch.unique(users.long() * n_items + columns.long())
        bounds = torch.searchsorted(pairs, torch.arange(n_users + 1) * n_items)
        return cls((pairs % n_items).int(), bounds, torch.arange(n_items))

    def holds(self, users: Tensor, columns: Tensor) -> Tensor:
        """Booleans, in the shape that user rows and columns of the catalogue broadcast to."""
        users = users.long()
        if self._table is not None:
            keys = users * len(self._rows) + columns
            return self._table.index_select(0, keys.flatten()).view_as(keys)
        users, columns = torch.broadcast_tensors(users, columns)
        wanted = self._rows.index_select(0, columns.flatten())
        return stands_in(self._items, self._bounds, users.flatten(), wanted).view(columns.shape)

    def _as_table(self, n_users: int) -> Tensor:
        """`(U * I,)` booleans, filled some pairs at a time."""
        column = torch.full((int(self._rows.max()) + 1 if len(self._rows) else 1,), -1)
        column[self._rows] = torch.arange(len(self._rows))
        table = torch.zeros(n_users * len(self._rows), dtype=torch.bool)
        for start in range(0, len(self._items), _PAIRS):
            items = self._items[start : start + _PAIRS].long()
            places = torch.arange(start, start + len(items))
            users = torch.searchsorted(self._bounds, places, right=True) - 1
            columns = torch.where(items < len(column), column[items.clamp_max(len(column) - 1)], -1)
            is_there = columns >= 0
            table[users[is_there] * len(self._rows) + columns[is_there]] = True
        return table


class Sampler(Protocol):
    """Draws items for events.

    `pool` is how many it wants scored for each item that it keeps: 1 where scores do not matter.
    With `is_shared` all events of a batch get the same items, which costs one matrix product.
    """

    n: int
    pool: int
    is_shared: bool

    def draw(self, users: Tensor, own: Tensor, chosen: Chosen, rng: Generator) -> Drawn:
        """Draw `n * pool` columns for each event.

        Args:
            users: `(B,)` user rows.
            own: `(B,)` columns of the events' items.
            chosen: What is no negative.
            rng: Where the draws come from.
        """


class _Weighted:
    """Draws columns with given chances."""

    pool = 1

    def __init__(self, weights: Tensor, n: int, *, is_shared: bool = False) -> None:
        self.n = n
        self.is_shared = is_shared
        chances = weights.double() / weights.double().sum()
        self._log_q = chances.log().float()
        self._ends = chances.cumsum(0)
        self._ends[-1] = 1.0
        self._is_uniform = bool((chances == chances[0]).all())
        # A power of two, so that the edges of its parts are exact.
        parts = 1 << (_PARTS * len(weights) - 1).bit_length()
        edges = torch.arange(parts, dtype=torch.float64) / parts
        self._first = torch.searchsorted(self._ends, edges, right=True)

    def draw(self, users: Tensor, own: Tensor, chosen: Chosen, rng: Generator) -> Drawn:
        """Columns that the user has not chosen; after some redraws the rest is marked."""
        if self.is_shared:
            columns = self._columns((1, self.n), rng).expand(len(users), -1)
            return Drawn(columns, ~chosen.holds(users[:, None], columns), self._logs(own, columns))
        width = self.n * self.pool
        columns = self._columns((len(users), width), rng)
        is_hit = chosen.holds(users[:, None], columns).flatten()
        flat, places = columns.view(-1), is_hit.nonzero().squeeze(1)
        for _ in range(_MOST_REDRAWS):
            if not len(places):
                break
            drawn = self._columns((len(places),), rng)
            flat.index_copy_(0, places, drawn)
            owners = users.index_select(0, places.div(width, rounding_mode="floor"))
            places = places[chosen.holds(owners, drawn)]
        is_valid = torch.ones_like(is_hit).index_fill_(0, places, False)
        return Drawn(columns, is_valid.view_as(columns), self._logs(own, columns))

    def _logs(self, own: Tensor, columns: Tensor) -> Tensor | None:
        if self._is_uniform:
            return None
        both = torch.cat([own[:, None], columns], 1)
        return self._log_q.index_select(0, both.view(-1)).view_as(both)

    def _columns(self, shape: tuple[int, ...], rng: Generator) -> Tensor:
        if self._is_uniform:
            return torch.randint(len(self._ends), shape, generator=rng)
        at = torch.rand(shape, generator=rng, dtype=torch.float64).view(-1)
        if len(at) < _MANY:
            return torch.searchsorted(self._ends, at, right=True).view(shape)
        # The same, sought from where each part of 0 to 1 begins: a quarter of the time.
        found = self._first.index_select(0, (at * len(self._first)).long())
        left = (self._ends.index_select(0, found) <= at).nonzero().squeeze(1)
        while len(left):
            found[left] += 1
            left = left[self._ends[found[left]] <= at[left]]
        return found.view(shape)


class UniformSampler(_Weighted):
    """Every item with the same chance."""

    def __init__(self, catalogue: Catalogue, *, n: int, is_shared: bool = False) -> None:
        super().__init__(torch.ones(len(catalogue.rows)), n, is_shared=is_shared)


class PopularitySampler(_Weighted):
    """An item with a chance in proportion to its number of events to a power."""

    def __init__(
        self, catalogue: Catalogue, *, n: int, power: float, is_shared: bool = False
    ) -> None:
        super().__init__(catalogue.counts.double() ** power, n, is_shared=is_shared)


class HardSampler(_Weighted):
    """Of some items drawn uniformly, those that the model scores highest."""

    def __init__(self, catalogue: Catalogue, *, n: int, pool: int) -> None:
        super().__init__(torch.ones(len(catalogue.rows)), n)
        self.pool = pool


class InBatch:
    """The other events' items of the same batch: drawn as often as they are popular."""

    n = 0
    pool = 1
    is_shared = True

    def __init__(self, catalogue: Catalogue) -> None:
        chances = catalogue.counts.double() / catalogue.counts.double().sum()
        self._log_q = chances.log().float()

    def draw(self, users: Tensor, own: Tensor, chosen: Chosen, rng: Generator) -> Drawn:
        """`(B, B)`: for each event the items of all; what its user has chosen is marked."""
        columns = own[None].expand(len(own), -1)
        log_q = self._log_q[torch.cat([own[:, None], columns], 1)]
        return Drawn(columns, ~chosen.holds(users[:, None], columns), log_q)
