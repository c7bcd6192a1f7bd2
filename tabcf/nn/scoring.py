"""All items for all users with a model that only knows pairs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Inputs, Query
from tabcf.contracts.model import CandidateScorer
from tabcf.data.batches import select

__all__ = ["score_by_pairs", "score_candidates"]


def score_by_pairs(
    model: nn.Module, query: Query, items: Inputs, *, block: int = 1 << 15
) -> Tensor:
    """`(B, I, d_out)` by the model's forward over expanded pairs, a block of pairs at a time.

    Columns are ordered user, item, event within each argument of `forward`, so that the sides
    are simply concatenated.

    Args:
        model: Called with `x_cat`, `x_cont` and `x_sets`.
        query: B users and their events' columns.
        items: I items' columns.
        block: Pairs at a time; the default keeps a block of 100 columns near 10 MB.

    Example:
        >>> from tabcf.nn import DotProduct
        >>> none = torch.zeros(2, 0)
        >>> users = Inputs(torch.tensor([[1], [2]]), none)
        >>> query = Query(users, Inputs(torch.zeros(2, 0, dtype=torch.long), none))
        >>> items = Inputs(torch.tensor([[4], [5], [6]]), torch.zeros(3, 0))
        >>> score_by_pairs(DotProduct([3, 7]), query, items).shape
        torch.Size([2, 3, 1])
    """
    n_users, n_items = len(query.user.x_cat), len(items.x_cat)
    pairs = torch.arange(n_users * n_items, device=query.user.x_cat.device)
    parts = []
    # An empty block still goes through the model, which alone knows its number of outputs.
    for chosen in pairs.split(block):
        left = chosen.div(max(n_items, 1), rounding_mode="floor")
        right = chosen - left * n_items
        sides = [select(query.user, left), select(items, right), select(query.event, left)]
        parts.append(
            model(
                torch.cat([side.x_cat for side in sides], 1),
                torch.cat([side.x_cont for side in sides], 1),
                tuple(bag for side in sides for bag in side.x_sets),
            )
        )
    raw = torch.cat(parts)
    return raw.view(n_users, n_items, raw.shape[1])


def score_candidates(model: nn.Module, query: Query, items: Inputs) -> Tensor:
    """`(B, N, d_out)`: other items for each user, N in a row each.

    By the model's own `score_candidates`, or by its forward.
    """
    if isinstance(model, CandidateScorer):
        return model.score_candidates(query, items)
    n_users = len(query.user.x_cat)
    n = len(items.x_cat) // max(n_users, 1)
    rows = torch.arange(n_users, device=items.x_cat.device).repeat_interleave(n)
    sides = [select(query.user, rows), items, select(query.event, rows)]
    raw: Tensor = model(
        torch.cat([side.x_cat for side in sides], 1),
        torch.cat([side.x_cont for side in sides], 1),
        tuple(bag for side in sides for bag in side.x_sets),
    )
    return raw.view(n_users, n, raw.shape[1])
