"""The training loop; knows neither specs nor runs nor how progress is shown."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Generator, Tensor, nn

from tabcf.errors import TrainingError
from tabcf.training.schedules import Schedule
from tabcf.training.steps import Rate, Steps

__all__ = ["EarlyStop", "EpochReport", "Training", "train"]


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One epoch: mean training loss a step, validation metrics, the last learning rate."""

    epoch: int
    train_loss: float
    validation: Mapping[str, float]
    learning_rate: float
    seconds: float


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

    `n_steps` is the number of steps an epoch.
    """

    n_steps: int = 0
    epochs: list[EpochReport] = field(default_factory=list)
    best_epoch: int = 0
    is_interrupted: bool = False


def train(
    model: nn.Module,
    steps: Steps,
    *,
    schedule: Schedule,
    learning_rate: float,
    epochs: int,
    rng: Generator,
    beta1: float = 0.9,
    early_stop: EarlyStop | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[], None] | None = None,
) -> Training:
    """Train for a number of epochs; with `early_stop`, end with the best epoch's weights.

    Ctrl-C ends the training after the steps at hand and keeps the weights reached.

    Raises:
        TrainingError: The loss is no single number, or no longer finite; says at which epoch and
            step.
    """
    n_steps = max(steps.n_steps, 1)
    training = Training(n_steps)
    best: tuple[float, dict[str, Tensor]] | None = None
    try:
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            model.train()
            rates = []
            for step in range(steps.n_steps):
                factor, beta = schedule((epoch - 1 + step / n_steps) / epochs)
                rates.append(Rate(learning_rate * factor, beta1 if beta is None else beta))
            losses: list[float] = []
            for taken in steps.epoch(rates, rng):
                for loss in taken:
                    losses.append(loss)
                    if not math.isfinite(loss):
                        rate = rates[len(losses) - 1].learning_rate
                        raise TrainingError(_not_finite(loss, epoch, len(losses), rate))
                    if on_step:
                        on_step()
            steps.settle()
            model.eval()
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
            if _is_better(metrics[early_stop.metric], best and best[0], early_stop):
                best = metrics[early_stop.metric], copy.deepcopy(model.state_dict())
                training.best_epoch = epoch
            elif epoch - training.best_epoch >= early_stop.patience:
                break
    except KeyboardInterrupt:
        training.is_interrupted = True
        steps.settle()
    if best is not None:
        model.load_state_dict(best[1])
    model.eval()
    return training


def _is_better(value: float, best: float | None, rule: EarlyStop) -> bool:
    if best is None:
        return True
    gain = value - best if rule.is_higher_better else best - value
    return gain > rule.min_delta


def _not_finite(value: float, epoch: int, step: int, learning_rate: float) -> str:
    return (
        f"the loss is {value} at epoch {epoch}, step {step} (learning rate {learning_rate:.3g}); "
        "most often the learning rate is too high: try a tenth of it, or train.clip_norm: 1.0"
    )
