"""Scores of users against items, for any model, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.model import ItemScorer
from tabcf.data.batches import bag_to_device, select_bag, to_device
from tabcf.nn.scoring import score_by_pairs
from tabcf.recommend.trained import Trained, ranking_value

__all__ = ["score_blocks"]

# Floats that a block's largest intermediate may hold: users × items × hidden units.
_BUDGET = 1 << 25
_HIDDEN = 128


@torch.inference_mode()
def score_blocks(
    trained: Trained,
    users: Inputs,
    events: Inputs,
    items: Inputs,
    *,
    history: Bag | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Score every item for every user, some users at a time.

    Args:
        trained: The model.
        users: The users' own columns, U rows.
        events: The event's columns for each user, U rows.
        items: The items' columns, I rows.
        history: The users' past items as item indices, U rows.

    Yields:
        Which users, and their scores `(B, I)` on the CPU, in the target's own units.
    """
    n_users, n_items = len(users.x_cat), max(len(items.x_cat), 1)
    block = max(_BUDGET // (n_items * _HIDDEN), 1)
    on_device = to_device(items, trained.device)
    for start in range(0, n_users, block):
        rows = torch.arange(start, min(start + block, n_users))
        query = Query(
            _rows(users, rows, trained.device),
            _rows(events, rows, trained.device),
            None if history is None else bag_to_device(select_bag(history, rows), trained.device),
        )
        if isinstance(trained.model, ItemScorer):
            raw = trained.model.score_items(query, on_device)
        else:
            raw = score_by_pairs(trained.model, query, on_device)
        scores = ranking_value(trained.loss.decode(raw))
        yield slice(start, start + len(rows)), scores.cpu()


def _rows(inputs: Inputs, rows: Tensor, device: torch.device) -> Inputs:
    block = Inputs(
        inputs.x_cat[rows],
        inputs.x_cont[rows],
        tuple(select_bag(bag, rows) for bag in inputs.x_sets),
    )
    return to_device(block, device)
