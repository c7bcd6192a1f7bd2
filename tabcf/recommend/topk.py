"""The items with the highest scores of each user, in blocks of bounded memory.

Dimension letters: B users, I items, K places of a list, E width of a factored score.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.model import FactoredScorer
from tabcf.data.batches import bag_to_device, select, select_bag, slice_bag, to_device
from tabcf.metrics.ranking import rank_items
from tabcf.recommend.scores import score_blocks
from tabcf.recommend.trained import Trained, ranking_value

__all__ = ["Lists", "top_items"]

# Scores held at a time: 64 MB; and users of a block, beyond which nothing is gained.
_MOST_SCORES = 1 << 24
_MOST_USERS = 256
# Items of a run, whose highest score stands for all of them at first.
_RUN = 16
# Users from which on it is worth laying out all items' vectors for runs: that costs about as much
# as five users' scores.
_FEWEST_USERS = 6


class Lists(NamedTuple):
    """Some users' lists, best first.

    Shape:
        users: which users. columns: `(B, K)` int64, -1 in empty places. scores: `(B, K)` in the
            target's own units. propensities: `(B, K)` float64, how likely each item was to come to
            its place; None where nothing was left to chance.
    """

    users: slice
    columns: Tensor
    scores: Tensor
    propensities: Tensor | None = None


@torch.inference_mode()
def top_items(
    trained: Trained,
    users: Inputs,
    events: Inputs,
    items: Inputs,
    k: int,
    rng: Generator,
    *,
    seen: Bag | None = None,
    history: Bag | None = None,
) -> Iterator[Lists]:
    """The k best items of each user, exactly; ties in random order.

    A model whose scores are products of vectors takes one matrix product a block of users, and then
    looks for the best items only in the runs of columns with the highest maxima.

    Args:
        trained: The model.
        users: The users' own columns, U rows.
        events: The event's columns for each user, U rows.
        items: The items' columns, I rows.
        k: Length of the lists.
        rng: Where the order of ties comes from.
        seen: Item columns that each user is not offered, U rows.
        history: The users' past items as item indices, U rows.
    """
    is_worth_runs = len(items.x_cat) >= 4 * k * _RUN and len(users.x_cat) >= _FEWEST_USERS
    if isinstance(trained.model, FactoredScorer) and is_worth_runs:
        yield from _by_factors(trained, trained.model, users, events, items, k, rng, seen)
        return
    for block, scores in score_blocks(trained, users, events, items, history=history):
        own = None if seen is None else slice_bag(seen, block.start, block.stop)
        columns = rank_items(scores, own, k, rng)
        shown = scores.gather(1, columns.clamp_min(0))
        yield Lists(block, columns, shown)


def _by_factors(
    trained: Trained,
    model: FactoredScorer,
    users: Inputs,
    events: Inputs,
    items: Inputs,
    k: int,
    rng: Generator,
    seen: Bag | None,
) -> Iterator[Lists]:
    device = trained.device
    n_users, n_items = len(users.x_cat), len(items.x_cat)
    item_at = torch.randperm(n_items, generator=rng).to(device)
    place_of = torch.empty_like(item_at)
    place_of[item_at] = torch.arange(n_items, device=device)
    n_runs = -(-n_items // _RUN)
    factors = model.item_factors(to_device(items, device))[item_at]
    # (E, I): columns r, r + n_runs, r + 2 n_runs, ... are run r; what pads the last one is -inf.
    factors = torch.nn.functional.pad(factors, (0, 0, 0, n_runs * _RUN - n_items)).T.contiguous()
    size = max(min(_MOST_SCORES // (n_runs * _RUN), _MOST_USERS, n_users), 1)
    products = torch.empty(size, n_runs * _RUN, device=device)
    maxima = torch.empty(size, n_runs, device=device)
    for start in range(0, n_users, size):
        rows = torch.arange(start, min(start + size, n_users))
        query = Query(
            to_device(select(users, rows), device), to_device(select(events, rows), device)
        )
        n = len(rows)
        block, best = products[:n], maxima[:n]
        torch.mm(model.query_factors(query), factors, out=block)
        block[:, n_items:] = -torch.inf
        torch.nan_to_num(block, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf, out=block)
        if seen is not None:
            own = bag_to_device(select_bag(seen, rows), device)
            block[own.row_of_value, place_of[own.values.long()]] = -torch.inf
        runs = block.view(n, _RUN, n_runs)
        torch.amax(runs, 1, out=best)
        top = best.topk(k, dim=1, sorted=False).indices
        found = runs.gather(2, top[:, None].expand(-1, _RUN, -1)).reshape(n, -1)
        values, places = found.topk(k, dim=1)
        place = top.gather(1, places % k) + places.div(k, rounding_mode="floor") * n_runs
        columns = item_at[place.clamp_max(n_items - 1)].masked_fill(values == -torch.inf, -1)
        shown = ranking_value(trained.loss.decode(model.outputs(values).unsqueeze(2)))
        yield Lists(slice(start, start + n), columns.cpu(), shown.cpu())
