"""Users or items that came after training, with rows of their own beside a trained model.

Dimension letters: n newcomers, P numbers of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.model import ReadsHistory
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.batches import gather, select, stack
from tabcf.data.sources import Source, source_of_frame
from tabcf.data.targets import encode_target
from tabcf.data.values import category_values
from tabcf.errors import DataError
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.solver import Posterior
from tabcf.recommend.index import IndexUse
from tabcf.recommend.predictor import decode_table, predict, prediction_columns
from tabcf.recommend.recommender import OfferedItems, offered_items, recommend
from tabcf.recommend.trained import Past, Trained
from tabcf.recommend.users import AskedUsers

__all__ = ["Newcomers", "fold_in"]

_OTHER = {"user": "item", "item": "user"}


class Newcomers:
    """Users or items that a trained model gives rows of their own; the model itself stays.

    Attributes:
        entity: `user` or `item`.
        ids: Their ids, n.
        basis: What is known of each: `12 events`, `attributes` or `average`.
        posterior: Their rows and how sure these are; None where the model has no rows to find,
            as one that scores by what users had.
    """

    def __init__(
        self,
        trained: Trained,
        entity: str,
        source: Source,
        *,
        fold: FoldIn | None,
        posterior: Posterior | None,
        basis: list[str],
        owner: np.ndarray,
        other: np.ndarray,
        is_positive: np.ndarray,
        shown: list[Any],
    ) -> None:
        self.entity = entity
        self.ids = shown
        self.basis = basis
        self.posterior = posterior
        self._trained = trained
        self._source = source
        self._fold = fold
        self._owner, self._other, self._is_positive = owner, other, is_positive

    def __len__(self) -> int:
        return len(self.ids)

    def recommend(
        self,
        users: Any = None,
        *,
        k: int = 10,
        only_new: bool = False,
        candidates: Any = None,
        context: Mapping[str, Any] | None = None,
        exclude_seen: bool = True,
        where: str | None = None,
        deny: Iterable[Any] = (),
        max_per: Mapping[str, int] | None = None,
        index: IndexUse = "auto",
    ) -> pd.DataFrame:
        """Lists for new users, or lists that new items may be in.

        Args:
            users: For new items, whom to recommend to; new users need none.
            k: Length of each list.
            only_new: List new items alone.
            candidates: For new users, what may be listed.
            context: As for known users, like all that follow.
            exclude_seen: Leave out what a user had.
            where: Conditions on items.
            deny: Ids of items that are never listed.
            max_per: At most so many items of each value of a column.
            index: Whether the model's index makes the lists; it knows no new items.

        Raises:
            DataError: `users` are given for new users, or missing for new items.
        """
        if (users is None) != (self.entity == "user"):
            what = "expected none" if self.entity == "user" else "expected ids"
            raise DataError(f"users: {what}, since the newcomers are {self.entity}s")
        with self._at_work() as (trained, inputs):
            if self.entity == "user":
                rows = len(self._trained.encoder.entities["user"]) + np.arange(len(self))
                users = AskedUsers(self.ids, rows, inputs, self.basis, self._source)
            else:
                candidates = self._offered(trained, inputs, only_new=only_new)
            return recommend(
                trained,
                users,
                k=k,
                candidates=candidates,
                context=context,
                exclude_seen=exclude_seen,
                where=where,
                deny=deny,
                max_per=max_per,
                index=index,
            )

    def predict(self, data: Any) -> pd.DataFrame:
        """The given rows with the prediction as the last column, as `Run.predict` gives them.

        Rows of others are predicted as without newcomers. `sd` is the standard deviation that
        comes of not knowing the newcomers' rows better, in the target's units, where one number is
        predicted; the noise of a single event is not in it.

        Raises:
            DataError: A column is missing or of another type than in training.
        """
        source = source_of_frame(data)
        column = self._trained.encoder.entities[self.entity].plan.id
        if column not in source.frame.columns and len(self) == 1:
            frame = source.frame.assign(**{column: self._source.frame[column].iloc[0]})
            source = Source(frame, source.name)
        shown = predict(self._trained, source)
        table = self._trained.encoder.encode(source, requests={self.entity: self._source})
        rows = table.rows[self.entity].long()
        positions = torch.nonzero(rows).squeeze(1)
        owner = rows[positions] - 1
        with self._at_work() as (trained, inputs):
            decoded = decode_table(trained, _of_newcomers(table, self.entity, inputs, positions))
        places = positions.numpy()
        for name, values in prediction_columns(self._trained.target, decoded).items():
            shown[name] = _overwritten(shown[name], places, values)
        other = _OTHER[self.entity]
        is_cold = table.entities[other].index[table.rows[other].long()][positions] == 0
        basis = [
            f"{self.basis[number]}{f', unknown {other}' if cold else ''}"
            for number, cold in zip(owner.tolist(), is_cold.tolist(), strict=True)
        ]
        shown["basis"] = _overwritten(shown["basis"], places, basis)
        if self._knows_spread:
            spread = np.full(len(shown), np.nan)
            spread[places] = self._spread(table, positions, owner)
            shown.insert(list(shown.columns).index("prediction"), "sd", spread)
        return shown

    def vectors(self) -> pd.DataFrame:
        """The newcomers' rows: all that the model holds of each, one column a number.

        Raises:
            DataError: The model has no rows to find.
        """
        if self.posterior is None:
            raise DataError(f"{type(self._trained.model).__name__} finds no rows for newcomers")
        frame = pd.DataFrame(self.posterior.mean.numpy()).add_prefix("d")
        frame.insert(0, self._trained.encoder.entities[self.entity].plan.id, self.ids)
        return frame

    def __repr__(self) -> str:
        counts = pd.Series(self.basis).value_counts()
        known = ", ".join(f"{n} by {basis}" for basis, n in counts.head(4).items())
        return f"Newcomers({len(self)} {self.entity}s: {known})"

    @contextmanager
    def _at_work(self) -> Iterator[tuple[Trained, Inputs]]:
        """A model that knows the newcomers, and their columns for it."""
        rows = torch.arange(1, len(self) + 1)
        inputs = select(self._table.inputs, rows)
        trained = replace(self._trained, past=self._past)
        if self._fold is None or self.posterior is None:
            yield trained, inputs
            return
        with self._fold.holding(self.posterior.mean.float()) as (model, index):
            x_cat = inputs.x_cat.clone()
            x_cat[:, 0] = index
            yield replace(trained, model=model), inputs._replace(x_cat=x_cat)

    @cached_property
    def _table(self) -> EntityTable:
        return self._trained.encoder.encode_entities(self.entity, self._source)

    @cached_property
    def _past(self) -> Past | None:
        """What users had, with the newcomers' events."""
        past = self._trained.past
        if past is None:
            return None
        owner, other, chosen = self._owner, self._other, self._is_positive
        if self.entity == "user":
            n = len(self)
            positive = past.positive.with_users(owner[chosen], other[chosen], n)
            return Past(positive, past.seen.with_users(owner, other, n))
        items = len(self._trained.encoder.entities["item"]) + owner
        return Past(past.positive, past.seen.with_pairs(other, items))

    def _offered(self, trained: Trained, inputs: Inputs, *, only_new: bool) -> OfferedItems:
        entity = trained.encoder.entities["item"]
        rows = len(entity) + np.arange(len(self))
        label = entity.plan.label
        labels = None
        if label is not None:
            given = self._source.frame.get(label, pd.Series([None] * len(self)))
            labels = ["" if pd.isna(value) else str(value) for value in given]
        if only_new:
            return OfferedItems(self.ids, labels, rows, inputs, self._source)
        known = offered_items(trained)
        frame = pd.concat([known.source.frame, self._source.frame], ignore_index=True)
        return OfferedItems(
            [*known.ids, *self.ids],
            None if labels is None else [*(known.labels or []), *labels],
            np.concatenate([known.rows, rows]),
            stack(known.inputs, inputs),
            Source(frame, known.source.name, known.source.is_text),
        )

    @property
    def _knows_spread(self) -> bool:
        target, loss = self._trained.target, self._trained.loss
        is_number = target.kind in ("regression", "rating") and len(target.columns) == 1
        return is_number and loss.d_out == 1 and self.posterior is not None

    def _spread(self, table: Table, positions: Tensor, owner: Tensor) -> np.ndarray:
        """`(m,)`: the spread of predictions, by how they change with the row."""
        assert self._fold is not None and self.posterior is not None
        inputs = gather(table, positions)
        values = self.posterior.mean.float()[owner]
        _, jacobian = self._fold.slots.jacobian(values, inputs)
        slope = jacobian[:, 0]
        variance = torch.einsum("mp,mpq,mq->m", slope, self.posterior.covariance[owner], slope)
        return variance.clamp_min(0).sqrt().numpy() * self._trained.target.scale[0]


def fold_in(
    trained: Trained,
    entity: str,
    fold: FoldIn | None,
    events: Source,
    *,
    is_positive: np.ndarray,
    attributes: Source | None = None,
) -> Newcomers:
    """Give users or items rows by their events, without training anew.

    Whoever has training events already is found anew from these and the given ones together.

    Args:
        trained: The model.
        entity: `user` or `item`.
        fold: What finds rows; None for a model that has none.
        events: Their events; without the newcomers' id column they are all of one newcomer.
        is_positive: `(N,)`: which events count, the others being seen alone.
        attributes: Attributes by id; those of the entity's table otherwise.

    Raises:
        DataError: A column is missing or of another type than in training.
    """
    known = trained.encoder.entities[entity]
    events, shown = _with_ids(trained, entity, events, attributes)
    source = _newcomers(trained, entity, events, attributes)
    events, is_positive = _with_past(trained, entity, source, events, is_positive)
    missing = [name for name in trained.encoder.event_sources if name not in events.frame]
    if missing:
        events = Source(events.frame.assign(**dict.fromkeys(missing)), events.name)
    table = trained.encoder.encode(events, requests={entity: source})
    counted = torch.from_numpy(np.flatnonzero(is_positive))
    target = None
    if trained.target.kind != "implicit":
        target = encode_target(trained.target, events)
    n = len(source.frame)
    posterior = None
    if fold is not None:
        learnt = Table(
            {name: rows[counted] for name, rows in table.rows.items()},
            select(table.events, counted),
            table.entities,
            None if target is None else target[counted],
        )
        posterior = fold.solve(learnt, torch.arange(1, n + 1))
    owner = table.rows[entity].numpy().astype(np.int64) - 1
    other = table.rows[_OTHER[entity]].numpy().astype(np.int64)
    counts = np.bincount(owner[is_positive], minlength=n)
    has_attributes = any(plan.table == entity for plan, _ in trained.encoder.columns)
    without = "attributes" if has_attributes else "average"
    if fold is None and not isinstance(trained.model, ReadsHistory):
        counts[:] = 0
    basis = [f"{c} event{'s' if c != 1 else ''}" if c else without for c in counts]
    ids = source.frame[known.plan.id].tolist()
    return Newcomers(
        trained,
        entity,
        source,
        fold=fold,
        posterior=posterior,
        basis=basis,
        owner=owner,
        other=other,
        is_positive=is_positive,
        shown=ids if shown is None else shown,
    )


def _with_ids(
    trained: Trained, entity: str, events: Source, attributes: Source | None
) -> tuple[Source, list[Any] | None]:
    """Events with the newcomers' id column; what to show in place of an id made up for it."""
    known = trained.encoder.entities[entity]
    column = known.plan.id
    if column in events.frame.columns:
        return events, None
    if attributes is not None and column in attributes.frame.columns:
        ids = attributes.frame[column].tolist()
        if len(ids) != 1:
            raise DataError(
                f"{events.name}: no column '{column}', which says whose events they are"
            )
        return Source(events.frame.assign(**{column: ids[0]}), events.name), None
    values = known.ids.values
    made: Any = int(values.max(initial=0)) + 1 if known.ids.kind == "int" else "new"
    while made in known.ids:
        made += "'"
    return Source(events.frame.assign(**{column: made}), events.name), ["new"]


def _newcomers(trained: Trained, entity: str, events: Source, attributes: Source | None) -> Source:
    """One row a newcomer, in the order in which they come: attributes given, or known already."""
    known = trained.encoder.entities[entity]
    column, kind = known.plan.id, known.ids.kind
    met = category_values(events.frame[column], events, kind=kind)
    ids = pd.unique(met.values[~met.is_missing])
    if attributes is not None and column in attributes.frame.columns:
        own = category_values(attributes.frame[column], attributes, kind=kind)
        ids = pd.unique(np.concatenate([own.values, ids]))
    frame = pd.DataFrame({column: ids})
    rows = known.ids.index_of(ids)
    of_table = known.with_blank_row().frame.iloc[rows].reset_index(drop=True)
    if attributes is None:
        return Source(of_table.assign(**{column: ids}), f"new {entity}s", known.is_text)
    given = attributes.frame
    if column not in given.columns:
        if len(given) != len(ids):
            raise DataError(
                f"{attributes.name}: no column '{column}', which says whose attributes they are"
            )
        given = given.assign(**{column: ids})
    given = frame.merge(given, on=column, how="left")
    for name in of_table.columns:
        if name not in given.columns:
            given[name] = of_table[name]
    return Source(given, attributes.name, attributes.is_text)


def _with_past(
    trained: Trained, entity: str, source: Source, events: Source, is_positive: np.ndarray
) -> tuple[Source, np.ndarray]:
    """The events behind those that the same users or items had in training, each pair once."""
    known = trained.encoder.entities[entity]
    rows = known.rows_of(source.frame[known.plan.id], source)
    trained_rows = rows[known.index[rows] > 0]
    if not len(trained_rows) or trained.read_events is None:
        return events, is_positive
    past = trained.events
    own = trained.encoder.encode_ids(past.source)[entity]
    is_theirs = np.isin(own, trained_rows)
    before = past.source.frame[is_theirs]
    frame = pd.concat([before, events.frame], ignore_index=True)
    positive = np.concatenate([past.is_positive[is_theirs], is_positive])
    pair = [e.plan.id for name, e in trained.encoder.entities.items() if name in _OTHER]
    is_last = ~frame.duplicated(pair, keep="last").to_numpy()
    return Source(frame[is_last].reset_index(drop=True), events.name), positive[is_last]


def _of_newcomers(table: Table, entity: str, inputs: Inputs, positions: Tensor) -> Table:
    """The newcomers' rows of a table, with their columns."""
    blank = select(table.entities[entity].inputs, torch.zeros(1, dtype=torch.int64))
    return Table(
        {name: rows[positions] for name, rows in table.rows.items()},
        select(table.events, positions),
        {**table.entities, entity: EntityTable(stack(blank, inputs))},
    )


def _overwritten(column: pd.Series[Any], places: np.ndarray, values: Any) -> np.ndarray:
    found = column.to_numpy(copy=True)
    found[places] = values
    return found
