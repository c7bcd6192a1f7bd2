"""Lists of items for users, known or given only by attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.data.batches import mapped, select
from tabcf.data.conditions import matching
from tabcf.data.entities import Entity
from tabcf.data.sources import Source, source_of_frame
from tabcf.errors import DataError
from tabcf.recommend.basis import TRAINED, basis_of, cold
from tabcf.recommend.index import IndexUse, chosen_index, indexed_items
from tabcf.recommend.reranking.chain import Reranking, UserSide
from tabcf.recommend.reranking.facts import ItemFacts
from tabcf.recommend.rules import capped, caps_of
from tabcf.recommend.topk import Lists, top_items
from tabcf.recommend.trained import Trained
from tabcf.recommend.two_stage import asked_of_first, reordered, retrieved, stage_of
from tabcf.recommend.users import AskedUsers, asked_users, listed

__all__ = ["OfferedItems", "offered_items", "recommend"]


@dataclass(frozen=True, slots=True)
class OfferedItems:
    """What may be recommended: ids and labels to show, item rows (0 new), columns and frame."""

    ids: list[Any]
    labels: list[str] | None
    rows: np.ndarray
    inputs: Inputs
    source: Source

    def named(self, positions: np.ndarray) -> _Named:
        """Ids and labels of those at some positions."""
        labels = None if self.labels is None else [self.labels[i] for i in positions]
        return [self.ids[i] for i in positions], labels

    def basis(self, trained: Trained) -> np.ndarray:
        """What is known of each: `trained`, `attributes` or `average`."""
        is_described = self.source.frame.notna().any(axis=1).to_numpy()
        return basis_of(trained.encoder, "item", self.inputs.x_cat[:, 0], is_described)


_Named = tuple[list[Any], list[str] | None]


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
    retrieve: Trained | bool = True,
    n_retrieved: int | None = None,
    index: IndexUse = "auto",
    rerank: Reranking | None = None,
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
        retrieve: Whether the model's own first stage, if it has one, finds the items that this one
            puts into order; or another model that finds them, users and items going by their ids.
        n_retrieved: How many it finds; by default as many as the first stage does, else 200.
        index: Whether the model's index makes the lists, which finds nearly the best items: True
            demands it, False rejects it, and "auto" takes it where there are many items and none
            of `candidates`, `where`, `deny` and `max_per` is given, which do not go with it. Where
            a first stage finds the items, that one's index: only `candidates` do not go with it,
            and where conditions leave out many items it finds them exactly.
        rerank: Re-rankers that put the first items into another order, before `max_per`.
        is_text: Ids come from a command line.

    Returns:
        One row a recommendation: the user's id, `rank` from 1, the item's id, its label where
        there is one, `score`, where a re-ranker explores `propensity`, the probability with which
        the item came to that place, and `basis`: what the score rests on, `trained`, or
        `cold: attributes` or `cold: average` for users without training events; behind that
        `cold item: attributes` or `cold item: average` for items without them.

    Raises:
        DataError: An id is of another type than in training, an attribute frame has no usable
            column, or an index is of another model or demanded beside what does not go with it.
        RunError: The run has no users and items, its target gives no order, or an index is
            demanded that it has not.
    """
    trained.require_entities("recommend")
    if k < 1:
        raise DataError(f"k: expected a positive number, got {k}")
    deny = listed(deny)
    first = stage_of(trained, retrieve, n_retrieved)
    if isinstance(users, AskedUsers) or isinstance(candidates, OfferedItems):
        # Newcomers are known to the model alone, unless the caller names what finds their items.
        first = first if isinstance(retrieve, Trained) else None
    depth = k if rerank is None else max(rerank.n, k)
    if first is None:
        narrowing = {
            "candidates": candidates is not None,
            "where": where is not None,
            "deny": bool(deny),
            "max_per": bool(max_per),
        }
        chosen, finder = chosen_index(trained.index, index, depth, narrowing), None
    else:
        narrowing = {"candidates": candidates is not None}
        chosen, finder = None, chosen_index(first.trained.index, index, first.n, narrowing)
    asked = asked_users(trained, users, is_text=is_text)
    events = trained.encoder.events_with(context or {}, asked.rows, attributes=asked.attributes)
    past = trained.past
    excluded = None if past is None or not exclude_seen else past.seen.of_users(asked.rows)
    if chosen is not None:
        entity = trained.encoder.entities["item"]
        had = None if excluded is None else Bag(excluded.values - 1, excluded.offsets)
        n = min(depth, len(entity) - 1)
        blocks: Iterable[Lists] = indexed_items(trained, chosen, asked.inputs, events, n, seen=had)
        if rerank is not None:
            known = offered_items(trained)
            blocks = _reranked(trained, rerank, blocks, known, asked, events, k=k, n=min(k, n))
        basis = basis_of(trained.encoder, "item", entity.index[1:])
        named = partial(_named_at, entity)
        lists = [_frame(trained, asked, named, basis, block) for block in blocks]
        return pd.concat(lists, ignore_index=True)
    offered = offered_items(trained, candidates, is_text=is_text)
    offered = _allowed(trained, offered, where, deny, is_text=is_text)
    if not offered.ids:
        raise DataError("where: no item is left to recommend")
    if first is not None and not isinstance(retrieve, Trained):
        # What the caller chose is put into order where there is nothing to leave out.
        is_few = candidates is not None and len(offered.ids) <= first.n
        first = None if is_few else first
    history = trained.history_of(asked.rows)
    seen = None if excluded is None else _as_columns(excluded, offered.rows)
    rng = Generator().manual_seed(trained.seed)
    caps = caps_of(offered.source, max_per or {})
    if caps and rerank is not None and rerank.explores:
        raise DataError(
            "max_per: it would leave out items after the probability of their places is known; use "
            "the re-ranker group_caps before the one that explores"
        )
    n_listed = len(offered.ids) if caps else min(k, len(offered.ids))
    longer = min(max(depth, n_listed), len(offered.ids))
    found: Iterable[Lists]
    if first is None:
        found = top_items(
            trained,
            asked.inputs,
            events,
            offered.inputs,
            longer,
            rng,
            seen=seen,
            history=history,
        )
    else:
        first_found = retrieved(
            first,
            asked_of_first(first.trained, users, len(asked.ids), is_text=is_text),
            offered.ids,
            context=context,
            exclude_seen=exclude_seen,
            index=finder,
            is_text=is_text,
        )
        if isinstance(retrieve, Trained):
            # A run that the caller names is asked for everybody.
            first_found = first_found._replace(is_known=np.ones(len(asked.ids), dtype=bool))
        found = reordered(
            trained,
            asked.inputs,
            events,
            offered.inputs,
            longer,
            rng,
            first_found,
            seen=seen,
            history=history,
        )
    if rerank is not None:
        found = _reranked(trained, rerank, found, offered, asked, events, k=k, n=n_listed)
    basis = offered.basis(trained)
    lists = [
        _frame(trained, asked, offered.named, basis, capped(block, caps, k) if caps else block)
        for block in found
    ]
    return pd.concat(lists, ignore_index=True)


def _reranked(
    trained: Trained,
    rerank: Reranking,
    found: Iterable[Lists],
    offered: OfferedItems,
    asked: AskedUsers,
    events: Inputs,
    *,
    k: int,
    n: int,
) -> Iterable[Lists]:
    """Lists of k in their new order, n long."""
    items = ItemFacts(trained, offered.rows, offered.inputs, offered.source, rerank.fold_in)
    return rerank.reranked(found, items, UserSide(asked.rows, asked.inputs, events), k=k, n=n)


def offered_items(
    trained: Trained, candidates: Any = None, *, is_text: bool = False
) -> OfferedItems:
    """What may be recommended: all known items, those with some ids, or those of a frame.

    An unknown id is offered as an item of which nothing is known.

    Raises:
        DataError: An id is of another type than in training, or a frame has no usable column.
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
        ids = listed(candidates)
        rows = entity.rows_of_ids(ids, is_text=is_text)
    inputs = select(trained.encoder.tables["item"].inputs, torch.from_numpy(rows))
    known, labels = _named(entity, rows)
    if candidates is None:
        ids = known
    else:
        ids = [own if row else id for id, row, own in zip(ids, rows, known, strict=True)]
    frame = entity.with_blank_row().frame.iloc[rows].reset_index(drop=True)
    source = Source(frame, "the table of item", is_text=entity.is_text)
    return OfferedItems(ids, labels, rows, inputs, source)


def _allowed(
    trained: Trained,
    offered: OfferedItems,
    where: str | None,
    deny: Iterable[Any],
    *,
    is_text: bool,
) -> OfferedItems:
    """The candidates that fulfil the conditions and are not denied."""
    denied = listed(deny)
    if where is None and not denied:
        return offered
    is_allowed = np.ones(len(offered.ids), dtype=bool)
    if where is not None:
        is_allowed &= matching(offered.source, where)
    if denied:
        rows = trained.encoder.entities["item"].rows_of_ids(denied, is_text=is_text)
        is_allowed &= ~np.isin(offered.rows, rows[rows > 0])
        # New items have no row that an id could lead to.
        by_id = set(denied)
        is_allowed &= [value not in by_id for value in offered.ids]
    kept = np.flatnonzero(is_allowed)
    return OfferedItems(
        *offered.named(kept),
        offered.rows[kept],
        select(offered.inputs, torch.from_numpy(kept)),
        Source(offered.source.frame.iloc[kept].reset_index(drop=True), offered.source.name),
    )


def _as_columns(seen: Bag, candidate_rows: np.ndarray) -> Bag:
    """Item rows as positions among the candidates; those that are no candidates drop out."""
    place = np.full(int(max(candidate_rows.max(initial=0), _largest(seen))) + 1, -1)
    place[candidate_rows] = np.arange(len(candidate_rows))
    place[0] = -1
    return mapped(seen, torch.from_numpy(place))


def _largest(bag: Bag) -> int:
    return int(bag.values.max()) if len(bag.values) else 0


def _named(entity: Entity, rows: np.ndarray) -> _Named:
    """Ids and labels of known items."""
    labels = None if entity.labels is None else [entity.labels[row] for row in rows]
    return entity.ids.values_of(rows), labels


def _named_at(entity: Entity, columns: np.ndarray) -> _Named:
    """Ids and labels of the items at columns of the whole catalogue."""
    return _named(entity, columns + 1)


def _frame(
    trained: Trained,
    asked: AskedUsers,
    named: Callable[[np.ndarray], _Named],
    item_basis: np.ndarray,
    lists: Lists,
) -> pd.DataFrame:
    """One block's lists, long form.

    `named` gives ids and labels of positions, and `item_basis` what is known of each item.
    """
    first, columns = lists.users.start, lists.columns
    user_id = trained.encoder.entities["user"].plan.id
    item = trained.encoder.entities["item"].plan
    user, rank = torch.nonzero(columns >= 0, as_tuple=True)
    ids, labels = named(columns[user, rank].numpy())
    values: dict[str, Any] = {
        user_id: [asked.ids[first + u] for u in user.tolist()],
        "rank": (rank + 1).numpy(),
        item.id: ids,
    }
    if labels is not None:
        values[item.label or "label"] = labels
    values["score"] = lists.scores[user, rank].numpy()
    if lists.propensities is not None:
        values["propensity"] = lists.propensities[user, rank].numpy()
    values["basis"] = [
        asked.basis[first + u] + ("" if of_item == TRAINED else f"; {cold(of_item, 'item')}")
        for u, of_item in zip(user.tolist(), item_basis[columns[user, rank].numpy()], strict=True)
    ]
    return pd.DataFrame(values)
