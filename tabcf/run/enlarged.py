"""Everyone and everything that a grown run is to know of: entities, categories and events.

Dimension letters: N events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tabcf.data.conditions import matching
from tabcf.data.encoder import Encoder
from tabcf.data.entities import Entity
from tabcf.data.events import merge_duplicates
from tabcf.data.grown_encoder import grown_encoder
from tabcf.data.growth import appended, grown_entity
from tabcf.data.sources import Source
from tabcf.errors import DataError
from tabcf.recommend.trained import TrainingEvents
from tabcf.run.kept_events import kept_columns, time_column
from tabcf.run.prepare import encode_rows
from tabcf.run.run import Run

__all__ = ["Enlarged", "counted_events", "enlarged", "given_events", "taken"]

_NEW = "tabcf:new"


@dataclass(frozen=True, slots=True)
class Enlarged:
    """What a run is to know of: entities, categories and events, old and new.

    Attributes:
        encoder: Knows them all.
        events: All that the model rests on; of a run without kept ones, the new ones alone.
        is_new: `(N,)` of `events`: which came now.
        moved: By entity, the new row of each row.
        notes: What else there is to know.
    """

    encoder: Encoder
    events: TrainingEvents
    is_new: np.ndarray
    moved: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()

    @property
    def learnt_is_new(self) -> np.ndarray:
        """Of the events that count, which came now."""
        return np.asarray(self.is_new[self.events.is_positive])


def given_events(run: Run, events: Source | None, tables: Mapping[str, Source]) -> Source:
    """The given events with all the columns that the run reads of them.

    Raises:
        DataError: A column is missing, or a table is of no entity.
    """
    trained = run.trained
    known = trained.encoder.entities
    for name in tables:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise DataError(f"tables: this run has no entity '{name}'; known: {listed}")
    needed = _needed(run)
    if events is None:
        return Source(pd.DataFrame({name: [] for name in needed}, dtype=object), "no events")
    events.require(needed)
    # Says which value is no rating, or no class, before anything is measured or learnt.
    counted = counted_events(run, events)
    encode_rows(trained.encoder, trained.target, taken(events, counted))
    return events


def _needed(run: Run) -> list[str]:
    """The columns that an event must bring."""
    trained = run.trained
    needed = [entity.plan.id for entity in trained.encoder.entities.values()]
    needed += [*trained.target.columns, *trained.encoder.event_sources]
    implicit = run.spec.target.implicit
    if implicit is not None and implicit.weight is not None:
        needed.append(implicit.weight)
    return list(dict.fromkeys(needed))


def counted_events(run: Run, events: Source) -> np.ndarray:
    """`(N,)` booleans: the events that count."""
    implicit = run.spec.target.implicit
    if implicit is None or implicit.positive is None or not len(events.frame):
        return np.ones(len(events.frame), dtype=bool)
    holds: np.ndarray = matching(events, implicit.positive, where="target.implicit.positive")
    return holds


def taken(events: Source, chosen: np.ndarray) -> Source:
    """Some of the events."""
    if chosen.all():
        return events
    frame = events.frame[chosen].reset_index(drop=True)
    return Source(frame, events.name, events.is_text)


def enlarged(run: Run, given: Source, tables: Mapping[str, Source], *, only_new: bool) -> Enlarged:
    """Everyone and everything that was known and is new now.

    Args:
        run: The run.
        given: Further events.
        tables: Attributes of further users and items.
        only_new: Whether events of trained users and items are left out.
    """
    trained, encoder = run.trained, run.trained.encoder
    notes = []
    if only_new and encoder.entities and len(given.frame):
        is_kept = np.zeros(len(given.frame), dtype=bool)
        for name, rows in encoder.encode_ids(given).items():
            is_kept |= encoder.entities[name].index[rows] == 0
        if not is_kept.all():
            notes.append(
                f"{int((~is_kept).sum()):,} events of users and items that were trained are left "
                "out; `update` learns from them"
            )
        given = taken(given, is_kept)
    events, is_new = _all_events(run, given)
    learnt = events.learnable()
    new = taken(learnt, is_new[events.is_positive])
    entities: dict[str, Entity] = {}
    moved: dict[str, np.ndarray] = {}
    for name, entity in encoder.entities.items():
        columns = encoder.request_columns(name)[1:]
        grown, moved[name] = grown_entity(entity, new, table=tables.get(name), columns=columns)
        if trained.read_events is not None:
            # Where events of one pair are merged, a new one may stand for an earlier one.
            counts = np.bincount(grown.rows_of(learnt.frame[entity.plan.id], learnt))
            counts = np.pad(counts, (0, len(grown) - len(counts)))
            counts[0] = 0
            grown = replace(grown, n_events=np.maximum(counts, grown.index > 0))
        entities[name] = grown
    refit = learnt if not only_new and trained.read_events is not None else None
    return Enlarged(
        grown_encoder(encoder, entities, new, refit=refit), events, is_new, moved, tuple(notes)
    )


def _all_events(run: Run, given: Source) -> tuple[TrainingEvents, np.ndarray]:
    """Earlier events and further ones behind them, repeated pairs merged as the spec says."""
    trained, spec = run.trained, run.spec
    if trained.read_events is None:
        return TrainingEvents(given, counted_events(run, given)), np.ones(
            len(given.frame), dtype=bool
        )
    before = trained.events.source
    columns = kept_columns(run, run.trained.events.source.frame.columns)
    own = before.frame[columns]
    frame = appended(own, given, _needed(run))
    frame[_NEW] = np.arange(len(frame)) >= len(own)
    time = time_column(run)
    if time in columns:
        ids = [entity.plan.id for entity in trained.encoder.entities.values()]
        frame = _without_repeats(frame, [*ids, *trained.target.columns], time)
    pair = [trained.encoder.entities[name].plan.id for name in ("user", "item")]
    if spec.duplicates == "mean":
        frame[_NEW] = frame.groupby(pair, dropna=False)[_NEW].transform("max")
    source = merge_duplicates(
        Source(frame, before.name, before.is_text or given.is_text),
        (pair[0], pair[1]),
        rule=spec.duplicates,
        target=spec.target.column,
    )
    is_new = source.frame.pop(_NEW).to_numpy(dtype=bool)
    return TrainingEvents(source, counted_events(run, source)), is_new


def _without_repeats(frame: pd.DataFrame, same: list[str], time: str) -> pd.DataFrame:
    """Without new events that are there already; those count as new, but once.

    The same ids with the same target at the same time are the same event, given again.
    """
    columns = list(dict.fromkeys([*same, time]))
    is_repeat = frame[columns].duplicated().to_numpy() & frame[_NEW].to_numpy()
    is_repeat &= frame[time].notna().to_numpy()
    if not is_repeat.any():
        return frame
    again = frame.loc[is_repeat, columns].drop_duplicates()
    kept: pd.DataFrame = frame[~is_repeat].reset_index(drop=True)
    found = kept[columns].merge(again, how="left", indicator=True)["_merge"] == "both"
    kept[_NEW] = kept[_NEW].to_numpy() | found.to_numpy()
    return kept
