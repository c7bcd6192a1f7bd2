"""Lists of items for users, known or given only by attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.data.batches import select
from tabcf.data.conditions import matching
from tabcf.data.sources import Source, source_of_frame
from tabcf.errors import DataError
from tabcf.recommend.index import ItemIndex, indexed_items
from tabcf.recommend.rules import capped, caps_of
from tabcf.recommend.topk import Lists, top_items
from tabcf.recommend.trained import Trained
from tabcf.recommend.two_stage import reordered

__all__ = ["AskedUsers", "OfferedItems", "offered_items", "recommend"]


@dataclass(frozen=True, slots=True)
class AskedUsers:
    """Whom to recommend to: their ids to show, their rows (0 unknown) and their columns.

    `attributes` are those that came with the request.
    """

    ids: list[Any]
    rows: np.ndarray
    inputs: Inputs
    basis: list[str]
    attributes: Source | None = None


@dataclass(frozen=True, slots=True)
class OfferedItems:
    """What may be recommended: ids and labels to show, item rows (0 new), columns and frame."""

    ids: list[Any]
    labels: list[str] | None
    rows: np.ndarray
    inputs: Inputs
    source: Source


def recommend(
    trained: Trained,
    users: Any,
    *,
    k: int = 10,
    candidates: Any = None,
    context: Mapping[str, Any] | None = None,
    exclude_seen: bool = True,
    where: str | None = None,
    deny: Iterable[Any] = (),
    max_per: Mapping[str, int] | None = None,
    retrieve: Trained | None = None,
    n_retrieved: int = 200,
    index: ItemIndex | None = None,
    is_text: bool = False,
) -> pd.DataFrame:
    """The k items with the highest scores for each user.

    Args:
        trained: The model.
        users: An id, ids, or a frame of user attributes (an id column is optional there); or
            `AskedUsers` of the model.
        k: Length of each list; shorter where there are fewer candidates.
        candidates: Ids of items, or a frame of item attributes such as those of new items, or
            `OfferedItems` of the model; all known items by default, those without training events
            included.
        context: A value by the column that event columns are made from, such as `timestamp`, or
            by the made column itself, such as `daypart`; those not given are taken as unknown.
        exclude_seen: Leave out what a user had in training.
        where: Conditions on the items' columns, such as `year >= 1990 and genres has Comedy`.
        deny: Ids of items that are never listed.
        max_per: At most so many items of each value of a column, such as `{"genres": 3}`.
        retrieve: Another model that finds `n_retrieved` items for each user, which this one puts
            into order; users and items go by their ids.
        n_retrieved: How many it finds.
        index: An index of the model's items that finds nearly the best of them; it holds all
            items, so that `candidates`, `where`, `deny`, `max_per` and `retrieve` do not go with
            it.
        is_text: Ids come from a command line.

    Returns:
        One row a recommendation: the user's id, `rank` from 1, the item's id, its label where
        there is one, `score`, and `basis`: what the user's part of the score rests on, `trained`,
        `attributes` or `average`.

    Raises:
        DataError: An id is of another type than in training, an attribute frame has no usable
            column, or an index is of another model or given beside what does not go with it.
        RunError: The run has no users and items, or its target gives no order.
    """
    trained.require_entities("recommend")
    if k < 1:
        raise DataError(f"k: expected a positive number, got {k}")
    deny = _listed(deny)
    if index is not None:
        narrowing = {
            "candidates": candidates is not None,
            "where": where is not None,
            "deny": bool(deny),
            "max_per": bool(max_per),
            "retrieve": retrieve is not None,
        }
        given = [name for name, is_given in narrowing.items() if is_given]
        if given:
            raise DataError(f"index: it lists all items, so that {given[0]} does not go with it")
    asked = _users(trained, users, is_text=is_text)
    offered = offered_items(trained, candidates, is_text=is_text)
    offered = _allowed(trained, offered, where, deny, is_text=is_text)
    if not offered.ids:
        raise DataError("where: no item is left to recommend")
    events = trained.encoder.events_with(context or {}, asked.rows, attributes=asked.attributes)
    past = trained.past
    history = None if past is None else past.positive.of_users(asked.rows)
    excluded = None if past is None or not exclude_seen else past.seen.of_users(asked.rows)
    seen = None if excluded is None else _as_columns(excluded, offered.rows)
    rng = Generator().manual_seed(trained.seed)
    caps = caps_of(offered.source, max_per or {})
    longer = len(offered.ids) if caps else min(k, len(offered.ids))
    found: Iterable[Lists]
    if index is not None:
        found = indexed_items(trained, index, asked.inputs, events, longer, seen=seen)
    elif retrieve is None:
        found = top_items(
            trained,
            asked.inputs,
            events,
            offered.inputs,
            longer,
            rng,
            seen=seen,
            history=_as_indices(trained, history),
        )
    else:
        first = _retrieved(
            retrieve, users, offered, n_retrieved, exclude_seen=exclude_seen, is_text=is_text
        )
        found = reordered(trained, asked.inputs, events, offered.inputs, first, longer)
    lists = [
        _frame(trained, asked, offered, capped(block, caps, k) if caps else block)
        for block in found
    ]
    return pd.concat(lists, ignore_index=True)


def _retrieved(
    first: Trained,
    users: Any,
    offered: OfferedItems,
    n: int,
    *,
    exclude_seen: bool,
    is_text: bool,
) -> list[Lists]:
    """The items that another model finds among those offered, as positions among these.

    Raises:
        DataError: It knows none of them.
    """
    first.require_entities("retrieve")
    asked = _users(first, users, is_text=is_text)
    rows = first.encoder.entities["item"].rows_of_ids(offered.ids, is_text=is_text)
    known = np.flatnonzero(rows)
    if not len(known):
        raise DataError("retrieve: the other run knows none of the items")
    items = select(first.encoder.tables["item"].inputs, torch.from_numpy(rows[known]))
    past = first.past
    seen = history = None
    if past is not None:
        history = _as_indices(first, past.positive.of_users(asked.rows))
        if exclude_seen:
            seen = _as_columns(past.seen.of_users(asked.rows), rows[known])
    events = first.encoder.events_with({}, asked.rows, attributes=asked.attributes)
    position = torch.from_numpy(np.append(known, -1))
    return [
        Lists(block.users, position[block.columns], block.scores)
        for block in top_items(
            first,
            asked.inputs,
            events,
            items,
            min(n, len(known)),
            Generator().manual_seed(first.seed),
            seen=seen,
            history=history,
        )
    ]


def _users(trained: Trained, users: Any, *, is_text: bool) -> AskedUsers:
    if isinstance(users, AskedUsers):
        return users
    entity = trained.encoder.entities["user"]
    if isinstance(users, pd.DataFrame):
        source = source_of_frame(users, name="users")
        table = trained.encoder.encode_entities("user", source)
        given = source.frame.columns
        n = len(source.frame)
        if entity.plan.id in given:
            ids = source.frame[entity.plan.id].tolist()
            rows = entity.rows_of(source.frame[entity.plan.id], source)
        else:
            ids, rows = list(range(n)), np.zeros(n, dtype=np.int32)
        inputs = select(table.inputs, torch.arange(1, n + 1))
        basis = ["trained" if i else "attributes" for i in table.index[1:].tolist()]
        return AskedUsers(ids, rows, inputs, basis, source)
    ids = _listed(users)
    rows = entity.rows_of_ids(ids, is_text=is_text)
    inputs = select(trained.encoder.tables["user"].inputs, torch.from_numpy(rows))
    has_attributes = any(plan.table == "user" for plan, _ in trained.encoder.columns)
    basis = [
        "trained" if entity.index[row] else "attributes" if row and has_attributes else "average"
        for row in rows
    ]
    known = entity.ids.values_of(rows)
    shown = [given if value is None else value for given, value in zip(ids, known, strict=True)]
    return AskedUsers(shown, rows, inputs, basis)


def offered_items(
    trained: Trained, candidates: Any = None, *, is_text: bool = False
) -> OfferedItems:
    """What may be recommended: all known items, those with some ids, or those of a frame.

    Raises:
        DataError: An id is unknown, or a frame has no usable column.
    """
    if isinstance(candidates, OfferedItems):
        return candidates
    entity = trained.encoder.entities["item"]
    if isinstance(candidates, pd.DataFrame):
        source = source_of_frame(candidates, name="candidates")
        table = trained.encoder.encode_entities("item", source)
        n = len(source.frame)
        ids, rows = list(range(n)), np.zeros(n, dtype=np.int32)
        if entity.plan.id in source.frame.columns:
            ids = source.frame[entity.plan.id].tolist()
            rows = entity.rows_of(source.frame[entity.plan.id], source)
        label = entity.plan.label
        labels = None
        if label in source.frame.columns:
            labels = source.frame[label].astype(str).tolist()
        inputs = select(table.inputs, torch.arange(1, n + 1))
        return OfferedItems(ids, labels, rows, inputs, source)
    if candidates is None:
        rows = np.arange(1, len(entity), dtype=np.int32)
    else:
        ids = _listed(candidates)
        rows = entity.rows_of_ids(ids, is_text=is_text)
        unknown = [value for value, row in zip(ids, rows, strict=True) if not row]
        if unknown:
            raise DataError(
                f"candidates: no {entity.plan.id} {unknown[0]!r}"
                f"{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''}; "
                "give new items as a frame of attributes"
            )
    inputs = select(trained.encoder.tables["item"].inputs, torch.from_numpy(rows))
    labels = None
    if entity.labels is not None:
        labels = [entity.labels[row] for row in rows]
    frame = entity.with_blank_row().frame.iloc[rows].reset_index(drop=True)
    source = Source(frame, "the table of item", is_text=entity.is_text)
    return OfferedItems(entity.ids.values_of(rows), labels, rows, inputs, source)


def _allowed(
    trained: Trained,
    offered: OfferedItems,
    where: str | None,
    deny: Iterable[Any],
    *,
    is_text: bool,
) -> OfferedItems:
    """The candidates that fulfil the conditions and are not denied."""
    denied = _listed(deny)
    if where is None and not denied:
        return offered
    is_allowed = np.ones(len(offered.ids), dtype=bool)
    if where is not None:
        is_allowed &= matching(offered.source, where)
    if denied:
        rows = trained.encoder.entities["item"].rows_of_ids(denied, is_text=is_text)
        is_allowed &= ~np.isin(offered.rows, rows[rows > 0])
    kept = np.flatnonzero(is_allowed)
    return OfferedItems(
        [offered.ids[i] for i in kept],
        None if offered.labels is None else [offered.labels[i] for i in kept],
        offered.rows[kept],
        select(offered.inputs, torch.from_numpy(kept)),
        Source(offered.source.frame.iloc[kept].reset_index(drop=True), offered.source.name),
    )


def _listed(ids: Any) -> list[Any]:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        return [ids]
    return list(ids)


def _as_columns(seen: Bag, candidate_rows: np.ndarray) -> Bag:
    """Item rows as positions among the candidates; those that are no candidates drop out."""
    place = np.full(int(max(candidate_rows.max(initial=0), _largest(seen))) + 1, -1)
    place[candidate_rows] = np.arange(len(candidate_rows))
    place[0] = -1
    return _mapped(seen, torch.from_numpy(place))


def _as_indices(trained: Trained, history: Bag | None) -> Bag | None:
    """Item rows as item indices, which is what models know."""
    if history is None:
        return None
    index = trained.encoder.tables["item"].index.long()
    index[0] = -1
    return _mapped(history, index)


def _largest(bag: Bag) -> int:
    return int(bag.values.max()) if len(bag.values) else 0


def _mapped(bag: Bag, mapping: torch.Tensor) -> Bag:
    """A bag's values mapped; those mapped to a negative number are dropped."""
    values = mapping[bag.values.long()]
    is_kept = values >= 0
    kept_before = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(is_kept, 0)])
    return Bag(values[is_kept], kept_before[bag.offsets])


def _frame(
    trained: Trained,
    asked: AskedUsers,
    offered: OfferedItems,
    lists: Lists,
) -> pd.DataFrame:
    """One block's lists, long form."""
    first, columns = lists.users.start, lists.columns
    user_id = trained.encoder.entities["user"].plan.id
    item_id = trained.encoder.entities["item"].plan.id
    user, rank = torch.nonzero(columns >= 0, as_tuple=True)
    column = columns[user, rank]
    values: dict[str, Any] = {
        user_id: [asked.ids[first + u] for u in user.tolist()],
        "rank": (rank + 1).numpy(),
        item_id: [offered.ids[c] for c in column.tolist()],
    }
    if offered.labels is not None:
        label = trained.encoder.entities["item"].plan.label or "label"
        values[label] = [offered.labels[c] for c in column.tolist()]
    values["score"] = lists.scores[user, rank].numpy()
    values["basis"] = [asked.basis[first + u] for u in user.tolist()]
    return pd.DataFrame(values)
