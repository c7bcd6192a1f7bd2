"""Lists on MovieLens-100K: mean NDCG@10 over u1-u5, and on a global time split, with intervals.

    python benchmarks/ranking.py

Protocol: every interaction is a positive; each model trains on a fold's training rows (a tenth of
them picks nothing here, it is trained on in the end: `refit`) and ranks all items but those seen in
training, for the fold's test users. Settings were chosen by NDCG@10 on a validation tenth of u1's
training rows, never on test rows: among some two dozen for softmax, twelve for each other one. One
seed. Differences to EASE are paired by user and fold; 95 % bootstrap intervals over these pairs
(5,000 resamples, seed 0).
The official folds hold test events that are older than training events; the time split does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import tabcf

MODELS: dict[str, dict[str, Any]] = {
    "softmax": {
        "model": {"dot_product": {"factors": 128, "dropout": 0.5}},
        "loss": "softmax",
        "train": {
            "epochs": 45,
            "batch_size": 128,
            "learning_rate": 2e-2,
            "weight_decay": 1.0,
            "refit": True,
        },
    },
    "bpr": {
        "model": {"dot_product": {"factors": 64}},
        "loss": "bpr",
        "negatives": {"uniform": 4},
        "train": {
            "epochs": 20,
            "batch_size": 1024,
            "learning_rate": 2e-2,
            "weight_decay": 0.4,
            "refit": True,
        },
    },
    "ease": {"model": {"ease": 300}, "train": {"refit": True}},
    "edlae": {"model": "edlae", "train": {"refit": True}},
    "ials": {"model": "ials", "train": {"refit": True}},
    "item_knn": {"model": "item_knn", "train": {"refit": True}},
    "popular": {"model": "popular", "train": {"refit": True}},
}
# The same settings for eight members: nothing was chosen for it.
MODELS["softmax, eight members"] = {
    **MODELS["softmax"],
    "train": {**MODELS["softmax"]["train"], "ensemble": 8},
}
SPLITS: dict[str, Any] = {
    **{fold: {"official": {"fold": fold, "valid": 0.1}} for fold in ("u1", "u2", "u3", "u4", "u5")},
    "time": {"time": {"column": "timestamp", "valid": 0.1, "test": 0.2}},
}


def ratings() -> pd.DataFrame:
    from tabcf.data.sources import read_source

    return read_source("builtin:movielens-100k/ratings").frame


def fitted(name: str, split: Any) -> tuple[pd.Series, float, float]:
    """NDCG@10 of each test user, recall@10, and the CPU seconds of the fit."""
    spec = {
        "tabcf": 1,
        "data": "builtin:movielens-100k/ratings",
        "target": {"implicit": {}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "split": split,
        **MODELS[name],
    }
    run = tabcf.fit(spec, plugins=["no:*"])
    events = ratings()
    seen = run.trained.seen
    encoder = run.trained.encoder
    rows = [encoder.entities[side].rows_of_ids(events[f"{side}_id"]) for side in ("user", "item")]
    pairs = pd.MultiIndex.from_arrays(seen.pairs())
    is_test = ~pd.MultiIndex.from_arrays(rows).isin(pairs)
    users = run.evaluate_users(events[is_test].reset_index(drop=True)).dropna(subset=["ndcg@10"])
    ndcg = users.set_index("user_id")["ndcg@10"]
    assert abs(ndcg.mean() - run.report.test["ndcg@10"]) < 1e-6
    return ndcg, run.report.test["recall@10"], run.report.cpu_seconds


def interval(differences: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(differences), (5_000, len(differences)))
    low, high = np.percentile(differences[draws].mean(1), [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    found: dict[tuple[str, str], pd.Series] = {}
    recalls: dict[tuple[str, str], float] = {}
    seconds: dict[tuple[str, str], float] = {}
    for split, options in SPLITS.items():
        for name in MODELS:
            key = (name, split)
            found[key], recalls[key], seconds[key] = fitted(name, options)
            print(f"{split} {name}: {found[key].mean():.4f}", flush=True)
    for title, splits in (("u1-u5", list(SPLITS)[:5]), ("time split", ["time"])):
        print(f"\n{title}: NDCG@10, recall@10, CPU-s a fit, difference to EASE")
        for name in MODELS:
            ndcg = np.mean([found[name, split].mean() for split in splits])
            recall = np.mean([recalls[name, split] for split in splits])
            cpu = np.mean([seconds[name, split] for split in splits])
            paired = [(found[name, s] - found["ease", s]).dropna().to_numpy() for s in splits]
            low, high = interval(np.concatenate(paired))
            print(f"{name:22s} {ndcg:.4f} {recall:.4f} {cpu:6.2f}  [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
