"""From frames with external ids to tables of numbers; fitted on training rows only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.tables import EVENT
from tabcf.data.batches import join, select
from tabcf.data.encoded import ROLES, inputs_of, layout_of, left_out_of
from tabcf.data.encodings import (
    Encoding,
    encoding_from_json,
)
from tabcf.data.entities import Entity, EntityPlan, build_entity
from tabcf.data.fitting import FittedColumn, fit_columns
from tabcf.data.plans import (
    ColumnPlan,
    Frames,
    Maker,
    training_frames,
)
from tabcf.data.sources import Source
from tabcf.data.states import joined, split
from tabcf.data.values import category_values
from tabcf.data.vocabulary import Vocabulary
from tabcf.errors import DataError

__all__ = ["Encoder", "FittedColumn"]


class Encoder:
    """Frozen vocabularies, numbers' scales and entity tables.

    Columns are ordered user, item, event, then further entities, which are on the event's side.
    `n_fitted` has the cardinalities that the model was first fitted with, of columns that have
    grown.
    """

    def __init__(
        self,
        columns: Sequence[FittedColumn],
        entities: Mapping[str, Entity],
        *,
        n_fitted: Mapping[str, int] | None = None,
    ) -> None:
        self._columns = tuple(columns)
        self._n_fitted = dict(n_fitted or {})
        self._known = {fitted.plan.key: fitted.known for fitted in columns if fitted.known}
        self._plans = {fitted.plan.key: fitted.plan for fitted in columns}
        self._states = {fitted.plan.key: fitted.state for fitted in columns}
        roles_first = sorted(entities, key=lambda name: name not in ROLES)
        if "user" in entities and "item" in entities:
            roles_first = [*ROLES, *roles_first[2:]]
        self.entities: dict[str, Entity] = {name: entities[name] for name in roles_first}
        self._ids = {name: entity.plan.id for name, entity in self.entities.items()}
        self._entity_columns = self._entity_maker(is_training=False)
        self.tables: dict[str, EntityTable] = {
            name: self._entity_table(name, self._entity_columns, entity.with_blank_row())
            for name, entity in self.entities.items()
        }
        self.layout = layout_of(self._columns, self.entities, self._n_fitted)

    @classmethod
    def fit(
        cls,
        events: Source,
        plans: Iterable[ColumnPlan],
        *,
        entities: Mapping[str, tuple[EntityPlan, Source | None]] | None = None,
        on_share: Callable[[float], None] | None = None,
    ) -> Encoder:
        """Learn vocabularies and scales from `events`, which must be training rows only.

        An entity's attributes are learnt from those of its rows that have training events, each
        counted once. `on_share` is told by the way how much of it is done.
        """
        plans, entities = tuple(plans), entities or {}
        step = _steps(len(entities) + len(plans), on_share)
        built = {}
        for name, (entity_plan, own) in entities.items():
            built[name] = build_entity(entity_plan, own, events)
            step()
        frames = training_frames(events, built)
        return cls(fit_columns(plans, events, built, frames, step=step), built)

    def encode(
        self,
        events: Source,
        *,
        is_training: bool = False,
        requests: Mapping[str, Source] | None = None,
    ) -> Table:
        """Encode events; columns are found by name.

        With `is_training` they are the training rows: columns made from training events leave
        each row's own event out. `requests` has tables of entities, with their ids, that stand in
        for the entities' own, as those of new users do; the events' rows are then those of
        these tables, 1 being the first.

        Raises:
            DataError: A column is missing, or its values are of another type than in training.
        """
        events.require([*self._ids.values(), *self.event_sources])
        rows = self.encode_ids(events, without=requests or ())
        entity_columns = self._training_columns if is_training else self._entity_columns
        tables = self.training_tables if is_training else self.tables
        standing: dict[str, tuple[pd.DataFrame, np.ndarray]] = {}
        for name, source in (requests or {}).items():
            standing[name] = self._request(name, source)
            rows[name] = self._rows_among(name, source, events)
        frames = self._frames(events.frame, rows, requests=standing, is_training=is_training)
        if standing:
            entity_columns = self._maker(frames)
            tables = dict(tables)
            for name, source in (requests or {}).items():
                with_blank = Source(standing[name][0], source.name, is_text=source.is_text)
                tables[name] = self._entity_table(name, entity_columns, with_blank)
        maker = self._maker(frames, entity_columns=entity_columns)
        return Table(
            rows={name: torch.from_numpy(row) for name, row in rows.items()},
            events=inputs_of(self._columns, EVENT, maker, events, leading=None),
            entities=tables,
            left_out=left_out_of(self._columns, self.layout, maker) if is_training else {},
        )

    def encode_ids(self, events: Source, *, without: Collection[str] = ()) -> dict[str, np.ndarray]:
        """Rows `(N,)` int32 of events, of each entity but some; 0 for an unknown id."""
        return {
            name: entity.rows_in(events)
            for name, entity in self.entities.items()
            if name not in without
        }

    def encode_entities(self, name: str, source: Source) -> EntityTable:
        """Encode attributes of an entity's rows given by a request; row 0 is the unknown one.

        An id column is optional; a known id brings its own embedding. Attribute columns that
        are not given count as missing.
        """
        frame, index = self._request(name, source)
        frames = Frames(pd.DataFrame(), {name: frame}, {}, {name: index}, self._ids)
        maker = self._maker(frames)
        with_blank = Source(frame, source.name, is_text=source.is_text)
        return self._entity_table(name, maker, with_blank)

    @property
    def event_sources(self) -> list[str]:
        """Columns that an event must bring for its own columns, ids apart."""
        return list(
            dict.fromkeys(
                column
                for fitted in self._columns
                for table, column in fitted.plan.raw
                if table == EVENT
            )
        )

    @property
    def columns(self) -> list[tuple[ColumnPlan, Encoding]]:
        """Every column that the model receives, with its encoding."""
        return [(f.plan, f.encoding) for f in self._columns if f.encoding is not None]

    def request_columns(self, name: str) -> list[str]:
        """What a request may give of an entity: its id, and what its columns are made from."""
        needed = {
            column for plan in self._plans.values() for table, column in plan.raw if table == name
        }
        return list(dict.fromkeys([self.entities[name].plan.id, *sorted(needed)]))

    def events_with(
        self,
        context: Mapping[str, Any],
        users: np.ndarray,
        *,
        attributes: Source | None = None,
        is_shared: bool = False,
    ) -> Inputs:
        """Event columns of one request a user, all bringing the same values and nothing else.

        A column that is not given counts as missing: its category is unknown, its number the
        training median.

        Args:
            context: Values by the column that is read, such as `timestamp`, or by the made
                column itself, such as `daypart`.
            users: `(n,)` the users' rows; all 0 where the run has no users.
            attributes: The users' attributes where these came with the request.
            is_shared: Whether the context is another model's too, and names what that one reads.

        Raises:
            DataError: The context names something that no event column is made from, or a column
                is made from what is the item's, which differs from item to item.
        """
        for plan in self._plans.values():
            if plan.table == EVENT and "item" in plan.tables:
                raise DataError(
                    f"the column '{plan.key}' is made from the item's columns among others, so it "
                    "differs from item to item; such a run predicts events, it does not list items"
                )
        n = len(users)
        made = [plan for plan in self._plans.values() if plan.table == EVENT]
        # A plugin's column that only serves others goes by its bare name where that is free.
        own = {plan.name: plan for plan in sorted(made, key=lambda plan: plan.is_input)}
        own = {name: plan for name, plan in own.items() if name not in self.event_sources}
        further = [name for name in self.entities if name not in ROLES]
        columns = [*self.event_sources, *(self._ids[name] for name in further)]
        for name in context:
            if name not in columns and name not in own and not is_shared:
                known = ", ".join([*columns, *own]) or "none"
                raise DataError(f"context: no event column reads '{name}'; known: {known}")
        frame = pd.DataFrame(
            {name: pd.Series([context.get(name)] * n) for name in columns}, index=range(n)
        )
        source = Source(frame, "context", is_text=True)
        rows = {name: np.zeros(n, dtype=np.int32) for name in self.entities}
        for name in further:
            rows[name] = self.entities[name].rows_of(frame[self._ids[name]], source)
        requests = {}
        if attributes is not None:
            requests["user"] = self._request("user", attributes)
            rows["user"] = np.arange(1, n + 1, dtype=np.int32)
            frame[self._ids["user"]] = requests["user"][0][self._ids["user"]].iloc[1:].tolist()
        elif "user" in self.entities:
            rows["user"] = users
            frame[self._ids["user"]] = self.entities["user"].ids.values_of(users)
        frames = self._frames(frame, rows, requests=requests)
        given = {
            own[name].key: pd.Series([value] * n) for name, value in context.items() if name in own
        }
        maker = self._maker(
            frames,
            entity_columns=self._maker(frames) if requests else self._entity_columns,
            given=given,
        )
        inputs = inputs_of(self._columns, EVENT, maker, source, leading=None)
        others = [
            select(self.tables[name].inputs, torch.from_numpy(rows[name])) for name in further
        ]
        return join(inputs, *others)

    def to_json(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What the columns learnt: plain values and arrays; the plans and entities apart."""
        columns: dict[str, Any] = {}
        arrays: dict[str, np.ndarray] = {}
        for fitted in self._columns:
            state, found = split(fitted.state, fitted.plan.key)
            arrays |= found
            encoding = None if fitted.encoding is None else fitted.encoding.to_json()
            table = fitted.plan.table
            columns[fitted.plan.key] = {"table": table, "state": state, "encoding": encoding}
            if fitted.known:
                columns[fitted.plan.key]["known"] = dict(fitted.known)
        grown = {"n_fitted": self._n_fitted} if self._n_fitted else {}
        return {"columns": columns, **grown}, arrays

    @classmethod
    def from_json(
        cls,
        state: dict[str, Any],
        arrays: Mapping[str, np.ndarray],
        plans: Iterable[ColumnPlan],
        entities: Mapping[str, Entity],
    ) -> Encoder:
        """The encoder that `to_json` described, over the same plans and entity tables."""
        columns = []
        for plan in plans:
            saved = state["columns"][plan.key]
            encoding = saved["encoding"] and encoding_from_json(saved["encoding"])
            state_of = joined(saved["state"], arrays)
            columns.append(FittedColumn(plan, state_of, encoding, saved.get("known", {})))
        return cls(columns, entities, n_fitted=state.get("n_fitted"))

    @property
    def fitted(self) -> tuple[FittedColumn, ...]:
        """All columns with what they learnt, in the order of the plans."""
        return self._columns

    @property
    def n_fitted(self) -> dict[str, int]:
        """The cardinality that each column was first fitted with, where it has grown since."""
        return dict(self._n_fitted)

    def made(self, events: Source) -> dict[str, tuple[pd.Series[Any], Source]]:
        """The values of each encoded column before they are encoded, and what to call their rows.

        The events' own columns have a row for each event, an entity's one for each of its rows,
        behind the blank one.
        """
        frames = self._frames(events.frame, self.encode_ids(events))
        maker = self._maker(frames, entity_columns=self._entity_columns)
        return {
            plan.key: (
                maker.make(plan),
                events if plan.table == EVENT else self.entities[plan.table].with_blank_row(),
            )
            for plan, _ in self.columns
        }

    @cached_property
    def _training_columns(self) -> Maker:
        """The entities' columns as training rows see them, their own events left out."""
        if any(plan.definition.leaves_out_own for plan in self._plans.values()):
            return self._entity_maker(is_training=True)
        return self._entity_columns

    @cached_property
    def training_tables(self) -> dict[str, EntityTable]:
        """The entities as training rows see them, with columns that leave their own events out."""
        maker = self._training_columns
        if maker is self._entity_columns:
            return self.tables
        return {
            name: self._entity_table(name, maker, entity.with_blank_row())
            for name, entity in self.entities.items()
        }

    def _entity_maker(self, *, is_training: bool) -> Maker:
        frames = self._frames(pd.DataFrame(), {}, is_training=is_training)
        return self._maker(frames)

    def _maker(
        self,
        frames: Frames,
        *,
        entity_columns: Maker | None = None,
        given: Mapping[str, pd.Series[Any]] | None = None,
    ) -> Maker:
        return Maker(
            frames,
            self._plans,
            self._states,
            entity_columns=entity_columns,
            given=given,
            known=self._known,
        )

    def _frames(
        self,
        events: pd.DataFrame,
        rows: Mapping[str, np.ndarray],
        *,
        is_training: bool = False,
        requests: Mapping[str, tuple[pd.DataFrame, np.ndarray]] | None = None,
    ) -> Frames:
        """Events beside all entities; `requests` has tables that stand in for an entity's own."""
        frames = {name: entity.with_blank_row().frame for name, entity in self.entities.items()}
        index = {name: entity.index for name, entity in self.entities.items()}
        for name, (frame, own) in (requests or {}).items():
            frames[name], index[name] = frame, own
        return Frames(events, frames, rows, index, self._ids, is_training=is_training)

    def _rows_among(self, name: str, source: Source, events: Source) -> np.ndarray:
        """`(N,)` int32: whose row of a request's table each event is of; 0 for none of them."""
        entity = self.entities[name]
        column, kind = entity.plan.id, entity.ids.kind
        own = category_values(source.frame[column], source, kind=kind)
        return Vocabulary(own.values, kind=kind).encode(
            category_values(events.frame[column], events, kind=kind)
        )

    def _request(self, name: str, source: Source) -> tuple[pd.DataFrame, np.ndarray]:
        """A request's attributes behind a blank row, and each row's embedding row."""
        entity, frame, columns = self.entities[name], source.frame, self.request_columns(name)
        if not set(columns) & set(frame.columns):
            known = ", ".join(columns)
            raise DataError(f"{source.name}: expected at least one of the columns: {known}")
        index = np.zeros(len(frame) + 1, dtype=np.int32)
        if entity.plan.id in frame.columns:
            index[1:] = entity.index[entity.rows_of(frame[entity.plan.id], source)]
        if list(frame.columns) != columns:
            frame = frame.reindex(columns=columns)
        # Label -1 is in no frame, so that its row is blank.
        complete = frame.reindex(pd.RangeIndex(-1, len(frame)))
        complete.index = pd.RangeIndex(len(complete))
        return complete, index

    def _entity_table(self, name: str, maker: Maker, source: Source) -> EntityTable:
        return EntityTable(
            inputs_of(self._columns, name, maker, source, leading=maker.frames.index[name])
        )


def _steps(n: int, on_share: Callable[[float], None] | None) -> Callable[[], None]:
    """What says after each of n steps which share of them is done."""
    done = iter(range(1, n + 1))

    def step() -> None:
        if on_share is not None:
            on_share(next(done) / n)

    return step
