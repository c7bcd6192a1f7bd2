"""Lists that one model finds, in the order of another.

Dimension letters: B users, N items found for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tabcf.contracts.inputs import Inputs, Query
from tabcf.data.batches import select, to_device
from tabcf.nn.scoring import score_candidates
from tabcf.recommend.topk import Lists
from tabcf.recommend.trained import Trained, ranking_value

__all__ = ["reordered"]

# Pairs scored at a time.
_BLOCK = 1 << 15


@torch.inference_mode()
def reordered(
    trained: Trained,
    users: Inputs,
    events: Inputs,
    items: Inputs,
    found: Sequence[Lists],
    k: int,
) -> Iterator[Lists]:
    """Each user's found items by the scores of a model, the k best of them.

    Args:
        trained: The model that gives the order.
        users: The users' own columns, U rows.
        events: The event's columns for each user, U rows.
        items: The items' columns; the found lists hold their positions, -1 in empty places.
        found: Lists of another model, which together hold all users.
        k: Length of the lists.
    """
    columns = torch.cat([lists.columns for lists in found])
    n_users, n = columns.shape
    size = max(_BLOCK // max(n, 1), 1)
    for start in range(0, n_users, size):
        rows = torch.arange(start, min(start + size, n_users))
        own = columns[rows]
        query = Query(
            to_device(select(users, rows), trained.device),
            to_device(select(events, rows), trained.device),
        )
        chosen = to_device(select(items, own.clamp_min(0).flatten()), trained.device)
        scores = _scores(trained, query, chosen).masked_fill(own < 0, -torch.inf)
        best, places = scores.topk(min(k, n), dim=1)
        kept = own.gather(1, places).masked_fill(best == -torch.inf, -1)
        yield Lists(slice(start, start + len(rows)), kept, best)


def _scores(trained: Trained, query: Query, items: Inputs) -> Tensor:
    raw = score_candidates(trained.model, query, items)
    return ranking_value(trained.loss.decode(raw)).cpu()
