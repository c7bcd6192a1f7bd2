"""A run with further users, items, categories and events: `Run.extend` and `Run.update`.

Both give a new run; the one that they start from stays as it is.

Dimension letters: N events, n newcomers, P numbers of a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.definitions import ModelDefinition
from tabcf.contracts.model import ColumnRows
from tabcf.contracts.table import Table
from tabcf.data.batches import take
from tabcf.data.entities import Entity, EntityPlan
from tabcf.data.sources import Source
from tabcf.errors import DataError, RunError
from tabcf.recommend.fold_in.finding import fold_in
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.given import OTHER, read_given
from tabcf.recommend.grown import enlarged_model
from tabcf.recommend.trained import FirstStage, Past, Trained, TrainingEvents, column_of
from tabcf.run.enlarged import Enlarged, counted_events, enlarged, given_events, taken
from tabcf.run.grown_run import measured_run
from tabcf.run.prepare import Encoded, Events, past_of, training_rows
from tabcf.run.progress import Progress, Silent
from tabcf.run.run import Run
from tabcf.run.stage import Stage
from tabcf.run.train import continue_encoded
from tabcf.run.unknown import unknown_policy
from tabcf.training.loop import Training

__all__ = ["UpdateOptions", "extended", "updated"]

# Shares of a fit's epochs and learning rate that an update takes, and of earlier events that it
# replays: `benchmarks/grow.py --choose`.
_EPOCHS, _RATE, _REPLAY = 0.2, 0.3, 0.5


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    """How an update trains; see `Run.update`."""

    replay: float | None = None
    epochs: int | None = None
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if self.replay is not None and not 0 <= self.replay <= 1:
            raise DataError(f"replay: expected a share from 0 to 1, got {self.replay:g}")
        if self.epochs is not None and self.epochs < 1:
            raise DataError(f"epochs: expected at least 1, got {self.epochs}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise DataError(f"learning_rate: expected above 0, got {self.learning_rate:g}")


def extended(run: Run, events: Source | None, tables: Mapping[str, Source]) -> Run:
    """The run with those users, items and categories that are new; see `Run.extend`."""
    started, cpu_started = time.perf_counter(), time.process_time()
    given = given_events(run, events, tables)
    if not len(given.frame) and not tables:
        raise DataError("extend: expected new rows, or tables of new users or items")
    large = enlarged(run, given, tables, only_new=True)
    table = _learnt(run, large)
    past = _past(run, large, table)
    trained, rested = _with_rows(run, large, is_final=True)
    first = None
    if run.first_stage is not None:
        first = extended(run.first_stage, events, _tables_of(run.first_stage, tables))
    trained = _completed(run, trained, large, past, first)
    return measured_run(
        run, trained, large, table, given, first, "extend", (started, cpu_started), rested=rested
    )


def updated(
    run: Run,
    events: Source,
    tables: Mapping[str, Source],
    options: UpdateOptions,
    progress: Progress | None = None,
) -> Run:
    """The run having learnt from further events; see `Run.update`."""
    started, cpu_started = time.perf_counter(), time.process_time()
    is_solved = _is_solved(run)
    _check_options(run, options, is_solved=is_solved)
    given = given_events(run, events, tables)
    if not counted_events(run, given).any():
        raise DataError(f"{given.name}: expected events to learn from, got none that count")
    large = enlarged(run, given, tables, only_new=False)
    table = _learnt(run, large)
    past = _past(run, large, table)
    first = None
    if run.first_stage is not None:
        own = UpdateOptions() if _is_solved(run.first_stage) else options
        own_tables = _tables_of(run.first_stage, tables)
        first = updated(run.first_stage, events, own_tables, own, progress)
    rested: Mapping[str, str] = {}
    if is_solved:
        encoded = Encoded(large.encoder, run.trained.target, table, past, (0,))
        stage = _stage(run, large, options)
        trained, training = continue_encoded(
            stage, encoded, None, epochs=1, progress=progress or Silent()
        )
        n_replayed = int((~large.learnt_is_new).sum())
    else:
        trained, rested = _with_rows(run, large, is_final=False)
        trained = _completed(run, trained, large, past, first)
        trained, training, n_replayed = _trained_on(run, trained, large, table, options, progress)
    trained = _completed(run, trained, large, past, first)
    return measured_run(
        run,
        trained,
        large,
        table,
        given,
        first,
        "update",
        (started, cpu_started),
        rested=rested,
        training=training,
        n_replayed=n_replayed,
    )


def _is_solved(run: Run) -> bool:
    """Whether its weights come from a solver and not from gradient descent."""
    if run.spec.fit is not None:
        return True
    definition: ModelDefinition = run.registry.resolve("model", run.spec.model).definition
    return definition.solve is not None


def _check_options(run: Run, options: UpdateOptions, *, is_solved: bool) -> None:
    """Raise where a run cannot be updated, or not with these options."""
    what = run.spec.fit.name if run.spec.fit is not None else run.spec.model.name
    has_events = run.trained.read_events is not None
    if is_solved:
        if not has_events:
            raise RunError(
                f"update: {what} is solved from all events, and a run without users and items "
                "keeps none; fit it again on all of them"
            )
        for name in ("replay", "epochs", "learning_rate"):
            if getattr(options, name) is not None:
                raise RunError(
                    f"update: {what} is not trained but solved anew from all events, old and new; "
                    f"leave `{name}` out"
                )
    elif options.replay and not has_events:
        raise RunError(
            "update: a run without users and items keeps no events to replay; give `replay` 0, or "
            "earlier rows among the new ones"
        )


def _tables_of(run: Run, tables: Mapping[str, Source]) -> dict[str, Source]:
    return {n: table for n, table in tables.items() if n in run.trained.encoder.entities}


def _learnt(run: Run, large: Enlarged) -> Table:
    """All events that count, as training rows."""
    learnt = large.events.learnable()
    return training_rows(run.spec, large.encoder, run.trained.target, learnt)


def _past(run: Run, large: Enlarged, table: Table) -> Past | None:
    if run.trained.past is None:
        return None
    return past_of(large.encoder, table, large.events.source)


def _with_rows(run: Run, large: Enlarged, *, is_final: bool) -> tuple[Trained, dict[str, str]]:
    """The model with rows for all that is new, and what those of new users and items rest on.

    Rows that are not final are where training goes on from.
    """
    trained = run.trained
    rows: dict[int, tuple[Tensor, Tensor]] = {}
    rested: dict[str, str] = {}
    new = taken(large.events.learnable(), large.learnt_is_new)
    for name, entity in large.encoder.entities.items():
        n_old = int(trained.encoder.entities[name].index.max(initial=0)) + 1
        newcomers = np.flatnonzero(entity.index >= n_old)
        if not len(newcomers):
            continue
        rested[name] = "average"
        fold = _folding(run, name, is_final=is_final)
        if fold is not None:
            rested[name] = "events"
            rows[column_of(trained, name)] = _found(trained, fold, name, entity, newcomers, new)
    model = enlarged_model(trained, large.encoder.layout, rows)
    return replace(trained, encoder=large.encoder, model=model, index=None), rested


def _folding(run: Run, entity: str, *, is_final: bool) -> FoldIn | None:
    """What finds rows of new users or items; None where that cannot be.

    How strongly those of rankings are held back takes longest to find out, and training goes its
    own way from there: it is taken as it comes where they are not final.
    """
    trained = run.trained
    has_pair = all(name in trained.encoder.entities for name in OTHER)
    if entity not in OTHER or not has_pair or not isinstance(trained.model, ColumnRows):
        return None
    if not is_final and trained.loss.form != "pointwise":
        return FoldIn(trained, entity, strength=1.0)
    return run.folding(entity)


def _found(
    trained: Trained,
    fold: FoldIn,
    name: str,
    entity: Entity,
    newcomers: np.ndarray,
    events: Source,
) -> tuple[Tensor, Tensor]:
    """Embedding rows `(n,)` of newcomers, and `(n, P)` what is found for them by their events."""
    is_theirs = np.isin(entity.rows_of(events.frame[entity.plan.id], events), newcomers)
    frame = entity.frame.iloc[newcomers - 1].reset_index(drop=True)
    own = taken(events, is_theirs)
    given = read_given(
        trained,
        name,
        own,
        is_positive=np.ones(len(own.frame), dtype=bool),
        attributes=Source(frame, f"new {name}s", entity.is_text),
    )
    found = fold_in(trained, given, fold)
    assert found.posterior is not None
    index = entity.index[entity.rows_of_ids(given.ids)]
    return torch.from_numpy(index).long(), found.posterior.mean


def _trained_on(
    run: Run,
    trained: Trained,
    large: Enlarged,
    table: Table,
    options: UpdateOptions,
    progress: Progress | None,
) -> tuple[Trained, Training, int]:
    """The model trained on new events and a sample of earlier ones; how many these were."""
    spec = run.spec
    replay = _REPLAY if options.replay is None else options.replay
    chosen = _replayed(trained, large, table, replay, seed=spec.seed)
    positions = np.flatnonzero(chosen)
    stage = _stage(run, large, options)
    epochs = options.epochs or max(round(spec.train.epochs * _EPOCHS), 1)
    encoded = Encoded(
        large.encoder, trained.target, take(table, torch.from_numpy(positions)), trained.past, (0,)
    )
    found, training = continue_encoded(
        stage, encoded, trained, epochs=epochs, progress=progress or Silent()
    )
    layout = large.encoder.layout
    unknown_policy(spec, run.registry, layout).write_means(found.model, layout, table)
    return found, training, int((chosen & ~large.learnt_is_new).sum())


def _replayed(
    trained: Trained, large: Enlarged, table: Table, share: float, *, seed: int
) -> np.ndarray:
    """`(N,)` booleans of the events that count: the new ones and a sample of the others.

    A loss of a user's whole catalogue takes what it is not shown for something not wanted, so that
    there users are sampled, each with all of their events.
    """
    is_new = large.learnt_is_new
    rng = np.random.default_rng(seed)
    if trained.loss.form not in ("catalogue", "factored"):
        return is_new | (rng.random(len(is_new)) < share)
    users = table.rows["user"].numpy()
    n_users = len(large.encoder.entities["user"])
    is_chosen = rng.random(n_users) < share
    is_chosen[users[is_new]] = True
    return np.asarray(is_chosen[users])


def _stage(run: Run, large: Enlarged, options: UpdateOptions) -> Stage:
    """What the run is fitted by, over all events as training rows."""
    rate = options.learning_rate or run.spec.train.learning_rate * _RATE
    changes: dict[str, Any] = {"early_stopping": None, "learning_rate": rate}
    spec = run.spec.model_copy(update={"train": run.spec.train.model_copy(update=changes)})
    events, encoder = large.events, large.encoder
    entities: dict[str, tuple[EntityPlan, Source | None]] = {
        name: (entity.plan, Source(entity.frame, entity.plan.name, entity.is_text))
        for name, entity in encoder.entities.items()
    }
    n = len(events.source.frame)
    return Stage.of(
        spec,
        run.registry,
        Events(
            events.source,
            np.zeros(n, dtype=np.int8),
            events.is_positive,
            run.trained.target,
            run.plans,
            (),
            entities,
        ),
    )


def _completed(
    run: Run, trained: Trained, large: Enlarged, past: Past | None, first: Run | None
) -> Trained:
    """The model with what users had, all events, and its first stage."""
    events = large.events
    read: Callable[[], TrainingEvents] | None = None
    if run.trained.read_events is not None:
        read = lambda: events  # noqa: E731 - a constant in place of a file
    stage = None
    if first is not None and run.trained.first is not None:
        stage = FirstStage(first.trained, run.trained.first.n)
    return replace(trained, past=past, read_events=read, first=stage, index=None)
