"""Columns as they are planned, and how they are made from frames, one from another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabcf.contracts.definitions import ColumnDefinition
from tabcf.contracts.tables import EVENT, Tables
from tabcf.data.entities import Entity
from tabcf.data.sources import Source, read_beside
from tabcf.errors import PluginError, TabcfError

__all__ = ["ColumnPlan", "Frames", "Maker", "in_order", "plugin_errors", "training_frames"]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column: what it is called, whose rows it has and how it is made.

    Attributes:
        key: Its name for the model, such as `cohort` or `user.age`.
        name: Its name where it is declared.
        table: `"event"`, or the entity that it belongs to.
        definition: Its kind.
        options: The kind's options.
        raw: What it reads itself: pairs of a table and one of the table's columns.
        reads: The keys of other columns that it reads, by its own reference to each.
        tables: The tables that it comes from, through other columns or on its own.
        is_input: Whether the model receives it; the others only serve to make further ones.
        folder: Where look-up files of its options are.
    """

    key: str
    name: str
    table: str
    definition: ColumnDefinition
    options: Any
    raw: tuple[tuple[str, str], ...] = ()
    reads: Mapping[str, str] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()
    is_input: bool = True
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """What columns are made from.

    Attributes:
        events: The events, N rows; none where only an entity's columns are made.
        entities: Each entity's table behind its blank row.
        rows: Each event's row in each entity's table, `(N,)`.
        index: The embedding row of each row of an entity's table.
        ids: Each entity's id column.
        is_training: Whether the rows are the training rows themselves.
    """

    events: pd.DataFrame
    entities: Mapping[str, pd.DataFrame]
    rows: Mapping[str, np.ndarray]
    index: Mapping[str, np.ndarray]
    ids: Mapping[str, str]
    is_training: bool = False

    def event_index(self) -> dict[str, np.ndarray]:
        """Each event's embedding rows."""
        return {name: self.index[name][rows] for name, rows in self.rows.items()}


@contextmanager
def plugin_errors(plan: ColumnPlan) -> Iterator[None]:
    """Say which column it was whose functions failed.

    Raises:
        PluginError: Something else than an error of tabcf's own was raised.
    """
    try:
        yield
    except TabcfError:
        raise
    except Exception as error:
        what = f"column '{plan.name}' ({plan.definition.name})"
        raise PluginError(f"{what} failed: {type(error).__name__}: {error}") from error


class Maker:
    """Makes columns from one set of frames, each once.

    Args:
        frames: What they are made from.
        plans: All columns by key.
        states: What they learnt, by key; may grow while columns are fitted.
        entity_columns: Makes the entities' columns where `frames` are events.
        given: Values of columns that are not made, by key.
        known: By a column's key how many embedding rows each entity had when the column was
            fitted; entities that came later are unknown to it.
    """

    def __init__(
        self,
        frames: Frames,
        plans: Mapping[str, ColumnPlan],
        states: Mapping[str, Any],
        *,
        entity_columns: Maker | None = None,
        given: Mapping[str, pd.Series[Any]] | None = None,
        known: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        self.frames = frames
        self._plans = plans
        self._states = states
        self._entity_columns = entity_columns
        self._made: dict[str, pd.Series[Any]] = dict(given or {})
        self._known = known or {}

    def make(self, plan: ColumnPlan) -> pd.Series[Any]:
        """The column's values, one per row of its own table."""
        if plan.key not in self._made:
            elsewhere = self._entity_columns
            if elsewhere is not None and plan.table != EVENT:
                self._made[plan.key] = elsewhere.make(plan)
            else:
                state = self._states.get(plan.key)
                tables = self.tables(plan)
                with plugin_errors(plan):
                    made = plan.definition.apply(tables, plan.options, state)
                self._made[plan.key] = _checked(made, plan, tables).rename(plan.name)
        return self._made[plan.key]

    def tables(self, plan: ColumnPlan, *, here: str | None = None) -> Tables:
        """What a column's functions get; `here` is another table than the column's own."""
        frames, here = self.frames, here or plan.table
        derived = {
            reference: (self._plans[key].table, self.make(self._plans[key]))
            for reference, key in plan.reads.items()
        }
        known = self._known.get(plan.key, {})
        event_index = {name: _met(i, known.get(name)) for name, i in frames.event_index().items()}
        is_event = here == EVENT
        return Tables(
            here,
            frames.events,
            frames.entities,
            rows=frames.rows,
            index=event_index if is_event else {here: _met(frames.index[here], known.get(here))},
            event_index=event_index,
            ids=frames.ids,
            derived=derived,
            is_training=frames.is_training,
            read=lambda path: read_beside(path, plan.folder),
        )


def _met(index: np.ndarray, n: int | None) -> np.ndarray:
    """Embedding rows, those from n on as unknown."""
    return index if n is None else np.where(index < n, index, 0)


def _checked(made: Any, plan: ColumnPlan, tables: Tables) -> pd.Series[Any]:
    """What a kind of column made, if it is a column of its table."""
    n = len(tables.events if plan.table == EVENT else tables.entities[plan.table])
    if isinstance(made, pd.Series) and len(made) == n:
        return made
    got = f"{len(made)}" if isinstance(made, pd.Series) else f"a {type(made).__name__}"
    raise PluginError(
        f"column '{plan.key}' ({plan.definition.name}): expected {n} values, one a row of "
        f"{plan.table}, got {got}"
    )


def in_order(plans: Iterable[ColumnPlan]) -> Iterator[ColumnPlan]:
    """The plans, each behind those that it reads; otherwise as they come."""
    by_key = {plan.key: plan for plan in plans}
    done: set[str] = set()
    stack = list(reversed(list(by_key)))
    while stack:
        key = stack.pop()
        if key in done:
            continue
        waiting = [read for read in by_key[key].reads.values() if read not in done]
        if waiting:
            stack += [key, *reversed(waiting)]
        else:
            done.add(key)
            yield by_key[key]


def training_frames(events: Source, entities: Mapping[str, Entity]) -> Frames:
    """The training events beside those rows of each entity that they name."""
    frames, rows, index = {}, {}, {}
    for name, entity in entities.items():
        trained = entity.row_of_index
        frames[name] = entity.with_blank_row().frame.iloc[trained].reset_index(drop=True)
        index[name] = np.arange(len(trained), dtype=np.int32)
        rows[name] = entity.index[entity.rows_of(events.frame[entity.plan.id], events)]
    ids = {name: entity.plan.id for name, entity in entities.items()}
    return Frames(events.frame, frames, rows, index, ids, is_training=True)
