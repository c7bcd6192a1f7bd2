"""A model with spare rows for one entity, and how its outputs change with what is in them.

Dimension letters: S spare rows, M events, K outputs of the model, P numbers of a row.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.model import ColumnRows
from tabcf.data.batches import select, to_device
from tabcf.recommend.grown import grown_model
from tabcf.recommend.trained import Trained, column_of

__all__ = ["Slots"]


class Slots:
    """Spare rows, called slots, in a copy of a trained model.

    For items they lie behind the trained rows, since a list may hold both; for users they take
    their place, since nobody asks for one user beside another.

    Args:
        trained: Its model says which rows belong to a column.
        entity: Whose rows.
        n: S, how many slots.

    Attributes:
        model: The copy of the model that has the slots.
        column: The position of the entity's ids in `x_cat`.
        first: The index of the first slot.

    Raises:
        RunError: The model cannot be copied with another number of rows.
    """

    def __init__(self, trained: Trained, entity: str, n: int) -> None:
        self.column = column_of(trained, entity)
        is_alone = entity == "user"
        cardinality = trained.encoder.layout.categorical[self.column].cardinality
        self.first = 1 if is_alone else cardinality
        emptied = frozenset({self.column} if is_alone else ())
        self.model = grown_model(trained, {self.column: n}, emptied=emptied)
        self._device = trained.device
        # All callers share the slots.
        self._lock = threading.Lock()
        assert isinstance(self.model, ColumnRows)
        self._parts = [(p, rows.start) for p, rows in self.model.column_rows(self.column)]
        self._widths = [math.prod(parameter.shape[1:]) for parameter, _ in self._parts]
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        for parameter, _ in self._parts:
            parameter.requires_grad_(True)
        self._n = n

    def __len__(self) -> int:
        return self._n

    @contextmanager
    def holding(self, values: Tensor) -> Iterator[Tensor]:
        """Hold `(m, P)` rows in the slots for the block; gives their indices, `(m,)` int32.

        Nobody else gets at the slots meanwhile, this thread included.
        """
        with self._lock:
            self._write(values)
            yield torch.arange(self.first, self.first + len(values), dtype=torch.int32)

    def jacobian(self, values: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Outputs of events, and their derivatives by the row that each event uses.

        Every event gets a slot of its own, so that one backward pass per output gives the
        derivatives of all events. Needs a model whose events do not mix, which holds in
        evaluation mode.

        Args:
            values: `(M, P)` the row that stands in for each event's own.
            inputs: M events; what they hold in the entity's column does not matter.

        Returns:
            `(M, K)` outputs without gradient and `(M, K, P)` derivatives, float64.
        """
        raws, derivatives = [], []
        for rows, part in self._blocks(inputs):
            with self.holding(values[rows]) as index, torch.enable_grad():
                raw = self._forward(part, index)
                by_output = []
                for k in range(raw.shape[1]):
                    gradients = torch.autograd.grad(
                        raw[:, k].sum(),
                        [parameter for parameter, _ in self._parts],
                        retain_graph=k + 1 < raw.shape[1],
                        allow_unused=True,
                    )
                    by_output.append(self._of_slots(gradients, len(rows)))
            raws.append(raw.detach().cpu().double())
            derivatives.append(torch.stack(by_output, 1))
        return torch.cat(raws), torch.cat(derivatives)

    @torch.no_grad()
    def outputs(self, values: Tensor, inputs: Inputs) -> Tensor:
        """`(M, K)` float64: the outputs alone."""
        raws = []
        for rows, part in self._blocks(inputs):
            with self.holding(values[rows]) as index:
                raws.append(self._forward(part, index).cpu().double())
        return torch.cat(raws)

    @torch.no_grad()
    def _write(self, values: Tensor) -> None:
        """Put `(m, P)` rows into the first m slots."""
        for (parameter, start), own in zip(self._parts, values.split(self._widths, 1), strict=True):
            place = parameter[start + self.first : start + self.first + len(values)]
            place.copy_(own.reshape(place.shape))

    def _blocks(self, inputs: Inputs) -> Iterator[tuple[Tensor, Inputs]]:
        """As many events at a time as there are slots."""
        m = len(inputs.x_cat)
        for rows in torch.arange(m).split(self._n):
            part = inputs if m <= self._n else select(inputs, rows)
            yield rows, to_device(part, self._device)

    def _forward(self, inputs: Inputs, index: Tensor) -> Tensor:
        x_cat = inputs.x_cat.clone()
        x_cat[:, self.column] = index.to(x_cat)
        raw: Tensor = self.model(x_cat, inputs.x_cont, inputs.x_sets)
        return raw

    def _of_slots(self, gradients: tuple[Tensor | None, ...], m: int) -> Tensor:
        """`(m, P)` float64: the first m slots' share of whole tables' gradients."""
        parts = []
        for (_, start), width, gradient in zip(self._parts, self._widths, gradients, strict=True):
            if gradient is None:
                parts.append(torch.zeros(m, width, dtype=torch.float64))
                continue
            first = start + self.first
            parts.append(gradient[first : first + m].reshape(m, width).cpu().double())
        return torch.cat(parts, 1)
