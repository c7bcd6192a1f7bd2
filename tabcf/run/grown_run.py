"""A grown run with what came of it: metrics before and after, drift, index, report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from tabcf.contracts.table import Table
from tabcf.data.sources import Source
from tabcf.errors import TabcfError
from tabcf.evaluation.drift import measure_drift
from tabcf.evaluation.evaluate import evaluate
from tabcf.recommend.index import PLACES, KeptIndex, build_index
from tabcf.recommend.trained import History, Past, Trained
from tabcf.run.enlarged import Enlarged, counted_events, taken
from tabcf.run.fitted_run import mean_targets
from tabcf.run.growth import Growth
from tabcf.run.prepare import Encoded, encode_rows
from tabcf.run.run import Run
from tabcf.training.loop import Training

__all__ = ["measured_run"]


def measured_run(
    run: Run,
    trained: Trained,
    large: Enlarged,
    table: Table,
    given: Source,
    first: Run | None,
    kind: Literal["extend", "update"],
    started: tuple[float, float],
    *,
    rested: Mapping[str, str],
    training: Training | None = None,
    n_replayed: int = 0,
) -> Run:
    """The new run with what came of it."""
    before: Mapping[str, float] = {}
    after: Mapping[str, float] = {}
    drift, counted = None, counted_events(run, given)
    notes = list(large.notes)
    if counted.any():
        own = taken(given, counted)
        drift = measure_drift(run.trained, given, counted, by=large.encoder)
        before = _metrics(run, run.trained, own)
        after = _metrics(run, replace(trained, past=_earlier(run, large)), own)
    trained, note = _with_index(run, trained)
    notes += [note] if note else []
    old = run.trained.encoder.layout.cardinalities
    new = large.encoder.layout.cardinalities
    added = {name: n - old[name] for name, n in new.items() if n > old[name]}
    for name, entity in large.encoder.entities.items():
        n_known = len(entity) - len(run.trained.encoder.entities[name]) - added.get(name, 0)
        if n_known > 0:
            notes.append(f"{n_known:,} new {name}s have no events: their attributes speak for them")
    wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    training = training or Training()
    growth = Growth(
        kind,
        int(large.is_new.sum()),
        added,
        rested,
        before,
        after,
        drift,
        len(training.epochs),
        n_replayed,
        tuple(notes),
        wall,
        cpu,
    )
    report = replace(
        run.report,
        fitted_on=f"{run.report.fitted_on} + {kind}",
        n_rows={
            "train": run.report.n_rows["train"] + int(large.learnt_is_new.sum()),
            "valid": 0,
            "test": 0,
        },
        valid={},
        test={},
        first_stage={},
        baselines={},
        epochs=tuple(training.epochs),
        n_steps=training.n_steps,
        is_interrupted=False,
        warnings=(),
        seconds=wall,
        cpu_seconds=cpu,
        test_rows="",
    )
    return Run(
        name=run.name,
        spec=run.spec,
        registry=run.registry,
        plans=run.plans,
        trained=trained,
        report=report,
        metrics=run.metrics,
        mean_targets=_mean_targets(run, large, table),
        first_stage=first,
        growth=growth,
    )


def _metrics(run: Run, trained: Trained, events: Source) -> dict[str, float]:
    table = encode_rows(trained.encoder, trained.target, events)
    return evaluate(trained, table, run.metrics, seen=trained.seen)


def _earlier(run: Run, large: Enlarged) -> Past | None:
    """What users had before, by the rows that they have now."""
    past = run.trained.past
    if past is None:
        return None
    n_users = len(large.encoder.entities["user"])
    moved = []
    for history in (past.positive, past.seen):
        users, items = history.pairs()
        own = large.moved["user"][users], large.moved["item"][items]
        moved.append(History.of_pairs(*own, n_users))
    return Past(*moved)


def _with_index(run: Run, trained: Trained) -> tuple[Trained, str | None]:
    """The model with an index like the run's, if it had one, and what there is to say of it."""
    if run.trained.index is None:
        return trained, None
    info = run.trained.index.info
    try:
        built = build_index(
            trained,
            recall=min(0.95, info.recall or 0.95),
            m=info.m,
            ef_construction=info.ef_construction,
            ef=info.ef,
            places=info.k or PLACES,
            seed=info.seed,
        )
    except TabcfError as error:
        return trained, f"the run has no index now: {error}"
    return replace(trained, index=KeptIndex.of(built)), None


def _mean_targets(run: Run, large: Enlarged, table: Table) -> dict[str, np.ndarray]:
    """Each entity's mean target over earlier and new events."""
    encoder, target = large.encoder, run.trained.target
    found = mean_targets(Encoded(encoder, target, table, None, (0,)))
    if run.trained.read_events is not None:
        return found
    for name, means in found.items():
        was, entity = np.full(len(means), np.nan), encoder.entities[name]
        was[large.moved[name]] = run.mean_targets[name]
        n_now = np.bincount(table.rows[name].numpy(), minlength=len(means))
        n_was = entity.n_events - n_now
        sums = np.nan_to_num(was) * n_was + np.nan_to_num(means) * n_now
        n = entity.n_events
        found[name] = np.divide(sums, n, out=np.full(len(means), np.nan), where=n > 0)
        found[name][0] = np.nan
    return found
