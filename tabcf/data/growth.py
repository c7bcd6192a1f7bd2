"""Entities and events with further ones behind them; what was there keeps its embedding rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.entities import Entity
from tabcf.data.sources import Source
from tabcf.data.values import read_as
from tabcf.data.vocabulary import Vocabulary
from tabcf.errors import DataError

__all__ = ["appended", "grown_entity"]


def appended(frame: pd.DataFrame, source: Source, columns: list[str]) -> pd.DataFrame:
    """Rows of a source behind a frame's, as columns of the frame's own types.

    Args:
        frame: Its columns are the result's.
        source: A column of the frame that it does not have is missing there.
        columns: Those that it must have.

    Raises:
        DataError: A column is missing, or numbers stand where the frame has text, or the other way
            round.
    """
    source.require(columns)
    n_own, n = len(frame), len(source.frame)
    joined: dict[str, Any] = {}
    for name in frame.columns:
        own = frame[name].reset_index(drop=True)
        if name not in source.frame.columns or source.frame[name].isna().all():
            joined[name] = own.reindex(range(n_own + n))
            continue
        new = _alike(source.frame[name].reset_index(drop=True), own, source)
        if own.isna().all():
            new.index = pd.RangeIndex(n_own, n_own + n)
            joined[name] = new.reindex(range(n_own + n))
        else:
            joined[name] = pd.concat([own, new], ignore_index=True)
    return pd.DataFrame(joined, index=range(n_own + n))


def grown_entity(
    entity: Entity, events: Source, *, table: Source | None = None, columns: list[str] | None = None
) -> tuple[Entity, np.ndarray]:
    """An entity with those whom further events or a table name, and the events counted.

    Whoever has training events keeps their embedding row. Attributes of those who were known are
    what they were.

    Args:
        entity: Everyone known so far.
        events: Further training events.
        table: Attributes of further ones by id.
        columns: What the table must have beside the id and the label.

    Returns:
        The entity, and `(R,)` int64: the new row of each row.

    Raises:
        DataError: An id is of another type than in training, or the table has one twice, lacks one
            or lacks a column.
    """
    plan, kind = entity.plan, entity.ids.kind
    events.require([plan.id])
    met = read_as(events.frame[plan.id], events, kind=kind)
    ids, frame = entity.ids, entity.frame
    if table is not None:
        table.require([plan.id, *([plan.label] if plan.label else []), *(columns or [])])
        own = read_as(table.frame[plan.id], table, kind=kind)
        _check_ids(own.is_missing, own.values, plan.id, table)
        is_new = ids.encode(own) == 0
        ids = Vocabulary(np.concatenate([ids.values, own.values[is_new]]), kind=kind)
        new = table.frame[is_new].assign(**{plan.id: own.values[is_new]})
        frame = appended(frame, Source(new, table.name, table.is_text), [])
    with_events = ids.grown(met)
    if len(with_events) > len(ids):
        new_ids = pd.DataFrame({plan.id: with_events.values[len(ids) - 1 :]})
        frame, ids = appended(frame, Source(new_ids, events.name), []), with_events
    counts = np.zeros(len(ids), dtype=np.int64)
    counts[: len(entity)] = entity.n_events
    found = np.bincount(ids.encode(met), minlength=len(ids))
    found[0] = 0
    # Embedding rows are numbered in row order, so whoever gets one now moves behind all others.
    is_first = (counts == 0) & (found > 0)
    order = np.concatenate([np.flatnonzero(~is_first), np.flatnonzero(is_first)])
    moved = np.empty(len(ids), dtype=np.int64)
    moved[order] = np.arange(len(ids))
    grown = Entity(
        plan,
        frame.iloc[order[1:] - 1].reset_index(drop=True),
        Vocabulary(ids.values[order[1:] - 1], kind=kind),
        (counts + found)[order],
        is_text=entity.is_text,
    )
    return grown, moved[: len(entity)]


def _check_ids(is_missing: np.ndarray, values: np.ndarray, column: str, table: Source) -> None:
    """Raise unless each row of a table has an id of its own."""
    is_repeat = pd.Series(values).duplicated().to_numpy()
    for is_bad, what in ((is_missing, "has none"), (is_repeat, "has one that came before")):
        if is_bad.any():
            first = int(np.argmax(is_bad))
            raise DataError(
                f"{table.name}: column '{column}': expected an id of its own in each row; "
                f"{table.place(first)} {what}"
            )


def _alike(new: pd.Series[Any], own: pd.Series[Any], source: Source) -> pd.Series[Any]:
    """A column that is text or numbers as the frame's own is."""
    is_number = pd.api.types.is_numeric_dtype(new.dtype)
    was_number = pd.api.types.is_numeric_dtype(own.dtype)
    is_plain = all(
        pd.api.types.is_numeric_dtype(s.dtype)
        or pd.api.types.is_string_dtype(s.dropna().infer_objects())
        for s in (new, own)
    )
    if is_number == was_number or own.isna().all() or not is_plain:
        return new
    if source.is_text and is_number:
        return new.map(lambda v: str(int(v)) if float(v).is_integer() else str(v)).where(
            new.notna(), None
        )
    expected, got = ("numbers", "text") if was_number else ("text", "numbers")
    raise DataError(
        f"{source.name}: column '{new.name}': expected {expected} as in training, got {got} such "
        f"as {new.dropna().iloc[0]!r}"
    )
