"""One entity's rows of a model: those that it has, and what its outputs are with others.

Dimension letters: M events, K outputs of the model, P numbers of a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.model import ColumnRows, HiddenRows, HiddenSlopes, LinearRows
from tabcf.data.batches import select, to_device
from tabcf.errors import RunError
from tabcf.nn.slopes import LayerSlopes
from tabcf.recommend.fold_in.alone import Answers
from tabcf.recommend.fold_in.slots import Slots
from tabcf.recommend.trained import Trained, column_of

__all__ = ["AnswersAlone", "Responses", "Rows"]


# Outputs `(M, K)` and their derivatives `(M, K, H)` from a hidden layer's values `(M, H)`.
_Slopes = Callable[[Tensor], tuple[Tensor, Tensor]]


class Responses(Protocol):
    """How a model's outputs for M events hang on the row that each event uses.

    Both take rows `(M, P)` and give float64 on the CPU, without gradient.
    """

    def outputs(self, values: Tensor) -> Tensor:
        """`(M, K)`."""

    def jacobian(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs `(M, K)` and their derivatives by the rows, `(M, K, P)`."""

    def of(self, events: Tensor) -> Responses:
        """Those of some of the events, by their places."""


@runtime_checkable
class AnswersAlone(Protocol):
    """Responses that numpy can give for events of one and the same row."""

    def alone(self) -> Answers | None:
        """Outputs `(M,)` and derivatives `(M, P)` by a row `(P,)`; None if it cannot after all."""


class Rows:
    """An entity's rows of a trained model, which itself is never touched.

    A row is all that the model holds of one value of the column: its vector, then its bias, as
    `column_rows` lists them.

    Args:
        trained: The model.
        entity: Whose rows.
        n_slots: Events that a model is asked of at a time where it has to be run for them.

    Attributes:
        column: The position of the entity's ids in `x_cat`.
        width: P.

    Raises:
        RunError: The model does not say which rows are a column's, or the run has no such entity.
    """

    def __init__(self, trained: Trained, entity: str, *, n_slots: int) -> None:
        if not isinstance(trained.model, ColumnRows):
            raise RunError(
                f"{type(trained.model).__name__} cannot take new {entity}s: it does not say which "
                "rows are a column's (`column_rows`)"
            )
        self.trained = trained
        self.entity = entity
        self.column = column_of(trained, entity)
        self.n_slots = n_slots
        parts = [p.detach()[rows] for p, rows in trained.model.column_rows(self.column)]
        self.width = sum(math.prod(part.shape[1:]) for part in parts)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.trained.device

    def table(self) -> Tensor:
        """`(n, P)` float64: the rows that the model has, that of the unknown value first."""
        model = self.trained.model
        assert isinstance(model, ColumnRows)
        parts = [p.detach()[rows] for p, rows in model.column_rows(self.column)]
        return torch.cat([part.reshape(len(part), -1).cpu().double() for part in parts], 1)

    def responses(self, inputs: Inputs) -> Responses:
        """How the outputs for some events hang on their rows.

        Args:
            inputs: M events; what they hold in the entity's column does not matter.
        """
        return self._responding(inputs)

    @contextmanager
    def holding(self, values: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
        """A model that has the given rows `(n, P)` for the block, and their indices `(n,)`."""
        slots = self.slots
        if len(values) > len(slots):
            slots = Slots(self.trained, self.entity, len(values))
        with slots.holding(values) as index:
            yield slots.model, index

    @cached_property
    def _responding(self) -> Callable[[Inputs], Responses]:
        """The quickest way that the model has; asked for once, since to tell takes its time."""
        model: object = self.trained.model
        if isinstance(model, LinearRows):
            linear = model
            return lambda inputs: _Linear.at(linear, self.column, to_device(inputs, self.device))
        if isinstance(model, HiddenRows):
            hidden = model
            # By a model that knows by hand how its outputs change with its first layer.
            slopes = model.hidden_slopes() if isinstance(model, HiddenSlopes) else None
            return lambda inputs: _ByHidden.at(
                hidden, self.column, to_device(inputs, self.device), slopes
            )
        return lambda inputs: _InSlots(self.slots, inputs)

    @cached_property
    def slots(self) -> Slots:
        """A copy of the model with spare rows; made when it is first needed."""
        return Slots(self.trained, self.entity, self.n_slots)


class _Linear:
    """By a model that is asked once: `outputs(rest + slope · row)`."""

    def __init__(self, model: LinearRows, slope: Tensor, rest: Tensor) -> None:
        self._model = model
        self._slope, self._rest = slope, rest

    @classmethod
    @torch.no_grad()
    def at(cls, model: LinearRows, column: int, inputs: Inputs) -> _Linear:
        slope, rest = model.row_terms(column, inputs.x_cat, inputs.x_cont, inputs.x_sets)
        return cls(model, slope.cpu().double(), rest.cpu().double())

    def of(self, events: Tensor) -> _Linear:
        return _Linear(self._model, self._slope[events], self._rest[events])

    @torch.no_grad()
    def outputs(self, values: Tensor) -> Tensor:
        return self._model.outputs(self._products(values))

    def jacobian(self, values: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            products = self._products(values).requires_grad_(True)
            raw = self._model.outputs(products)
            (by_product,) = torch.autograd.grad(raw.sum(), products)
        return raw.detach(), (by_product * self._slope).unsqueeze(1)

    def _products(self, values: Tensor) -> Tensor:
        return self._rest + (self._slope * values).sum(1, keepdim=True)

    def alone(self) -> Answers:
        slope, rest = self._slope.numpy(), self._rest.numpy()

        def answers(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            with torch.enable_grad():
                products = torch.from_numpy(rest + (slope @ row)[:, None]).requires_grad_(True)
                raw = self._model.outputs(products)
                if raw is products:
                    return products.detach().numpy()[:, 0], slope
                (by_product,) = torch.autograd.grad(raw.sum(), products)
            return raw.detach().numpy()[:, 0], by_product.numpy() * slope

        return answers


class _ByHidden:
    """By a model that is run from its first layer on: `from_hidden(rest + row @ weight)`."""

    def __init__(
        self, model: HiddenRows, weight: Tensor, rest: Tensor, slopes: _Slopes | None
    ) -> None:
        self._model = model
        self._weight, self._rest = weight, rest
        self._slopes = slopes or self._by_autograd

    @classmethod
    @torch.no_grad()
    def at(
        cls, model: HiddenRows, column: int, inputs: Inputs, slopes: _Slopes | None
    ) -> _ByHidden:
        weight, rest = model.hidden_terms(column, inputs.x_cat, inputs.x_cont, inputs.x_sets)
        # A view of a parameter keeps its gradient.
        return cls(model, weight.detach(), rest, slopes)

    def of(self, events: Tensor) -> _ByHidden:
        rest = self._rest[events.to(self._rest.device)]
        return _ByHidden(self._model, self._weight, rest, self._slopes)

    @torch.no_grad()
    def outputs(self, values: Tensor) -> Tensor:
        return self._model.from_hidden(self._hidden(values)).cpu().double()

    def jacobian(self, values: Tensor) -> tuple[Tensor, Tensor]:
        raw, by_hidden = self._slopes(self._hidden(values))
        return raw.cpu().double(), (by_hidden @ self._weight.T).cpu().double()

    def alone(self) -> Answers | None:
        slopes = self._slopes
        if not isinstance(slopes, LayerSlopes) or not slopes.is_alone:
            return None
        weight, rest = self._weight.numpy(), self._rest.numpy()

        def answers(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            output, by_hidden = slopes.alone(rest + row.astype(weight.dtype) @ weight)
            return output.astype(np.float64), (by_hidden @ weight.T).astype(np.float64)

        return answers

    @torch.enable_grad()
    def _by_autograd(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        hidden.requires_grad_(True)
        raw = self._model.from_hidden(hidden.clone())
        n_outputs = raw.shape[1]
        by_hidden = [
            torch.autograd.grad(raw[:, k].sum(), hidden, retain_graph=k + 1 < n_outputs)[0]
            for k in range(n_outputs)
        ]
        return raw.detach(), torch.stack(by_hidden, 1)

    @torch.no_grad()
    def _hidden(self, values: Tensor) -> Tensor:
        return torch.addmm(self._rest, values.to(self._rest), self._weight)


class _InSlots:
    """By a model that is run with the rows in its slots, and back."""

    def __init__(self, slots: Slots, inputs: Inputs) -> None:
        self._slots, self._inputs = slots, inputs

    def of(self, events: Tensor) -> _InSlots:
        return _InSlots(self._slots, select(self._inputs, events))

    def outputs(self, values: Tensor) -> Tensor:
        return self._slots.outputs(values, self._inputs)

    def jacobian(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return self._slots.jacobian(values, self._inputs)
