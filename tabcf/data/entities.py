"""Entities: who or what an event refers to by an id, with one row of attributes each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.distinct import counts_of
from tabcf.data.sources import Source
from tabcf.data.values import CategoryValues, category_values, id_values
from tabcf.data.vocabulary import Vocabulary
from tabcf.errors import DataError

__all__ = ["Entity", "EntityPlan", "build_entity", "count_events"]


@dataclass(frozen=True, slots=True)
class EntityPlan:
    """An entity as the user declared it."""

    name: str
    id: str
    label: str | None = None


@dataclass(frozen=True)
class Entity:
    """Everyone known: those in the entity's table, then those met only in training events.

    Row 0 stands for somebody unknown. `frame` has the attributes of rows 1, 2, …; `ids` maps an
    id to its row; `index` `(R,)` int32 maps a row to its embedding row, 0 without training
    events; `n_events` `(R,)` int64 counts a row's training events.
    """

    plan: EntityPlan
    frame: pd.DataFrame
    ids: Vocabulary
    n_events: np.ndarray
    is_text: bool = False

    def __len__(self) -> int:
        """Number of rows, row 0 included."""
        return len(self.ids)

    @cached_property
    def index(self) -> np.ndarray:
        """`(R,)` int32: embedding row of each row, numbered in row order from 1; 0 untrained."""
        is_trained = self.n_events > 0
        return np.where(is_trained, np.cumsum(is_trained), 0).astype(np.int32)

    @cached_property
    def row_of_index(self) -> np.ndarray:
        """`(max index + 1,)` int64: the row behind each embedding row; row 0 behind index 0."""
        return np.concatenate([[0], np.flatnonzero(self.index)])

    @cached_property
    def labels(self) -> list[str] | None:
        """A text for each row, None without a label column."""
        if self.plan.label is None:
            return None
        shown = self.frame[self.plan.label].astype(object)
        return ["", *("" if pd.isna(value) else str(value) for value in shown)]

    def rows_of(self, series: pd.Series[Any], source: Source) -> np.ndarray:
        """`(N,)` int32 rows of ids; 0 for a missing or unknown one."""
        return self.ids.encode(category_values(series, source, kind=self.ids.kind))

    def rows_in(self, source: Source) -> np.ndarray:
        """`(N,)` int32 rows of the ids in a source's column of them; 0 for an unknown one."""
        return self.ids.encode(id_values(source, self.plan.id, kind=self.ids.kind))

    def rows_of_ids(self, ids: Iterable[Any], *, is_text: bool = False) -> np.ndarray:
        """`(N,)` int32 rows of ids that a caller names; 0 for an unknown one.

        With `is_text` they come from a command line and are read as this entity's ids are.
        """
        series = pd.Series(list(ids), name=self.plan.id)
        return self.rows_of(series, Source(series.to_frame(), self.plan.name, is_text=is_text))

    def row_named(self, value: Any, *, is_text: bool = False) -> int:
        """The row of an id or, where no id is so named, of a label such as a title.

        Raises:
            DataError: Neither is known, or several rows have that label; lists what there is.
        """
        text = str(value)
        labelled = self._rows_by_label.get(text.casefold(), []) if isinstance(value, str) else []
        is_id_type = self.ids.kind == "str" or not isinstance(value, str) or is_text
        row = int(self.rows_of_ids([value], is_text=is_text)[0]) if is_id_type else 0
        if row:
            return row
        if len(labelled) == 1:
            return labelled[0]
        if labelled:
            raise DataError(f"{self.plan.name} {text!r} is ambiguous: {self._listed(labelled)}")
        if not is_id_type and self.labels is None:
            # Says which type of id is expected.
            self.rows_of_ids([value])
        near = difflib.get_close_matches(text.casefold(), self._rows_by_label, n=3)
        rows = [row for label in near for row in self._rows_by_label[label]]
        hint = f"; did you mean {self._listed(rows)}?" if rows else ""
        raise DataError(f"{self.plan.id} {value!r} is unknown{hint}")

    def row_or_unknown(self, value: Any, *, is_text: bool = False) -> int:
        """The row of an id or a label; 0 for an id that nobody has.

        Raises:
            DataError: It is neither an id nor a known label, or several rows have that label.
        """
        is_text_for_number = self.ids.kind != "str" and isinstance(value, str) and not is_text
        labelled = isinstance(value, str) and str(value).casefold() in self._rows_by_label
        if not is_text_for_number and not labelled:
            found = self._read(value, is_text=is_text)
            if not found.is_missing[0]:
                return int(self.ids.encode(found)[0])
        return self.row_named(value, is_text=is_text)

    def id_of(self, value: Any, *, is_text: bool = False) -> Any:
        """An id, known or not, as this entity's own are: a whole number or a text.

        Raises:
            DataError: It is of the other type.
        """
        return self._read(value, is_text=is_text).values.tolist()[0]

    def _read(self, value: Any, *, is_text: bool) -> CategoryValues:
        series = pd.Series([value], name=self.plan.id)
        source = Source(series.to_frame(), self.plan.name, is_text=is_text)
        return category_values(series, source, kind=self.ids.kind)

    @cached_property
    def _rows_by_label(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, label in enumerate(self.labels or []):
            if label:
                found.setdefault(label.casefold(), []).append(row)
        return found

    def _listed(self, rows: list[int]) -> str:
        """Rows with their ids and attributes, in one line."""
        shown = []
        for row in rows:
            attributes = self.frame.iloc[row - 1].drop(self.plan.id).dropna()
            values = ", ".join(_plain(value) for value in attributes)
            shown.append(f"{self.plan.id} {self.ids.values_of([row])[0]} ({values})")
        return "; ".join(shown)

    def with_blank_row(self) -> Source:
        """The attributes of all rows, behind a row 0 without any."""
        return self._with_blank_row

    @cached_property
    def _with_blank_row(self) -> Source:
        frame = self.frame.reindex(range(-1, len(self.frame))).reset_index(drop=True)
        return Source(frame, self.plan.name, is_text=self.is_text)


def build_entity(plan: EntityPlan, table: Source | None, events: Source) -> Entity:
    """Join an entity's own table with the ids of the training events.

    Raises:
        DataError: The table has an id twice, a missing one, or ids of another type than the
            events.
    """
    events.require([plan.id])
    met = id_values(events, plan.id)
    kind = met.kind
    values, counts = met.counted()
    if table is None:
        ids = Vocabulary(values, kind=kind)
        frame = pd.DataFrame({plan.id: ids.values})
        return Entity(plan, frame, ids, np.concatenate([[0], counts]))
    table.require([plan.id, *([plan.label] if plan.label else [])])
    own = category_values(table.frame[plan.id], table, kind=kind)
    if own.is_missing.any():
        first = int(np.argmax(own.is_missing))
        raise DataError(
            f"{table.name}: column '{plan.id}': {int(own.is_missing.sum()):,} of "
            f"{len(own.values):,} rows have no usable id; first at {table.place(first)}"
        )
    is_repeat = pd.Series(own.values).duplicated().to_numpy()
    if is_repeat.any():
        first = int(np.argmax(is_repeat))
        raise DataError(
            f"{table.name}: column '{plan.id}': expected each id once; "
            f"{own.values.tolist()[first]!r} comes again at {table.place(first)}"
        )
    own_ids = Vocabulary(own.values, kind=kind)
    new = values[own_ids.index_of(values) == 0]
    ids = Vocabulary(np.concatenate([own_ids.values, new]), kind=kind)
    frame = table.frame
    if len(new):
        frame = pd.concat([frame, pd.DataFrame({plan.id: new})], ignore_index=True)
    n_events = np.zeros(len(ids), dtype=np.int64)
    n_events[ids.index_of(values)] = counts
    return Entity(plan, frame, ids, n_events, is_text=table.is_text)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def count_events(ids: Vocabulary, rows: np.ndarray) -> np.ndarray:
    """`(R,)` int64: how many of `(N,)` events' rows are each entity's; none are nobody's."""
    counts = counts_of(rows, len(ids))
    counts[0] = 0
    return counts
