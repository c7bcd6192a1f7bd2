"""The training loop; knows neither specs nor runs nor how progress is shown."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Generator, nn

from tabcf.errors import TrainingError
from tabcf.training.average import Average
from tabcf.training.schedules import Schedule
from tabcf.training.state import (
    Best,
    EpochReport,
    Keeper,
    TrainingState,
    load_weights,
    set_torch_generators,
    torch_generators,
    weights_of,
)
from tabcf.training.steps import Rate, Steps

__all__ = ["EarlyStop", "EpochReport", "Training", "train"]


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """Stop after `patience` epochs in which `metric` did not improve by more than `min_delta`."""

    metric: str
    is_higher_better: bool
    patience: int
    min_delta: float = 0.0


@dataclass(slots=True)
class Training:
    """What came of it. `best_epoch` is the last one without early stopping.

    `n_steps` is the number of steps an epoch, those of all members where they are trained in turn.
    `warm_up_seconds` is the wall time of the first step where that compiles.
    """

    n_steps: int = 0
    epochs: list[EpochReport] = field(default_factory=list)
    best_epoch: int = 0
    is_interrupted: bool = False
    warm_up_seconds: float = 0.0


def train(
    model: nn.Module,
    steps: Steps,
    *,
    schedule: Schedule,
    learning_rate: float,
    epochs: int,
    rng: Generator,
    loss: nn.Module | None = None,
    beta1: float = 0.9,
    early_stop: EarlyStop | None = None,
    average: Average | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[], None] | None = None,
    keeper: Keeper | None = None,
) -> Training:
    """Train for a number of epochs; with `early_stop`, end with the best epoch's weights.

    Ctrl-C ends the training after the steps at hand and keeps the weights reached.

    Args:
        model: What is trained.
        steps: How its steps are taken.
        schedule: With `learning_rate`, the rate of each step.
        learning_rate: The schedule's peak.
        epochs: Passes over the training rows.
        rng: What batches are drawn from.
        loss: A loss with weights of its own, which are kept with the model's.
        beta1: AdamW's first beta where the schedule gives none.
        early_stop: When to stop before the last epoch.
        average: From its first epoch on the mean of the weights is validated, and the model ends
            with it.
        validate: Measures the model after each epoch.
        on_epoch: Told of each epoch.
        on_step: Called after each step.
        keeper: Keeps the state by the way; from the last one kept the training goes on, and ends
            with the weights that it would have had without a break.

    Raises:
        TrainingError: The loss is no single number, or no longer finite; says at which epoch and
            step. Or the batches drawn are not those of the training that is to go on.
    """
    n_steps = max(steps.n_steps, 1)
    training = Training(n_steps)
    state = None if keeper is None else keeper.restore()
    best = None
    if state is not None:
        load_weights(state.weights, model, loss)
        steps.load_state(state.steps)
        training.epochs.extend(state.reports)
        best = state.best
        if average is not None and state.averaged is not None:
            average.load_state(state.averaged)
        training.best_epoch = state.epoch - 1 if best is None else best.epoch
        if on_step is not None:
            for _ in range((state.epoch - 1) * steps.n_steps + len(state.losses)):
                on_step()
    try:
        for epoch in range(1 if state is None else state.epoch, epochs + 1):
            started = time.perf_counter()
            model.train()
            rates = []
            for step in range(steps.n_steps):
                factor, beta = schedule((epoch - 1 + step / n_steps) / epochs)
                rates.append(Rate(learning_rate * factor, beta1 if beta is None else beta))
            losses: list[float] = []
            if state is not None:
                started -= state.seconds
                losses.extend(state.losses)
                rng.set_state(state.rng_epoch)
            rng_epoch = rng.get_state()
            for taken in steps.epoch(rates, rng, skip=len(losses)):
                if state is not None:
                    _go_on(state, rng, model)
                    state = None
                for value in taken:
                    losses.append(value)
                    if not math.isfinite(value):
                        rate = rates[len(losses) - 1].learning_rate
                        raise TrainingError(_not_finite(value, epoch, len(losses), rate))
                    if on_step:
                        on_step()
                if keeper is not None and taken and keeper.is_due(len(taken)):
                    keeper.keep(
                        TrainingState(
                            epoch,
                            losses,
                            time.perf_counter() - started,
                            training.epochs,
                            weights_of(model, loss),
                            steps.state(),
                            rng_epoch,
                            rng.get_state(),
                            torch_generators(model),
                            best,
                            None if average is None else average.state(),
                        )
                    )
            steps.settle()
            model.eval()
            if average is not None and epoch >= average.first:
                average.add(weights_of(model, loss))
            with nullcontext() if average is None else average.shown(model, loss):
                metrics = dict(validate(model)) if validate else {}
                report = EpochReport(
                    epoch,
                    sum(losses) / n_steps,
                    metrics,
                    rates[-1].learning_rate if rates else learning_rate,
                    time.perf_counter() - started,
                )
                training.epochs.append(report)
                if on_epoch:
                    on_epoch(report)
                if early_stop is None:
                    training.best_epoch = epoch
                    continue
                if _is_better(metrics[early_stop.metric], best, early_stop):
                    weights = copy.deepcopy(weights_of(model, loss))
                    best = Best(epoch, metrics[early_stop.metric], weights)
                    training.best_epoch = epoch
                elif epoch - training.best_epoch >= early_stop.patience:
                    break
    except KeyboardInterrupt:
        training.is_interrupted = True
        steps.settle()
    if best is not None:
        load_weights(best.weights, model, loss)
    elif average is not None and average.n:
        load_weights(average.weights, model, loss)
    model.eval()
    return training


def _go_on(state: TrainingState, rng: Generator, model: nn.Module) -> None:
    """Check that the batches passed over were those of the state, and set torch's generators."""
    if not torch.equal(rng.get_state(), state.rng):
        raise TrainingError(
            f"cannot go on from epoch {state.epoch}, step {len(state.losses)}: the batches "
            "drawn are not those of the training broken off; its sampler or its rows have changed"
        )
    set_torch_generators(state.rng_torch, model)


def _is_better(value: float, best: Best | None, rule: EarlyStop) -> bool:
    if best is None:
        return True
    gain = value - best.value if rule.is_higher_better else best.value - value
    return gain > rule.min_delta


def _not_finite(value: float, epoch: int, step: int, learning_rate: float) -> str:
    return (
        f"the loss is {value} at epoch {epoch}, step {step} (learning rate {learning_rate:.3g}); "
        "most often the learning rate is too high: try a tenth of it, or train.clip_norm: 1.0"
    )
