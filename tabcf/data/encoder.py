"""From frames with external ids to tables of numbers; fitted on training rows only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from tabcf.contracts.definitions import ColumnDefinition
from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.layout import CategoricalColumn, ContinuousColumn, Layout, SetColumn, Side
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.tables import EVENT, Tables
from tabcf.data.batches import join, select
from tabcf.data.encodings import (
    CategoryEncoding,
    Encoding,
    NumberEncoding,
    SetEncoding,
    encoding_from_json,
)
from tabcf.data.entities import Entity, EntityPlan, build_entity
from tabcf.data.sources import Source
from tabcf.errors import DataError

__all__ = ["ColumnPlan", "Encoder"]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """A column that the model receives: its name, its table and how it is made."""

    name: str
    table: str
    definition: ColumnDefinition
    options: Any


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A planned column with what it learnt."""

    plan: ColumnPlan
    state: Any
    encoding: Encoding


class Encoder:
    """Frozen vocabularies, numbers' scales and entity tables.

    Columns are ordered user, item, event, then further entities, which are on the event's side.
    """

    def __init__(self, columns: Sequence[_Fitted], entities: Mapping[str, Entity]) -> None:
        self._columns = tuple(columns)
        roles_first = sorted(entities, key=lambda name: name not in ("user", "item"))
        if "user" in entities and "item" in entities:
            roles_first = ["user", "item", *roles_first[2:]]
        self.entities: dict[str, Entity] = {name: entities[name] for name in roles_first}
        self.tables: dict[str, EntityTable] = {
            name: self._entity_table(entity.with_blank_row(), entity.index)
            for name, entity in self.entities.items()
        }
        self.layout = self._layout()

    @classmethod
    def fit(
        cls,
        events: Source,
        plans: Iterable[ColumnPlan],
        *,
        entities: Mapping[str, tuple[EntityPlan, Source | None]] | None = None,
    ) -> Encoder:
        """Learn vocabularies and scales from `events`, which must be training rows only.

        An entity's attributes are learnt from those of its rows that have training events, each
        counted once.
        """
        built = {
            name: build_entity(plan, source, events)
            for name, (plan, source) in (entities or {}).items()
        }
        columns: list[_Fitted] = []
        for plan in plans:
            if plan.table == EVENT:
                source, is_trained = events, None
            else:
                entity = built[plan.table]
                source, is_trained = entity.with_blank_row(), entity.index > 0
            columns.append(_fit_column(plan, source, events, built, is_trained))
        return cls(columns, built)

    def encode(self, events: Source) -> Table:
        """Encode events; columns are found by name.

        Raises:
            DataError: A column is missing, or its values are of another type than in training.
        """
        needed = [entity.plan.id for entity in self.entities.values()]
        needed += self.event_sources
        events.require(needed)
        rows = self.encode_ids(events)
        tables = self._tables(EVENT, events.frame, rows)
        inputs = self._inputs(EVENT, events, tables, leading=None)
        return Table(
            rows={name: torch.from_numpy(row) for name, row in rows.items()},
            events=inputs,
            entities=self.tables,
        )

    def encode_ids(self, events: Source) -> dict[str, np.ndarray]:
        """Each entity's rows `(N,)` int32 of events; 0 for an unknown id."""
        return {
            name: entity.rows_of(events.frame[entity.plan.id], events)
            for name, entity in self.entities.items()
        }

    def encode_entities(self, name: str, source: Source) -> EntityTable:
        """Encode attributes of an entity's rows given by a request; row 0 is the unknown one.

        An id column is optional; a known id brings its own embedding. Attribute columns that
        are not given count as missing.
        """
        entity = self.entities[name]
        frame = source.frame
        needed = {column for plan in self._plans(name) for column in _sources(plan)}
        given = [c for c in frame.columns if c in needed]
        if not given and entity.plan.id not in frame.columns:
            known = ", ".join([entity.plan.id, *sorted(needed)])
            raise DataError(f"{source.name}: expected at least one of the columns: {known}")
        if entity.plan.id in frame.columns:
            index = entity.index[entity.rows_of(frame[entity.plan.id], source)]
        else:
            index = np.zeros(len(frame), dtype=np.int32)
        complete = frame.reindex(columns=[*needed])
        blank = complete.reindex(range(-1, len(frame))).reset_index(drop=True)
        with_blank = Source(blank, source.name, is_text=source.is_text)
        return self._entity_table(with_blank, np.concatenate([[0], index]), name=name)

    @property
    def event_sources(self) -> list[str]:
        """Columns that an event must bring for its own columns, ids apart."""
        return [
            column
            for fitted in self._columns
            if fitted.plan.table == EVENT
            for column in _sources(fitted.plan)
            if "." not in column
        ]

    @property
    def columns(self) -> list[tuple[ColumnPlan, Encoding]]:
        """Every planned column with its encoding."""
        return [(fitted.plan, fitted.encoding) for fitted in self._columns]

    def events_with(self, context: Mapping[str, Any], n: int) -> Inputs:
        """Event columns of n requests that bring the same values, and nothing else.

        A column that is not given counts as missing: its category is unknown, its number the
        training median.

        Raises:
            DataError: The context names something that no event column is made from.
        """
        sources = self.event_sources
        further = [e.plan.id for name, e in self.entities.items() if name not in ("user", "item")]
        for name in context:
            if name not in (*sources, *further):
                known = ", ".join((*sources, *further)) or "none"
                raise DataError(f"context: no event column reads '{name}'; known: {known}")
        given = {name: [context.get(name)] * n for name in (*sources, *further)}
        frame = pd.DataFrame({name: pd.Series(values) for name, values in given.items()})
        source = Source(frame, "context", is_text=True)
        rows = {name: np.zeros(n, dtype=np.int32) for name in self.entities}
        for name in self.entities:
            if name not in ("user", "item") and len(frame):
                rows[name] = self.entities[name].rows_of(frame[self.entities[name].plan.id], source)
        own = self._inputs(EVENT, source, self._tables(EVENT, frame, rows), leading=None, n=n)
        others = [
            select(self.tables[name].inputs, torch.from_numpy(rows[name]))
            for name in self.entities
            if name not in ("user", "item")
        ]
        return join(own, *others)

    def to_json(self) -> dict[str, Any]:
        """Everything but the definitions, the options and the entity tables."""
        return {
            "columns": {
                f"{fitted.plan.table}.{fitted.plan.name}": {
                    "state": fitted.state,
                    "encoding": fitted.encoding.to_json(),
                }
                for fitted in self._columns
            }
        }

    @classmethod
    def from_json(
        cls, state: dict[str, Any], plans: Iterable[ColumnPlan], entities: Mapping[str, Entity]
    ) -> Encoder:
        """The encoder that `to_json` described, over the same plans and entity tables."""
        columns = []
        for plan in plans:
            saved = state["columns"][f"{plan.table}.{plan.name}"]
            columns.append(_Fitted(plan, saved["state"], encoding_from_json(saved["encoding"])))
        return cls(columns, entities)

    def _plans(self, table: str) -> list[ColumnPlan]:
        return [fitted.plan for fitted in self._columns if fitted.plan.table == table]

    def _tables(self, here: str, events: pd.DataFrame, rows: Mapping[str, np.ndarray]) -> Tables:
        frames = {name: entity.with_blank_row().frame for name, entity in self.entities.items()}
        return Tables(here, events, frames, rows)

    def _entity_table(
        self, source: Source, index: np.ndarray, *, name: str | None = None
    ) -> EntityTable:
        name = name or source.name
        tables = Tables(name, pd.DataFrame(), {name: source.frame})
        return EntityTable(self._inputs(name, source, tables, leading=index))

    def _inputs(
        self,
        table: str,
        source: Source,
        tables: Tables,
        *,
        leading: np.ndarray | None,
        n: int | None = None,
    ) -> Inputs:
        """Encode one table's columns; `leading` is the entity's own index column."""
        n = len(source.frame) if n is None else n
        categories: list[np.ndarray] = [] if leading is None else [leading.astype(np.int32)]
        features: list[np.ndarray] = []
        bags: list[Bag] = []
        for fitted in self._columns:
            plan, encoding = fitted.plan, fitted.encoding
            if plan.table != table:
                continue
            series = _made(plan, fitted.state, tables)
            if isinstance(encoding, CategoryEncoding):
                categories.append(encoding.encode(series, source))
            elif isinstance(encoding, NumberEncoding):
                features.append(encoding.encode(series, source))
            else:
                bags.append(encoding.encode(series))
        x_cat = np.stack(categories, axis=1) if categories else np.zeros((n, 0), np.int32)
        x_cont = np.concatenate(features, axis=1) if features else np.zeros((n, 0), np.float32)
        return Inputs(torch.from_numpy(x_cat), torch.from_numpy(x_cont), tuple(bags))

    def _layout(self) -> Layout:
        categorical: list[CategoricalColumn] = []
        continuous: list[ContinuousColumn] = []
        bags: list[SetColumn] = []
        for table in self._table_order():
            side: Side = table if table in ("user", "item") else EVENT  # type: ignore[assignment]
            prefix = "" if table == EVENT else f"{table}."
            if table != EVENT:
                entity = self.entities[table]
                n = int(entity.index.max(initial=0)) + 1
                categorical.append(CategoricalColumn(table, side, n, entity=table))
            for fitted in self._columns:
                if fitted.plan.table != table:
                    continue
                name, encoding = prefix + fitted.plan.name, fitted.encoding
                if isinstance(encoding, CategoryEncoding):
                    categorical.append(CategoricalColumn(name, side, len(encoding.vocabulary)))
                elif isinstance(encoding, NumberEncoding):
                    continuous.append(ContinuousColumn(name, side))
                    if encoding.has_indicator:
                        continuous.append(ContinuousColumn(f"{name} is missing", side))
                else:
                    bags.append(SetColumn(name, side, len(encoding.vocabulary)))
        return Layout(tuple(categorical), tuple(continuous), tuple(bags))

    def _table_order(self) -> list[str]:
        roles = [name for name in ("user", "item") if name in self.entities]
        further = [name for name in self.entities if name not in ("user", "item")]
        return [*roles, EVENT, *further]


def _sources(plan: ColumnPlan) -> tuple[str, ...]:
    return plan.definition.sources(plan.name, plan.options)


def _made(plan: ColumnPlan, state: Any, tables: Tables) -> pd.Series[Any]:
    return plan.definition.apply(tables, plan.options, state).rename(plan.name)


def _fit_column(
    plan: ColumnPlan,
    source: Source,
    events: Source,
    entities: Mapping[str, Entity],
    is_trained: np.ndarray | None,
) -> _Fitted:
    frames = {name: entity.with_blank_row().frame for name, entity in entities.items()}
    rows = {
        name: entity.rows_of(events.frame[entity.plan.id], events)
        for name, entity in entities.items()
    }
    tables = Tables(plan.table, events.frame, frames, rows)
    source.require([column for column in _sources(plan) if "." not in column])
    state = plan.definition.fit(tables, plan.options) if plan.definition.fit else None
    series = _made(plan, state, tables)
    if is_trained is not None:
        series = series[is_trained].reset_index(drop=True)
    encoding: Encoding
    if plan.definition.output == "category":
        encoding = CategoryEncoding.fitted(series, source)
    elif plan.definition.output == "number":
        encoding = NumberEncoding.fitted(series, source)
    else:
        encoding = SetEncoding.fitted(series, getattr(plan.options, "separator", "|"))
    return _Fitted(plan, state, encoding)
