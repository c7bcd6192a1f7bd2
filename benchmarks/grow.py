"""What growing is worth on MovieLens-100K: stale, extended, updated and fitted anew.

    python benchmarks/grow.py            # the figures: first 80 %, next 10 %, last 10 %
    python benchmarks/grow.py --choose   # what the defaults were chosen by: 60 %, 70 %, 80 %

Split: all events by timestamp, ties in the file's order; the first 80 % are what a run is fitted
on, the next 10 % are what it grows by, and the last 10 % are scored: RMSE of ratings, NDCG@10 of
lists over all items but those that the user had before, every event being a positive. All ways are
scored on the same rows and users: whom a run does not know gets its average prediction or list.
`all` is over all of these rows, `grown` over those of users with events among the 10 % that the run
grew by: 21 % of the rows; 71 % are of users who came later still. Seed 0 of
the spec, one run each. CPU seconds are of the step alone, one thread, everything loaded: the first
fit, the extension, the update, or the fit on 90 %.

What an update takes by default was chosen with `--choose`, which scores the 70 % to 80 % part and
never sees what the figures are of.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tabcf
from tabcf.data.sources import read_source

BASE: dict[str, Any] = {
    "tabcf": 1,
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "split": {"random": {"valid": 0, "test": 0}},
    "seed": 0,
}
RATINGS: dict[str, Any] = {
    "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
    "metrics": ["rmse"],
}
LISTS: dict[str, Any] = {"target": {"implicit": {}}, "metrics": [{"ndcg": 10}]}
SPECS: dict[str, dict[str, Any]] = {
    "dot_product_bias, mse": {
        **RATINGS,
        "model": {"dot_product_bias": {"factors": 50, "y_range": [0, 5.5]}},
        "train": {
            "epochs": 5,
            "batch_size": 64,
            "learning_rate": 5e-3,
            "weight_decay": 0.1,
        },
    },
    "dot_product_bias, als": {
        **RATINGS,
        "model": {"dot_product_bias": {"factors": 16}},
        "fit": "als",
    },
    "dot_product, softmax": {
        **LISTS,
        "model": {"dot_product": {"factors": 128, "dropout": 0.5}},
        "loss": "softmax",
        "train": {"epochs": 45, "batch_size": 128, "learning_rate": 2e-2, "weight_decay": 1.0},
    },
    "dot_product, bpr": {
        **LISTS,
        "model": {"dot_product": {"factors": 64}},
        "loss": "bpr",
        "negatives": {"uniform": 4},
        "train": {"epochs": 20, "batch_size": 1024, "learning_rate": 2e-2, "weight_decay": 0.4},
    },
    "ease": {**LISTS, "model": {"ease": 300}},
    "ials": {**LISTS, "model": "ials"},
}
# What `--choose` tries: shares of the epochs and of earlier events, and of the learning rate.
_EPOCHS, _REPLAYS, _RATES = (0.2, 0.4), (0.0, 0.5, 1.0), (1.0, 0.3, 0.1)


def parts(*bounds: float) -> list[pd.DataFrame]:
    """Events up to each of some shares, in the order of time."""
    events = read_source("builtin:movielens-100k/ratings").frame
    events = events.sort_values("timestamp", kind="stable").reset_index(drop=True)
    cuts = [0, *(round(share * len(events)) for share in bounds)]
    return [
        events.iloc[start:stop].reset_index(drop=True) for start, stop in itertools.pairwise(cuts)
    ]


def scores(run: tabcf.Run, later: pd.DataFrame, parts: Sequence[pd.DataFrame]) -> dict[str, float]:
    """The metric over all later events, and over those of users whom the run grew by.

    Args:
        run: Whatever it knows of these users, all ways are scored on the same rows and users.
        later: Events to score.
        parts: What came before: what the run was fitted on, and what it grew by.
    """
    first, new = parts
    grown = later[later["user_id"].isin(new["user_id"])].reset_index(drop=True)
    if run.trained.target.kind != "implicit":
        return {"all": rmse(run, later), "grown": rmse(run, grown)}
    return {"all": ndcg(run, later, [first, new]), "grown": ndcg(run, grown, [first, new])}


def rmse(run: tabcf.Run, later: pd.DataFrame) -> float:
    errors = run.predict(later)["prediction"] - later["rating"]
    return float((errors**2).mean() ** 0.5)


def ndcg(run: tabcf.Run, later: pd.DataFrame, before: Sequence[pd.DataFrame], k: int = 10) -> float:
    """Mean NDCG@k of all users of later events; whom the run does not know gets its average list.

    What a user had before is neither listed nor looked for, also where the run does not know it.
    """
    pair = ["user_id", "item_id"]
    had = pd.concat(before)[pair].drop_duplicates()
    wanted = later[pair].drop_duplicates().merge(had, how="left", indicator=True)
    wanted = wanted.loc[wanted["_merge"] == "left_only", pair]
    users = wanted["user_id"].unique()
    entity = run.trained.encoder.entities["user"]
    is_known = entity.index[entity.rows_of_ids(users)] > 0
    longest = k + int(had["user_id"].value_counts().max())
    lists = [
        run.recommend(asked, k=longest, exclude_seen=False)
        for asked in (users[is_known].tolist(), pd.DataFrame({"user_id": users[~is_known]}))
        if len(asked)
    ]
    listed = pd.concat(lists)[[*pair, "rank"]].merge(had, how="left", indicator=True)
    listed = listed[listed["_merge"] == "left_only"].drop(columns="_merge")
    listed["rank"] = listed.sort_values("rank").groupby("user_id").cumcount() + 1
    hits = listed[listed["rank"] <= k].merge(wanted, on=pair)
    gains = (1 / np.log2(1 + hits["rank"])).groupby(hits["user_id"]).sum()
    best = np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))
    ideal = wanted["user_id"].value_counts().clip(upper=k).map(lambda n: best[n - 1])
    return float((gains.reindex(ideal.index).fillna(0.0) / ideal).mean())


def warm_up(spec: dict[str, Any], events: pd.DataFrame) -> None:
    """Load and compile what every step needs, so that the first one does not pay for all."""
    run = tabcf.fit(spec, events, plugins=["no:*"])
    with contextlib.suppress(tabcf.RunError):
        run.extend(events.iloc[:50].assign(user_id=10_000))


def timed(step: Any) -> tuple[Any, float]:
    started = time.process_time()
    return step(), time.process_time() - started


def figures(name: str) -> list[dict[str, Any]]:
    """The four ways, scored on the last tenth."""
    first, new, last = parts(0.8, 0.9, 1.0)
    spec = {**BASE, **SPECS[name]}
    rows = []
    warm_up(spec, first)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        run, seconds = timed(lambda: tabcf.fit(spec, first, path, plugins=["no:*"]))
        rows.append({"way": "stale", **scores(run, last, [first, new]), "cpu": seconds})
        try:
            _, seconds = timed(lambda: run.extend(new))
            rows.append({"way": "extended", **scores(run, last, [first, new]), "cpu": seconds})
            run = tabcf.load(path, version=1, plugins=["no:*"])
            run.rollback(1)
        except tabcf.RunError:
            rows.append(
                {"way": "extended", "all": float("nan"), "grown": float("nan"), "cpu": float("nan")}
            )
        growth, seconds = timed(lambda: run.update(new))
        rows.append({"way": "updated", **scores(run, last, [first, new]), "cpu": seconds})
        print(growth, flush=True)
        both = pd.concat([first, new], ignore_index=True)
        run, seconds = timed(lambda: tabcf.fit(spec, both, plugins=["no:*"]))
        rows.append({"way": "fitted anew", **scores(run, last, [first, new]), "cpu": seconds})
    return [{"model": name, **row} for row in rows]


def choices(name: str) -> list[dict[str, Any]]:
    """Shares of epochs and of replay, scored on an earlier tenth."""
    first, new, later = parts(0.6, 0.7, 0.8)
    spec = {**BASE, **SPECS[name]}
    run = tabcf.fit(spec, first, plugins=["no:*"])
    rows = [{"epochs": 0.0, **scores(run, later, [first, new]), "cpu": 0.0}]
    with contextlib.suppress(tabcf.RunError):
        run.extend(new)
        rows.append({"epochs": 0.0, **scores(run, later, [first, new]), "cpu": 0.0})
        run = tabcf.fit(spec, first, plugins=["no:*"])
    with tempfile.TemporaryDirectory() as folder:
        path = run.save(Path(folder) / "run")
        for epochs, replay, rate in itertools.product(_EPOCHS, _REPLAYS, _RATES):
            own = tabcf.load(path, version=1, plugins=["no:*"])
            own.folder = None
            train = spec["train"]
            options = {
                "epochs": max(round(epochs * train["epochs"]), 1),
                "replay": replay,
                "learning_rate": rate * train["learning_rate"],
            }
            _, seconds = timed(functools.partial(own.update, new, **options))
            row = {"epochs": epochs, "replay": replay, "rate": rate}
            rows.append({**row, **scores(own, later, [first, new]), "cpu": seconds})
    return [{"model": name, **row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--only", action="append", choices=[*SPECS])
    given = parser.parse_args()
    names = given.only or [n for n in SPECS if not given.choose or "train" in SPECS[n]]
    rows = []
    for name in names:
        rows += choices(name) if given.choose else figures(name)
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
