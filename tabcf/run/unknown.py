"""What an unknown value stands on: a mean row written after the fit, or a masked one trained."""

from __future__ import annotations

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

__all__ = ["UnknownPolicy", "unknown_policy", "write_mean_rows"]


@dataclass(frozen=True, slots=True)
class UnknownPolicy:
    """Share of values hidden in training, or the strength of the mean row's shrinkage."""

    masking: float = 0.0
    mean_strength: float | None = None


def unknown_policy(spec: Spec, registry: Registry) -> UnknownPolicy:
    """The spec's policy, or the model's default."""
    default = registry.get("model", spec.model.name).unknown
    component = spec.unknown or Component.model_validate(default)
    definition, options, *_ = registry.resolve("unknown", component)
    if isinstance(options, MaskedOptions):
        return UnknownPolicy(masking=options.rate)
    if isinstance(options, MeanOptions):
        return UnknownPolicy(mean_strength=options.strength)
    raise SpecError([f"unknown: {definition.name} is not supported"])


@torch.no_grad()
def write_mean_rows(model: nn.Module, layout: Layout, train: Table, *, strength: float) -> None:
    """Write the count-shrunken mean of each column's rows into its row 0.

    A row with n training events counts n / (n + strength): rows that training hardly moved say
    little about the average.
    """
    if not isinstance(model, ColumnRows):
        return
    n_columns = len(layout.categorical)
    counts = [torch.zeros(column.cardinality, dtype=torch.float64) for column in layout.categorical]
    for inputs in batches_in_order(train, 1 << 16):
        for column in range(n_columns):
            counts[column] += torch.bincount(inputs.x_cat[:, column], minlength=len(counts[column]))
    for column in range(n_columns):
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
