"""What items have in common by the users that had both: counts, and a ranker by nearest items.

Dimension letters: B users, I items with row 0 for an unknown one, K neighbours, N candidates.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.layout import Layout
from tabcf.contracts.table import Table
from tabcf.data.pairs import row_blocks
from tabcf.errors import TrainingError

__all__ = ["ItemKNN", "co_occurrences", "distinct_pairs", "interactions"]

# Floats that a block of co-occurrences and what it is made from may hold: 64 MB.
_BUDGET = 1 << 24


class ItemKNN(nn.Module):
    """Items by their likeness to a user's past ones, each by its k nearest alone.

    With c users of both items, and a and b of either, the likeness is `c / (√(a·b) + shrink)`:
    the cosine (Deshpande and Karypis, 2004), less where it rests on few users (Bell and Koren,
    2007). An item's score is the sum over those of its k nearest that the user had. Keeps items
    × k numbers.
    """

    neighbour: Tensor
    likeness: Tensor

    def __init__(self, layout: Layout, *, k: int = 100, shrink: float = 10.0) -> None:
        super().__init__()
        assert layout.item is not None
        size = layout.categorical[layout.item].cardinality
        self._shrink = shrink
        shape = size, min(k, size)
        self.register_buffer("neighbour", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("likeness", torch.zeros(shape))

    def solve(self, problem: FitProblem) -> None:
        """Compare all pairs of items, some at a time, and keep the nearest."""
        users, items = distinct_pairs(problem.train)
        n_items, k = self.likeness.shape
        norms = torch.bincount(items, minlength=n_items).sqrt()
        for block, counts in co_occurrences(users, items, n_items):
            scale = norms[:, None] * norms[block] + self._shrink
            likeness = counts / scale.clamp_min(torch.finfo(scale.dtype).tiny)
            likeness[block].fill_diagonal_(0.0)
            nearest = likeness.T.topk(k, dim=1)
            self.neighbour[block] = nearest.indices.to(self.neighbour.device)
            self.likeness[block] = nearest.values.to(self.likeness.device)

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: tuple[Bag, ...] | None = None
    ) -> Tensor:
        raise TrainingError("item_knn ranks items; it predicts nothing for a single event")

    @property
    def reads_history(self) -> bool:
        """Always true: a user is the items that they had."""
        return True

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, N, 1)`; zero for a user without past items, or for an item far from them."""
        had, candidates = self._had(query), items.x_cat[:, 0]
        scores = functional.embedding_bag(
            self.neighbour.index_select(0, candidates),
            had,
            per_sample_weights=self.likeness.index_select(0, candidates),
            mode="sum",
        )
        return scores.T.unsqueeze(2)

    def score_candidates(self, query: Query, items: Inputs) -> Tensor:
        """`(B, N, 1)`: the same for N items of each user."""
        had, candidates = self._had(query), items.x_cat[:, 0]
        n_users = had.shape[1]
        users = torch.arange(n_users, device=candidates.device)
        users = users.repeat_interleave(len(candidates) // n_users)[:, None]
        likeness = self.likeness.index_select(0, candidates)
        scores = (had[self.neighbour.index_select(0, candidates), users] * likeness).sum(1)
        return scores.view(n_users, -1, 1)

    def _had(self, query: Query) -> Tensor:
        """`(I, B)`: 1 where a user had an item."""
        if query.history is None:
            raise TrainingError("item_knn scores items from a user's past items; got none")
        history = query.history
        had = self.likeness.new_zeros(len(self.likeness), len(query.user.x_cat))
        had[history.values.long(), history.row_of_value] = 1.0
        had[0] = 0.0
        return had


def interactions(table: Table) -> tuple[Tensor, Tensor]:
    """`(N,)` int64 user and item indices of all events."""
    user, item = table.entities["user"], table.entities["item"]
    return user.index[table.rows["user"]].long(), item.index[table.rows["item"]].long()


def distinct_pairs(table: Table) -> tuple[Tensor, Tensor]:
    """The same, each pair once, in the order of items, without unknown users and items."""
    index = table.entities["user"].index, table.entities["item"].index
    n_users = int(index[0].max()) + 1
    pairs, n = torch.empty(len(table), dtype=torch.int64), 0
    for places in row_blocks(table):
        users, items = (
            own[table.rows[name][places]].long()
            for name, own in zip(("user", "item"), index, strict=True)
        )
        is_known = (users > 0) & (items > 0)
        known = items[is_known] * n_users + users[is_known]
        pairs[n : n + len(known)] = known
        n += len(known)
    pairs[:n].numpy().sort()  # in place: pairs may be the largest thing in memory
    pairs = torch.unique_consecutive(pairs[:n])
    return pairs % n_users, pairs // n_users


def co_occurrences(users: Tensor, items: Tensor, n_items: int) -> Iterator[tuple[slice, Tensor]]:
    """For each pair of items the number of users that had both, by blocks of columns.

    Args:
        users: `(N,)` int64 user indices of distinct pairs, in the order of items.
        items: `(N,)` int64 item indices, rising.
        n_items: I, the unknown item included.

    Yields:
        A slice of items, and `(I, items in the slice)` float32 counts.

    Example:
        >>> users, items = torch.tensor([1, 1, 2]), torch.tensor([1, 2, 2])
        >>> [(block, counts.tolist()) for block, counts in co_occurrences(users, items, 3)]
        [(slice(0, 3, None), [[0.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 2.0]])]
    """
    n_users = int(users.max()) + 1 if len(users) else 1
    starts = torch.searchsorted(items, torch.arange(n_items + 1))
    width = max(_BUDGET // (n_users + n_items), 1)
    for start in range(0, n_items, width):
        stop = min(start + width, n_items)
        own = slice(int(starts[start]), int(starts[stop]))
        had = torch.zeros(n_users, stop - start)
        had[users[own], items[own] - start] = 1.0
        yield slice(start, stop), functional.embedding_bag(users, had, starts[:-1], mode="sum")
