"""Which way a training's steps are taken: the one place that says when they are fused.

A fused step has no autograd: `tabcf.training.fused` writes out the gradient of a dot product of two
ids. It is compiled where numba is installed and the training is long enough to be worth loading it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import nn

from tabcf.errors import SpecError
from tabcf.nn import DotProduct, DotProductBias
from tabcf.training.fused.handwritten import HandwrittenSteps
from tabcf.training.fused.problem import FORMS, pair_problem
from tabcf.training.fused.sequences import is_stable
from tabcf.training.objectives import Objective, PointwiseObjective, SampledObjective
from tabcf.training.optimiser import BETA2, AdamW, Piece
from tabcf.training.samplers import PopularitySampler, UniformSampler
from tabcf.training.schedules import Schedule
from tabcf.training.steps import EagerSteps, Rate, Steps

__all__ = ["Engine", "EngineName", "choose_engine", "why_eager"]

EngineName = Literal["auto", "fused", "eager"]

# Events of all passes from which on loading compiled code, half a second, is won back.
_LONG = 200_000
# Exactly these classes: a subclass may compute something else.
_MODELS = (DotProduct, DotProductBias)
_SAMPLERS = (UniformSampler, PopularitySampler)


class Engine(NamedTuple):
    """How steps are taken, and that in words."""

    steps: Steps
    note: str


def choose_engine(
    name: EngineName,
    objective: Objective,
    model: nn.Module,
    *,
    pieces: Sequence[Piece],
    schedule: Schedule,
    learning_rate: float,
    epochs: int,
    clip_norm: float | None = None,
) -> Engine:
    """The engine that is asked for; by `auto` the fused one wherever it can be.

    Args:
        name: What is asked for.
        objective: What is lowered.
        model: What is trained.
        pieces: Its parameters with their decay.
        schedule: With `learning_rate`, says how large steps are.
        learning_rate: The schedule's peak.
        epochs: Passes over the training rows.
        clip_norm: Gradients are scaled down to this norm.

    Raises:
        SpecError: `fused` cannot be.
    """
    reason = "train.engine says so" if name == "eager" else why_eager(objective)
    if reason is not None and name == "fused":
        raise SpecError([f"train.engine: expected a training that can be fused, but {reason}"])
    if reason is not None or not isinstance(objective, PointwiseObjective | SampledObjective):
        steps = EagerSteps(model, objective, AdamW(pieces), clip_norm)
        return Engine(steps, f"eager: {reason}")
    problem = pair_problem(objective)
    what = "fused"
    if name == "fused" or epochs * problem.n_events >= _LONG:
        decay = max(piece.decay for piece in pieces)
        if not _is_stable(schedule, learning_rate, decay):
            what = "fused, not compiled: learning rate times weight decay is too large for that"
        else:
            try:
                from tabcf.training.fused.compiled_steps import CompiledSteps
            except ImportError:
                what = "fused, not compiled: pip install 'tabcf[fast]' makes it faster"
            else:
                compiled = CompiledSteps(problem, pieces, clip_norm=clip_norm)
                return Engine(compiled, "fused, compiled")
    return Engine(HandwrittenSteps(problem, AdamW(pieces), clip_norm=clip_norm), what)


def why_eager(objective: Objective) -> str | None:
    """Why a training cannot be fused; None if it can."""
    if not isinstance(objective, PointwiseObjective | SampledObjective):
        return "its loss is one of the whole catalogue"
    model, loss = objective.model, objective.loss_module
    if not isinstance(model, DotProduct) or type(model) not in _MODELS:
        return f"its model is no plain dot product but {type(model).__name__}"
    if len(model.cardinalities) != 2 or model.n_continuous or model.set_cardinalities:
        return "its model has more columns than two ids"
    if model.dropout.p:
        return "its model has dropout"
    if model.factors.device.type != "cpu":
        return f"it runs on {model.factors.device.type}, and fused steps run on the CPU"
    if type(loss) not in FORMS:
        return f"its loss is none of {', '.join(FORMS.values())} but {type(loss).__name__}"
    if isinstance(objective, PointwiseObjective):
        return None
    if type(objective.sampler) not in _SAMPLERS or objective.sampler.is_shared:
        return "its items are not drawn uniformly or by popularity for each event"
    if model.y_range is not None or any(objective.masking):
        return "bpr goes with neither y_range nor unknown: masked in one step"
    return None


def _is_stable(schedule: Schedule, learning_rate: float, decay: float) -> bool:
    """Whether the sums over missed steps can be trusted, at each of a hundred moments."""
    for percent in range(101):
        factor, beta = schedule(percent / 100)
        rate = Rate(learning_rate * factor, 0.9 if beta is None else beta)
        if not is_stable(rate, decay=decay, beta2=BETA2):
            return False
    return True
