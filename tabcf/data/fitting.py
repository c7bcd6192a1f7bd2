"""What columns learn from training events and entities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tabcf.contracts.tables import EVENT
from tabcf.data.encodings import CategoryEncoding, Encoding, NumberEncoding, SetEncoding
from tabcf.data.entities import Entity
from tabcf.data.plans import ColumnPlan, Frames, Maker, in_order, plugin_errors
from tabcf.data.sources import Source

__all__ = ["FittedColumn", "fit_columns"]


@dataclass(frozen=True, slots=True)
class FittedColumn:
    """A planned column with what it learnt; one that the model does not receive is not encoded.

    `known` says how many embedding rows each entity had then, where there are more by now.
    """

    plan: ColumnPlan
    state: Any
    encoding: Encoding | None
    known: Mapping[str, int] = field(default_factory=dict)


def fit_columns(
    plans: Sequence[ColumnPlan],
    events: Source,
    built: Mapping[str, Entity],
    frames: Frames,
    *,
    step: Callable[[], None] | None = None,
) -> list[FittedColumn]:
    """What columns learn from training events and from the entities that these name.

    `frames` are the same as columns see them; `step` is called after each column.
    """
    states: dict[str, Any] = {}
    encodings: dict[str, Encoding | None] = {}
    maker = Maker(frames, {plan.key: plan for plan in plans}, states)
    for plan in in_order(plans):
        source = events if plan.table == EVENT else built[plan.table].with_blank_row()
        for table, column in plan.raw:
            (events if table == EVENT else built[table].with_blank_row()).require([column])
        if plan.definition.fit is not None:
            tables = maker.tables(plan)
            with plugin_errors(plan):
                states[plan.key] = plan.definition.fit(tables, plan.options)
        series = maker.make(plan)
        if plan.table != EVENT:
            series = series.iloc[1:].reset_index(drop=True)
        encodings[plan.key] = _encoding(plan, series, source) if plan.is_input else None
        if step is not None:
            step()
    return [FittedColumn(plan, states.get(plan.key), encodings[plan.key]) for plan in plans]


def _encoding(plan: ColumnPlan, series: pd.Series[Any], source: Source) -> Encoding:
    if plan.definition.output == "category":
        return CategoryEncoding.fitted(series, source)
    if plan.definition.output == "number":
        return NumberEncoding.fitted(series, source)
    return SetEncoding.fitted(series, getattr(plan.options, "separator", "|"))
