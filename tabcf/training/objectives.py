"""What one step lowers: a loss of single events, or of a user's whole catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.model import ColumnRows, ItemScorer
from tabcf.contracts.table import Table
from tabcf.data.batches import (
    Batch,
    bag_to_device,
    select,
    select_bag,
    shuffled_batches,
    to_device,
)
from tabcf.errors import TrainingError

__all__ = ["CatalogueObjective", "Objective", "PointwiseObjective"]


class Objective(Protocol):
    """Epochs of batches, and the loss of one."""

    @property
    def n_steps(self) -> int:
        """Steps an epoch."""

    def epoch(self, rng: Generator) -> Iterator[Any]:
        """One pass over the training rows in a new order."""

    def loss(self, batch: Any) -> Tensor:
        """The number to lower."""


class PointwiseObjective:
    """The mean loss of a batch of events.

    Args:
        masking: Share of categorical values replaced by the unknown one, drawn anew each epoch.
        l2: Times the squares of the embedding rows that an event uses, summed and averaged over
            the batch; added to the loss.
    """

    def __init__(
        self,
        table: Table,
        model: nn.Module,
        loss: nn.Module,
        *,
        batch_size: int,
        masking: float = 0.0,
        l2: float = 0.0,
        device: torch.device | None = None,
    ) -> None:
        self._table = table
        self._model = model
        self._loss = loss
        self._batch_size = batch_size
        self._masking = masking
        self._l2 = l2
        self._device = device

    @property
    def n_steps(self) -> int:
        return -(-len(self._table) // self._batch_size)

    def epoch(self, rng: Generator) -> Iterator[Batch]:
        return shuffled_batches(
            self._table, self._batch_size, rng, masking=self._masking, device=self._device
        )

    def loss(self, batch: Batch) -> Tensor:
        inputs = batch.inputs
        raw = self._model(inputs.x_cat, inputs.x_cont, inputs.x_sets)
        value: Tensor = self._loss(raw, batch.target, batch.weight)
        if self._l2:
            value = value + self._l2 * _squares_used(self._model, inputs.x_cat)
        return value


def _squares_used(model: nn.Module, x_cat: Tensor) -> Tensor:
    """Sum of squares of the embedding rows of each event, averaged over the batch."""
    if not isinstance(model, ColumnRows):
        raise TrainingError(
            f"train.l2: {type(model).__name__} does not say which rows belong to a column; "
            "use train.weight_decay"
        )
    total = x_cat.new_zeros((), dtype=torch.float32)
    for column in range(x_cat.shape[1]):
        for parameter, rows in model.column_rows(column):
            total = total + parameter[rows].index_select(0, x_cat[:, column]).pow(2).sum()
    return total / len(x_cat)


class _UserBatch(NamedTuple):
    """B users, and the catalogue columns of the items each of them had in training."""

    query: Query
    positives: Bag


class CatalogueObjective:
    """A loss of all trained items at once for a batch of users.

    Column j of the catalogue is the item with index j + 1. A row of the batch is a user with
    all of their training items, so event columns cannot take part.
    """

    def __init__(
        self,
        table: Table,
        model: nn.Module,
        loss: nn.Module,
        *,
        batch_size: int,
        masking: float = 0.0,
        device: torch.device | None = None,
    ) -> None:
        if not isinstance(model, ItemScorer):
            raise TrainingError(
                f"{type(model).__name__} cannot score a whole catalogue; use a pointwise loss"
            )
        self._model = model
        self._loss = loss
        self._batch_size = batch_size
        self._masking = masking
        self._device = device
        self._users = table.entities["user"].inputs
        catalogue = torch.nonzero(table.entities["item"].index).squeeze(1)
        self._items = to_device(select(table.entities["item"].inputs, catalogue), device)
        column = table.entities["item"].index.index_select(0, table.rows["item"]) - 1
        order = torch.argsort(table.rows["user"], stable=True)
        self._user_rows, counts = torch.unique_consecutive(
            table.rows["user"][order], return_counts=True
        )
        self._positives = Bag(
            column[order].long(),
            torch.cumsum(counts, 0) - counts,
            None if table.weight is None else table.weight[order],
        )

    @property
    def n_steps(self) -> int:
        return -(-len(self._user_rows) // self._batch_size)

    def epoch(self, rng: Generator) -> Iterator[_UserBatch]:
        order = torch.randperm(len(self._user_rows), generator=rng)
        for chosen in order.split(self._batch_size):
            users = select(self._users, self._user_rows[chosen])
            if self._masking:
                is_masked = torch.rand(users.x_cat.shape, generator=rng) < self._masking
                users = users._replace(x_cat=users.x_cat.masked_fill(is_masked, 0))
            n = len(chosen)
            blank = Inputs(torch.zeros(n, 0, dtype=torch.int32), torch.zeros(n, 0))
            query = Query(to_device(users, self._device), to_device(blank, self._device))
            positives = select_bag(self._positives, chosen)
            yield _UserBatch(query, bag_to_device(positives, self._device))

    def loss(self, batch: _UserBatch) -> Tensor:
        raw = self._model.score_items(batch.query, self._items)
        value: Tensor = self._loss(raw.squeeze(2), batch.positives)
        return value
