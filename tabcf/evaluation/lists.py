"""Each user's list, which of its places are hits, and where all that is relevant stands.

Dimension letters: U users, K places, I items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.table import Table
from tabcf.data.attributes import attribute_of
from tabcf.data.batches import select, slice_bag
from tabcf.data.encoder import Encoder
from tabcf.data.sources import Source
from tabcf.metrics.ranking import rank_items, rank_relevant
from tabcf.recommend.scores import score_blocks
from tabcf.recommend.topk import Lists
from tabcf.recommend.trained import FirstStage, History, Trained
from tabcf.recommend.two_stage import Found, reordered, retrieved
from tabcf.recommend.users import asked_users

__all__ = [
    "RankedUsers",
    "item_attributes",
    "popular_lists",
    "rank_found",
    "rank_users",
    "relevant_items",
    "training_counts",
    "training_history",
]


# Numbers of a block of users × items: 2 MB.
_BLOCK = 1 << 18
# Users whose past is in memory at a time, and pairs that are counted at a time.
_USERS, _PAIRS = 1 << 13, 1 << 20


@dataclass(frozen=True, slots=True)
class RankedUsers:
    """The lists of the users who have something to find.

    Attributes:
        users: `(U,)` int32 user rows.
        items: `(U, K)` int64 item columns, best first; column c is item row c + 1, -1 an empty
            place.
        hits: `(U, K)` booleans, whether the item at each place is relevant.
        n_relevant: `(U,)` int64, how many relevant items the user has in the whole catalogue.
        seen: What is left out of each user's list; None if nothing is.
        ranks: Where each relevant item stands in the whole catalogue less what the user has seen,
            as `rank_relevant` has it, a bag of U rows; None if that was not asked for.
        n_candidates: `(U,)` int64, how many items each user's ranks are among; None likewise.
    """

    users: np.ndarray
    items: Tensor
    hits: Tensor
    n_relevant: Tensor
    seen: History | None = None
    ranks: Bag | None = None
    n_candidates: Tensor | None = None


def rank_users(
    trained: Trained,
    table: Table,
    *,
    k: int,
    seen: History | None = None,
    with_ranks: bool = False,
    newcomers: Source | None = None,
) -> RankedUsers:
    """Rank the whole catalogue, less what they have seen, for each user with something to find.

    Every item that is known, in training or from the item table, is a candidate; where the model
    has a first stage, those that this does not find stand behind all others. A user's relevant
    items are those of their rows in `table`, less what they have seen. Ties are broken at random
    with the run's seed. Some users are scored at a time, and of their scores only the first k
    places stay and, with `with_ranks`, one number for each relevant item.

    The table's users and items may be more than the encoder's, with newcomers behind these;
    `newcomers` has such users' attributes, and all users of the table's rows are such then.
    """
    users, relevant = relevant_items(table, seen)
    if not len(users):
        return _no_users(users, k)
    encoder = trained.encoder
    user_inputs = select(table.entities["user"].inputs, torch.from_numpy(users))
    events = encoder.events_with({}, users, attributes=_of_users(encoder, newcomers, users))
    items = select(table.entities["item"].inputs, torch.arange(1, len(table.entities["item"])))
    rng = Generator().manual_seed(trained.seed)
    if trained.first is None:
        blocks = _scores(trained, users, user_inputs, events, items)
    else:
        found = _found(trained, trained.first, users, exclude_seen=seen is not None)
        lists = reordered(
            trained,
            user_inputs,
            events,
            items,
            trained.first.n,
            rng,
            found,
            seen=None if seen is None else _columns(seen, users),
            history=trained.history_of(users),
        )
        blocks = _as_scores(lists, len(items.x_cat))
    wanted = _columns(relevant, users)
    return _ranked(users, blocks, wanted, seen, k=k, rng=rng, with_ranks=with_ranks)


def _scores(
    trained: Trained, users: np.ndarray, own: Inputs, events: Inputs, items: Inputs
) -> Iterator[tuple[slice, Tensor]]:
    """`(B, I)` scores of all users, of whom only some have their past in memory at a time."""
    for start in range(0, len(users), _USERS):
        rows = torch.arange(start, min(start + _USERS, len(users)))
        history = trained.history_of(users[start : start + _USERS])
        blocks = score_blocks(
            trained, select(own, rows), select(events, rows), items, history=history
        )
        for block, scores in blocks:
            yield slice(block.start + start, block.stop + start), scores


def _of_users(encoder: Encoder, newcomers: Source | None, users: np.ndarray) -> Source | None:
    """The attributes of some newcomers, by their rows behind the known ones."""
    if newcomers is None:
        return None
    places = users - len(encoder.entities["user"])
    return replace(newcomers, frame=newcomers.frame.iloc[places].reset_index(drop=True))


def rank_found(
    trained: Trained, table: Table, *, seen: History | None = None, with_ranks: bool = False
) -> RankedUsers:
    """The same users' lists as the model's first stage has them, as long as what it finds."""
    assert trained.first is not None
    users, relevant = relevant_items(table, seen)
    if not len(users):
        return _no_users(users, trained.first.n)
    found = _found(trained, trained.first, users, exclude_seen=seen is not None)
    return _ranked(
        users,
        _as_scores(found.lists, len(trained.encoder.tables["item"]) - 1),
        _columns(relevant, users),
        seen,
        k=trained.first.n,
        rng=Generator().manual_seed(trained.seed),
        with_ranks=with_ranks,
    )


def _found(trained: Trained, first: FirstStage, users: np.ndarray, *, exclude_seen: bool) -> Found:
    """What the first stage finds among all items; users and items go by their ids."""
    entities = trained.encoder.entities
    asked = asked_users(first.trained, entities["user"].ids.values_of(users))
    items = entities["item"].ids.values_of(np.arange(1, len(entities["item"])))
    return retrieved(first, asked, items, exclude_seen=exclude_seen)


def _as_scores(lists: Iterable[Lists], n_items: int) -> Iterator[tuple[slice, Tensor]]:
    """Lists as `(B, I)` scores, -inf of whatever is in no list."""
    for block in lists:
        scores = torch.full((len(block.columns), n_items + 1), -torch.inf)
        # Column -1, an empty place, writes into the last column, which is no item's.
        scores.scatter_(1, block.columns % (n_items + 1), block.scores)
        yield block.users, scores[:, :n_items]


def _ranked(
    users: np.ndarray,
    blocks: Iterable[tuple[slice, Tensor]],
    wanted: Bag,
    seen: History | None,
    *,
    k: int,
    rng: Generator,
    with_ranks: bool,
) -> RankedUsers:
    """Lists and ranks by scores, some users at a time."""
    # Made at once: small results kept from each block would leave holes between the large
    # intermediates of the next ones, which grow to hundreds of megabytes.
    n_users, n_found = len(users), len(wanted.values)
    lists = torch.empty(n_users, k, dtype=torch.int64)
    hits = torch.empty(n_users, k, dtype=torch.bool)
    ranks = torch.empty(n_found if with_ranks else 0, dtype=torch.float64)
    n_candidates = torch.empty(n_users, dtype=torch.int64)
    bounds = [*wanted.offsets.tolist(), n_found]
    for block, scores in blocks:
        left_out = None if seen is None else _columns(seen, users[block])
        to_find = slice_bag(wanted, block.start, block.stop)
        n_items = scores.shape[1]
        lists[block] = rank_items(scores, left_out, k, rng)
        is_relevant = torch.zeros(len(scores), n_items + 1, dtype=torch.bool)
        is_relevant[to_find.row_of_value, to_find.values] = True
        # Column -1, an empty place in a short list, reads the last column, which is never true.
        hits[block] = is_relevant.gather(1, lists[block] % (n_items + 1))
        if with_ranks:
            found, n_left = rank_relevant(scores, left_out, to_find)
            ranks[bounds[block.start] : bounds[block.stop]] = found.values
            n_candidates[block] = n_left
    return RankedUsers(
        users,
        lists,
        hits,
        wanted.lengths,
        seen,
        Bag(ranks, wanted.offsets) if with_ranks else None,
        n_candidates if with_ranks else None,
    )


def _no_users(users: np.ndarray, k: int) -> RankedUsers:
    none = torch.zeros(0, dtype=torch.int64)
    places = none.reshape(0, k)
    return RankedUsers(users, places, places.bool(), none, None, Bag(none.double(), none), none)


def training_counts(trained: Trained) -> tuple[Tensor, int]:
    """How many users had each item column in training, `(I,)`, and how many users had any."""
    assert trained.past is not None
    had = trained.past.positive
    counts = np.zeros(len(trained.encoder.tables["item"]), dtype=np.int64)
    for start in range(0, len(had.items), _PAIRS):
        counts += np.bincount(had.items[start : start + _PAIRS], minlength=len(counts))
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
        left_out = None if ranked.seen is None else _columns(ranked.seen, ranked.users[start:stop])
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
    found = attribute_of(source, column).of_rows[1:]
    return torch.from_numpy(found if found.shape[1] else np.zeros((len(found), 1))).float()


def relevant_items(table: Table, seen: History | None) -> tuple[np.ndarray, History]:
    """Users with something to find, and what that is: unseen items of the table's rows."""
    users, items = table.rows["user"].numpy(), table.rows["item"].numpy()
    n_users = len(table.entities["user"])
    found = History.of_pairs(users, items, n_users)
    if seen is not None:
        pair_users, pair_items = found.pairs()
        is_new = ~seen.holds(pair_users, pair_items)
        found = History.of_pairs(pair_users[is_new], pair_items[is_new], n_users)
    has_any = np.diff(found.bounds) > 0
    return np.flatnonzero(has_any).astype(np.int32), found


def _columns(history: History, users: np.ndarray) -> Bag:
    """What users had as item columns: item row r stands in column r - 1."""
    rows = history.of_users(users)
    return Bag(rows.values.long() - 1, rows.offsets)
