"""What one step lowers; the loss of single events. Those of lists: `tabcf.training.ranking`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.model import ColumnRows, SetRows
from tabcf.contracts.table import Table
from tabcf.data.batches import Batch, shuffled_batches
from tabcf.data.order import Chunks
from tabcf.errors import TrainingError
from tabcf.nn.rows import lookup

__all__ = ["Objective", "PointwiseObjective", "squares_used"]


class Objective(Protocol):
    """Epochs of batches, and the loss of one."""

    @property
    def n_steps(self) -> int:
        """Steps an epoch."""

    @property
    def n_lookups(self) -> int:
        """Values of categorical columns that a step looks up."""

    @property
    def n_scored(self) -> int:
        """Rows of which a step works out the model's output."""

    def epoch(self, rng: Generator) -> Iterator[Any]:
        """One pass over the training rows in a new order."""

    def loss(self, batch: Any) -> Tensor:
        """The number to lower."""

    def of(self, model: nn.Module) -> Objective:
        """The same of another model of the same columns, with the same rows and loss."""


class PointwiseObjective:
    """The mean loss of a batch of events.

    Args:
        masking: Shares of values hidden, by categorical column, drawn anew each epoch.
        l2: Times the squares of the embedding rows that an event uses, summed and averaged over
            the batch; added to the loss.
        chunks: How rows are shuffled; None for all together.
    """

    def __init__(
        self,
        table: Table,
        model: nn.Module,
        loss: nn.Module,
        *,
        batch_size: int,
        masking: Sequence[float] = (),
        l2: float = 0.0,
        device: torch.device | None = None,
        chunks: Chunks | None = None,
    ) -> None:
        self.table = table
        self.model = model
        self.loss_module = loss
        self.batch_size = batch_size
        self.masking = masking
        self.l2 = l2
        self.chunks = chunks
        self._device = device

    @property
    def n_steps(self) -> int:
        return -(-len(self.table) // self.batch_size)

    @property
    def n_lookups(self) -> int:
        n = sum(entity.inputs.x_cat.shape[1] for entity in self.table.entities.values())
        return self.batch_size * (n + self.table.events.x_cat.shape[1])

    @property
    def n_scored(self) -> int:
        return self.batch_size

    def epoch(self, rng: Generator) -> Iterator[Batch]:
        return shuffled_batches(
            self.table,
            self.batch_size,
            rng,
            masking=self.masking,
            device=self._device,
            chunks=self.chunks,
        )

    def loss(self, batch: Batch) -> Tensor:
        inputs = batch.inputs
        raw = self.model(inputs.x_cat, inputs.x_cont, inputs.x_sets)
        value: Tensor = self.loss_module(raw, batch.target, batch.weight)
        if self.l2:
            value = value + self.l2 * squares_used(self.model, inputs)
        return value

    def of(self, model: nn.Module) -> PointwiseObjective:
        other = copy.copy(self)
        other.model = model
        return other


def squares_used(model: nn.Module, inputs: Inputs) -> Tensor:
    """Sum of squares of the rows that each event uses, averaged over the batch.

    A value of a set counts once for each event whose set holds it.
    """
    x_cat = inputs.x_cat
    if not isinstance(model, ColumnRows):
        raise TrainingError(
            f"train.l2: {type(model).__name__} does not say which rows belong to a column; "
            "use train.weight_decay"
        )
    total = x_cat.new_zeros((), dtype=torch.float32)
    for column in range(x_cat.shape[1]):
        for parameter, rows in model.column_rows(column):
            total = total + lookup(x_cat[:, column] + rows.start, parameter).pow(2).sum()
    of_sets: Any = model if isinstance(model, SetRows) else None
    for column, bag in enumerate(inputs.x_sets if of_sets is not None else ()):
        for parameter, rows in of_sets.set_rows(column):
            total = total + lookup(bag.values + rows.start, parameter).pow(2).sum()
    return total / len(x_cat)
