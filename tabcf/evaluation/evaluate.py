"""Metrics of a trained model on given rows: of its predictions and of its lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from tabcf.contracts.definitions import MetricDefinition
from tabcf.contracts.inputs import Bag
from tabcf.contracts.table import Table
from tabcf.data.batches import select
from tabcf.metrics.ranking import rank_items
from tabcf.recommend.predictor import decode_table
from tabcf.recommend.scores import score_blocks
from tabcf.recommend.trained import History, Trained

__all__ = ["Metric", "evaluate", "prediction_metrics", "ranking_metrics"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric ready to use; `k` is the length of list that a ranking metric looks at."""

    name: str
    definition: MetricDefinition
    compute: Callable[..., Any]
    k: int | None = None


def evaluate(
    trained: Trained, table: Table, metrics: Sequence[Metric], *, seen: History | None = None
) -> dict[str, float]:
    """Every metric by name, on all rows of the table.

    Args:
        trained: The model.
        table: Encoded rows with their target.
        metrics: What to compute.
        seen: What each user had before and must not be offered again, for ranking metrics.
    """
    values = prediction_metrics(trained, table, [m for m in metrics if m.k is None])
    ranked = [metric for metric in metrics if metric.k is not None]
    if ranked:
        values |= ranking_metrics(trained, table, ranked, seen=seen)
    return {metric.name: values[metric.name] for metric in metrics}


def prediction_metrics(
    trained: Trained, table: Table, metrics: Sequence[Metric]
) -> dict[str, float]:
    """Metrics that compare a prediction with the truth, row by row."""
    if not metrics:
        return {}
    assert table.target is not None
    truth = _truth(trained, table.target)
    decoded = decode_table(trained, table)
    return {metric.name: float(metric.compute(decoded, truth)) for metric in metrics}


def _truth(trained: Trained, target: Tensor) -> Tensor:
    """The target in its own units."""
    info = trained.target
    if info.kind in ("regression", "rating"):
        scale, center = torch.tensor(info.scale), torch.tensor(info.center)
        return target * scale + center
    return target


def ranking_metrics(
    trained: Trained, table: Table, metrics: Sequence[Metric], *, seen: History | None = None
) -> dict[str, float]:
    """Metrics of each user's list over the whole catalogue less what they have seen.

    Every item that is known, in training or from the item table, is a candidate; a user's
    relevant items are those of their rows in `table`. Users are weighted equally. Ties are
    broken at random with the run's seed.
    """
    users, relevant = _relevant(table, seen)
    if not len(users):
        return {metric.name: float("nan") for metric in metrics}
    encoder = trained.encoder
    user_inputs = select(encoder.tables["user"].inputs, torch.from_numpy(users))
    items = select(encoder.tables["item"].inputs, torch.arange(1, len(encoder.tables["item"])))
    excluded = None if seen is None else seen.of_users(users)
    history = None
    if trained.past is not None:
        rows = trained.past.positive.of_users(users)
        history = Bag(encoder.tables["item"].index[rows.values.long()], rows.offsets)
    k = max(metric.k or 0 for metric in metrics)
    rng = Generator().manual_seed(trained.seed)
    n_items = len(items.x_cat)
    hits, n_relevant = [], []
    blocks = score_blocks(
        trained, user_inputs, encoder.events_with({}, users), items, history=history
    )
    for block, scores in blocks:
        left_out = None if excluded is None else _columns(excluded, block)
        ranked = rank_items(scores, left_out, k, rng)
        is_relevant = torch.zeros(len(scores), n_items + 1, dtype=torch.bool)
        bag = relevant.of_users(users[block])
        row_of_value = torch.repeat_interleave(
            torch.arange(len(scores)),
            torch.diff(bag.offsets, append=torch.tensor([len(bag.values)])),
        )
        is_relevant[row_of_value, bag.values.long() - 1] = True
        # Column -1, an empty place in a short list, reads the last column, which is never true.
        hits.append(is_relevant.gather(1, ranked % (n_items + 1)))
        n_relevant.append(is_relevant.sum(1))
    all_hits, counts = torch.cat(hits), torch.cat(n_relevant)
    return {
        metric.name: float(metric.compute(all_hits[:, : metric.k], counts).mean())
        for metric in metrics
    }


def _relevant(table: Table, seen: History | None) -> tuple[np.ndarray, History]:
    """Users with something to find, and what that is: unseen items of the table's rows."""
    users, items = table.rows["user"].numpy(), table.rows["item"].numpy()
    n_users = len(table.entities["user"])
    found = History.of_pairs(users, items, n_users)
    if seen is not None:
        span = len(table.entities["item"])
        pair_users, pair_items = found.pairs()
        seen_users, seen_items = seen.pairs()
        is_new = ~np.isin(pair_users * span + pair_items, seen_users * span + seen_items)
        found = History.of_pairs(pair_users[is_new], pair_items[is_new], n_users)
    has_any = np.diff(found.bounds) > 0
    return np.flatnonzero(has_any).astype(np.int32), found


def _columns(seen: Bag, block: slice) -> Bag:
    """A block's seen items as columns: item row r stands in column r - 1."""
    ends = torch.cat([seen.offsets, torch.tensor([len(seen.values)])])
    first, last = int(ends[block.start]), int(ends[min(block.stop, len(seen.offsets))])
    return Bag(seen.values[first:last].long() - 1, seen.offsets[block] - first)


def describe(values: Mapping[str, float]) -> str:
    """Metrics in one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())
