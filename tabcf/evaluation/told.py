"""What a model is worth for newcomers once it is told some of their events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tabcf.data.sources import Source
from tabcf.evaluation.evaluate import Metric, evaluate, rank_for
from tabcf.recommend.fold_in.draws import FoldInDraws
from tabcf.recommend.fold_in.finding import fold_in
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.given import Given, read_given
from tabcf.recommend.trained import Trained

__all__ = ["before_and_after", "metrics_of_newcomers", "told_metrics"]


def told_metrics(
    trained: Trained,
    fold: FoldIn | FoldInDraws | None,
    given: Given,
    held: Source,
    metrics: Sequence[Metric],
) -> dict[str, float]:
    """Metrics of newcomers' held events after what is given of them is folded in.

    Args:
        trained: The model.
        fold: What finds rows of the entity; None for a model that has none.
        given: Who they are and what is known of them.
        held: Events to measure on, with their target; those of others drop out.
        metrics: What to measure.
    """
    attributes = given.source if given.entity == "user" else None
    with fold_in(trained, given, fold).measured_on(held) as (at_work, table):
        ranked = rank_for(at_work, table, metrics, seen=at_work.seen, newcomers=attributes)
        return evaluate(at_work, table, metrics, ranked=ranked)


def before_and_after(
    trained: Trained,
    fold: FoldIn | FoldInDraws | None,
    events: Source,
    is_positive: np.ndarray,
    held: Source,
    metrics: Sequence[Metric],
    *,
    entity: str,
) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of newcomers' held events before and after some other ones are folded in.

    Lists leave out what is given in both, so that both choose among the same items.

    Args:
        trained: The model.
        fold: What finds rows of the entity; None for a model that has none.
        events: What is given of the newcomers.
        is_positive: `(N,)` booleans: which of it counts; the others are only seen.
        held: Events to measure on, with their target.
        metrics: What to measure.
        entity: `user` or `item`: who is new.
    """
    metrics = metrics_of_newcomers(metrics, entity)
    column = trained.encoder.entities[entity].plan.id
    ids = pd.unique(held.frame[column].dropna())
    newcomers = Source(pd.DataFrame({column: ids}), held.name, held.is_text)
    found = []
    for counts in (np.zeros_like(is_positive), is_positive):
        given = read_given(trained, entity, events, is_positive=counts, attributes=newcomers)
        found.append(told_metrics(trained, fold, given, held, metrics))
    return found[0], found[1]


def metrics_of_newcomers(metrics: Sequence[Metric], entity: str) -> list[Metric]:
    """Those that newcomers can be measured by.

    Metrics of whole lists look at what training knew of each listed item, which is nothing of new
    ones.
    """
    is_item = entity == "item"
    return [m for m in metrics if not is_item or m.definition.needs != "lists"]
