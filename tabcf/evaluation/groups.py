"""What a run is worth by what it knows: rows of trained users and items, and of cold ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from tabcf.contracts.table import Table
from tabcf.data.batches import take
from tabcf.evaluation.evaluate import Metric, evaluate, rank_for
from tabcf.evaluation.lists import RankedUsers
from tabcf.recommend.trained import History, Trained

__all__ = ["GROUPS", "Evaluated", "group_metrics", "has_cold_rows"]

GROUPS = ("warm", "cold user", "cold item", "cold both")


class Evaluated(dict[str, float]):
    """Metrics of some rows by name, and apart by what is known of their users and items."""

    def __init__(self, metrics: Mapping[str, float], groups: Callable[[], pd.DataFrame]) -> None:
        super().__init__(metrics)
        self._measure = groups

    @cached_property
    def groups(self) -> pd.DataFrame:
        """What `Run.evaluate_groups` gives for the same rows; without users and items no row."""
        return self._measure()


def has_cold_rows(groups: pd.DataFrame) -> bool:
    """Whether there is more to tell apart than rows of trained users and items."""
    return bool(len(groups)) and groups["group"].tolist() != [GROUPS[0]]


def group_metrics(
    trained: Trained,
    table: Table,
    metrics: Sequence[Metric],
    *,
    seen: History | None = None,
    measured: Mapping[str, float] | None = None,
    ranked: RankedUsers | None = None,
) -> pd.DataFrame:
    """Metrics of the rows of each group; groups without rows are left out.

    Warm rows are those of a user and an item with training events; cold ones lack those of one or
    both. A user's list is of the whole catalogue in every group, and what is relevant in it is
    the items of the group's rows alone: the group `cold item` asks whether cold items are found
    among all others. A user or item that no table knows has no list and no place in one.

    Args:
        trained: The model.
        table: Encoded rows with their target.
        metrics: What to compute.
        seen: What each user had before and must not be offered again.
        measured: What `evaluate` gives for all rows, where it is there already.
        ranked: What `rank_for` gives for all rows, likewise.

    Returns:
        One row a group: `group`, `n_rows`, `n_lists` (users with something to find) where there
        are ranking metrics, and the metrics.
    """
    trained.require_entities("groups")
    code = np.zeros(len(table), dtype=np.int64)
    for bit, name in enumerate(("user", "item")):
        index = table.entities[name].index.numpy()[table.rows[name].numpy()]
        code |= (index == 0).astype(np.int64) << bit
    found = []
    for number, group in enumerate(GROUPS):
        positions = np.flatnonzero(code == number)
        if not len(positions):
            continue
        values, lists = measured, ranked
        if len(positions) < len(table) or values is None:
            part = take(table, torch.from_numpy(positions))
            lists = rank_for(trained, part, metrics, seen=seen)
            values = evaluate(trained, part, metrics, ranked=lists)
        counts = {"n_rows": len(positions)}
        if lists is not None:
            counts["n_lists"] = len(lists.users)
        found.append({"group": group, **counts, **values})
    return pd.DataFrame(found)
