"""Which way a training's steps are taken: the one place that says when they are fused.

A fused step has no autograd: `tabcf.training.fused` writes out the gradient of a dot product of two
ids. It is compiled where numba is installed and the training is long enough to be worth loading it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

from tabcf.errors import SpecError
from tabcf.nn import DotProduct, DotProductBias, RowTable
from tabcf.training.acceleration import AS_IT_IS, Acceleration, accelerated
from tabcf.training.fused.handwritten import HandwrittenSteps
from tabcf.training.fused.problem import FORMS, pair_problem
from tabcf.training.objectives import Objective, PointwiseObjective
from tabcf.training.optimiser import BETA2, AdamW, Piece
from tabcf.training.ranking import SampledObjective
from tabcf.training.samplers import PopularitySampler, UniformSampler
from tabcf.training.schedules import Schedule
from tabcf.training.steps import EagerSteps, Steps
from tabcf.training.store.choice import (
    UpdateName,
    at_all_moments,
    is_large,
    tables_of,
    why_dense,
)
from tabcf.training.store.optimiser import StoreOptimiser
from tabcf.training.store.replay import is_replayable
from tabcf.training.store.rows import RowUpdate

__all__ = ["Engine", "EngineName", "choose_engine", "chosen_tables", "why_eager"]

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
    update: UpdateName = "auto",
    clipped: Sequence[nn.Module] = (),
    acceleration: Acceleration = AS_IT_IS,
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
        update: How embedding tables are updated.
        clipped: Each of these on its own, in place of the model.
        acceleration: What torch is to make faster; that takes eager steps.

    Raises:
        SpecError: `fused`, or the update, cannot be.
    """
    tables = chosen_tables(update, objective, pieces, schedule, learning_rate)
    if name == "eager":
        reason: str | None = "train.engine says so"
    elif update in ("lazy", "adagrad"):
        reason = f"train.update is {update}"
    elif acceleration.setting is not None:
        reason = f"{acceleration.setting} goes by autograd"
    else:
        reason = why_eager(objective)
    if reason is not None and name == "fused":
        raise SpecError([f"train.engine: expected a training that can be fused, but {reason}"])
    if reason is None and isinstance(objective, PointwiseObjective | SampledObjective):
        is_long = epochs * len(objective.table) >= _LONG
        what = "fused"
        if update == "dense":
            what = "fused, not compiled: train.update is dense"
        elif name == "fused" or is_long or tables:
            compiled = _compiled(objective, pieces, schedule, learning_rate, clip_norm)
            if isinstance(compiled, Engine):
                return compiled
            what = f"fused, not compiled: {compiled}"
        if not tables or name == "fused":
            steps = HandwrittenSteps(pair_problem(objective), AdamW(pieces), clip_norm=clip_norm)
            return Engine(steps, what)
        reason = what.removeprefix("fused, ")
    if tables and acceleration.is_compiled:
        raise SpecError(
            [
                "train.compile: goes with dense updates, and tables of so many rows go by touched "
                "rows, which is worth more; leave it out, or say `update: dense`"
            ]
        )
    device = next((piece.parameter.device for piece in pieces), torch.device("cpu"))
    objective = accelerated(objective, acceleration, device)
    note = f"eager{acceleration.note}: {reason}"
    if not tables:
        return Engine(EagerSteps(model, objective, AdamW(pieces), clip_norm, clipped), note)
    rule: RowUpdate = update if update in ("lazy", "adagrad") else "replay"
    optimiser = StoreOptimiser(pieces, tables, update=rule)
    steps_of_tables = EagerSteps(model, objective, optimiser, clip_norm, clipped)
    return Engine(steps_of_tables, f"{note}; touched rows by {rule}")


def chosen_tables(
    update: UpdateName,
    objective: Objective,
    pieces: Sequence[Piece],
    schedule: Schedule,
    learning_rate: float,
) -> list[RowTable]:
    """The tables whose touched rows alone are updated: large ones by `auto`, else all or none."""
    if update == "dense":
        return []
    reason = why_dense(pieces, schedule, learning_rate, update=update)
    if reason is not None:
        if update == "auto":
            return []
        raise SpecError([f"train.update: {update} cannot be: {reason}"])
    tables = tables_of(pieces)
    if update != "auto":
        return tables
    return [table for table in tables if is_large(table, n_lookups=objective.n_lookups)]


def _compiled(
    objective: PointwiseObjective | SampledObjective,
    pieces: Sequence[Piece],
    schedule: Schedule,
    learning_rate: float,
    clip_norm: float | None,
) -> Engine | str:
    """Compiled fused steps, or why there are none."""
    decay = max(piece.decay for piece in pieces)
    if not at_all_moments(
        schedule, learning_rate, lambda rate: is_replayable(rate, decay=decay, beta2=BETA2)
    ):
        return "learning rate times weight decay is too large for that"
    try:
        from tabcf.training.fused.compiled_steps import CompiledSteps
    except ImportError:
        return "pip install 'tabcf[fast]' makes it faster"
    steps = CompiledSteps(pair_problem(objective), pieces, clip_norm=clip_norm)
    return Engine(steps, "fused, compiled")


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
