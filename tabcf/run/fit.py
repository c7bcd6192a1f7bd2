"""`fit`: a spec in, a trained and tested run out; reads top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tabcf.contracts.options import FromColumn
from tabcf.contracts.tables import EVENT
from tabcf.contracts.target import TargetInfo
from tabcf.data.parts import VALID
from tabcf.errors import RunError, SpecError, TrainingError
from tabcf.plugin.registry import Registry
from tabcf.recommend.trained import FirstStage
from tabcf.run.cached import doctors_warnings, load_events
from tabcf.run.checkpoints import Checkpoints, PhaseKeeper, broken_off, checkpointed, reserve
from tabcf.run.cross_validation import CrossValidation
from tabcf.run.fitted_run import run_of
from tabcf.run.folder import environment, load
from tabcf.run.folds import cross_validate, folds_of
from tabcf.run.prepare import Events, first_stage_of
from tabcf.run.progress import Progress, Silent, rows_told
from tabcf.run.ranked import check_workers, fit_by_processes, is_together
from tabcf.run.registry import compose_registry
from tabcf.run.run import Run
from tabcf.run.stage import Fitted, Stage
from tabcf.run.tested import baselines_on
from tabcf.run.tracking import tracked
from tabcf.run.train import fit_stage, refit_stage
from tabcf.spec.read import read_spec
from tabcf.spec.records import Spec
from tabcf.training.loop import EpochReport
from tabcf.training.scale_out.seam import ALONE, Ranks

__all__ = ["fit", "fit_events", "fit_together"]


def fit(
    spec: str | Path | Mapping[str, Any],
    data: Any = None,
    out: str | Path | None = None,
    *,
    runs: str | Path | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[Any] = (),
    progress: Progress | None = None,
    jobs: int | None = None,
    resume: bool = False,
    cache: bool = True,
    memory: str | None = None,
) -> Run | CrossValidation:
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
        jobs: How many folds of a cross-validation are fitted at a time; by default as many as
            there are cores.
        resume: Go on with the fit that was broken off: that of `out`, or the last one of the spec
            in `runs`. It ends with the weights that it would have had without a break. Of a
            cross-validation, the folds that are not done.
        cache: Whether what comes of reading and encoding large files is kept on disk, and found
            there by the next fit of the same.
        memory: What the fit may take of memory, such as `"2GB"`; the same as `train.memory`.

    Returns:
        The run. After Ctrl-C it holds the weights reached by then; of two stages, that ends the
        training of the one at hand. With a split of several folds, such as `{kfold: {k: 5}}`,
        their runs together.

    Raises:
        SpecError: Everything that is wrong with the spec, at once.
        DataError: The data cannot be read or do not fit the spec.
        TrainingError: The loss is no longer finite.
        RunError: The folder is taken or cannot be written, or there is nothing to resume.
    """
    if resume and out is None and runs is None:
        raise RunError(
            "resume: expected the folder of the run in `out`, or of runs in `runs`, since the "
            "states to go on from are kept there"
        )
    registry = compose_registry(plugins)
    if memory is not None:
        overrides = [*overrides, f"train.memory={memory}"]
    document = read_spec(spec, registry, overrides=overrides)
    registry = document.registry
    progress = progress or Silent()
    has_folds = bool(folds_of(document.spec, registry))
    if has_folds and document.spec.train.memory is not None:
        raise SpecError(
            [
                "train.memory: several folds are fitted from rows in memory; give the split one "
                "`fold`, or leave train.memory out"
            ]
        )
    folder = None if out is None else Path(out)
    if folder is not None and not (resume and has_folds):
        Run.check_free(folder)
    name = document.spec.name or document.name

    def read() -> Events:
        with rows_told(progress, "reading") as on_rows:
            return load_events(
                document.spec,
                registry,
                data=data,
                folder=document.folder,
                cache=cache,
                on_rows=on_rows,
            )

    if has_folds:
        engine = registry.resolve("engine", document.spec.train.engine)
        if document.spec.train.workers > 1 or engine.definition.launch is not None:
            check_workers(document.spec, registry)
        return cross_validate(
            document,
            read(),
            fit_events,
            data=data,
            out=folder,
            runs=None if runs is None else Path(runs),
            plugins=plugins,
            progress=progress,
            jobs=jobs,
            resume=resume,
            cache=cache,
        )
    if folder is None and runs is not None and resume:
        folder = broken_off(Path(runs), name)
    if is_together(document.spec, registry, folder, is_resumed=resume):
        folder = fit_by_processes(
            document,
            registry,
            data=data,
            name=name,
            out=folder,
            runs=None if runs is None else Path(runs),
            plugins=plugins,
            progress=progress,
            is_resumed=resume,
            cache=cache,
        )
        return load(folder, plugins=plugins)
    events = read()
    if folder is None and runs is not None:
        folder = reserve(Path(runs), name)
    return fit_events(
        document.spec,
        registry,
        events,
        name=name,
        progress=progress,
        out=folder,
        is_resumed=resume,
    )


def fit_events(
    spec: Spec,
    registry: Registry,
    events: Events,
    *,
    name: str,
    progress: Progress,
    out: Path | None = None,
    is_resumed: bool = False,
    on_epoch: Callable[[EpochReport], None] | None = None,
    is_whole: bool = False,
) -> Run:
    """Train and test on events that are read and split; with `out`, save the run there.

    Args and errors are those of `fit_together`, in one process.
    """
    run = fit_together(
        spec,
        registry,
        events,
        name=name,
        progress=progress,
        out=out,
        is_resumed=is_resumed,
        on_epoch=on_epoch,
        is_whole=is_whole,
    )
    assert run is not None
    return run


def fit_together(
    spec: Spec,
    registry: Registry,
    events: Events,
    *,
    name: str,
    progress: Progress,
    out: Path | None = None,
    is_resumed: bool = False,
    on_epoch: Callable[[EpochReport], None] | None = None,
    is_whole: bool = False,
    ranks: Ranks = ALONE,
) -> Run | None:
    """Train, as one of several processes or alone, and test; with `out`, save the run there.

    Of two stages the first one is fitted first, and both are fitted again on the validation rows
    or neither is, so that they have learnt from the same rows.

    Args:
        spec: What to fit.
        registry: The components that it names.
        events: Read and split.
        name: The run's.
        progress: Told of each step.
        out: A folder to write the run to; the states of trainings are kept by the way.
        is_resumed: Whether trainings go on from the states of a fit that was broken off.
        on_epoch: Told of each epoch of the spec's own model; what it raises ends the fit.
        is_whole: Whether a training that Ctrl-C cut short is of no use.
        ranks: The processes; all of them call this with the same arguments.

    Returns:
        The run; None in all processes but the first.

    Raises:
        KeyboardInterrupt: It was cut short, and that is of no use.
    """
    fit_them = partial(
        _fit,
        spec,
        registry,
        events,
        name=name,
        progress=progress,
        on_epoch=on_epoch,
        is_whole=is_whole,
        ranks=ranks,
    )
    if out is None:
        return fit_them()
    versions = environment()["packages"]
    with checkpointed(
        out, spec, versions=versions, is_resumed=is_resumed, progress=progress, ranks=ranks
    ) as checkpoints:
        return fit_them(out=out, checkpoints=checkpoints)


def _fit(
    spec: Spec,
    registry: Registry,
    events: Events,
    *,
    name: str,
    progress: Progress,
    on_epoch: Callable[[EpochReport], None] | None,
    is_whole: bool,
    ranks: Ranks,
    out: Path | None = None,
    checkpoints: Checkpoints | None = None,
) -> Run | None:
    if ranks.rank:
        spec = spec.model_copy(update={"track": ()})
    first = None if spec.retrieve is None else _first_stage(spec, registry, events, ranks)
    stage = Stage.of(spec, registry, events, ranks)
    warnings = [] if ranks.rank else doctors_warnings(spec, events, spec_columns(spec, events))
    for guess in events.guesses:
        progress.note(f"{guess.name}: {guess.kind or 'not used'} ({guess.reason})")
    for warning in warnings:
        progress.warn(warning)
    with tracked(spec, registry, events, name) as tracking:
        found = None
        if first is not None:
            progress.note(f"first stage: {first.spec.model.name}")
            with _of_first_stage():
                keeper = _keeper(checkpoints, "retrieve-fit", first)
                found = fit_stage(first, progress=progress, keeper=keeper)
            progress.note(f"second stage: {spec.model.name}")

        def epoch_ended(report: EpochReport) -> None:
            tracking.epoch(report)
            if on_epoch is not None:
                on_epoch(report)

        fitted = fit_stage(
            stage,
            progress=progress,
            on_epoch=epoch_ended,
            first=_as_first(spec, found),
            keeper=_keeper(checkpoints, "fit", stage),
        )
        is_interrupted = fitted.training.is_interrupted
        is_interrupted |= found is not None and found.training.is_interrupted
        if is_interrupted and is_whole:
            raise KeyboardInterrupt
        if spec.train.refit and events.count(VALID) and not is_interrupted:
            if first is not None and found is not None:
                with _of_first_stage():
                    keeper = _keeper(checkpoints, "retrieve-refit", first)
                    found = refit_stage(first, found, progress=progress, keeper=keeper)
            fitted = refit_stage(
                stage,
                fitted,
                progress=progress,
                first=_as_first(spec, found),
                keeper=_keeper(checkpoints, "refit", stage),
            )
        if ranks.rank:
            return None
        first_run = None
        if first is not None and found is not None:
            first_run = run_of(first, found, name=f"{name}-retrieve")
        run = run_of(
            stage,
            fitted,
            name=name,
            first_run=first_run,
            baselines=baselines_on(stage, fitted),
            warnings=tuple(warnings),
        )
        if out is not None:
            run.save(out)
        if events.budget is not None and (told := events.budget.told()) is not None:
            progress.note(told)
        tracking.finish(run.report, run.folder)
    return run


def _keeper(checkpoints: Checkpoints | None, phase: str, stage: Stage) -> PhaseKeeper | None:
    """What keeps the states of one of the fit's trainings."""
    return None if checkpoints is None else checkpoints.phase(phase, stage.spec.train.checkpoint)


def _first_stage(spec: Spec, registry: Registry, events: Events, ranks: Ranks) -> Stage:
    """What the first stage is fitted by: its own spec over the same rows.

    Raises:
        SpecError: It does not suit the data, or one of the two stages gives items no order.
    """
    _check_order(events.target)
    with _of_first_stage():
        own, own_events = first_stage_of(spec, registry, events)
        _check_order(own_events.target)
        return Stage.of(own, registry, own_events, ranks)


def _check_order(target: TargetInfo) -> None:
    if target.kind == "classes":
        raise SpecError(
            [
                f"target: '{target.columns[0]}' is one of several classes, which gives items no "
                "order; lists come from two stages: predict a number, or learn from what people do"
            ]
        )


@contextmanager
def _of_first_stage() -> Iterator[None]:
    """Say of errors that they are the first stage's."""
    try:
        yield
    except SpecError as error:
        raise SpecError([f"retrieve.{problem}" for problem in error.problems]) from error
    except TrainingError as error:
        raise TrainingError(f"retrieve: {error}") from error


def _as_first(spec: Spec, found: Fitted | None) -> FirstStage | None:
    """The fitted first stage as what finds items."""
    if spec.retrieve is None or found is None:
        return None
    return FirstStage(found.trained, spec.retrieve.n)


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
