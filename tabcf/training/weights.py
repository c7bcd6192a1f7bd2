"""What each training event counts in the loss: less of heavy users, more of rare items.

Dimension letters: N events.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tabcf.contracts.table import Table

__all__ = ["propensity_weights", "user_weights", "weighted"]


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
    n = _counts(table, "user")
    weight = torch.ones_like(n)
    if power is not None:
        weight = weight * n.pow(-power)
    if cap is not None:
        weight = weight * (cap / n).clamp(max=1.0)
    return weight.float()


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
    n = _counts(table, "item")
    return (n.max() / n).pow(power).clamp(max=clip).float()


def weighted(table: Table, weight: Tensor) -> Table:
    """The table with its weights times these, all scaled to a mean of 1.

    The scale leaves the balance with terms that have no weights, such as a loss's unobserved pairs,
    as it is.
    """
    if table.weight is not None:
        weight = weight * table.weight
    mean = weight.mean().clamp_min(torch.finfo(weight.dtype).tiny)
    return replace(table, weight=weight / mean)


def _counts(table: Table, entity: str) -> Tensor:
    """`(N,)` float64: how many events have the same user, or item, as each."""
    rows = table.rows[entity].long()
    return torch.bincount(rows)[rows].double()
