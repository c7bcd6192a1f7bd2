"""New users of MovieLens-100K by fold-in, beside training again with their events.

    python benchmarks/fold_in.py

100 users with 40 ratings or more, drawn with seed 1, are kept from training whole. For each model:

- accuracy: their first 10 (or 20) events, by time and drawn at random, are folded in, or trained on
  from scratch together with everyone else's; both are measured on the users' other events, by RMSE
  or, where the model ranks, by mean NDCG@10 over all items but those given;
- speed, in user-CPU seconds of one thread: calibration (once a run), one user with 20 events (the
  median of 100), 1,000 users with 20 events each;
- whether everyone else's predictions are the same to the bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

import tabcf

NETWORK = {"epochs": 5, "batch_size": 512, "learning_rate": 2e-2, "weight_decay": 0.1}
RATED = {"column": "rating", "levels": [1, 2, 3, 4, 5]}
MODELS: dict[str, dict[str, Any]] = {
    "bias": {"target": RATED, "model": "bias"},
    "dot_product_bias": {
        "target": RATED,
        "model": {"dot_product_bias": {"factors": 50, "y_range": [0.5, 5.5]}},
        "train": NETWORK,
    },
    "embedding_nn": {
        "target": RATED,
        "model": {"embedding_nn": {"layers": [100, 50], "y_range": [0.5, 5.5]}},
        "train": NETWORK,
    },
    "softmax": {
        "target": {"implicit": {}},
        "model": {"dot_product": {"factors": 128, "dropout": 0.5}},
        "loss": "softmax",
        "train": {"epochs": 45, "batch_size": 128, "learning_rate": 2e-2, "weight_decay": 1.0},
    },
    "ials": {"target": {"implicit": {}}, "model": "ials"},
    "ease": {"target": {"implicit": {}}, "model": {"ease": 300}},
}


def ratings() -> pd.DataFrame:
    from tabcf.data.sources import read_source

    return read_source("builtin:movielens-100k/ratings").frame


def fitted(name: str, events: pd.DataFrame) -> tabcf.Run:
    """On all of the events: nothing is held out, since what is measured is no part of them."""
    spec = {
        "tabcf": 1,
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "split": {"random": {"valid": 0, "test": 0}},
        "metrics": [{"ndcg": 10}] if "implicit" in MODELS[name]["target"] else ["rmse"],
        "seed": 42,
        **MODELS[name],
    }
    return tabcf.fit(spec, events)


def divided(new: pd.DataFrame, n: int, order: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each user's first n events, and the others."""
    rows = new.sample(frac=1, random_state=0)
    if order == "time":
        rows = rows.sort_values("timestamp", kind="stable")
    is_given = rows.groupby("user_id").cumcount() < n
    return rows[is_given].reset_index(drop=True), rows[~is_given].reset_index(drop=True)


def rmse(predicted: pd.DataFrame, held: pd.DataFrame) -> float:
    return float(np.sqrt((predicted["prediction"] - held["rating"]).pow(2).mean()))


def ndcg(lists: pd.DataFrame, held: pd.DataFrame) -> float:
    """Mean NDCG@10 over users, by the definition."""
    wanted = held.groupby("user_id")["item_id"].agg(set)
    found = []
    for user, own in lists.sort_values("rank").groupby("user_id"):
        hits = own["item_id"].isin(wanted[user]).to_numpy()
        discount = 1 / np.log2(2 + np.arange(10))
        found.append((hits * discount).sum() / discount[: min(len(wanted[user]), 10)].sum())
    return float(np.mean(found))


def accuracy(name: str, run: tabcf.Run, old: pd.DataFrame, new: pd.DataFrame) -> None:
    is_ranking = run.trained.target.kind == "implicit"
    for order in ("random", "time"):
        for n in (10, 20):
            given, held = divided(new, n, order)
            again = fitted(name, pd.concat([old, given], ignore_index=True))
            newcomers = run.fold_in(given)
            users = held["user_id"].unique()
            if is_ranking:
                nobody = run.fold_in(given.head(0).drop(columns="user_id"))
                everyone = given.groupby("user_id")["item_id"].agg(list)
                unknown = pd.concat(
                    [
                        nobody.recommend(k=10, deny=items).assign(user_id=u)
                        for u, items in everyone.items()
                    ]
                )
                before = ndcg(unknown, held)
                folded = ndcg(newcomers.recommend(k=10), held)
                trained = ndcg(again.recommend(users, k=10), held)
            else:
                before = rmse(run.predict(held), held)
                folded, trained = (
                    rmse(newcomers.predict(held), held),
                    rmse(again.predict(held), held),
                )
            measure = "NDCG@10" if is_ranking else "RMSE"
            print(
                f"{name}: {n} events by {order}: {measure} unknown {before:.4f}, "
                f"fold-in {folded:.4f}, trained again {trained:.4f}: {folded / trained:.3f}",
                flush=True,
            )


def cpu(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def speed(name: str, run: tabcf.Run, new: pd.DataFrame) -> None:
    given, _ = divided(new, 20, "time")
    each = [own for _, own in given.groupby("user_id")]
    first = cpu(lambda: run.fold_in(each[0]))
    one = np.median([cpu(lambda own=own: run.fold_in(own)) for own in each])
    many = pd.concat(
        [own.assign(user_id=10_000 + number) for number, own in enumerate(each * 10)],
        ignore_index=True,
    )
    assert many["user_id"].nunique() == 1000
    thousand = cpu(lambda: run.fold_in(many))
    print(
        f"{name}: calibration {first:.2f} s, one user {1e3 * one:.1f} ms, "
        f"1,000 users {thousand:.2f} s",
        flush=True,
    )


def others_stay(name: str, run: tabcf.Run, old: pd.DataFrame, new: pd.DataFrame) -> None:
    def answers() -> pd.DataFrame:
        if run.trained.target.kind == "implicit":
            return run.recommend(old["user_id"].unique(), k=10)
        return run.predict(old)

    before = answers()
    newcomers = run.fold_in(divided(new, 20, "time")[0])
    newcomers.recommend(k=10)
    same = before.equals(answers())
    if run.trained.target.kind != "implicit":
        same &= (newcomers.predict(old)["prediction"] == before["prediction"]).all()
    print(f"{name}: everyone else's predictions bit-identical: {bool(same)}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    events = ratings()
    counts = events["user_id"].value_counts()
    often = np.sort(counts.index[counts >= 40].to_numpy())
    chosen = np.random.default_rng(1).choice(often, 100, replace=False)
    is_new = events["user_id"].isin(chosen)
    old, new = (events[kept].reset_index(drop=True) for kept in (~is_new, is_new))
    for name in MODELS:
        run = fitted(name, old)
        speed(name, run, new)
        others_stay(name, run, old, new)
        accuracy(name, run, old, new)


if __name__ == "__main__":
    main()
