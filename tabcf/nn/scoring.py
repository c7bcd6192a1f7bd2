"""All items for all users with a model that only knows pairs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Bag, Inputs, Query

__all__ = ["score_by_pairs"]


def score_by_pairs(
    model: nn.Module, query: Query, items: Inputs, *, block: int = 1 << 15
) -> Tensor:
    """`(B, I, d_out)` by the model's forward over expanded pairs, some users at a time.

    Columns are ordered user, item, event within each argument of `forward`, so that the sides
    are simply concatenated.
    """
    n_users, n_items = len(query.user.x_cat), len(items.x_cat)
    per_block = max(block // max(n_items, 1), 1)
    parts = []
    for start in range(0, n_users, per_block):
        users = torch.arange(start, min(start + per_block, n_users))
        left = users.repeat_interleave(n_items)
        right = torch.arange(n_items).repeat(len(users))
        sides = [_take(query.user, left), _take(items, right), _take(query.event, left)]
        raw = model(
            torch.cat([side.x_cat for side in sides], 1),
            torch.cat([side.x_cont for side in sides], 1),
            tuple(bag for side in sides for bag in side.x_sets),
        )
        parts.append(raw.view(len(users), n_items, -1))
    return torch.cat(parts)


def _take(inputs: Inputs, rows: Tensor) -> Inputs:
    rows = rows.to(inputs.x_cat.device)
    return Inputs(
        inputs.x_cat[rows], inputs.x_cont[rows], tuple(_bag(b, rows) for b in inputs.x_sets)
    )


def _bag(bag: Bag, rows: Tensor) -> Bag:
    ends = torch.cat([bag.offsets[1:], bag.offsets.new_tensor([len(bag.values)])])
    lengths = (ends - bag.offsets)[rows]
    offsets = torch.cumsum(lengths, 0) - lengths
    positions = torch.repeat_interleave(bag.offsets[rows] - offsets, lengths)
    positions = positions + torch.arange(len(positions), device=positions.device)
    return Bag(
        bag.values[positions], offsets, None if bag.weights is None else bag.weights[positions]
    )
