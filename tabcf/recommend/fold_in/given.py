"""What is given of newcomers: ids, attributes and events, read and checked.

Dimension letters: n newcomers, N events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tabcf.contracts.table import Table
from tabcf.data.entities import Entity
from tabcf.data.sources import Source
from tabcf.data.values import category_values
from tabcf.data.vocabulary import Vocabulary
from tabcf.data.weights import event_weights
from tabcf.errors import DataError
from tabcf.recommend.trained import Trained

__all__ = ["OTHER", "Given", "event_pairs", "read_given"]

OTHER = {"user": "item", "item": "user"}


@dataclass(frozen=True, slots=True)
class Given:
    """Newcomers with their attributes and events.

    Attributes:
        entity: `user` or `item`.
        ids: What to show of each, n.
        source: One row each: the id that the encoder goes by, and attributes.
        events: Their events, behind those that the same ones had in training.
        is_positive: `(N,)` booleans: which events count; the others were only seen.
    """

    entity: str
    ids: list[Any]
    source: Source
    events: Source
    is_positive: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def read_given(
    trained: Trained,
    entity: str,
    events: Source,
    *,
    is_positive: np.ndarray,
    attributes: Source | None = None,
) -> Given:
    """Put together what is known of newcomers.

    Args:
        trained: The model that they are new to.
        entity: `user` or `item`.
        events: Their events; without the newcomers' id column they are all of one newcomer.
            Missing event columns count as unknown.
        is_positive: `(N,)` booleans: which events count.
        attributes: Attributes by id; those of the entity's table otherwise. Without an id column
            its one row is the one newcomer's.

    Raises:
        DataError: Nobody is given, an id is missing, is of another type than in training or has
            attributes twice, or a column is missing; or there is no such entity.
    """
    if entity not in OTHER:
        raise DataError(f"entity: expected user or item, got {entity!r}")
    known = trained.encoder.entities[entity]
    column = known.plan.id
    events.require([trained.encoder.entities[OTHER[entity]].plan.id])
    if len(events.frame):
        event_weights(events, trained.weight)
    own = None
    if attributes is not None and column in attributes.frame.columns:
        own = _ids_in(attributes, known)
    shown = None
    if column in events.frame.columns:
        met = _ids_in(events, known)
        ids = pd.unique(met if own is None else np.concatenate([own, met]))
    else:
        ids = _ids_without_column(events, known, own)
        met = np.repeat(ids[:1], len(events.frame))
        events = _with(events, {column: met})
        shown = ["new"] if own is None else None
    if not len(ids):
        raise DataError(f"{events.name}: expected events, or attributes by '{column}'; got no row")
    if attributes is not None and own is None:
        wanted = trained.encoder.request_columns(entity)
        if not set(wanted) & set(attributes.frame.columns):
            names = ", ".join(wanted)
            raise DataError(f"{attributes.name}: expected at least one of the columns: {names}")
        if len(ids) != 1 or len(attributes.frame) != 1:
            raise DataError(
                f"{attributes.name}: no column '{column}', which says whose attributes the "
                f"{len(attributes.frame)} rows are"
            )
        own = ids
    source = _attributes(known, ids, attributes, own)
    events, is_positive = _with_past(trained, entity, ids, met, events, is_positive)
    missing = [name for name in trained.encoder.event_sources if name not in events.frame]
    if missing:
        events = _with(events, dict.fromkeys(missing))
    return Given(entity, shown or ids.tolist(), source, events, is_positive)


def _ids_in(source: Source, known: Entity) -> np.ndarray:
    """`(N,)` ids as the entity's own are, none of them missing."""
    column = known.plan.id
    found = category_values(source.frame[column], source, kind=known.ids.kind)
    if found.is_missing.any():
        first = int(np.argmax(found.is_missing))
        what = "whole number" if known.ids.kind == "int" else "text"
        raise DataError(
            f"{source.name}: column '{column}': expected a {what} in each row, as in training; "
            f"{int(found.is_missing.sum()):,} of {len(found.values):,} have none, first at "
            f"{source.place(first)}: {source.frame[column].iloc[first]!r}"
        )
    return found.values


def _ids_without_column(events: Source, known: Entity, own: np.ndarray | None) -> np.ndarray:
    """Whose all events are: of the one who has attributes, or of somebody without an id."""
    if own is None:
        return np.array([_free_id(known)], dtype=known.ids.values.dtype)
    if len(own) != 1 and len(events.frame):
        raise DataError(
            f"{events.name}: no column '{known.plan.id}', which says whose events they are"
        )
    return own


def _free_id(known: Entity) -> Any:
    """An id that nobody has."""
    if known.ids.kind == "int":
        return int(known.ids.values.max(initial=0)) + 1
    made = "new"
    while made in known.ids:
        made += "'"
    return made


def _attributes(
    known: Entity, ids: np.ndarray, attributes: Source | None, own: np.ndarray | None
) -> Source:
    """One row for each id: the attributes given, else those in the entity's table, else none."""
    column = known.plan.id
    table = pd.DataFrame({column: ids})
    if len(known.frame.columns) > 1:
        rows = known.ids.index_of(ids)
        table = known.with_blank_row().frame.iloc[rows].set_axis(table.index)
        table[column] = ids
    if attributes is None or own is None:
        return Source(table, f"new {known.plan.name}s", known.is_text)
    is_repeat = pd.Series(own).duplicated().to_numpy()
    if is_repeat.any():
        first = int(np.argmax(is_repeat))
        raise DataError(
            f"{attributes.name}: column '{column}': expected each id once; "
            f"{own.tolist()[first]!r} comes again at {attributes.place(first)}"
        )
    place = Vocabulary(own, kind=known.ids.kind).index_of(ids) - 1
    is_given = place >= 0
    # Label -1 is in no frame, so that its row is empty.
    frame = attributes.frame.reindex(place).reset_index(drop=True)
    for name in table.columns:
        if name not in frame.columns:
            frame[name] = table[name]
        elif not is_given.all():
            frame[name] = frame[name].where(is_given, table[name])
    return _with(replace(attributes, frame=frame, first_line=None), {column: ids})


def _with_past(
    trained: Trained,
    entity: str,
    ids: np.ndarray,
    met: np.ndarray,
    events: Source,
    is_positive: np.ndarray,
) -> tuple[Source, np.ndarray]:
    """The events behind those that the same ones had in training, but for those given again."""
    known = trained.encoder.entities[entity]
    rows = known.ids.index_of(ids)
    rows = rows[known.index[rows] > 0]
    if not len(rows) or trained.read_events is None:
        return events, is_positive
    past, other = trained.events, trained.encoder.entities[OTHER[entity]]
    values = {
        e.plan.id: category_values(events.frame[e.plan.id], events, kind=e.ids.kind)
        for e in trained.encoder.entities.values()
    }
    own_rows, other_rows = trained.event_rows[entity], trained.event_rows[OTHER[entity]]
    span = np.int64(len(other))
    again = known.ids.index_of(met) * span + other.ids.encode(values[other.plan.id])
    is_kept = np.isin(own_rows, rows) & ~np.isin(own_rows * span + other_rows, again)
    frame = past.source.frame[is_kept]
    if len(events.frame):
        columns = {name: pd.Series(v.values).mask(v.is_missing) for name, v in values.items()}
        frame = pd.concat([frame, _with(events, columns).frame])
    is_text = past.source.is_text or events.is_text
    return (
        Source(frame.reset_index(drop=True), events.name, is_text),
        np.concatenate([past.is_positive[is_kept], is_positive]),
    )


def _with(source: Source, columns: dict[str, Any]) -> Source:
    """The source with other columns; the caller's frame stays."""
    frame = source.frame.copy(deep=False)
    for name, values in columns.items():
        frame[name] = values
    return replace(source, frame=frame)


def event_pairs(table: Table, entity: str) -> tuple[np.ndarray, np.ndarray]:
    """`(N,)` int64: which newcomer each event is of, and the row of the other side."""
    owner = table.rows[entity].numpy().astype(np.int64) - 1
    return owner, table.rows[OTHER[entity]].numpy().astype(np.int64)
