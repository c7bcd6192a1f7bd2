"""What a fitted model and simple baselines come to on a split's test rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.model import ColumnRows
from tabcf.data.parts import GIVEN, TEST
from tabcf.data.sources import Source
from tabcf.errors import RunError
from tabcf.evaluation.baselines import baseline_metrics
from tabcf.evaluation.evaluate import evaluate, first_stage_metrics, rank_for
from tabcf.evaluation.groups import group_metrics
from tabcf.evaluation.told import before_and_after
from tabcf.evaluation.users import user_metrics
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.trained import Trained
from tabcf.run.compare import identity_of_rows
from tabcf.run.prepare import encode_rows
from tabcf.run.stage import Fitted, Stage

if TYPE_CHECKING:
    from tabcf.run.run import Run

__all__ = ["Tested", "baselines_on", "tested_on"]


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test came to; the fields are those of the report and the run.

    Attributes:
        metrics: Over all test rows.
        first_stage: Those of the lists of the first of two stages.
        users: Those of each user, where there are users.
        rows: Says which rows they were.
        groups: Those of rows of warm and cold users and items.
        told: Those of newcomers before and after some of their events are folded in.
    """

    metrics: Mapping[str, float]
    first_stage: Mapping[str, float] = field(default_factory=dict)
    users: pd.DataFrame | None = None
    rows: str = ""
    groups: tuple[Mapping[str, Any], ...] = ()
    told: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def tested_on(stage: Stage, trained: Trained, first: Run | None) -> Tested:
    """Measure a model on the test rows; `first` is the run of its first stage."""
    events, metrics = stage.events, stage.metrics
    if not events.count(TEST):
        return Tested({})
    source = events.learnable(TEST)
    table = encode_rows(trained.encoder, trained.target, source)
    ranked = rank_for(trained, table, metrics, seen=trained.seen)
    found = evaluate(trained, table, metrics, ranked=ranked)
    entities = trained.encoder.entities
    if "user" not in entities:
        return Tested(found)
    is_positive = events.is_positive[events.part == TEST]
    users = user_metrics(trained, events.rows(TEST), is_positive, table, metrics, ranked)
    ids = [entities[name].plan.id for name in ("user", "item") if name in entities]
    rows = identity_of_rows(source.frame, ids)
    if "item" not in entities:
        return Tested(found, users=users, rows=rows)
    of_first = {}
    if first is not None:
        of_first = first_stage_metrics(trained, table, first.metrics, seen=trained.seen)
    groups = group_metrics(
        trained, table, metrics, seen=trained.seen, measured=found, ranked=ranked
    )
    return Tested(
        found,
        of_first,
        users,
        rows,
        tuple(
            dict(zip(map(str, groups.columns), row, strict=True))
            for row in groups.itertuples(index=False)
        ),
        _told(stage, trained),
    )


def baselines_on(stage: Stage, fitted: Fitted) -> dict[str, dict[str, float]]:
    """Simple models on the same training rows, measured on the same test rows."""
    events, encoded = stage.events, fitted.encoded
    if not events.count(TEST):
        return {}
    test = encode_rows(encoded.encoder, encoded.target, events.learnable(TEST))
    problem = FitProblem(encoded.train, encoded.encoder.layout, encoded.target)
    return baseline_metrics(
        problem,
        encoded.encoder,
        test,
        stage.metrics,
        past=encoded.past,
        seed=stage.spec.seed,
    )


def _told(stage: Stage, trained: Trained) -> dict[str, dict[str, float]]:
    """Test metrics of new users and of new items before and after their given events."""
    events = stage.events
    given, held = events.rows(GIVEN), events.learnable(TEST)
    is_positive = events.is_positive[events.part == GIVEN]
    found: dict[str, dict[str, float]] = {}
    for name in ("user", "item") if len(given.frame) else ():
        entity = trained.encoder.entities[name]
        is_new = entity.index[entity.rows_of(given.frame[entity.plan.id], given)] == 0
        if not is_new.any():
            continue
        own = entity.index[entity.rows_of(held.frame[entity.plan.id], held)] == 0
        try:
            fold = None
            if name == "item" or isinstance(trained.model, ColumnRows):
                fold = FoldIn(trained, name)
            before, after = before_and_after(
                trained,
                fold,
                _only(given, is_new),
                is_positive[is_new],
                _only(held, own),
                stage.metrics,
                entity=name,
            )
        except RunError:
            # A model that takes no newcomers is worth for them what it is worth untold.
            continue
        n = round(int(is_new.sum()) / given.frame[entity.plan.id][is_new].nunique(), 1)
        found[f"new {name}s, before"] = before
        found[f"new {name}s, told {n:g} events each"] = after
    return found


def _only(source: Source, is_chosen: np.ndarray) -> Source:
    return replace(source, frame=source.frame[is_chosen].reset_index(drop=True), first_line=None)
