"""The mean of the weights at the ends of several epochs.

Stochastic weight averaging (Izmailov et al., 2018, "Averaging weights leads to wider optima and
better generalization"); the running statistics of batch normalisation are averaged like weights, as
by `torch.optim.swa_utils.AveragedModel(use_buffers=True)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tabcf.training.state import Averaged, Weights, load_weights, weights_of

__all__ = ["Average"]


@dataclass(slots=True)
class Average:
    """A running mean of weights.

    Attributes:
        first: The first epoch that counts, from 1.
        n: How many epochs counted.
        weights: Their mean; whole numbers are those of the last epoch.
    """

    first: int
    n: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of_last(cls, start: float, epochs: int) -> Average:
        """Over the epochs after a share of all, but the last one at least.

        Example:
            >>> Average.of_last(0.5, 10).first, Average.of_last(0.99, 3).first
            (6, 3)
        """
        return cls(min(math.floor(start * epochs) + 1, epochs))

    def state(self) -> Averaged | None:
        """The mean so far; None before the first epoch that counts."""
        return Averaged(self.n, self.weights) if self.n else None

    def load_state(self, state: Averaged) -> None:
        """Go on from a mean."""
        self.n = state.n
        self.weights = {name: value.clone() for name, value in state.weights.items()}

    @torch.no_grad()
    def add(self, weights: Weights) -> None:
        """Take the weights of a further epoch in."""
        self.n += 1
        for name, value in weights.items():
            if self.n == 1 or not value.is_floating_point():
                self.weights[name] = value.detach().clone()
            else:
                self.weights[name].lerp_(value, 1 / self.n)

    @contextmanager
    def shown(self, model: nn.Module, loss: nn.Module | None) -> Iterator[None]:
        """Let the model and its loss have the mean for the block; before there is one, nothing."""
        if not self.n:
            yield
            return
        own = {name: value.clone() for name, value in weights_of(model, loss).items()}
        load_weights(self.weights, model, loss)
        try:
            yield
        finally:
            load_weights(own, model, loss)
