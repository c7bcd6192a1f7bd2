"""Metrics of a trained model on given rows: of its predictions and of its lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from tabcf.contracts.definitions import MetricDefinition, RankedLists
from tabcf.contracts.table import Table
from tabcf.data.sources import Source
from tabcf.evaluation.lists import (
    RankedUsers,
    item_attributes,
    popular_lists,
    rank_found,
    rank_users,
    training_counts,
    training_history,
)
from tabcf.recommend.predictor import decode_table, true_values
from tabcf.recommend.trained import History, Trained

__all__ = [
    "Metric",
    "describe",
    "evaluate",
    "first_stage_metrics",
    "list_values",
    "prediction_metrics",
    "rank_for",
    "ranking_metrics",
]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric ready to use; `k` is the length of list that it looks at, None for no list."""

    name: str
    definition: MetricDefinition
    compute: Callable[..., Any]
    k: int | None = None


def evaluate(
    trained: Trained,
    table: Table,
    metrics: Sequence[Metric],
    *,
    seen: History | None = None,
    ranked: RankedUsers | None = None,
) -> dict[str, float]:
    """Every metric by name, on all rows of the table.

    Args:
        trained: The model.
        table: Encoded rows with their target.
        metrics: What to compute.
        seen: What each user had before and must not be offered again, for ranking metrics.
        ranked: What `rank_for` gives for the same, where it is there already.
    """
    of_predictions = [m for m in metrics if not m.definition.is_ranking]
    values = prediction_metrics(trained, table, of_predictions)
    if ranked is None:
        ranked = rank_for(trained, table, metrics, seen=seen)
    if ranked is not None:
        of_rankings = [m for m in metrics if m.definition.is_ranking]
        values |= ranking_metrics(trained, ranked, of_rankings)
    return {metric.name: values[metric.name] for metric in metrics}


def rank_for(
    trained: Trained,
    table: Table,
    metrics: Sequence[Metric],
    *,
    seen: History | None = None,
    newcomers: Source | None = None,
) -> RankedUsers | None:
    """Lists as long as the metrics need, and ranks if they do; None without a ranking metric.

    `newcomers` are as in `rank_users`.
    """
    ranking = [metric for metric in metrics if metric.definition.is_ranking]
    if not ranking:
        return None
    k = max(metric.k or 1 for metric in ranking)
    with_ranks = any(metric.definition.needs == "ranks" for metric in ranking)
    return rank_users(trained, table, k=k, seen=seen, with_ranks=with_ranks, newcomers=newcomers)


def first_stage_metrics(
    trained: Trained, table: Table, metrics: Sequence[Metric], *, seen: History | None = None
) -> dict[str, float]:
    """Ranking metrics of the lists that the model's first stage finds, in that one's own order."""
    with_ranks = any(metric.definition.needs == "ranks" for metric in metrics)
    ranked = rank_found(trained, table, seen=seen, with_ranks=with_ranks)
    return ranking_metrics(trained, ranked, metrics)


def prediction_metrics(
    trained: Trained, table: Table, metrics: Sequence[Metric]
) -> dict[str, float]:
    """Metrics that compare a prediction with the truth, row by row."""
    if not metrics:
        return {}
    assert table.target is not None
    truth = true_values(trained, table.target)
    with_sd = any("sd" in (metric.definition.reads or ()) for metric in metrics)
    decoded = decode_table(trained, table, with_sd=with_sd)
    return {metric.name: float(metric.compute(decoded, truth)) for metric in metrics}


def ranking_metrics(
    trained: Trained, ranked: RankedUsers, metrics: Sequence[Metric]
) -> dict[str, float]:
    """Ranking metrics, averaged over users with equal weights; NaN without users."""
    if not len(ranked.users):
        return {metric.name: float("nan") for metric in metrics}
    values = list_values(trained, ranked, metrics)
    # A metric of hits has to say something of every user here; one of lists says nothing of an
    # empty list, and one of ranks nothing of a user for whom every candidate is relevant.
    return {
        metric.name: float(
            values[metric.name].mean()
            if metric.definition.needs == "hits"
            else values[metric.name].nanmean()
        )
        for metric in metrics
    }


def list_values(
    trained: Trained, ranked: RankedUsers, metrics: Sequence[Metric]
) -> dict[str, Tensor]:
    """Ranking metrics as they are computed: `(U,)` one number per user, or `()` one for all."""
    values = {}
    lists: RankedLists | None = None
    for metric in metrics:
        if metric.definition.needs == "lists":
            lists = lists or _ranked_lists(trained, ranked)
            own = replace(lists, items=ranked.items[:, : metric.k], hits=ranked.hits[:, : metric.k])
            values[metric.name] = metric.compute(own)
        elif metric.definition.needs == "ranks":
            assert ranked.ranks is not None
            values[metric.name] = metric.compute(ranked.ranks, ranked.n_candidates)
        else:
            values[metric.name] = metric.compute(ranked.hits[:, : metric.k], ranked.n_relevant)
    return values


def _ranked_lists(trained: Trained, ranked: RankedUsers) -> RankedLists:
    """Whole lists, and what metrics of lists compare them with."""
    counts, n_users = training_counts(trained)
    return RankedLists(
        ranked.items,
        counts,
        n_users,
        history=training_history(trained, ranked.users),
        attributes=partial(item_attributes, trained),
        obvious=partial(popular_lists, trained, ranked),
    )


def describe(values: Mapping[str, float]) -> str:
    """Metrics in one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())
