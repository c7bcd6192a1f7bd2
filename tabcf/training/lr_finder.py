"""A learning rate test: the loss while the rate rises from tiny to far too high (Smith, 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, count

from torch import Generator, nn

from tabcf.training.objectives import Objective
from tabcf.training.optimiser import AdamW

__all__ = ["LearningRates", "find_learning_rate"]

# As in fastai: 100 steps from 1e-7 to 10, ended when the loss is four times its lowest.
_LOW, _HIGH, _STEPS, _DIVERGED = 1e-7, 10.0, 100, 4.0
_SMOOTHING = 0.9


@dataclass(frozen=True, slots=True)
class LearningRates:
    """Rates that were tried, the smoothed loss at each, and the one to take.

    The suggestion is where the loss falls most steeply over the logarithm of the rate.
    """

    learning_rates: list[float]
    losses: list[float]
    suggestion: float


def find_learning_rate(
    model: nn.Module, objective: Objective, *, optimiser: AdamW, rng: Generator
) -> LearningRates:
    """Train through the rates; the model is spoilt afterwards."""
    rates: list[float] = []
    losses: list[float] = []
    mean, lowest = 0.0, math.inf
    model.train()
    epochs = (objective.epoch(rng) for _ in count())
    for step, batch in zip(range(_STEPS), chain.from_iterable(epochs), strict=False):
        rate = _LOW * (_HIGH / _LOW) ** (step / (_STEPS - 1))
        loss = objective.loss(batch)
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss.item()
        smooth = mean / (1 - _SMOOTHING ** (step + 1))
        if not math.isfinite(smooth) or smooth > _DIVERGED * lowest:
            break
        lowest = min(lowest, smooth)
        rates.append(rate)
        losses.append(smooth)
        loss.backward()
        optimiser.step(rate)
    return LearningRates(rates, losses, _steepest(rates, losses))


def _steepest(rates: list[float], losses: list[float]) -> float:
    """The rate at which the loss falls most, up to where it is lowest."""
    lowest = min(range(len(losses)), key=losses.__getitem__)
    # The first steps only show the smoothing settle.
    start = min(10, max(lowest - 1, 0))
    falls = [losses[i + 1] - losses[i] for i in range(start, max(lowest, start + 1))]
    return rates[start + min(range(len(falls)), key=falls.__getitem__)]
