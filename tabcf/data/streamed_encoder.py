"""An encoder that is fitted on blocks of training rows, each seen a few times and let go again.

What it learns is what `Encoder.fit` learns of the same rows: ids and categories are gathered in
growing lists, counts are added up, and the numbers of a column lie on disk while its mean, median
and deviation are found. A column that is learnt from all events at once is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from tabcf.contracts.tables import EVENT
from tabcf.data.disk import DiskArray
from tabcf.data.encoder import Encoder
from tabcf.data.encodings import CategoryEncoding, Encoding, NumberEncoding
from tabcf.data.entities import Entity, EntityPlan, build_entity, count_events
from tabcf.data.fitting import FittedColumn, fit_columns
from tabcf.data.plans import ColumnPlan, Frames, Maker, training_frames
from tabcf.data.shares import Together
from tabcf.data.sources import Source
from tabcf.data.values import CategoryKind, CategoryValues, category_values, id_values, numbers
from tabcf.data.vocabulary import Vocabulary
from tabcf.errors import DataError

__all__ = ["Blocks", "fit_streamed", "why_not_streamed"]

Blocks = Callable[[], Iterator[Source]]
"""Gives the training rows, some at a time, as often as it is asked."""


def why_not_streamed(plans: Sequence[ColumnPlan]) -> list[str]:
    """Of each column that cannot be learnt from blocks of rows, why."""
    found = []
    for plan in plans:
        what = f"column '{plan.key}' ({plan.definition.name})"
        is_learnt = plan.definition.fit is not None
        kind, of_events = plan.definition, EVENT in plan.tables | {plan.table}
        follows = kind.follows_events or kind.leaves_out_own or kind.own is not None
        if follows or (of_events and (is_learnt or plan.table != EVENT)):
            found.append(f"{what} is learnt from all events at once")
        elif plan.table == EVENT and plan.tables - {EVENT}:
            found.append(f"{what} is made from events and {', '.join(plan.tables - {EVENT})}")
        elif plan.table == EVENT and plan.is_input and plan.definition.output == "set":
            found.append(f"{what} is a set of each event")
    return found


def fit_streamed(
    blocks: Blocks,
    plans: Sequence[ColumnPlan],
    *,
    entities: Mapping[str, tuple[EntityPlan, Source | None]],
    together: Together | None = None,
    whole: Blocks | None = None,
) -> Encoder:
    """Learn vocabularies and scales from training rows.

    Args:
        blocks: The rows; of several processes, this one's.
        plans: Columns that `why_not_streamed` has nothing against.
        entities: As in `Encoder.fit`.
        together: The processes that have the rows, all of which learn the same.
        whole: With these, the rows of all of them, in the order of the data; the first process is
            asked for them, since a mean or a median is of all numbers.

    Raises:
        DataError: As in `Encoder.fit`, or a column has whole numbers in some blocks alone.
    """
    of_events = [plan for plan in plans if plan.table == EVENT]
    ids = {name: plan.id for name, (plan, _) in entities.items()}
    met = {name: _Met(column) for name, column in ids.items()}
    learners = {plan.key: _learner(plan) for plan in of_events if plan.is_input}
    of_numbers = {key: own for key, own in learners.items() if isinstance(own, _Numbers)}
    if together is None:
        _learn(blocks, of_events, ids, met=met, learners=learners)
        encodings = {key: own.encoding() for key, own in learners.items()}
    else:
        listed = {key: own for key, own in learners.items() if isinstance(own, _Categories)}
        _learn(blocks, of_events, ids, met=met, learners=listed)
        for own in met.values():
            own.share(together)
        for categories in listed.values():
            categories.share(together)
        assert whole is not None
        learn = partial(_learnt_numbers, whole, of_events, ids, of_numbers)
        encodings = {key: own.encoding() for key, own in listed.items()}
        encodings |= together.first(learn) if of_numbers else {}
    name = next((own.source for own in met.values() if own.source), "")
    built = _entities(blocks, entities, met, name, together)
    nobody = Source(
        pd.DataFrame({ids[entity]: own.values()[:0] for entity, own in met.items()}), name
    )
    frames = replace(training_frames(nobody, built), events=_NotAtOnce(), rows={})
    fitted = {
        column.plan.key: column
        for column in fit_columns([p for p in plans if p.table != EVENT], nobody, built, frames)
    }
    for plan in of_events:
        fitted[plan.key] = FittedColumn(plan, None, encodings.get(plan.key))
    return Encoder([fitted[plan.key] for plan in plans], built)


def _learn(
    blocks: Blocks,
    plans: Sequence[ColumnPlan],
    ids: Mapping[str, str],
    *,
    met: Mapping[str, _Met],
    learners: Mapping[str, _Categories | _Numbers],
) -> None:
    """Have each block seen by who learns ids, and by who learns columns."""
    for block in blocks():
        block.require([*ids.values(), *(c for plan in plans for _, c in plan.raw)])
        for entity, own in met.items():
            own.add(id_values(block, ids[entity]), block)
        maker = _maker(block, plans, ids)
        for plan in plans:
            if plan.key in learners:
                learners[plan.key].add(maker.make(plan), block)


def _learnt_numbers(
    blocks: Blocks,
    plans: Sequence[ColumnPlan],
    ids: Mapping[str, str],
    learners: Mapping[str, _Numbers],
) -> dict[str, Encoding]:
    _learn(blocks, plans, ids, met={}, learners=learners)
    return {key: own.encoding() for key, own in learners.items()}


def _maker(block: Source, plans: Sequence[ColumnPlan], ids: Mapping[str, str]) -> Maker:
    """Makes the columns of a block's events."""
    frames = Frames(block.frame, {}, {}, {}, ids, is_training=True)
    return Maker(frames, {plan.key: plan for plan in plans}, {})


def _entities(
    blocks: Blocks,
    entities: Mapping[str, tuple[EntityPlan, Source | None]],
    met: Mapping[str, _Met],
    name: str,
    together: Together | None,
) -> dict[str, Entity]:
    """Each entity with those met in the blocks, and how often by all processes."""
    built = {}
    for entity, (plan, table) in entities.items():
        once = Source(pd.DataFrame({plan.id: met[entity].values()}), name)
        built[entity] = build_entity(plan, table, once)
    counts = {entity: np.zeros(len(own), dtype=np.int64) for entity, own in built.items()}
    for block in blocks():
        for entity, own in built.items():
            counts[entity] += count_events(own.ids, own.rows_in(block))
    if together is not None:
        counts = {entity: together.sum(own) for entity, own in counts.items()}
    return {entity: replace(own, n_events=counts[entity]) for entity, own in built.items()}


class _NotAtOnce(pd.DataFrame):
    """Stands in for all events, for columns that say nothing of reading them but do."""

    def __getitem__(self, key: Any) -> Any:
        raise DataError(
            f"train.memory: a column of users or items learns from all events' '{key}' at once; "
            "leave the column out, or leave train.memory out"
        )


class _Met:
    """The different values of a column of ids or categories."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.kind: CategoryKind | None = None
        self.source = ""
        self._parts: list[np.ndarray] = []
        self._n_merged = 0

    def add(self, found: CategoryValues, source: Source) -> None:
        self.source = source.name
        if found.is_missing.all():
            return
        self._be(found.kind)
        self._parts.append(found.distinct())
        # Merged now and then, so that the list is never much longer than what is different in it.
        if sum(map(len, self._parts)) > max(2 * self._n_merged, 1 << 20):
            self._parts = [self.values()]
            self._n_merged = len(self._parts[0])

    def share(self, together: Together) -> None:
        """Take in what the other processes met."""
        found = together.all((self.kind, self.source, self.values()))
        self._parts = []
        for kind, source, values in found:
            self.source = self.source or source
            if kind is not None:
                self._be(kind)
                self._parts.append(values)

    def _be(self, kind: CategoryKind) -> None:
        if self.kind not in (None, kind):
            raise DataError(
                f"{self.source}: column '{self.column}' has whole numbers in some rows, and text "
                "or fractions in others; read in blocks it has to be one of them"
            )
        self.kind = kind

    def values(self) -> np.ndarray:
        """Sorted, each once."""
        if not self._parts:
            return np.zeros(0, dtype=object)
        return np.sort(pd.unique(np.concatenate(self._parts)))


class _Categories:
    """Learns a column of categories."""

    def __init__(self, plan: ColumnPlan) -> None:
        self._met = _Met(plan.key)

    def add(self, series: pd.Series[Any], source: Source) -> None:
        self._met.add(category_values(series, source), source)

    def share(self, together: Together) -> None:
        self._met.share(together)

    def encoding(self) -> Encoding:
        return CategoryEncoding(Vocabulary(self._met.values(), kind=self._met.kind or "str"))


class _Numbers:
    """Learns a column of numbers, which lie on disk meanwhile."""

    def __init__(self) -> None:
        self._values = DiskArray()

    def add(self, series: pd.Series[Any], source: Source) -> None:
        self._values.append(numbers(series, source))

    def encoding(self) -> Encoding:
        found = NumberEncoding.of_values(self._values.opened())
        self._values.release()
        return found


def _learner(plan: ColumnPlan) -> _Categories | _Numbers:
    return _Numbers() if plan.definition.output == "number" else _Categories(plan)
