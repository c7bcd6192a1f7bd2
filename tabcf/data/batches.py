"""Gathering attributes to events, and epochs of shuffled batches.

Dimension letters: N rows, B rows of a batch, C categorical columns, F continuous features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.table import Table
from tabcf.data.order import Chunks, shuffled

__all__ = [
    "Batch",
    "bag_to_device",
    "batches_in_order",
    "gather",
    "hidden",
    "join",
    "mapped",
    "masked",
    "select",
    "select_bag",
    "shuffled_batches",
    "slice_bag",
    "stack",
    "take",
    "to_device",
    "without",
]

# Rows on disk that are gone through before the memory is let go.
_RELEASED = 1 << 20


class Batch(NamedTuple):
    """B rows for a model and its loss."""

    inputs: Inputs
    target: Tensor
    weight: Tensor | None


def select(inputs: Inputs, rows: Tensor) -> Inputs:
    """The named rows of a table's columns, in that order; `rows` is int32 or int64."""
    x_cat = inputs.x_cat
    if x_cat.shape[1] == 1:
        # Numbers are picked four times as fast as rows of one.
        chosen = x_cat.squeeze(1).index_select(0, rows).unsqueeze(1)
    else:
        chosen = x_cat.index_select(0, rows)
    return Inputs(
        chosen,
        inputs.x_cont.index_select(0, rows),
        tuple(select_bag(bag, rows) for bag in inputs.x_sets),
    )


def join(*parts: Inputs) -> Inputs:
    """Columns of several tables side by side, row by row."""
    if len(parts) == 1:
        return parts[0]
    return Inputs(
        torch.cat([part.x_cat for part in parts], 1),
        torch.cat([part.x_cont for part in parts], 1),
        tuple(bag for part in parts for bag in part.x_sets),
    )


def stack(*parts: Inputs) -> Inputs:
    """Rows of the same columns, one part behind the other; bags without weights."""
    bags = []
    for column in zip(*(part.x_sets for part in parts), strict=True):
        values = torch.cat([bag.values for bag in column])
        lengths = torch.cat([bag.lengths for bag in column])
        bags.append(Bag(values, lengths.cumsum(0) - lengths))
    return Inputs(
        torch.cat([part.x_cat for part in parts]),
        torch.cat([part.x_cont for part in parts]),
        tuple(bags),
    )


def gather(table: Table, positions: Tensor) -> Inputs:
    """The events at `positions` with their entities' attributes: user, item, event, others.

    The meaning is that of a left merge of the events with each entity table.
    """
    parts: list[Inputs] = []
    further: list[Inputs] = []
    for name, entity in table.entities.items():
        rows = table.rows[name].index_select(0, positions)
        part = select(entity.inputs, rows)
        (parts if name in ("user", "item") else further).append(part)
    inputs = join(*parts, select(table.events, positions), *further)
    if not table.left_out:
        return inputs
    bags = list(inputs.x_sets)
    for column, values in table.left_out.items():
        bags[column] = without(bags[column], values.index_select(0, positions))
    return inputs._replace(x_sets=tuple(bags))


def take(table: Table, positions: Tensor) -> Table:
    """The events at `positions` as a table of their own, with the same entities."""
    return Table(
        {name: rows[positions] for name, rows in table.rows.items()},
        select(table.events, positions),
        table.entities,
        None if table.target is None else table.target[positions],
        None if table.weight is None else table.weight[positions],
        {column: values[positions] for column, values in table.left_out.items()},
    )


def shuffled_batches(
    table: Table,
    batch_size: int,
    rng: Generator,
    *,
    masking: Sequence[float] = (),
    device: torch.device | None = None,
    chunks: Chunks | None = None,
) -> Iterator[Batch]:
    """One epoch: each row once, in a new order. The last batch may be smaller.

    With `masking`, shares by categorical column, values are hidden as `masked` does. `chunks` says
    how rows are shuffled, None for all together.
    """
    for part, positions in shuffled(table, batch_size, rng, chunks):
        assert part.target is not None
        inputs = masked(gather(part, positions), masking, rng)
        target = part.target.index_select(0, positions)
        weight = None if part.weight is None else part.weight.index_select(0, positions)
        # Where sets are cut is known here; a device would have to be waited for.
        cuts = [_cuts(bag, batch_size) for bag in inputs.x_sets]
        if device is not None:
            inputs, target = to_device(inputs, device), target.to(device)
            weight = None if weight is None else weight.to(device)
        yield from _slices(inputs, target, weight, batch_size, cuts)


def hidden(shape: Sequence[int], rates: Sequence[float], rng: Generator) -> Tensor:
    """`(B, C)` booleans: which values are hidden, each of column c with the chance `rates[c]`."""
    return torch.rand(*shape, generator=rng) < torch.tensor(rates)


def masked(inputs: Inputs, rates: Sequence[float], rng: Generator) -> Inputs:
    """Hide a share of the values of each categorical column: the unknown value stands for them.

    Only the index is hidden: what tables say of the one behind it stays, so that attributes learn
    to speak for somebody unknown, and row 0 learns what they leave unsaid (DropoutNet: Volkovs, Yu
    and Poutanen, 2017). Without rates nothing is drawn.
    """
    if not any(rates):
        return inputs
    is_hidden = hidden(inputs.x_cat.shape, rates, rng)
    return inputs._replace(x_cat=inputs.x_cat.masked_fill(is_hidden, 0))


def batches_in_order(table: Table, batch_size: int) -> Iterator[Inputs]:
    """All rows in their own order, gathered; one empty batch where there are none."""
    for start in range(0, max(len(table), 1), batch_size):
        yield gather(table, torch.arange(start, min(start + batch_size, len(table))))
        if table.release is not None and start % _RELEASED < batch_size:
            table.release()


def to_device(inputs: Inputs, device: torch.device | None) -> Inputs:
    """The same columns on a device; None leaves them where they are."""
    if device is None:
        return inputs
    return Inputs(
        inputs.x_cat.to(device),
        inputs.x_cont.to(device),
        tuple(bag_to_device(bag, device) for bag in inputs.x_sets),
    )


def bag_to_device(bag: Bag, device: torch.device | None) -> Bag:
    """The same bag on a device; None leaves it where it is."""
    if device is None:
        return bag
    weights = None if bag.weights is None else bag.weights.to(device)
    return Bag(bag.values.to(device), bag.offsets.to(device), weights)


def _slices(
    inputs: Inputs,
    target: Tensor,
    weight: Tensor | None,
    batch_size: int,
    cuts: Sequence[Sequence[int]],
) -> Iterator[Batch]:
    """Cut a gathered block; a batch's columns are views of it. `cuts` are those of each bag."""
    cats = inputs.x_cat.split(batch_size)
    conts = inputs.x_cont.split(batch_size)
    targets = target.split(batch_size)
    weights = [None] * len(cats) if weight is None else weight.split(batch_size)
    for number, (x_cat, x_cont) in enumerate(zip(cats, conts, strict=True)):
        rows = slice(number * batch_size, number * batch_size + len(x_cat))
        x_sets = tuple(
            _part_of_bag(bag, rows, slice(own[number], own[number + 1]))
            for bag, own in zip(inputs.x_sets, cuts, strict=True)
        )
        yield Batch(Inputs(x_cat, x_cont, x_sets), targets[number], weights[number])


def _kept(bag: Bag, values: Tensor, is_kept: Tensor) -> Bag:
    """A bag of other values, of which some are left out."""
    kept_before = torch.cat([is_kept.new_zeros(1, dtype=torch.int64), torch.cumsum(is_kept, 0)])
    weights = None if bag.weights is None else bag.weights[is_kept]
    return Bag(values[is_kept], kept_before[bag.offsets], weights)


def _bounds(bag: Bag) -> Tensor:
    """`(B + 1,)`: offsets with the end of the last row."""
    return torch.cat([bag.offsets, bag.offsets.new_tensor([len(bag.values)])])


def slice_bag(bag: Bag, start: int, stop: int) -> Bag:
    """Some rows of a bag that follow one another."""
    bounds = _bounds(bag)
    first, last = int(bounds[start]), int(bounds[min(stop, len(bag.offsets))])
    return _part_of_bag(bag, slice(start, stop), slice(first, last))


def _part_of_bag(bag: Bag, rows: slice, values: slice) -> Bag:
    """Some rows of a bag, whose values are these."""
    weights = None if bag.weights is None else bag.weights[values]
    return Bag(bag.values[values], bag.offsets[rows] - values.start, weights)


def _cuts(bag: Bag, batch_size: int) -> list[int]:
    """Where the values of each so many rows begin, and where the last ones end."""
    return [*bag.offsets[::batch_size].tolist(), len(bag.values)]


def without(bag: Bag, left_out: Tensor) -> Bag:
    """The bag less one value a row, `(B,)`; 0 leaves nothing out."""
    return _kept(bag, bag.values, bag.values != left_out[bag.row_of_value])


def mapped(bag: Bag, mapping: Tensor) -> Bag:
    """A bag's values mapped; those mapped to a negative number are dropped.

    Example:
        >>> bag = Bag(torch.tensor([2, 0, 1]), torch.tensor([0, 1]))
        >>> [part.tolist() for part in mapped(bag, torch.tensor([-1, 5, 7]))[:2]]
        [[7, 5], [0, 1]]
    """
    values = mapping[bag.values.long()]
    return _kept(bag, values, values >= 0)


def select_bag(bag: Bag, rows: Tensor) -> Bag:
    """The named rows of a bag, in that order."""
    bounds = _bounds(bag)
    starts = bounds[:-1].index_select(0, rows)
    lengths = bounds[1:].index_select(0, rows) - starts
    offsets = torch.cumsum(lengths, 0) - lengths
    # Example: starts [4, 0], lengths [2, 3] -> positions [4, 5, 0, 1, 2].
    positions = torch.repeat_interleave(starts - offsets, lengths)
    positions += torch.arange(len(positions), device=positions.device)
    weights = None if bag.weights is None else bag.weights.index_select(0, positions)
    return Bag(bag.values.index_select(0, positions), offsets, weights)
