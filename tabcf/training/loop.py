"""The training loop; knows neither specs nor runs nor how progress is shown."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Generator, Tensor, nn

from tabcf.errors import TrainingError
from tabcf.training.objectives import Objective
from tabcf.training.optimiser import AdamW
from tabcf.training.schedules import Schedule

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
    objective: Objective,
    *,
    optimiser: AdamW,
    schedule: Schedule,
    learning_rate: float,
    epochs: int,
    rng: Generator,
    beta1: float = 0.9,
    clip_norm: float | None = None,
    early_stop: EarlyStop | None = None,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[], None] | None = None,
) -> Training:
    """Train for a number of epochs; with `early_stop`, end with the best epoch's weights.

    Ctrl-C ends the training after the step at hand and keeps the weights reached.

    Raises:
        TrainingError: The loss is no single number, or no longer finite; says at which epoch and
            step.
    """
    n_steps = max(objective.n_steps, 1)
    training = Training(n_steps)
    best: tuple[float, dict[str, Tensor]] | None = None
    try:
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            model.train()
            total = 0.0
            factor = 1.0
            for step, batch in enumerate(objective.epoch(rng)):
                factor, beta = schedule((epoch - 1 + step / n_steps) / epochs)
                loss = objective.loss(batch)
                if loss.numel() != 1:
                    raise TrainingError(
                        f"expected the loss of a batch as a single number, got the shape "
                        f"{tuple(loss.shape)}"
                    )
                value = loss.item()
                if not math.isfinite(value):
                    raise TrainingError(_not_finite(value, epoch, step + 1, learning_rate * factor))
                loss.backward()
                if clip_norm is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
                optimiser.step(learning_rate * factor, beta1=beta1 if beta is None else beta)
                total += value
                if on_step:
                    on_step()
            model.eval()
            metrics = dict(validate(model)) if validate else {}
            report = EpochReport(
                epoch,
                total / n_steps,
                metrics,
                learning_rate * factor,
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
