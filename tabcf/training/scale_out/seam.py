"""What a fit asks of the processes that it is one of; a single process answers at once.

`tabcf.training.scale_out.ranks` answers for several. How they are started is no part of it: that is
up to who launches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

from tabcf.data.shares import Together
from tabcf.training.acceleration import AS_IT_IS, Acceleration
from tabcf.training.engine import Engine, EngineName
from tabcf.training.ensemble import choose_engine
from tabcf.training.kept import read_file, write_file
from tabcf.training.objectives import Objective
from tabcf.training.optimiser import Piece
from tabcf.training.schedules import Schedule
from tabcf.training.store.choice import UpdateName

__all__ = ["ALONE", "How", "Ranks"]

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class How:
    """How a training's steps are to be taken.

    Attributes:
        engine: What is asked for.
        decays: Gives the parameters of a model with their decay.
        schedule: With `learning_rate`, the rate of each step.
        learning_rate: The schedule's peak.
        epochs: Passes over the training rows.
        clip_norm: A model's gradients are scaled down to this norm.
        update: How embedding tables are updated.
        spread_rows: Tables of so many rows are spread over the processes.
        acceleration: What torch is to make faster.
    """

    engine: EngineName
    decays: Callable[[nn.Module], Sequence[Piece]]
    schedule: Schedule
    learning_rate: float
    epochs: int
    clip_norm: float | None = None
    update: UpdateName = "auto"
    spread_rows: int | None = None
    acceleration: Acceleration = AS_IT_IS


class Ranks(Together, Protocol):
    """The processes of a fit; all of them ask the same things in the same order.

    The first one measures, tells and writes the run.

    Attributes:
        ending: Of the names of the states that they keep.
    """

    @property
    def ending(self) -> str: ...

    def wrap(
        self, objective: Objective, model: nn.Module, loss: nn.Module, how: How
    ) -> AbstractContextManager[Engine]:
        """How the steps are taken until the block ends; then the first process' model is whole."""

    def first(self, work: Callable[[], _Value]) -> _Value:
        """What the first process finds with its whole model, also within `wrap`."""

    def told(self, value: _Value) -> _Value:
        """What the first process has."""

    def save(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any], path: Path) -> None:
        """Keep a state under a name that is there as a whole or not at all."""

    def load(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The state, as far as it is this process' own."""


class _Alone:
    """A fit in this process alone."""

    rank = 0
    size = 1
    ending = ".safetensors"

    @contextmanager
    def wrap(
        self, objective: Objective, model: nn.Module, loss: nn.Module, how: How
    ) -> Iterator[Engine]:
        yield choose_engine(
            how.engine,
            objective,
            model,
            decays=how.decays,
            schedule=how.schedule,
            learning_rate=how.learning_rate,
            epochs=how.epochs,
            clip_norm=how.clip_norm,
            update=how.update,
            acceleration=how.acceleration,
        )

    def first(self, work: Callable[[], _Value]) -> _Value:
        return work()

    def told(self, value: _Value) -> _Value:
        return value

    def sum(self, counts: np.ndarray) -> np.ndarray:
        return counts

    def all(self, value: _Value) -> Sequence[_Value]:
        return [value]

    def dealt(self, values: Sequence[_Value] | None) -> _Value:
        assert values is not None
        return values[0]

    def collected(self, own: Iterator[_Value], owners: Sequence[int]) -> Iterator[_Value]:
        return own

    def save(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any], path: Path) -> None:
        write_file(tensors, about, path)

    def load(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return read_file(path)


ALONE: Ranks = _Alone()
"""A fit in this process alone."""
