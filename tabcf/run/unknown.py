"""What an unknown value stands on: a mean row written after the fit, or a masked one trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tabcf.contracts.layout import Layout
from tabcf.contracts.model import ColumnRows
from tabcf.contracts.table import Table
from tabcf.data.batches import batches_in_order
from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.run.builtins.schedules import MaskedOptions, MeanOptions
from tabcf.spec.records import Component, Spec

__all__ = ["UnknownPolicy", "default_policy", "unknown_policy", "write_mean_rows"]


# Strength of the mean where the spec says nothing of it, as for attributes beside masked ids.
_STRENGTH = 10.0


@dataclass(frozen=True, slots=True)
class UnknownPolicy:
    """What the unknown value of each categorical column stands on.

    Attributes:
        rates: By column, the share of values hidden in training; empty for none.
        mean_columns: The columns whose unknown row is the mean of the others, written after the
            fit.
        strength: A row with n training events counts n / (n + strength) in that mean.
    """

    rates: tuple[float, ...] = ()
    mean_columns: tuple[int, ...] = ()
    strength: float = _STRENGTH

    def write_means(self, model: nn.Module, layout: Layout, train: Table) -> None:
        """Write the mean rows into a fitted model."""
        if self.mean_columns:
            write_mean_rows(model, layout, train, strength=self.strength, columns=self.mean_columns)


def unknown_policy(spec: Spec, registry: Registry, layout: Layout) -> UnknownPolicy:
    """The spec's policy for a model's columns, or the model's default.

    Masking is of ids alone; unknown values of other columns, and of ids that a rate of 0 leaves
    alone, are means. Without ids, as in a plain table, values of all columns are masked.
    """
    definition, options, *_ = registry.resolve(
        "unknown",
        spec.unknown or default_policy(spec, registry, has_attributes=_has_attributes(layout)),
    )
    n = len(layout.categorical)
    if isinstance(options, MeanOptions):
        return UnknownPolicy((), tuple(range(n)), options.strength)
    if not isinstance(options, MaskedOptions):
        raise SpecError([f"unknown: {definition.name} is not supported"])
    entities = [column.entity for column in layout.categorical]
    if not any(entities):
        return UnknownPolicy((options.rate,) * n)
    rates = tuple(0.0 if entity is None else options.rate_of(entity) for entity in entities)
    return UnknownPolicy(rates, tuple(column for column, rate in enumerate(rates) if not rate))


def default_policy(spec: Spec, registry: Registry, *, has_attributes: bool) -> Component:
    """What the model does with unknown ids unless the spec says otherwise.

    A model whose default is `mean` masks ids where users or items have attributes: without it these
    say little, since ids that are always there leave them nothing to explain.
    """
    default = registry.get("model", spec.model.name).unknown
    if default == "mean" and has_attributes:
        default = "masked"
    return Component.model_validate(default)


def _has_attributes(layout: Layout) -> bool:
    """Whether anything but their ids is known of users or items."""
    sides = {column.side for column in layout.categorical if column.entity is None}
    sides |= {column.side for column in layout.continuous}
    sides |= {column.side for column in layout.sets}
    return bool(sides & {"user", "item"})


@torch.no_grad()
def write_mean_rows(
    model: nn.Module,
    layout: Layout,
    train: Table,
    *,
    strength: float,
    columns: Sequence[int] | None = None,
) -> None:
    """Write the count-shrunken mean of a column's rows into its row 0, for some columns or all.

    A row with n training events counts n / (n + strength): rows that training hardly moved say
    little about the average.
    """
    if not isinstance(model, ColumnRows):
        return
    chosen = range(len(layout.categorical)) if columns is None else columns
    counts = [torch.zeros(column.cardinality, dtype=torch.float64) for column in layout.categorical]
    for inputs in batches_in_order(train, 1 << 16):
        for column in chosen:
            counts[column] += torch.bincount(inputs.x_cat[:, column], minlength=len(counts[column]))
    for column in chosen:
        count = counts[column]
        count[0] = 0
        weight = count / (count + strength) if strength else (count > 0).double()
        if not weight.sum():
            continue
        weight /= weight.sum()
        for parameter, rows in model.column_rows(column):
            table = parameter[rows]
            mean = weight.to(table.device, table.dtype) @ table.flatten(1)
            parameter[rows.start] = mean.view_as(parameter[rows.start])
