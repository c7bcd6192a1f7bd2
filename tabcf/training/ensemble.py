"""How the members of an ensemble are trained: in one pass over the same batches, or in turn.

In turn each is trained by the fused steps of a dot product of two ids, which are so fast that one
pass for all by autograd would take longer; everything else goes by one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from tabcf.data.batches import Batch
from tabcf.nn.members import Ensemble
from tabcf.training.acceleration import AS_IT_IS, Acceleration
from tabcf.training.engine import Engine, EngineName
from tabcf.training.engine import choose_engine as choose_single_engine
from tabcf.training.objectives import Objective, PointwiseObjective, squares_used
from tabcf.training.optimiser import Piece
from tabcf.training.schedules import Schedule
from tabcf.training.steps import EagerSteps, Rate, Steps
from tabcf.training.store.choice import UpdateName

__all__ = ["InTurn", "choose_engine", "in_one_pass"]

_SEEDS = 1 << 62


def choose_engine(
    name: EngineName,
    objective: Objective,
    model: nn.Module,
    *,
    decays: Callable[[nn.Module], Sequence[Piece]],
    schedule: Schedule,
    learning_rate: float,
    epochs: int,
    clip_norm: float | None = None,
    update: UpdateName = "auto",
    acceleration: Acceleration = AS_IT_IS,
) -> Engine:
    """The engine of a single model, or of an ensemble.

    Args:
        name: What is asked for; `fused`, or by `auto` wherever that can be, members are trained in
            turn.
        objective: What a single model lowers.
        model: What is trained.
        decays: Gives the parameters of a model with their decay.
        schedule: With `learning_rate`, says how large steps are.
        learning_rate: The schedule's peak.
        epochs: Passes over the training rows.
        clip_norm: A model's gradients are scaled down to this norm.
        update: How embedding tables are updated.
        acceleration: What torch is to make faster.

    Raises:
        SpecError: `fused`, or the update, cannot be.
    """
    choose = partial(
        choose_single_engine,
        schedule=schedule,
        learning_rate=learning_rate,
        epochs=epochs,
        clip_norm=clip_norm,
        update=update,
        acceleration=acceleration,
    )

    def single(model: nn.Module, objective: Objective) -> Engine:
        return choose(name, objective, model, pieces=decays(model))

    if not isinstance(model, Ensemble):
        return single(model, objective)
    members = list(model.members)
    engine = single(members[0], objective.of(members[0]))
    if not isinstance(engine.steps, EagerSteps):
        others = [single(member, objective.of(member)).steps for member in members[1:]]
        return Engine(InTurn([engine.steps, *others]), f"{engine.note}; {len(members)} in turn")
    note = f"{engine.note}; {len(members)} in one pass"
    del engine  # its optimiser has the first member's tables
    steps = choose(
        "eager", in_one_pass(objective, model), model, pieces=decays(model), clipped=members
    ).steps
    return Engine(steps, note)


@dataclass(frozen=True, slots=True)
class InTurn:
    """Each member's whole epoch, one member after the other, each with batches of its own order.

    Attributes:
        members: How each takes its steps, as many as the others.
    """

    members: Sequence[Steps]

    @property
    def n_steps(self) -> int:
        """Of all members together."""
        return sum(member.n_steps for member in self.members)

    def epoch(
        self, rates: Sequence[Rate], rng: Generator, *, skip: int = 0
    ) -> Iterator[Sequence[float]]:
        """Step i of each member has the rate of step i of a single model."""
        seeds = torch.randint(_SEEDS, (len(self.members),), generator=rng).tolist()
        own_rates = rates[:: len(self.members)]
        for member, seed in zip(self.members, seeds, strict=True):
            if skip > member.n_steps:
                skip -= member.n_steps
                continue
            own = Generator().manual_seed(seed)
            yield from member.epoch(own_rates, own, skip=skip)
            # A state that is kept later holds nothing of this epoch's rates, which that needs.
            member.settle()
            skip = 0

    def settle(self) -> None:
        for member in self.members:
            member.settle()

    def state(self) -> dict[str, Tensor]:
        """All members', each behind its number."""
        return {
            f"{number}.{name}": value
            for number, member in enumerate(self.members)
            for name, value in member.state().items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for number, member in enumerate(self.members):
            own = f"{number}."
            member.load_state(
                {n.removeprefix(own): v for n, v in state.items() if n.startswith(own)}
            )


def in_one_pass(objective: Objective, model: Ensemble) -> Objective:
    """What an ensemble lowers in one pass over the batches of a single model."""
    if isinstance(objective, PointwiseObjective):
        return _PointwiseInOnePass(objective, model)
    return _InOnePass(objective, [objective.of(member) for member in model.members])


class _InOnePass:
    """Each member's own loss of the same batch.

    Args:
        batches: Draws them.
        members: Each member's loss.
    """

    def __init__(self, batches: Objective, members: Sequence[Objective] = ()) -> None:
        self.batches = batches
        self.members = members

    @property
    def n_steps(self) -> int:
        return self.batches.n_steps

    @property
    def n_lookups(self) -> int:
        """In each member's tables."""
        return self.batches.n_lookups

    @property
    def n_scored(self) -> int:
        """By each member."""
        return self.batches.n_scored

    def epoch(self, rng: Generator) -> Iterator[Any]:
        return self.batches.epoch(rng)

    def loss(self, batch: Any) -> Tensor:
        return _of_all([member.loss(batch) for member in self.members])

    def of(self, model: nn.Module) -> Objective:
        return self.batches.of(model)


class _PointwiseInOnePass(_InOnePass):
    """The same where the members' outputs may come of one look-up."""

    def __init__(self, objective: PointwiseObjective, model: Ensemble) -> None:
        super().__init__(objective)
        self._objective = objective
        self._model = model

    def loss(self, batch: Batch) -> Tensor:
        objective, inputs = self._objective, batch.inputs
        outputs = self._model.each(inputs.x_cat, inputs.x_cont, inputs.x_sets)
        losses = []
        for raw, member in zip(outputs, self._model.members, strict=True):
            value = objective.loss_module(raw, batch.target, batch.weight)
            if objective.l2:
                value = value + objective.l2 * squares_used(member, inputs)
            losses.append(value)
        return _of_all(losses)


def _of_all(losses: Sequence[Tensor]) -> Tensor:
    """The members' mean loss as a number, with the gradients that each would have alone.

    AdamW is not the same with gradients over M: epsilon is added to what they come to.
    """
    total = torch.stack(list(losses)).sum(0)
    return total + (total / len(losses) - total).detach()
