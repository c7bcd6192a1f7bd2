"""A model's layers as a table: modules, shapes, parameters, and whose embeddings they are."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from torch import nn

from tabcf.contracts.layout import Layout
from tabcf.contracts.model import ColumnRows

__all__ = ["Summary", "summarise"]


@dataclass(frozen=True, slots=True)
class Summary:
    """One row a parameter or buffer.

    Attributes:
        frame: `name`, `module`, `shape`, `parameters`, `share` of all, `columns` (which
            categorical columns have rows in it).
        n_parameters: Number of trained numbers.
    """

    frame: pd.DataFrame
    n_parameters: int

    def __str__(self) -> str:
        text = self.frame.to_string(index=False, formatters={"share": "{:.1%}".format})
        return f"{text}\n{self.n_parameters:,} parameters"

    def _repr_html_(self) -> str:
        table = self.frame.to_html(index=False, formatters={"share": "{:.1%}".format})
        return f"{table}<p>{self.n_parameters:,} parameters</p>"


def summarise(model: nn.Module, layout: Layout) -> Summary:
    """Every parameter of a model, in the order of its modules."""
    columns_of: dict[int, list[str]] = {}
    if isinstance(model, ColumnRows):
        for position, column in enumerate(layout.categorical):
            for parameter, _ in model.column_rows(position):
                columns_of.setdefault(id(parameter), []).append(column.name)
    n_parameters = sum(p.numel() for p in model.parameters())
    rows = []
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            rows.append(
                {
                    "name": f"{path}.{name}".lstrip("."),
                    "module": type(module).__name__,
                    "shape": " × ".join(map(str, parameter.shape)) or "1",
                    "parameters": parameter.numel(),
                    "share": parameter.numel() / n_parameters,
                    "columns": ", ".join(columns_of.get(id(parameter), [])),
                }
            )
    names = ["name", "module", "shape", "parameters", "share", "columns"]
    return Summary(pd.DataFrame(rows, columns=names), n_parameters)
