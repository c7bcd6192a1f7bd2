"""What each training event counts in the loss: less of heavy users, more of rare items.

Dimension letters: N events.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tabcf.contracts.table import Table
from tabcf.data.pairs import event_counts, row_blocks

__all__ = ["propensity_weights", "user_weights", "weighted"]

# Weights that are added up at a time.
_BLOCK = 1 << 20


def user_weights(table: Table, *, power: float | None = None, cap: int | None = None) -> Tensor:
    """`(N,)` float32 weights by the number n of training events of each event's user.

    Args:
        table: Training events.
        power: Weights of 1 / n^power: with 0.5 a user counts like √n events in place of n, with 1
            all users count the same.
        cap: Weights of min(1, cap / n): a user with more events counts like one with so many.

    Example (a user with four events and one with one):
        >>> from tabcf.contracts.inputs import Inputs
        >>> rows = torch.tensor([1, 1, 1, 1, 2], dtype=torch.int32)
        >>> table = Table({"user": rows}, Inputs(torch.zeros(5, 0), torch.zeros(5, 0)))
        >>> user_weights(table, power=0.5)
        tensor([0.5000, 0.5000, 0.5000, 0.5000, 1.0000])
    """
    n = event_counts(table, "user").double()
    weight = torch.ones_like(n)
    if power is not None:
        weight = weight * n.pow(-power)
    if cap is not None:
        weight = weight * (cap / n).clamp(max=1.0)
    return _of_events(table, "user", weight)


def propensity_weights(table: Table, *, power: float, clip: float) -> Tensor:
    """`(N,)` float32 inverse propensities: the events of items that few have seen count more.

    That an item was seen at all is taken as likely as (n / n of the most popular item)^power, with
    n its training events, as Saito et al. (2020) do; an event counts one over that, at most `clip`
    (Schnabel et al., 2016, "Recommendations as treatments").

    Args:
        table: Training events.
        power: How much popularity says of having been seen; 0 weighs all events the same.
        clip: The largest weight, which bounds what a single event can do.
    """
    n = event_counts(table, "item").double()
    return _of_events(table, "item", (n.max() / n).pow(power).clamp(max=clip))


def weighted(table: Table, weight: Tensor) -> Table:
    """The table with its weights times these, all scaled to a mean of 1.

    The scale leaves the balance with terms that have no weights, such as a loss's unobserved pairs,
    as it is.
    """
    if table.weight is not None:
        weight = weight * table.weight
    # By blocks, so that it is the same number wherever the weights are.
    total = sum(float(block.double().sum()) for block in weight.split(_BLOCK))
    mean = max(total / max(len(weight), 1), torch.finfo(weight.dtype).tiny)
    return replace(table, weight=weight / mean)


def _of_events(table: Table, entity: str, weight: Tensor) -> Tensor:
    """`(N,)` float32: each event's weight by the row of its user, or item."""
    of_row, found = weight.float(), torch.empty(len(table))
    for places in row_blocks(table):
        found[places] = of_row.index_select(0, table.rows[entity][places])
    return found
