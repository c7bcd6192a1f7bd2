"""Each user's list, which of its places are hits, and where all that is relevant stands.

Dimension letters: U users, K places, I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag
from tabcf.contracts.table import Table
from tabcf.data.batches import select, slice_bag
from tabcf.data.values import sets
from tabcf.metrics.ranking import rank_items, rank_relevant
from tabcf.recommend.scores import score_blocks
from tabcf.recommend.trained import History, Trained

__all__ = [
    "RankedUsers",
    "item_attributes",
    "popular_lists",
    "rank_users",
    "relevant_items",
    "training_counts",
    "training_history",
]


# Numbers of a block of users × items: 2 MB.
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class RankedUsers:
    """The lists of the users who have something to find.

    Attributes:
        users: `(U,)` int32 user rows.
        items: `(U, K)` int64 item columns, best first; column c is item row c + 1, -1 an empty
            place.
        hits: `(U, K)` booleans, whether the item at each place is relevant.
        n_relevant: `(U,)` int64, how many relevant items the user has in the whole catalogue.
        seen: The item columns that are left out of each user's list, a bag of U rows; None if
            nothing is.
        ranks: Where each relevant item stands in the whole catalogue less what the user has seen,
            as `rank_relevant` has it, a bag of U rows; None if that was not asked for.
        n_candidates: `(U,)` int64, how many items each user's ranks are among; None likewise.
    """

    users: np.ndarray
    items: Tensor
    hits: Tensor
    n_relevant: Tensor
    seen: Bag | None = None
    ranks: Bag | None = None
    n_candidates: Tensor | None = None


def rank_users(
    trained: Trained,
    table: Table,
    *,
    k: int,
    seen: History | None = None,
    with_ranks: bool = False,
) -> RankedUsers:
    """Rank the whole catalogue, less what they have seen, for each user with something to find.

    Every item that is known, in training or from the item table, is a candidate; a user's
    relevant items are those of their rows in `table`, less what they have seen. Ties are broken
    at random with the run's seed. Some users are scored at a time, and of their scores only the
    first k places stay and, with `with_ranks`, one number for each relevant item.
    """
    users, relevant = relevant_items(table, seen)
    if not len(users):
        none = torch.zeros(0, dtype=torch.int64)
        places = none.reshape(0, k)
        no_ranks = Bag(none.double(), none)
        return RankedUsers(users, places, places.bool(), none, None, no_ranks, none)
    encoder = trained.encoder
    user_inputs = select(encoder.tables["user"].inputs, torch.from_numpy(users))
    items = select(encoder.tables["item"].inputs, torch.arange(1, len(encoder.tables["item"])))
    wanted = _columns(relevant, users)
    excluded = None if seen is None else _columns(seen, users)
    history = None
    if trained.past is not None:
        rows = trained.past.positive.of_users(users)
        history = Bag(encoder.tables["item"].index[rows.values.long()], rows.offsets)
    rng = Generator().manual_seed(trained.seed)
    n_items = len(items.x_cat)
    lists, hits, ranks, n_candidates = [], [], [], []
    blocks = score_blocks(
        trained, user_inputs, encoder.events_with({}, users), items, history=history
    )
    for block, scores in blocks:
        left_out = None if excluded is None else slice_bag(excluded, block.start, block.stop)
        to_find = slice_bag(wanted, block.start, block.stop)
        listed = rank_items(scores, left_out, k, rng)
        is_relevant = torch.zeros(len(scores), n_items + 1, dtype=torch.bool)
        is_relevant[to_find.row_of_value, to_find.values] = True
        lists.append(listed)
        # Column -1, an empty place in a short list, reads the last column, which is never true.
        hits.append(is_relevant.gather(1, listed % (n_items + 1)))
        if with_ranks:
            found, n_left = rank_relevant(scores, left_out, to_find)
            ranks.append(found.values)
            n_candidates.append(n_left)
    return RankedUsers(
        users,
        torch.cat(lists),
        torch.cat(hits),
        wanted.lengths,
        excluded,
        Bag(torch.cat(ranks), wanted.offsets) if with_ranks else None,
        torch.cat(n_candidates) if with_ranks else None,
    )


def training_counts(trained: Trained) -> tuple[Tensor, int]:
    """How many users had each item column in training, `(I,)`, and how many users had any."""
    assert trained.past is not None
    had = trained.past.positive
    counts = np.bincount(had.items, minlength=len(trained.encoder.tables["item"]))
    return torch.from_numpy(counts[1:]), int((np.diff(had.bounds) > 0).sum())


def popular_lists(trained: Trained, ranked: RankedUsers, k: int) -> Tensor:
    """`(U, k)`: the same users' lists if items were ranked by their users in training.

    What is left out of a user's list is left out here too, and ties are broken in the same way.
    """
    counts, _ = training_counts(trained)
    rng = Generator().manual_seed(trained.seed)
    n_users = len(ranked.users)
    lists = [torch.zeros(0, k, dtype=torch.int64)]
    step = max(_BLOCK // len(counts), 1)
    for start in range(0, n_users, step):
        stop = min(start + step, n_users)
        left_out = None if ranked.seen is None else slice_bag(ranked.seen, start, stop)
        scores = counts.double().expand(stop - start, -1)
        lists.append(rank_items(scores, left_out, k, rng))
    return torch.cat(lists)


def training_history(trained: Trained, users: np.ndarray) -> Bag:
    """The item columns that users had in training, a bag of U rows."""
    assert trained.past is not None
    return _columns(trained.past.positive, users)


def item_attributes(trained: Trained, column: str) -> Tensor:
    """`(I, A)` zeros and ones: which values of a column of the item table each item has.

    A text's several values stand between `|`.

    Raises:
        DataError: The item table has no such column.
    """
    source = trained.encoder.entities["item"].with_blank_row()
    source.require([column])
    values, offsets = sets(source.frame[column], separator="|")
    known, place = np.unique(np.array(values, dtype=str), return_inverse=True)
    found = torch.zeros(len(source.frame), max(len(known), 1))
    rows = np.repeat(np.arange(len(source.frame)), np.diff(offsets))
    found[rows, place] = 1.0
    return found[1:]


def relevant_items(table: Table, seen: History | None) -> tuple[np.ndarray, History]:
    """Users with something to find, and what that is: unseen items of the table's rows."""
    users, items = table.rows["user"].numpy(), table.rows["item"].numpy()
    n_users = len(table.entities["user"])
    found = History.of_pairs(users, items, n_users)
    if seen is not None:
        span = len(table.entities["item"])
        pair_users, pair_items = found.pairs()
        seen_users, seen_items = seen.pairs()
        is_new = ~np.isin(pair_users * span + pair_items, seen_users * span + seen_items)
        found = History.of_pairs(pair_users[is_new], pair_items[is_new], n_users)
    has_any = np.diff(found.bounds) > 0
    return np.flatnonzero(has_any).astype(np.int32), found


def _columns(history: History, users: np.ndarray) -> Bag:
    """What users had as item columns: item row r stands in column r - 1."""
    rows = history.of_users(users)
    return Bag(rows.values.long() - 1, rows.offsets)
