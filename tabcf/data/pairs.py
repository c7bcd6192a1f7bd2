"""Which items users had: counted, put in the users' order and looked up, also of events on disk.

Items of all users stand one behind the other in the order of users; user row u has those from
`bounds[u]` to `bounds[u + 1]`.

Dimension letters: N events, P pairs of a user and an item, U user rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from tabcf.contracts.table import Table

__all__ = ["ByUser", "by_user", "event_counts", "row_blocks", "stands_in"]

# Events at a time, of a table that may be on disk.
_BLOCK = 1 << 18


def row_blocks(table: Table) -> Iterator[slice]:
    """Places of a table's events, some at a time; what was read of them is let go by the way."""
    for start in range(0, len(table), _BLOCK):
        yield slice(start, min(start + _BLOCK, len(table)))
        if table.release is not None:
            table.release()


def event_counts(table: Table, entity: str) -> Tensor:
    """`(R,)` int64: how many of the events each row of an entity's table has.

    Where the table is not known, up to the last row that has any.
    """
    counts = torch.zeros(len(table.entities.get(entity, ())), dtype=torch.int64)
    for places in row_blocks(table):
        found = torch.bincount(table.rows[entity][places], minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    return counts


class ByUser(NamedTuple):
    """The events' items in the order of users, each user's in the order of their events.

    Shape:
        users: `(U',)` rows of the users who have any, rising. counts: `(U',)` their events.
        items: `(N,)` int32. weight: `(N,)` float32 or None.
    """

    users: Tensor
    counts: Tensor
    items: Tensor
    weight: Tensor | None


def by_user(table: Table, number: Tensor) -> ByUser:
    """What users had, by the numbers that items have; an item whose number is negative drops out.

    Args:
        table: N events of users and items.
        number: `(R,)` int32: the number of each item row.
    """
    counts = torch.zeros(len(table.entities["user"]), dtype=torch.int64)
    for places in row_blocks(table):
        users = table.rows["user"][places]
        is_kept = number.index_select(0, table.rows["item"][places]) >= 0
        counts += torch.bincount(users[is_kept], minlength=len(counts))
    items = torch.empty(int(counts.sum()), dtype=torch.int32)
    weight = None if table.weight is None else torch.empty(len(items))
    place = counts.cumsum(0) - counts  # of each user's next event
    for places in row_blocks(table):
        found = number.index_select(0, table.rows["item"][places])
        kept = torch.nonzero(found >= 0).squeeze(1)
        users, order = table.rows["user"][places][kept].long().sort(stable=True)
        n_now = torch.bincount(users, minlength=len(counts))
        # Example: users 3, 3, 5 of this block come at the places 0, 1 and 0 behind earlier ones.
        within = torch.arange(len(users)) - (n_now.cumsum(0) - n_now).index_select(0, users)
        at = place.index_select(0, users) + within
        items[at] = found[kept[order]]
        if weight is not None and table.weight is not None:
            weight[at] = table.weight[places][kept[order]]
        place += n_now
    having = torch.nonzero(counts).squeeze(1)
    return ByUser(having, counts[having], items, weight)


def stands_in(items: Tensor, bounds: Tensor, users: Tensor, wanted: Tensor) -> Tensor:
    """Whether users had items: a binary search among each one's own.

    Args:
        items: `(P,)` int32, each user's rising.
        bounds: `(U + 1,)` int64.
        users: User rows, of the same shape as `wanted`.
        wanted: Items.

    Returns:
        Booleans of that shape.

    Example (user 0 had nothing, user 1 the items 2 and 5):
        >>> items, bounds = torch.tensor([2, 5], dtype=torch.int32), torch.tensor([0, 0, 2])
        >>> stands_in(items, bounds, torch.tensor([0, 1, 1]), torch.tensor([2, 5, 3])).tolist()
        [False, True, False]
    """
    low, end = bounds[users], bounds[users + 1]
    if not len(items) or not low.numel():
        return torch.zeros_like(low, dtype=torch.bool)
    last, high, wanted = len(items) - 1, end, wanted.to(items.dtype)
    for _ in range(int((end - low).max()).bit_length()):
        middle = (low + high) >> 1
        is_behind = (items[middle.clamp_max(last)] < wanted) & (low < high)
        low = torch.where(is_behind, middle + 1, low)
        high = torch.where(is_behind, high, middle)
    return (low < end) & (items[low.clamp_max(last)] == wanted)
