"""Torch's own ways to take a step faster: code compiled for its passes, and products of 16 bits.

Both wrap what a step lowers. So the model stays as it is, with its names and its float32 weights,
and batches, optimisers and checkpoints know nothing of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from tabcf.errors import TrainingError
from tabcf.training.objectives import Objective
from tabcf.training.steps import Rate, Steps

__all__ = ["AS_IT_IS", "Acceleration", "FirstStepTimed", "Precision", "accelerated"]

Precision = Literal["fp32", "bf16"]


class Acceleration(NamedTuple):
    """What is asked for.

    Attributes:
        is_compiled: Whether forward and backward passes are compiled by `torch.compile`.
        precision: `bf16` for automatic mixed precision: products of matrices in bfloat16, losses,
            weights and their updates in float32.
        backend: What `torch.compile` compiles with.
    """

    is_compiled: bool = False
    precision: Precision = "fp32"
    backend: str = "inductor"

    @property
    def setting(self) -> str | None:
        """The setting that asks for autograd, as in `train.compile`; None if none does."""
        if self.is_compiled:
            return "train.compile"
        return "train.precision" if self.precision != "fp32" else None

    @property
    def note(self) -> str:
        """What is said of it beside the engine; often empty."""
        compiled = ", compiled by torch" if self.is_compiled else ""
        return compiled + (f", {self.precision}" if self.precision != "fp32" else "")


AS_IT_IS = Acceleration()
"""Nothing is asked for."""


def accelerated(objective: Objective, how: Acceleration, device: torch.device) -> Objective:
    """The same objective, faster; itself where nothing is asked for."""
    if how.precision == "bf16":
        objective = _MixedPrecision(objective, device)
    return _Compiled(objective, how.backend) if how.is_compiled else objective


class _Wrapped:
    """An objective in another's place."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    @property
    def n_steps(self) -> int:
        return self.objective.n_steps

    @property
    def n_lookups(self) -> int:
        return self.objective.n_lookups

    @property
    def n_scored(self) -> int:
        return self.objective.n_scored

    def epoch(self, rng: Generator) -> Iterator[Any]:
        return self.objective.epoch(rng)

    def of(self, model: nn.Module) -> Objective:
        return self.objective.of(model)


class _MixedPrecision(_Wrapped):
    """Products in bfloat16, which has the range of float32, so that no loss need be scaled."""

    def __init__(self, objective: Objective, device: torch.device) -> None:
        super().__init__(objective)
        self._kind = device.type

    def loss(self, batch: Any) -> Tensor:
        with torch.autocast(self._kind, dtype=torch.bfloat16):
            return self.objective.loss(batch).float()


class _Compiled(_Wrapped):
    """A loss that is compiled when it is first worked out, and again for a last, smaller batch."""

    def __init__(self, objective: Objective, backend: str) -> None:
        super().__init__(objective)
        self._loss = torch.compile(objective.loss, backend=backend)

    def loss(self, batch: Any) -> Tensor:
        try:
            value: Tensor = self._loss(batch)
        except Exception as error:
            # Its exceptions stand in modules that cost a second to import.
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            reason = str(error).strip().splitlines()[0]
            raise TrainingError(
                f"train.compile: torch cannot compile this training: {type(error).__name__}: "
                f"{reason}; it needs a C++ compiler, such as g++; or leave out train.compile"
            ) from error
        return value


class FirstStepTimed:
    """Steps of which the first one's time is told, since compiling is part of it.

    Args:
        steps: How they are taken.
        tell: Given the wall seconds of the first step that is taken.
    """

    def __init__(self, steps: Steps, tell: Callable[[float], None]) -> None:
        self._steps = steps
        self._tell = tell
        self.seconds = 0.0

    @property
    def n_steps(self) -> int:
        return self._steps.n_steps

    def epoch(
        self, rates: Sequence[Rate], rng: Generator, *, skip: int = 0
    ) -> Iterator[Sequence[float]]:
        started = time.perf_counter()
        for taken in self._steps.epoch(rates, rng, skip=skip):
            if not taken:  # batches were drawn whose steps were taken before
                yield taken
                started = time.perf_counter()
                continue
            if not self.seconds:
                self.seconds = time.perf_counter() - started
                self._tell(self.seconds)
            yield taken

    def settle(self) -> None:
        self._steps.settle()

    def state(self) -> dict[str, Tensor]:
        return self._steps.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._steps.load_state(state)
