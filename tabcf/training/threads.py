"""How many threads torch uses for a training, by the size of its steps.

Threads have to wait for one another at each operation, some microseconds, so that they help only
where an operation takes long: products of large matrices. A dot product's steps have none.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from tabcf.nn import RowTable
from tabcf.training.objectives import Objective
from tabcf.training.steps import EagerSteps, Steps

__all__ = ["Threads", "multiplications", "threads_for"]

Threads = int | Literal["auto"]

# Multiplications of a step's forward pass from which on several threads were faster.
_LARGE = 20_000_000


def threads_for(
    asked: Threads, steps: Steps, objective: Objective, model: nn.Module, *, most: int
) -> int:
    """The threads that are asked for; by `auto` one, or as many as may be for large steps.

    Args:
        asked: A number, or `auto`.
        steps: How steps are taken; fused ones use one thread.
        objective: Says how many rows a step looks up.
        model: What is trained.
        most: How many there may be.
    """
    if asked != "auto":
        return asked
    if not isinstance(steps, EagerSteps):
        return 1
    return most if multiplications(objective, model) >= _LARGE else 1


def multiplications(objective: Objective, model: nn.Module) -> int:
    """Of a step's forward pass, about: each row meets all weights, and a vector of each width."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    weights = sum(p.numel() for p in matrices if not isinstance(p, RowTable))
    widths = {p.shape[1] for p in matrices if isinstance(p, RowTable)}
    return objective.n_scored * (weights + sum(widths))
