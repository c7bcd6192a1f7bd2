"""All that dot products of the same columns hold of a batch, from tables side by side.

A bag's rows are sorted in the backward pass, which costs more than their sum; here that happens
once for vectors and biases of all models. The tables are copied, which takes less than an
optimiser's step over them.

Dimension letters: M models, B rows, C categorical columns, F continuous features, D factors of a
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from tabcf.contracts.inputs import Bag
from tabcf.nn.embedding import pooled
from tabcf.nn.rows import is_kept

__all__ = ["Tabled", "can_be_looked_up_once", "products_by_one_look_up"]


class Tabled(Protocol):
    """A dot product; each of its tables is the vectors `(n, D)`, and perhaps biases `(n, 1)`."""

    n_factors: int
    set_norm: str
    set_cardinalities: tuple[int, ...]

    def check(self, x_cat: Tensor, x_cont: Tensor | None, x_sets: Sequence[Bag] | None) -> None: ...

    def rows_of(self, x_cat: Tensor) -> Tensor: ...

    def tables(self) -> tuple[Tensor, ...]: ...

    def continuous_tables(self) -> tuple[Tensor, ...]: ...

    def set_tables(self, column: int) -> tuple[Tensor, ...]: ...


def can_be_looked_up_once(model: Tabled) -> bool:
    """Whether all its tables may be copied: rows that somebody keeps are read on their own."""
    tables = [*model.tables(), *model.continuous_tables()]
    for column in range(len(model.set_cardinalities)):
        tables += model.set_tables(column)
    return not any(map(is_kept, tables))


def products_by_one_look_up(
    models: Sequence[Tabled], x_cat: Tensor, x_cont: Tensor | None, x_sets: Sequence[Bag]
) -> Tensor:
    """`(M, B, 1)`: each model's sum of all pairwise products, and of biases if there are any.

    Args:
        models: Models of the same columns and width.
        x_cat: `(B, C)`.
        x_cont: `(B, F)`.
        x_sets: Bags of B rows.
    """
    first, n = models[0], len(models)
    first.check(x_cat, x_cont, x_sets)
    parts = list(F.embedding(first.rows_of(x_cat), _beside([m.tables() for m in models])).unbind(1))
    if x_cont is not None and x_cont.shape[1]:
        table = _beside([model.continuous_tables() for model in models])
        parts += [x[:, None] * own for x, own in zip(x_cont.T, table, strict=True)]
    for column, bag in enumerate(x_sets):
        table = _beside([model.set_tables(column) for model in models])
        parts.append(pooled(bag, table, norm=first.set_norm))
    # Example of three vectors: ab + ac + bc = ((a + b + c)² - a² - b² - c²) / 2.
    width = n * first.n_factors
    total = torch.stack(parts).sum(0)
    squares = torch.stack([part[:, :width].pow(2) for part in parts]).sum(0)
    raw: Tensor = (total[:, :width].pow(2) - squares).unflatten(1, (n, -1)).sum(2) / 2
    if total.shape[1] > width:
        raw = raw + total[:, width:]
    return raw.T.unsqueeze(2)


def _beside(tables: Sequence[tuple[Tensor, ...]]) -> Tensor:
    """`(n, M · D)`, or `(n, M · D + M)` with biases: all vectors, then all biases."""
    return torch.cat([table for kind in zip(*tables, strict=True) for table in kind], 1)
