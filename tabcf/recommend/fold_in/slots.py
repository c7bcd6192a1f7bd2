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
    """Spare rows, called slots, behind an entity's trained ones.

    A row is all that the model holds of one value of the column: its vector, then its bias, as
    `column_rows` lists them. The trained model itself is never touched.

    Args:
        trained: Its model says which rows belong to a column.
        entity: Whose rows.
        n: S, how many slots.

    Attributes:
        model: The copy of the model that has the slots.
        column: The position of the entity's ids in `x_cat`.
        first: The index of the first slot, which is the number of the entity's own rows.
        device: Where the model is.
        lock: Held while slots are in use, since all callers share them.
    """

    def __init__(self, trained: Trained, entity: str, n: int) -> None:
        self.column = column_of(trained, entity)
        self.first = trained.encoder.layout.categorical[self.column].cardinality
        self.model = grown_model(trained, {self.column: n})
        self.lock = threading.Lock()
        self.device = trained.device
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

    @property
    def width(self) -> int:
        """P."""
        return sum(self._widths)

    @torch.no_grad()
    def trained_rows(self) -> Tensor:
        """`(first, P)` float64: the entity's own rows, that of the unknown value first."""
        parts = [p[start : start + self.first].flatten(1) for p, start in self._flat()]
        return torch.cat(parts, 1).double().cpu()

    @torch.no_grad()
    def write(self, values: Tensor) -> None:
        """Put `(m, P)` rows into the first m slots."""
        for (parameter, start), own in zip(self._parts, values.split(self._widths, 1), strict=True):
            place = parameter[start + self.first : start + self.first + len(values)]
            place.copy_(own.reshape(place.shape))

    @contextmanager
    def holding(self, values: Tensor) -> Iterator[Tensor]:
        """Hold rows in the slots for the block; gives their indices, `(m,)` int32."""
        with self.lock:
            self.write(values)
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
            `(M, K)` float32 outputs without gradient, `(M, K, P)` float64 derivatives.
        """
        raws, derivatives = [], []
        for rows, part in self._blocks(inputs):
            with self.holding(values[rows]) as index:
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
            raws.append(raw.detach().cpu())
            derivatives.append(torch.stack(by_output, 1))
        return torch.cat(raws), torch.cat(derivatives)

    @torch.no_grad()
    def outputs(self, values: Tensor, inputs: Inputs) -> Tensor:
        """`(M, K)` float32: the outputs alone."""
        raws = []
        for rows, part in self._blocks(inputs):
            with self.holding(values[rows]) as index:
                raws.append(self._forward(part, index).cpu())
        return torch.cat(raws)

    def _blocks(self, inputs: Inputs) -> Iterator[tuple[Tensor, Inputs]]:
        """As many events at a time as there are slots."""
        m = len(inputs.x_cat)
        for rows in torch.arange(m).split(self._n):
            part = inputs if m <= self._n else select(inputs, rows)
            yield rows, to_device(part, self.device)

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
            parts.append(gradient[first : first + m].reshape(m, width).double().cpu())
        return torch.cat(parts, 1)

    def _flat(self) -> list[tuple[Tensor, int]]:
        return [(p.reshape(len(p), -1), start) for p, start in self._parts]
