"""Lists that one model finds, in the order of another.

Dimension letters: B users, N items found for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.data.batches import bag_to_device, mapped, select, select_bag, to_device
from tabcf.errors import DataError
from tabcf.metrics.ranking import rank_items
from tabcf.nn.scoring import score_candidates
from tabcf.recommend.basis import AVERAGE, cold
from tabcf.recommend.index import ItemIndex, indexed_items
from tabcf.recommend.topk import Lists, top_items
from tabcf.recommend.trained import FirstStage, Trained, ranking_value
from tabcf.recommend.users import AskedUsers, asked_users, strangers

__all__ = ["Found", "asked_of_first", "reordered", "retrieved", "stage_of"]

# Pairs scored at a time.
_BLOCK = 1 << 15
# Items that are not on offer up to which an index is searched: it finds them first and drops them.
_MOST_LEFT_OUT = 1_000


class Found(NamedTuple):
    """What the first of two stages finds for U users.

    Attributes:
        lists: Positions among the items that it chose from, -1 in empty places.
        is_known: `(U,)` booleans: whom it knows anything of; the others' lists say nothing.
    """

    lists: Iterable[Lists]
    is_known: np.ndarray


def stage_of(trained: Trained, retrieve: Trained | bool, n: int | None) -> FirstStage | None:
    """What finds the items: another model, the model's own first stage, or nothing."""
    if n is not None and n < 1:
        raise DataError(f"n_retrieved: expected a positive number, got {n}")
    if isinstance(retrieve, Trained):
        retrieve.require_entities("retrieve")
        return FirstStage(retrieve) if n is None else FirstStage(retrieve, n)
    if not retrieve or trained.first is None:
        return None
    return trained.first if n is None else replace(trained.first, n=n)


def asked_of_first(first: Trained, users: Any, n: int, *, is_text: bool) -> AskedUsers:
    """The same users as the first of two stages knows them."""
    if isinstance(users, pd.DataFrame):
        columns = first.encoder.request_columns("user")
        if not set(columns) & set(users.columns):
            return strangers(first, n)
    return asked_users(first, users, is_text=is_text)


def retrieved(
    first: FirstStage,
    users: AskedUsers,
    items: Sequence[Any],
    *,
    context: Mapping[str, Any] | None = None,
    exclude_seen: bool = True,
    index: ItemIndex | None = None,
    is_text: bool = False,
) -> Found:
    """The items that the first of two stages finds; some users at a time, as they are asked for.

    Args:
        first: The model and how many items it finds.
        users: The users as that model knows them.
        items: Ids of the items to choose from; those that it does not know are never found.
        context: Values of event columns; those that it does not read are left out.
        exclude_seen: Leave out what a user had in its training.
        index: Finds them in that model's place where all but a few of its items are on offer.
        is_text: Ids come from a command line.

    Raises:
        DataError: It knows none of the items.
    """
    trained = first.trained
    rows = trained.encoder.entities["item"].rows_of_ids(items, is_text=is_text)
    known = np.flatnonzero(rows)
    if not len(known):
        raise DataError("retrieve: the first of the two models knows none of the items")
    events = trained.encoder.events_with(
        context or {}, users.rows, attributes=users.attributes, is_shared=True
    )
    past = trained.past if exclude_seen else None
    seen = None if past is None else past.seen.of_users(users.rows)
    n, n_items = min(first.n, len(known)), len(trained.encoder.entities["item"]) - 1
    # Where an item row stands among what is offered; -1 for what is not.
    place = np.full(n_items + 1, -1)
    if index is not None and n_items - len(known) <= _MOST_LEFT_OUT:
        place[rows[known]] = known
        position = torch.from_numpy(np.append(place[1:], -1))
        left_out = np.flatnonzero(place[1:] < 0)
        had = None if seen is None else Bag(seen.values - 1, seen.offsets)
        blocks = indexed_items(trained, index, users.inputs, events, n, seen=had, left_out=left_out)
    else:
        place[rows[known]] = np.arange(len(known))
        position = torch.from_numpy(np.append(known, -1))
        blocks = top_items(
            trained,
            users.inputs,
            events,
            select(trained.encoder.tables["item"].inputs, torch.from_numpy(rows[known])),
            n,
            Generator().manual_seed(trained.seed),
            seen=None if seen is None else mapped(seen, torch.from_numpy(place)),
            history=trained.history_of(users.rows),
        )
    return Found(
        (Lists(block.users, position[block.columns], block.scores) for block in blocks),
        np.array([basis != cold(AVERAGE) for basis in users.basis]),
    )


@torch.inference_mode()
def reordered(
    trained: Trained,
    users: Inputs,
    events: Inputs,
    items: Inputs,
    k: int,
    rng: Generator,
    found: Found,
    *,
    seen: Bag | None = None,
    history: Bag | None = None,
) -> Iterator[Lists]:
    """Each user's found items by the scores of a model, the k best of them; ties in random order.

    Somebody whom the first stage knows nothing of gets the model's own list of all items.

    Args:
        trained: The model that gives the order.
        users: The users' own columns, U rows.
        events: The event's columns for each user, U rows.
        items: The items' columns; the found lists hold their positions.
        k: Length of the lists; no longer than what was found.
        rng: Where the order of ties comes from.
        found: What another model finds.
        seen: Item columns that each user is not offered, U rows.
        history: The users' past items as item indices, U rows.
    """
    for lists in found.lists:
        rows = torch.arange(lists.users.start, lists.users.stop)
        columns = lists.columns
        unknown = rows[torch.from_numpy(~found.is_known[lists.users])]
        if len(unknown):
            columns = columns.clone()
            for block in top_items(
                trained,
                select(users, unknown),
                select(events, unknown),
                items,
                columns.shape[1],
                rng,
                seen=None if seen is None else select_bag(seen, unknown),
                history=None if history is None else select_bag(history, unknown),
            ):
                columns[unknown[block.users] - lists.users.start] = block.columns
        size = max(_BLOCK // max(columns.shape[1], 1), 1)
        for own_rows, own in zip(rows.split(size), columns.split(size), strict=True):
            query = Query(
                to_device(select(users, own_rows), trained.device),
                to_device(select(events, own_rows), trained.device),
                None
                if history is None
                else bag_to_device(select_bag(history, own_rows), trained.device),
            )
            chosen = to_device(select(items, own.clamp_min(0).flatten()), trained.device)
            scores = _scores(trained, query, chosen).masked_fill(own < 0, -torch.inf)
            places = rank_items(scores, None, min(k, own.shape[1]), rng)
            kept = own.gather(1, places.clamp_min(0)).masked_fill(places < 0, -1)
            shown = scores.gather(1, places.clamp_min(0))
            yield Lists(slice(int(own_rows[0]), int(own_rows[-1]) + 1), kept, shown)


def _scores(trained: Trained, query: Query, items: Inputs) -> Tensor:
    raw = score_candidates(trained.model, query, items)
    return ranking_value(trained.loss.decode(raw)).cpu()
