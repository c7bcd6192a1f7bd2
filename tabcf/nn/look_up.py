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

__all__ = [
    "Tabled",
    "can_be_looked_up_once",
    "distinct_sets",
    "products_by_one_look_up",
    "products_in_turn",
]

# Odd numbers that scramble a set's values before they are added up.
_SCRAMBLE = (-0x61C8864680B583EB, 0x2545F4914F6CDD1D)
# Models whose tables lie side by side at a time: more would hold more than a cache does.
_AT_ONCE = 4


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
    each = [(bag, None) for bag in x_sets]
    return _products(models, x_cat, x_cont, each)


def products_in_turn(
    models: Sequence[Tabled], x_cat: Tensor, x_cont: Tensor | None, x_sets: Sequence[Bag]
) -> Tensor:
    """The same for many models, of which a few are taken at a time; sets that rows share, once."""
    distinct = [distinct_sets(bag) for bag in x_sets]
    parts = [
        _products(models[start : start + _AT_ONCE], x_cat, x_cont, distinct)
        for start in range(0, len(models), _AT_ONCE)
    ]
    return torch.cat(parts)


def distinct_sets(bag: Bag) -> tuple[Bag, Tensor | None]:
    """Each different set once, and which of them each row has; the bag itself where most differ.

    Events of the same user or item have the same set: it need be summed only once.
    """
    lengths, n = bag.lengths, len(bag.offsets)
    row, values = bag.row_of_value, bag.values.long()
    scrambled = (values + 1) * _SCRAMBLE[0]
    scrambled = (scrambled ^ (scrambled >> 29)) * _SCRAMBLE[1]
    key = (lengths + 1).long() * _SCRAMBLE[1]
    key = key.index_add(0, row, scrambled)
    known, which = torch.unique(key, return_inverse=True)
    if 2 * len(known) > n:
        return bag, None
    places = torch.arange(n, device=key.device)
    first = places.new_full((len(known),), n).scatter_reduce(0, which, places, "amin")
    like = first[which]
    # Equal sums are hardly ever those of different sets, but whether they are is seen.
    if not torch.equal(lengths[like], lengths):
        return bag, None
    place = torch.arange(len(values), device=key.device) + (bag.offsets[like] - bag.offsets)[row]
    given = [values] if bag.weights is None else [values, bag.weights]
    if not all(torch.equal(own[place], own) for own in given):
        return bag, None
    is_first = like == places
    is_kept = is_first[row]
    own = lengths[is_first]
    weights = None if bag.weights is None else bag.weights[is_kept]
    offsets = (own.cumsum(0) - own).to(bag.offsets.dtype)
    return Bag(bag.values[is_kept], offsets, weights), (is_first.cumsum(0) - 1)[like]


def _products(
    models: Sequence[Tabled],
    x_cat: Tensor,
    x_cont: Tensor | None,
    sets: Sequence[tuple[Bag, Tensor | None]],
) -> Tensor:
    """`(M, B, 1)`; beside each bag stands which of its sets each row has, if not its own."""
    first, n = models[0], len(models)
    first.check(x_cat, x_cont, [bag for bag, _ in sets])
    parts = list(F.embedding(first.rows_of(x_cat), _beside([m.tables() for m in models])).unbind(1))
    if x_cont is not None and x_cont.shape[1]:
        table = _beside([model.continuous_tables() for model in models])
        parts += [x[:, None] * own for x, own in zip(x_cont.T, table, strict=True)]
    for column, (bag, which) in enumerate(sets):
        table = _beside([model.set_tables(column) for model in models])
        own = pooled(bag, table, norm=first.set_norm)
        parts.append(own if which is None else own.index_select(0, which))
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
