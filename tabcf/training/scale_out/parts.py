"""Each process' rows of a batch that all of them drew.

Dimension letters: B rows of the whole batch, N items of an event.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tabcf.contracts.inputs import Query, Sampled
from tabcf.data.batches import Batch, select, select_bag
from tabcf.errors import TrainingError
from tabcf.training.ranking import SampledBatch, UserBatch

__all__ = ["Part", "part_of"]


class Part(NamedTuple):
    """One process' rows of a batch.

    Attributes:
        batch: Of the same kind as the whole one.
        share: What its mean loss counts in the mean of all rows; the shares add up to 1.
        is_blank: Whether there were too few rows, and one stands in that counts nothing.
    """

    batch: Any
    share: float
    is_blank: bool


def part_of(batch: Any, rank: int, size: int) -> Part:
    """The rows `rank`, `rank + size`, … of a batch.

    The loss of the whole batch is `sum(weight * loss) / sum(weight)`, so a part counts by the
    weights of its rows.

    Raises:
        TrainingError: A plugin's batch, of which nobody knows what its rows are.
    """
    n, weight = _rows(batch)
    positions = torch.arange(min(rank, n), n, size)
    is_blank = not len(positions)
    if is_blank:
        positions = torch.zeros(1, dtype=torch.int64)
    share = 0.0 if is_blank else len(positions) / n
    if weight is not None and not is_blank:
        total = float(weight.sum())
        # With no weight at all the loss is 0, whatever the shares are.
        share = float(weight[positions].sum()) / total if total else share
    return Part(_taken(batch, positions.to(_device(batch))), share, is_blank)


@singledispatch
def _rows(batch: Any) -> tuple[int, Tensor | None]:
    """How many rows a batch has, and their weights."""
    raise TrainingError(
        f"train.workers: the rows of a {type(batch).__name__} cannot be told apart; train it with "
        "one process"
    )


@_rows.register
def _(batch: Batch) -> tuple[int, Tensor | None]:
    return len(batch.target), batch.weight


@_rows.register
def _(batch: SampledBatch) -> tuple[int, Tensor | None]:
    return len(batch.query.user.x_cat), batch.weight


@_rows.register
def _(batch: UserBatch) -> tuple[int, Tensor | None]:
    return len(batch.query.user.x_cat), None


def _device(batch: Any) -> torch.device:
    inputs = batch.inputs if isinstance(batch, Batch) else batch.query.user
    device: torch.device = inputs.x_cat.device
    return device


@singledispatch
def _taken(batch: Any, positions: Tensor) -> Any:
    """Some rows of a batch, as a batch."""
    raise NotImplementedError


@_taken.register
def _(batch: Batch, positions: Tensor) -> Batch:
    weight = None if batch.weight is None else batch.weight[positions]
    return Batch(select(batch.inputs, positions), batch.target[positions], weight)


@_taken.register
def _(batch: SampledBatch, positions: Tensor) -> SampledBatch:
    n = len(batch.query.user.x_cat)
    # The items of an event follow one another: N = 3 and positions [1] -> rows [3, 4, 5].
    n_each = len(batch.items.x_cat) // n
    rows = (positions[:, None] * n_each + torch.arange(n_each, device=positions.device)).flatten()
    sampled = Sampled(
        batch.sampled.is_valid[positions],
        None if batch.sampled.log_q is None else batch.sampled.log_q[positions],
        None if batch.sampled.target is None else batch.sampled.target[positions],
    )
    weight = None if batch.weight is None else batch.weight[positions]
    return SampledBatch(
        _query(batch.query, positions), select(batch.items, rows), batch.shared, sampled, weight
    )


@_taken.register
def _(batch: UserBatch, positions: Tensor) -> UserBatch:
    return UserBatch(
        _query(batch.query, positions), batch.items, select_bag(batch.positives, positions)
    )


def _query(query: Query, positions: Tensor) -> Query:
    history = None if query.history is None else select_bag(query.history, positions)
    return Query(select(query.user, positions), select(query.event, positions), history)
