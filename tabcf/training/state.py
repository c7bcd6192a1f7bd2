"""The whole state of a training between two of its steps, from which it goes on bit for bit.

Batches are not part of it: those of an epoch follow from the generator's state at its beginning, so
they are drawn anew and the ones that were taken are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

__all__ = [
    "Averaged",
    "Best",
    "EpochReport",
    "Keeper",
    "TrainingState",
    "Weights",
    "load_weights",
    "set_torch_generators",
    "torch_generators",
    "weights_of",
]

Weights = Mapping[str, Tensor]
"""Names begin with `model.` or `loss.`."""


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One epoch: mean training loss a step, validation metrics, the last learning rate."""

    epoch: int
    train_loss: float
    validation: Mapping[str, float]
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Best:
    """The best epoch of those that early stopping has seen."""

    epoch: int
    value: float
    weights: Weights


@dataclass(frozen=True, slots=True)
class Averaged:
    """The mean of the weights at the ends of n epochs."""

    n: int
    weights: Weights


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A training after some steps of an epoch.

    Attributes:
        epoch: The epoch at hand, from 1.
        losses: Of its steps so far; their number is that of the steps taken.
        seconds: Wall time of the epoch so far.
        reports: The epochs before.
        weights: Of the model and of the loss.
        steps: What the way to take steps keeps from one to the next, such as moments.
        rng_epoch: The batches' generator at the epoch's beginning, `(n,)` uint8.
        rng: The same now.
        rng_torch: Torch's own generators now, from which dropout draws, by device, `(n,)` uint8.
        best: What early stopping would return to.
        averaged: What is predicted with where weights are averaged.
    """

    epoch: int
    losses: Sequence[float]
    seconds: float
    reports: Sequence[EpochReport]
    weights: Weights
    steps: Mapping[str, Tensor]
    rng_epoch: Tensor
    rng: Tensor
    rng_torch: Mapping[str, Tensor]
    best: Best | None = None
    averaged: Averaged | None = None


class Keeper(Protocol):
    """Keeps states of a training, and gives the last one back."""

    def restore(self) -> TrainingState | None:
        """The state to go on from; None to begin."""

    def is_due(self, n_steps: int) -> bool:
        """Asked after one step, or several that were taken at once."""

    def keep(self, state: TrainingState) -> None:
        """Keep a state; its tensors go on changing afterwards."""


def weights_of(model: nn.Module, loss: nn.Module | None) -> dict[str, Tensor]:
    """The weights of a model and of its loss, which go on changing with them."""
    found = {f"model.{name}": value for name, value in model.state_dict().items()}
    if loss is not None:
        found |= {f"loss.{name}": value for name, value in loss.state_dict().items()}
    return found


def load_weights(weights: Mapping[str, Any], model: nn.Module, loss: nn.Module | None) -> None:
    """Write weights back into a model and its loss."""
    for prefix, module in (("model.", model), ("loss.", loss)):
        if module is not None:
            module.load_state_dict(
                {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}
            )


def torch_generators(model: nn.Module) -> dict[str, Tensor]:
    """The states of torch's own generators, by device: the CPU's, and that of a model's GPU."""
    states = {"cpu": torch.get_rng_state()}
    for device in _gpus(model):
        states[str(device)] = torch.cuda.get_rng_state(device)
    return states


def set_torch_generators(states: Mapping[str, Tensor], model: nn.Module) -> None:
    """Bring torch's own generators back into such states."""
    torch.set_rng_state(states["cpu"])
    for device in _gpus(model):
        torch.cuda.set_rng_state(states[str(device)], device)


def _gpus(model: nn.Module) -> set[torch.device]:
    return {p.device for p in model.parameters() if p.device.type == "cuda"}
