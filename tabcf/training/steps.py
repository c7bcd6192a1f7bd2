"""How an epoch's steps are taken: one batch after another through autograd and an optimiser.

A training is driven by anything that has these methods; `tabcf.training.fused` has another one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

from torch import Generator, Tensor, nn

from tabcf.errors import TrainingError
from tabcf.training.objectives import Objective

__all__ = ["EagerSteps", "Optimiser", "Rate", "Steps", "one_by_one", "single"]


class Rate(NamedTuple):
    """A step's learning rate, and AdamW's first beta."""

    learning_rate: float
    beta1: float


class Steps(Protocol):
    """Takes the steps of an epoch."""

    @property
    def n_steps(self) -> int:
        """Steps an epoch."""

    def epoch(
        self, rates: Sequence[Rate], rng: Generator, *, skip: int = 0
    ) -> Iterator[Sequence[float]]:
        """Take one pass' steps; gives their losses, of one or of several steps at a time.

        A loss that is not finite is the last: its step is not taken. Of the first `skip` steps
        only the batches are drawn, since they were taken before; if there are any, no losses come
        first, and what is drawn by then is theirs.
        """

    def settle(self) -> None:
        """Leave the model as it is after the steps taken, before anyone looks at it."""

    def state(self) -> dict[str, Tensor]:
        """What the next step needs of those before, beside the weights; it goes on changing."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from such a state; the weights are loaded first."""


class Optimiser(Protocol):
    """Updates what is trained."""

    def clip(self, parameters: Iterable[nn.Parameter], max_norm: float) -> None:
        """Scale the gradients of these parameters down to a norm, all together."""

    def step(self, learning_rate: float, *, beta1: float) -> None:
        """Update every parameter that has a gradient, and clear the gradients."""

    def settle(self) -> None:
        """Leave all parameters as they are after the steps taken."""

    def state(self) -> dict[str, Tensor]:
        """What the next step needs of those before; it goes on changing."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from such a state; the parameters are loaded first."""


def one_by_one(
    objective: Objective,
    rates: Sequence[Rate],
    rng: Generator,
    skip: int,
    take: Callable[[Any, Rate], float],
) -> Iterator[Sequence[float]]:
    """One step at a time, as `Steps.epoch` has it.

    Args:
        objective: Draws the batches.
        rates: One a step.
        rng: What batches are drawn from.
        skip: Steps that were taken before; their batches are drawn and passed over.
        take: Takes a step on a batch, and gives its loss.
    """
    batches = iter(objective.epoch(rng))
    if skip:
        deque(islice(batches, skip), maxlen=0)
        yield ()
    for rate, batch in zip(rates[skip:], batches, strict=True):
        yield (take(batch, rate),)


def single(loss: Tensor) -> Tensor:
    """A batch's loss itself.

    Raises:
        TrainingError: It is no single number.
    """
    if loss.numel() != 1:
        raise TrainingError(
            f"expected the loss of a batch as a single number, got the shape {tuple(loss.shape)}"
        )
    return loss


@dataclass(frozen=True, slots=True)
class EagerSteps:
    """Forward, backward and update by torch, for any model and any loss.

    Attributes:
        clip_norm: Gradients are scaled down to this norm.
        clipped: Each of these on its own, in place of the model.
    """

    model: nn.Module
    objective: Objective
    optimiser: Optimiser
    clip_norm: float | None = None
    clipped: Sequence[nn.Module] = ()

    @property
    def n_steps(self) -> int:
        return self.objective.n_steps

    def epoch(
        self, rates: Sequence[Rate], rng: Generator, *, skip: int = 0
    ) -> Iterator[Sequence[float]]:
        """One step at a time."""
        return one_by_one(self.objective, rates, rng, skip, self._take)

    def _take(self, batch: Any, rate: Rate) -> float:
        loss = single(self.objective.loss(batch))
        value = loss.item()
        if math.isfinite(value):
            loss.backward()
            if self.clip_norm is not None:
                for part in self.clipped or (self.model,):
                    self.optimiser.clip(part.parameters(), self.clip_norm)
            self.optimiser.step(rate.learning_rate, beta1=rate.beta1)
        return value

    def settle(self) -> None:
        """Have the optimiser catch up with rows that it did not touch."""
        self.optimiser.settle()

    def state(self) -> dict[str, Tensor]:
        """The optimiser's."""
        return self.optimiser.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.optimiser.load_state(state)
