"""What columns come to as numbers: a table's inputs, and the layout that a model is told of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.layout import CategoricalColumn, ContinuousColumn, Layout, SetColumn, Side
from tabcf.contracts.tables import EVENT
from tabcf.data.encodings import CategoryEncoding, NumberEncoding, SetEncoding
from tabcf.data.entities import Entity
from tabcf.data.fitting import FittedColumn
from tabcf.data.plans import Maker
from tabcf.data.sources import Source

__all__ = ["ROLES", "inputs_of", "layout_of", "left_out_of"]

ROLES: tuple[Literal["user", "item"], ...] = ("user", "item")
"""Entities with a side of their own; further ones are on the event's."""


def layout_of(
    columns: Sequence[FittedColumn], entities: Mapping[str, Entity], n_fitted: Mapping[str, int]
) -> Layout:
    """The columns that a model receives: user, item, event, then further entities.

    `n_fitted` has the cardinalities that columns were first fitted with, where they have grown.
    """
    categorical: list[CategoricalColumn] = []
    continuous: list[ContinuousColumn] = []
    bags: list[SetColumn] = []
    for table, side in _table_order(entities):
        if table != EVENT:
            n = int(entities[table].index.max(initial=0)) + 1
            first = n_fitted.get(table)
            categorical.append(CategoricalColumn(table, side, n, entity=table, n_fitted=first))
        for fitted in columns:
            name, encoding = fitted.plan.key, fitted.encoding
            if fitted.plan.table != table or encoding is None:
                continue
            first = n_fitted.get(name)
            if isinstance(encoding, CategoryEncoding):
                n = len(encoding.vocabulary)
                categorical.append(CategoricalColumn(name, side, n, n_fitted=first))
            elif isinstance(encoding, NumberEncoding):
                continuous.append(ContinuousColumn(name, side))
                if encoding.has_indicator:
                    continuous.append(ContinuousColumn(f"{name} is missing", side))
            else:
                bags.append(SetColumn(name, side, len(encoding.vocabulary), first))
    return Layout(tuple(categorical), tuple(continuous), tuple(bags))


def inputs_of(
    columns: Iterable[FittedColumn],
    table: str,
    maker: Maker,
    source: Source,
    *,
    leading: np.ndarray | None,
) -> Inputs:
    """Encode one table's columns; `leading` is the entity's own index column."""
    n = len(source.frame)
    categories: list[np.ndarray] = [] if leading is None else [leading.astype(np.int32)]
    features: list[np.ndarray] = []
    bags: list[Bag] = []
    for fitted in columns:
        plan, encoding = fitted.plan, fitted.encoding
        if plan.table != table or encoding is None:
            continue
        series = maker.make(plan)
        if isinstance(encoding, CategoryEncoding):
            categories.append(encoding.encode(series, source))
        elif isinstance(encoding, NumberEncoding):
            features.append(encoding.encode(series, source))
        else:
            bags.append(encoding.encode(series))
    x_cat = np.stack(categories, axis=1) if categories else np.zeros((n, 0), np.int32)
    x_cont = np.concatenate(features, axis=1) if features else np.zeros((n, 0), np.float32)
    return Inputs(torch.from_numpy(x_cat), torch.from_numpy(x_cont), tuple(bags))


def left_out_of(columns: Iterable[FittedColumn], layout: Layout, maker: Maker) -> dict[int, Tensor]:
    """Of each training row, the value that its own event puts into a set, by set column."""
    left_out = {}
    by_key = {fitted.plan.key: fitted for fitted in columns}
    for position, column in enumerate(layout.sets):
        plan, state = by_key[column.name].plan, by_key[column.name].state
        encoding = by_key[column.name].encoding
        if plan.definition.own is not None and isinstance(encoding, SetEncoding):
            tables = maker.tables(plan, here=EVENT)
            values = plan.definition.own(tables, plan.options, state)
            index = encoding.vocabulary.index_of(values.to_numpy(dtype=object))
            left_out[position] = torch.from_numpy(index)
    return left_out


def _table_order(entities: Iterable[str]) -> list[tuple[str, Side]]:
    """Tables in the order of their columns, each with its side."""
    names = list(entities)
    own: list[tuple[str, Side]] = [(role, role) for role in ROLES if role in names]
    events: tuple[str, Side] = (EVENT, "event")
    further: list[tuple[str, Side]] = [(name, "event") for name in names if name not in ROLES]
    return [*own, events, *further]
