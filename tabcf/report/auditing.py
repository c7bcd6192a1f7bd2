"""What a report says of a run's lists: to whom they are fair, and what they would do in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from tabcf.audit.findings import Audit
from tabcf.audit.plots import plot_loop
from tabcf.audit.result import LoopResult
from tabcf.errors import TabcfError
from tabcf.inspection import plots
from tabcf.report.blocks import Block, Note, Table
from tabcf.report.charts import drawn
from tabcf.run.run import Run

__all__ = ["audit_blocks", "loop_blocks"]

_K = 10
# Above so many places of lists a page would take too long: users x items scored for each policy.
_MOST_SCORES = 50_000_000
_SHOWN = 60


def audit_blocks(run: Run, data: Any = None) -> list[Block]:
    """The lists of all users now, and what re-rankers would make of them.

    Args:
        run: Whose lists.
        data: Held rows, for accuracy.
    """
    entities = run.trained.encoder.entities
    if run.trained.past is None or run.trained.target.kind == "classes":
        return []
    n_scores = len(entities["user"]) * len(entities["item"])
    if n_scores > _MOST_SCORES:
        return [Note(f"{n_scores:,} scores are too many for a page; see `tabcf audit`.")]
    try:
        found = run.audit(k=_K, data=data)
        compared = run.compare_policies(_policies(run, found), k=_K, data=data)
    except TabcfError as error:
        return [Note(str(error))]
    return [*_lists(found), *_groups(found), *_compared(compared)]


def loop_blocks(result: LoopResult) -> list[Block]:
    """What a simulation found."""
    rounds = result.rounds
    last, n_seeds = int(rounds["round"].max()), rounds["seed"].nunique()
    means = rounds[rounds["round"] == last].drop(columns=["seed", "round"])
    table = means.groupby("policy", sort=False).mean().reset_index()
    caption = f"Round {last}, mean over {n_seeds} seed{'s' if n_seeds > 1 else ''}"
    return [
        Note(
            "Simulated users choose from lists by tastes that no recommender sees, and what they "
            "choose is learnt from in the next round. Compare policies, not single figures: tastes "
            "are a model of the same data."
        ),
        drawn(plot_loop, result, "Figures over rounds, with 95 % bands where there are seeds"),
        Table(table, caption, dict.fromkeys(table.columns[1:], ".3f") | {"taken": ",.0f"}),
    ]


def _policies(run: Run, found: Audit) -> list[Any]:
    """The spec's own re-rankers, those of popularity, and those of one attribute of items."""
    policies: list[Any] = [] if run.spec.rerank is None else [run.spec.rerank]
    policies += [{"popularity_penalty": 0.2}, {"xquad": {"strength": 0.9, "smooth": True}}]
    policies.append({"epsilon_greedy": 0.1})
    column = _item_column(found)
    if column is not None:
        policies += [{"calibrated": {"of": column}}, {"mmr": {"of": column}}]
        policies.append({"group_caps": {"of": column, "share": 0.4}})
    return policies


def _item_column(found: Audit) -> str | None:
    """The items' column that most of the audited groups are of."""
    if not len(found.groups):
        return None
    names = [name.partition("=")[0] for name in found.groups["group"].unique()]
    columns = pd.Series([name.partition(".")[2] for name in names if name.startswith("item.")])
    return None if columns.empty else str(columns.value_counts().index[0])


def _lists(found: Audit) -> Iterator[Block]:
    for line in str(found).splitlines():
        yield Note(line[:1].upper() + line[1:] + ".")
    names = {
        "users": "users by taste",
        "n_users": "users",
        "head_data": "popular in events",
        "head": "popular in lists",
        "popularity_data": "mean popularity, own",
        "popularity": "listed",
        "popularity_lift": "lift",
        "ndcg": "NDCG",
        "recall": "recall",
        "rmse": "RMSE",
    }
    tastes = found.tastes[[name for name in names if name in found.tastes]].rename(columns=names)
    shares = dict.fromkeys((*list(names.values())[2:6], "lift"), ".1%")
    yield Table(
        tastes,
        "Niche and mainstream users, by how many of their own items are popular",
        {"users": ",d", **shares, "lift": "+.0%", "NDCG": ".4f", "recall": ".4f"},
    )


def _groups(found: Audit) -> Iterator[Block]:
    table = found.table()
    if not len(table):
        return
    names = {"n_members": "members (n)", "data": "of events", "lists": "of lists"}
    names |= {f"ndcg {users}": f"NDCG {users}" for users in ("members", "others")}
    table = table.rename(columns=names)
    caption = (
        "Groups: their shares of events and of lists, and how many times as large the second is, "
        "for all users, for members and for others; the most amplified first"
    )
    formats = {"members (n)": ",d", "of events": ".1%", "of lists": ".1%"}
    formats |= dict.fromkeys(("all", "members", "others"), ".2f")
    formats |= dict.fromkeys(("NDCG members", "NDCG others"), ".4f")
    yield Table(table.head(_SHOWN), caption, formats)


def _compared(table: pd.DataFrame) -> Iterator[Block]:
    if {"amplification", "ndcg"} <= set(table):
        yield drawn(
            plots.plot_policies,
            table,
            "Accuracy on the given rows against the largest amplification of a group: the model's "
            "own lists, and what re-rankers make of them",
        )
    names = {
        "ndcg": "NDCG",
        "recall": "recall",
        "amplification": "amplified",
        "others": "for others",
        "gini": "Gini",
        "coverage": "coverage",
        "popularity_lift": "lift",
        "tail": "long tail",
    }
    formats = dict.fromkeys(("NDCG", "recall"), ".4f")
    formats |= dict.fromkeys(("amplified", "for others", "Gini"), ".3f")
    formats |= {"coverage": ".1%", "lift": "+.0%", "long tail": ".1%"}
    yield Table(
        table.rename(columns=names),
        "Policies side by side; nothing here was chosen by these figures",
        formats,
    )
