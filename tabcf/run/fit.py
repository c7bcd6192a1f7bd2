"""`fit`: a spec in, a trained and tested run out; reads top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator, nn

from tabcf.contracts.definitions import FitProblem, ModelDefinition
from tabcf.contracts.options import FromColumn
from tabcf.contracts.tables import EVENT
from tabcf.data.doctor import examine
from tabcf.errors import SpecError, TabcfError, TrainingError
from tabcf.evaluation.baselines import baseline_metrics
from tabcf.evaluation.evaluate import Metric, evaluate, rank_for
from tabcf.evaluation.users import user_metrics
from tabcf.plugin.registry import Registry, Resolved
from tabcf.recommend.trained import Trained
from tabcf.run.build import (
    build_loss,
    build_objective,
    build_optimiser,
    device_named,
    model_builder,
    plugins_at_work,
)
from tabcf.run.compare import identity_of_rows
from tabcf.run.folder import next_free
from tabcf.run.prepare import (
    TEST,
    TRAIN,
    VALID,
    Encoded,
    Events,
    encode_rows,
    encode_split,
    load_events,
)
from tabcf.run.progress import Progress, Silent
from tabcf.run.registry import compose_registry
from tabcf.run.resolve import resolve_loss, resolve_metrics
from tabcf.run.results import FitReport
from tabcf.run.run import Run
from tabcf.run.tracking import tracked
from tabcf.run.unknown import unknown_policy, write_mean_rows
from tabcf.spec.read import read_spec
from tabcf.spec.records import Spec
from tabcf.training.loop import EarlyStop, EpochReport, Training, train

__all__ = ["fit", "fit_events"]


def fit(
    spec: str | Path | Mapping[str, Any],
    data: Any = None,
    out: str | Path | None = None,
    *,
    runs: str | Path | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[Any] = (),
    progress: Progress | None = None,
) -> Run:
    """Train, test and, with `out`, save what a spec declares.

    Args:
        spec: A YAML file, or its content as a mapping.
        data: Events in place of the spec's: a frame or a path.
        out: A folder to write the run to; it must not exist.
        runs: A folder to write the run into, as NAME-1, NAME-2, ...; with neither it stays in
            memory.
        overrides: Changes of the spec, such as `"train.epochs=3"`.
        plugins: Modules or objects with hooks, beside the installed plugins; `"no:NAME"` leaves
            an installed one out, `"no:*"` all.
        progress: What is told of each step; nothing by default.

    Returns:
        The run. After Ctrl-C it holds the weights reached by then.

    Raises:
        SpecError: Everything that is wrong with the spec, at once.
        DataError: The data cannot be read or do not fit the spec.
        TrainingError: The loss is no longer finite.
    """
    registry = compose_registry(plugins)
    document = read_spec(spec, registry, overrides=overrides)
    registry = document.registry
    progress = progress or Silent()
    if out is not None:
        Run.check_free(Path(out))
    events = load_events(document.spec, registry, data=data, folder=document.folder)
    name = document.spec.name or document.name
    folder = next_free(Path(runs), name) if out is None and runs is not None else out
    return fit_events(
        document.spec,
        registry,
        events,
        name=name,
        progress=progress,
        out=None if folder is None else Path(folder),
    )


def fit_events(
    spec: Spec,
    registry: Registry,
    events: Events,
    *,
    name: str,
    progress: Progress,
    out: Path | None = None,
) -> Run:
    """Train and test on events that are read and split; with `out`, save the run there."""
    loss = resolve_loss(spec, registry, events.target)
    metrics = resolve_metrics(spec, registry, events.target)
    check_early_stopping(spec, events)
    warnings = examine(events.source, events.part, events.target, spec_columns(spec, events))
    for guess in events.guesses:
        progress.note(f"{guess.name}: {guess.kind or 'not used'} ({guess.reason})")
    for warning in warnings:
        progress.warn(warning)
    with tracked(spec, registry, events, name) as tracking:
        started, cpu_started = time.perf_counter(), time.process_time()
        encoded = encode_split(spec, registry, events, TRAIN)
        epochs = spec.train.epochs
        trained, training = _train(
            spec,
            registry,
            loss,
            encoded,
            events,
            metrics,
            epochs=epochs,
            progress=progress,
            on_epoch=tracking.epoch,
        )
        valid = _measure(trained, events, VALID, metrics)
        fitted_on = "train"
        if spec.train.refit and events.count(VALID) and not training.is_interrupted:
            fitted_on = "train + valid"
            epochs = training.best_epoch or epochs
            encoded = encode_split(spec, registry, events, TRAIN, VALID)
            trained, _ = _train(
                spec, registry, loss, encoded, events, (), epochs=epochs, progress=progress
            )
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        test, users, test_rows = _test(trained, events, metrics)
        report = FitReport(
            fitted_on=fitted_on,
            n_rows={
                part: events.count(number) for number, part in enumerate(("train", "valid", "test"))
            },
            valid=valid,
            test=test,
            baselines=_baselines(events, encoded, metrics, spec.seed),
            epochs=tuple(training.epochs),
            best_epoch=training.best_epoch,
            n_steps=training.n_steps,
            is_interrupted=training.is_interrupted,
            warnings=tuple(warnings),
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            test_rows=test_rows,
        )
        run = Run(
            name=name,
            spec=spec,
            registry=registry,
            plans=events.plans,
            trained=trained,
            report=report,
            metrics=metrics,
            mean_targets=mean_targets(encoded),
            users=users,
        )
        if out is not None:
            run.save(out)
        tracking.finish(report, run.folder)
    return run


def _train(
    spec: Spec,
    registry: Registry,
    loss: Resolved,
    encoded: Encoded,
    events: Events,
    metrics: Sequence[Metric],
    *,
    epochs: int,
    progress: Progress,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> tuple[Trained, Training]:
    """One fit on encoded training rows, validated by the way if there are validation rows."""
    model_definition: ModelDefinition
    model_definition, options, *_ = registry.resolve("model", spec.model)
    device = device_named(spec.train.device)
    rng = Generator().manual_seed(spec.seed)
    with torch.random.fork_rng(devices=[]), _threads(spec.train.threads):
        torch.manual_seed(spec.seed)
        note = plugins_at_work(spec, registry)
        loss_module = build_loss(loss, encoded.target, metrics=metrics, note=note)
        loss_module = loss_module.to(device)
        build = model_builder(spec, registry, encoded.target, int(loss_module.d_out))
        model = build(encoded.encoder.layout).to(device)
        trained = Trained(
            encoded.encoder,
            model,
            loss_module,
            encoded.target,
            encoded.past,
            spec.seed,
            read_events=None if encoded.past is None else partial(events.training, *encoded.parts),
            build=build,
        )
        if model_definition.solve is not None:
            problem = FitProblem(encoded.train, encoded.encoder.layout, encoded.target)
            with torch.no_grad():
                model_definition.solve(model, problem, options, rng)
            model.eval()
            return trained, Training()
        policy = unknown_policy(spec, registry)
        objective = build_objective(
            spec, registry, loss.definition, encoded, model, loss_module, masking=policy.masking
        )
        validated = _encode_part(encoded, events, VALID) if metrics else None

        def validate(_: nn.Module) -> Mapping[str, float]:
            if validated is None:
                return {}
            return evaluate(trained, validated, metrics, seen=trained.seen)

        schedule = registry.resolve("schedule", spec.train.schedule)
        progress.start(epochs, objective.n_steps)

        def epoch_ended(report: EpochReport) -> None:
            progress.epoch(report, epochs)
            if on_epoch is not None:
                on_epoch(report)

        try:
            training = train(
                model,
                objective,
                optimiser=build_optimiser(spec, encoded, model, loss_module),
                schedule=schedule.definition.build(schedule.options),
                learning_rate=spec.train.learning_rate,
                epochs=epochs,
                rng=rng,
                clip_norm=spec.train.clip_norm,
                early_stop=_early_stop(spec, metrics) if validated is not None else None,
                validate=validate,
                on_epoch=epoch_ended,
                on_step=progress.step,
            )
        except TrainingError as error:
            raise TrainingError(f"{error}{note}") from None
        except TabcfError:
            raise
        except Exception as error:
            if not note:
                raise
            what = f"{type(error).__name__}: {error}"
            raise TrainingError(f"training failed: {what}{note}") from error
        finally:
            progress.stop()
    if policy.mean_strength is not None:
        write_mean_rows(model, encoded.encoder.layout, encoded.train, strength=policy.mean_strength)
    return trained, training


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """Let torch use n threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_early_stopping(spec: Spec, events: Events) -> None:
    """Raise if training is to be stopped by rows that do not exist."""
    if spec.train.early_stopping is not None and not events.count(VALID):
        raise SpecError(
            [
                "train.early_stopping: needs a validation part, and the split leaves none; "
                "give the split a `valid` share"
            ]
        )


def spec_columns(spec: Spec, events: Events) -> dict[str, str]:
    """What each event column is for, for the split doctor: an entity's id, or a model's input.

    Columns that only serve to derive others, such as times, are not the model's to see.
    """
    uses = {entity.id: f"id of {name}" for name, entity in spec.entities.items()}
    for plan in events.plans:
        if plan.table == EVENT and isinstance(plan.options, FromColumn):
            for _, column in plan.raw:
                uses.setdefault(column, plan.definition.output)
    return uses


def mean_targets(encoded: Encoded) -> dict[str, np.ndarray]:
    """Each entity's mean target by row, NaN without training events; for numeric targets."""
    target = encoded.train.target
    if encoded.target.kind not in ("regression", "rating") or target is None or target.ndim > 1:
        return {}
    values = (target.double() * encoded.target.scale[0] + encoded.target.center[0]).numpy()
    means = {}
    for name, rows in encoded.train.rows.items():
        size = len(encoded.encoder.entities[name])
        counts = np.bincount(rows.numpy(), minlength=size)
        sums = np.bincount(rows.numpy(), weights=values, minlength=size)
        means[name] = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)
        means[name][0] = np.nan
    return means


def _early_stop(spec: Spec, metrics: Sequence[Metric]) -> EarlyStop | None:
    rule = spec.train.early_stopping
    if rule is None or not metrics:
        return None
    first = metrics[0]
    return EarlyStop(first.name, first.definition.is_higher_better, rule.patience, rule.min_delta)


def _encode_part(encoded: Encoded, events: Events, part: int) -> Any:
    if not events.count(part):
        return None
    return encode_rows(encoded.encoder, encoded.target, events.learnable(part))


def _measure(
    trained: Trained,
    events: Events,
    part: int,
    metrics: Sequence[Metric],
) -> dict[str, float]:
    if not events.count(part):
        return {}
    table = encode_rows(trained.encoder, trained.target, events.learnable(part))
    return evaluate(trained, table, metrics, seen=trained.seen)


def _test(
    trained: Trained, events: Events, metrics: Sequence[Metric]
) -> tuple[dict[str, float], pd.DataFrame | None, str]:
    """Test metrics; where there are users, those of each and which rows they were."""
    if not events.count(TEST):
        return {}, None, ""
    source = events.learnable(TEST)
    table = encode_rows(trained.encoder, trained.target, source)
    ranked = rank_for(trained, table, metrics, seen=trained.seen)
    found = evaluate(trained, table, metrics, ranked=ranked)
    entities = trained.encoder.entities
    if "user" not in entities:
        return found, None, ""
    is_positive = events.is_positive[events.part == TEST]
    users = user_metrics(trained, events.rows(TEST), is_positive, table, metrics, ranked)
    ids = [entities[name].plan.id for name in ("user", "item") if name in entities]
    return found, users, identity_of_rows(source.frame, ids)


def _baselines(
    events: Events, encoded: Encoded, metrics: Sequence[Metric], seed: int
) -> dict[str, dict[str, float]]:
    """Simple models on the same training rows, measured on the same test rows."""
    test = _encode_part(encoded, events, TEST)
    if test is None:
        return {}
    problem = FitProblem(encoded.train, encoded.encoder.layout, encoded.target)
    return baseline_metrics(problem, encoded.encoder, test, metrics, past=encoded.past, seed=seed)
