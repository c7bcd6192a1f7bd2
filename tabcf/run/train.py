"""One model's fit: on the training rows, then perhaps on those and the validation rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Generator, nn

from tabcf.contracts.definitions import FitProblem, ModelDefinition
from tabcf.data.parts import TRAIN, VALID
from tabcf.errors import TabcfError, TrainingError
from tabcf.evaluation.evaluate import Metric, evaluate
from tabcf.recommend.trained import FirstStage, Trained
from tabcf.run.build import (
    build_decays,
    build_loss,
    build_objective,
    check_metrics,
    device_named,
    model_builder,
    plugins_at_work,
)
from tabcf.run.cached import encode_split, encoded_rows
from tabcf.run.checkpoints import PhaseKeeper, Spent
from tabcf.run.prepare import Encoded
from tabcf.run.progress import Progress, Silent, rows_told
from tabcf.run.stage import Fitted, Stage
from tabcf.run.unknown import unknown_policy
from tabcf.spec.records import Spec
from tabcf.training.acceleration import Acceleration, FirstStepTimed
from tabcf.training.average import Average
from tabcf.training.loop import EarlyStop, EpochReport, Training, train
from tabcf.training.scale_out.seam import How
from tabcf.training.threads import threads_for

__all__ = ["continue_encoded", "continue_stage", "fit_stage", "refit_stage"]


def fit_stage(
    stage: Stage,
    *,
    progress: Progress,
    on_epoch: Callable[[EpochReport], None] | None = None,
    first: FirstStage | None = None,
    keeper: PhaseKeeper | None = None,
) -> Fitted:
    """Fit a model on the training rows and measure it on the validation rows.

    Args:
        stage: What it is fitted by.
        progress: Told of each step.
        on_epoch: Told of each epoch.
        first: What finds the items of its lists, fitted on the same rows.
        keeper: Keeps the state of the training by the way, and may have one to go on from.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    encoded = _encoded(stage, progress, TRAIN)
    trained, training = _train(
        stage,
        encoded,
        stage.metrics,
        epochs=stage.spec.train.epochs,
        progress=progress,
        on_epoch=on_epoch,
        first=first,
        keeper=keeper,
    )
    before = Spent() if keeper is None else keeper.spent
    valid: Mapping[str, float] = {}
    if stage.events.count(VALID) and stage.ranks.rank == 0:
        table = encoded_rows(stage.spec, stage.registry, stage.events, encoded, VALID)
        valid = evaluate(trained, table, stage.metrics, seen=trained.seen)
    return Fitted(
        trained,
        encoded,
        training,
        valid,
        False,
        before.seconds + time.perf_counter() - started,
        before.cpu_seconds + time.process_time() - cpu_started,
    )


def refit_stage(
    stage: Stage,
    fitted: Fitted,
    *,
    progress: Progress,
    first: FirstStage | None = None,
    keeper: PhaseKeeper | None = None,
) -> Fitted:
    """Fit the model again on training and validation rows, for the number of epochs found.

    Args and result are those of `fit_stage`; what was measured stays that of the first fit.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    encoded = _encoded(stage, progress, TRAIN, VALID)
    epochs = fitted.training.best_epoch or stage.spec.train.epochs
    trained, _ = _train(
        stage,
        encoded,
        (),
        epochs=epochs,
        progress=progress,
        first=first,
        is_refit=True,
        keeper=keeper,
    )
    before = Spent() if keeper is None else keeper.spent
    return Fitted(
        trained,
        encoded,
        fitted.training,
        fitted.valid,
        True,
        fitted.seconds + before.seconds + time.perf_counter() - started,
        fitted.cpu_seconds + before.cpu_seconds + time.process_time() - cpu_started,
    )


def _encoded(stage: Stage, progress: Progress, *parts: int) -> Encoded:
    with rows_told(progress, "encoding") as on_rows:
        return encode_split(stage.spec, stage.registry, stage.events, *parts, on_rows=on_rows)


def continue_stage(
    stage: Stage, before: Trained | None = None, *, epochs: int | None = None
) -> Trained:
    """Fit on the training rows, going on from an earlier fit's weights where the model is trained.

    A solved model is solved anew.

    Args:
        stage: What it is fitted by; users and items must be those of the earlier fit.
        before: The earlier fit; without it the weights begin at random.
        epochs: How many; the spec's by default.

    Raises:
        TrainingError: The columns are no longer those of the earlier fit.
        KeyboardInterrupt: Training was stopped by Ctrl-C; weights of half a fit are of no use here.
    """
    encoded = encode_split(stage.spec, stage.registry, stage.events, TRAIN)
    if before is not None and encoded.encoder.layout != before.encoder.layout:
        raise TrainingError(
            "the weights of an earlier fit do not suit these rows: a column has other values now"
        )
    trained, training = _train(
        stage,
        encoded,
        (),
        epochs=epochs or stage.spec.train.epochs,
        progress=Silent(),
        before=before,
    )
    if training.is_interrupted:
        raise KeyboardInterrupt
    return trained


def continue_encoded(
    stage: Stage, encoded: Encoded, before: Trained | None, *, epochs: int, progress: Progress
) -> tuple[Trained, Training]:
    """The same on rows that are encoded, with their encoder's layout.

    Args:
        stage: What it is fitted by; its events are all that the model is to know of.
        encoded: What is learnt from.
        before: A model of the same layout; None for a model that is solved.
        epochs: How many.
        progress: Told of each step.

    Raises:
        KeyboardInterrupt: Training was stopped by Ctrl-C.
    """
    first = None if before is None else before.first
    trained, training = _train(
        stage, encoded, (), epochs=epochs, progress=progress, before=before, first=first
    )
    if training.is_interrupted:
        raise KeyboardInterrupt
    return trained, training


def _train(
    stage: Stage,
    encoded: Encoded,
    metrics: Sequence[Metric],
    *,
    epochs: int,
    progress: Progress,
    on_epoch: Callable[[EpochReport], None] | None = None,
    first: FirstStage | None = None,
    is_refit: bool = False,
    before: Trained | None = None,
    keeper: PhaseKeeper | None = None,
) -> tuple[Trained, Training]:
    """One fit on encoded training rows, validated by the way if there are validation rows."""
    spec, registry, events, loss = stage.spec, stage.registry, stage.events, stage.loss
    model_definition: ModelDefinition
    model_definition, options, *_ = registry.resolve("model", spec.model)
    device = device_named(spec.train.device)
    rng = Generator().manual_seed(spec.seed)
    threads = spec.train.threads
    with torch.random.fork_rng(devices=[]), _threads(1 if threads == "auto" else threads) as most:
        torch.manual_seed(spec.seed)
        note = plugins_at_work(spec, registry)
        loss_module = build_loss(loss, encoded.target, note=note)
        loss_module = loss_module.to(device)
        build = model_builder(spec, registry, encoded.target, int(loss_module.d_out))
        model = build(encoded.encoder.layout).to(device)
        check_metrics(metrics, loss_module, model)
        budget = events.budget
        if budget is not None:
            budget.releases(encoded.train.release)
            budget.check_model(model)
            budget.begin("by training")
        trained = Trained(
            encoded.encoder,
            model,
            loss_module,
            encoded.target,
            encoded.past,
            spec.seed,
            read_events=None if encoded.past is None else partial(events.training, *encoded.parts),
            read_blocks=None
            if events.spool is None
            else partial(events.training_blocks, *encoded.parts),
            build=build,
            first=first,
            weight=spec.target.implicit.weight if spec.target.implicit else None,
        )
        solve = model_definition.solve
        if spec.fit is not None:
            fit = registry.resolve("fit", spec.fit)
            solve, options = fit.definition.solve, fit.options
        if solve is not None:
            problem = FitProblem(encoded.train, encoded.encoder.layout, encoded.target)
            with torch.no_grad():
                stage.ranks.first(lambda: solve(model, problem, options, rng))
            model.eval()
            return trained, Training()
        if before is not None:
            model.load_state_dict(before.model.state_dict())
            loss_module.load_state_dict(before.loss.state_dict())
        policy = unknown_policy(spec, registry, encoded.encoder.layout)
        objective = build_objective(
            spec, registry, loss.definition, encoded, model, loss_module, masking=policy.rates
        )
        is_validated = bool(metrics) and events.count(VALID) > 0
        validated = None
        if is_validated and stage.ranks.rank == 0:
            validated = encoded_rows(spec, registry, events, encoded, VALID)

        def measured() -> Mapping[str, float]:
            assert validated is not None
            return evaluate(trained, validated, metrics, seen=trained.seen)

        def validate(_: nn.Module) -> Mapping[str, float]:
            return stage.ranks.first(measured) if is_validated else {}

        average = spec.train.average
        resolved = registry.resolve("schedule", spec.train.schedule)
        schedule = resolved.definition.build(resolved.options)
        how = How(
            registry.resolve("engine", spec.train.engine).definition.steps,
            partial(build_decays, spec, encoded, loss=loss_module),
            schedule,
            spec.train.learning_rate,
            epochs,
            spec.train.clip_norm,
            spec.train.update,
            None if spec.train.shard is None else spec.train.shard.rows,
            Acceleration(spec.train.compile, spec.train.precision),
        )

        def epoch_ended(report: EpochReport) -> None:
            progress.epoch(report, epochs)
            if budget is not None:
                budget.check()
            if on_epoch is not None:
                on_epoch(report)

        def step_taken() -> None:
            progress.step()
            if budget is not None:
                budget.look()

        with stage.ranks.wrap(objective, model, loss_module, how) as engine:
            if not is_refit:
                progress.note(f"engine: {engine.note}")
            if keeper is not None:
                keeper.begin(encoded.learnt, engine.note)
            progress.start(epochs, engine.steps.n_steps)
            torch.set_num_threads(threads_for(threads, engine.steps, objective, model, most=most))
            if threads == "auto" and not is_refit:
                progress.note(f"threads: {torch.get_num_threads()}")
            timed = FirstStepTimed(
                engine.steps, lambda seconds: progress.note(f"compiled: first step {seconds:.1f} s")
            )
            try:
                training = train(
                    model,
                    timed if spec.train.compile else engine.steps,
                    schedule=schedule,
                    learning_rate=spec.train.learning_rate,
                    epochs=epochs,
                    rng=rng,
                    loss=loss_module,
                    early_stop=_early_stop(spec, metrics) if is_validated else None,
                    average=None if average is None else Average.of_last(average.start, epochs),
                    validate=validate,
                    on_epoch=epoch_ended,
                    on_step=step_taken,
                    keeper=keeper,
                )
                training.n_steps = max(objective.n_steps, 1)
                training.warm_up_seconds = timed.seconds
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
    if stage.ranks.rank == 0:
        policy.write_means(model, encoded.encoder.layout, encoded.train)
    return trained, training


@contextmanager
def _threads(n: int) -> Iterator[int]:
    """Let torch use n threads within the block; gives how many it takes by itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def _early_stop(spec: Spec, metrics: Sequence[Metric]) -> EarlyStop | None:
    rule = spec.train.early_stopping
    if rule is None or not metrics:
        return None
    first = metrics[0]
    return EarlyStop(first.name, first.definition.is_higher_better, rule.patience, rule.min_delta)
