"""New users and new items on MovieLens-100K: what attributes, and hiding ids, are worth to them.

    python benchmarks/cold_start.py unknown    # what an unknown id stands on, model by model
    python benchmarks/cold_start.py items      # lists of new items with and without attributes
    python benchmarks/cold_start.py columns    # warm users and new items of one and the same run
    python benchmarks/cold_start.py users      # ratings of new users with and without attributes

Protocol: `split: {cold: ...}` holds out whole items or users, a fifth of them to validate and a
fifth to test, seed 0. Whatever is chosen is chosen by the metric on validation rows; test rows are
looked at once, with the setting chosen. Lists are of the whole catalogue less what a user had in
training, or of the new items alone where it says so; with `positive: rating >= 4`. Differences are
paired by user, with 95 % bootstrap intervals (10,000 resamples, seed 0).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import torch

import tabcf
from tabcf.contracts.definitions import FitProblem
from tabcf.data.parts import TEST, TRAIN
from tabcf.data.sources import read_source
from tabcf.evaluation.compare import compare_users
from tabcf.evaluation.users import user_metrics
from tabcf.losses import MSE
from tabcf.metrics import ndcg_at_k
from tabcf.recommend.trained import Trained
from tabcf.run.prepare import encode_rows, encode_split, load_events
from tabcf.training.closed_form import BiasModel

DATA = "builtin:movielens-100k"
SEED = 0
LIKES = {"implicit": {"positive": "rating >= 4"}}
STARS = {"column": "rating"}
OF_ITEMS = {"item.year": "number", "item.genres": {"set": {"separator": "|"}}}
OF_USERS = {"user.gender": "category", "user.occupation": "category", "user.age": "number"}
RATES = (0.02, 0.1, 0.3, 0.5)

_RATED = {"epochs": 8, "batch_size": 2048, "learning_rate": 3e-2, "weight_decay": 0.1}
_RANKED = {"epochs": 8, "batch_size": 2048, "learning_rate": 3e-2, "weight_decay": 0.1}
_SOFTMAX = {"epochs": 30, "batch_size": 128, "learning_rate": 2e-2, "weight_decay": 0.3}
MODELS: dict[str, dict[str, Any]] = {
    "dot_product, mse": {
        "target": STARS,
        "model": {"dot_product": {"factors": 32, "y_range": [0.5, 5.5]}},
        "loss": "mse",
        "metrics": ["rmse"],
        "train": _RATED,
    },
    "dot_product_bias, mse": {
        "target": STARS,
        "model": {"dot_product_bias": {"factors": 32, "y_range": [0.5, 5.5]}},
        "loss": "mse",
        "metrics": ["rmse"],
        "train": _RATED,
    },
    "embedding_nn, mse": {
        "target": STARS,
        "model": {"embedding_nn": {"layers": [64], "y_range": [0.5, 5.5]}},
        "loss": "mse",
        "metrics": ["rmse"],
        "train": {**_RATED, "learning_rate": 1e-2},
    },
    "collab_nn, mse": {
        "target": STARS,
        "model": {"collab_nn": {"n_hidden": 64, "y_range": [0.5, 5.5]}},
        "loss": "mse",
        "metrics": ["rmse"],
        "train": {**_RATED, "learning_rate": 1e-2},
    },
    "dot_product, softmax": {
        "target": LIKES,
        "model": {"dot_product": {"factors": 128, "dropout": 0.5}},
        "loss": "softmax",
        "metrics": [{"ndcg": 10}],
        "train": _SOFTMAX,
    },
    "dot_product_bias, bpr": {
        "target": LIKES,
        "model": {"dot_product_bias": {"factors": 32}},
        "loss": "bpr",
        "metrics": [{"ndcg": 10}],
        "train": _RANKED,
    },
    "embedding_nn, sampled_softmax": {
        "target": LIKES,
        "model": {"embedding_nn": {"layers": [64]}},
        "loss": "sampled_softmax",
        "metrics": [{"ndcg": 10}],
        "train": {**_RANKED, "learning_rate": 1e-2},
    },
}
SPLITS: dict[str, Any] = {
    "new items": {"cold": {"side": "item", "valid": 0.2, "test": 0.2}},
    "new users": {"cold": {"side": "user", "valid": 0.2, "test": 0.2}},
    "warm": {"random": {"valid": 0.2, "test": 0.2}},
}


def fitted(
    name: str, split: Any, *, columns: dict[str, Any], unknown: Any = None, data: Any = None
) -> tabcf.Run:
    """A model of the list above, with columns and a policy for unknown ids."""
    spec = {
        "tabcf": 1,
        "data": f"{DATA}/ratings",
        "entities": {
            "user": {"id": "user_id", "table": f"{DATA}/users"},
            "item": {"id": "item_id", "table": f"{DATA}/items", "label": "title"},
        },
        "columns": columns,
        "split": split,
        "seed": SEED,
        **MODELS[name],
    }
    if unknown is not None:
        spec["unknown"] = unknown
    return tabcf.fit(spec, data)


def chosen(
    name: str, split: Any, *, columns: dict[str, Any], side: str, data: Any = None
) -> tuple[tabcf.Run, Any]:
    """The run whose policy for ids of a side does best on validation rows."""
    found = []
    for unknown in ("mean", *({"masked": {"rate": 0.0, side: rate}} for rate in RATES)):
        run = fitted(name, split, columns=columns, unknown=unknown, data=data)
        (value,) = run.report.valid.values()
        is_error = MODELS[name]["metrics"] == ["rmse"]
        found.append((-value if is_error else value, run, unknown))
    best = max(found, key=lambda entry: entry[0])
    return best[1], best[2]


def compare_unknown() -> None:
    """Validation metrics by what an unknown id stands on, with attributes of both sides."""
    policies: dict[str, Any] = {"mean": "mean"}
    policies |= {f"masked {rate:g}": {"masked": rate} for rate in RATES[:3]}
    rows = []
    for name in MODELS:
        for split, options in SPLITS.items():
            columns = {} if name.startswith("collab_nn") else {**OF_USERS, **OF_ITEMS}
            row: dict[str, Any] = {"model": name, "validation rows": split}
            for policy, unknown in policies.items():
                run = fitted(name, options, columns=columns, unknown=unknown)
                (row[policy],) = run.report.valid.values()
            rows.append(row)
            print(pd.DataFrame(rows[-1:]).to_string(index=False, float_format="%.4f"), flush=True)
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.4f"))


def among(run: tabcf.Run, items: np.ndarray, held: pd.DataFrame, k: int = 10) -> pd.DataFrame:
    """NDCG@k of lists of some items alone, of each user who likes any of them in held rows."""
    liked = held[(held["rating"] >= 4) & held["item_id"].isin(items)]
    lists = run.recommend(liked["user_id"].unique().tolist(), k=k, candidates=items.tolist())
    return ndcg_of(lists, liked, k)


def ndcg_of(lists: pd.DataFrame, liked: pd.DataFrame, k: int = 10) -> pd.DataFrame:
    """NDCG@k of each user who likes anything, from lists with their ranks."""
    lists = lists[lists["rank"] <= k]
    users = liked["user_id"].unique()
    pairs = pd.MultiIndex.from_frame(liked[["user_id", "item_id"]])
    is_hit = pd.MultiIndex.from_frame(lists[["user_id", "item_id"]]).isin(pairs)
    hits = torch.zeros(len(users), k, dtype=torch.bool)
    at = pd.Index(users).get_indexer(lists["user_id"])
    hits[at[at >= 0], lists["rank"].to_numpy()[at >= 0] - 1] = torch.from_numpy(is_hit[at >= 0])
    counts = liked["user_id"].value_counts()[users].tolist()
    found = ndcg_at_k(hits, torch.tensor(counts)).numpy()
    return pd.DataFrame({"user_id": users, f"ndcg@{k}": found})


def lists_of_new_items() -> None:
    """NDCG@10 of new items with attributes and without."""
    name = "dot_product, softmax"
    ratings = read_source(f"{DATA}/ratings").frame
    for label, columns in (("without attributes", {}), ("with attributes", OF_ITEMS)):
        run, unknown = chosen(name, SPLITS["new items"], columns=columns, side="item")
        assert run.users is not None
        items = held_items(run)
        new = among(run, items, ratings)["ndcg@10"].mean()
        print(
            f"{name}, {label} ({unknown}): NDCG@10 of the whole catalogue "
            f"{run.report.test['ndcg@10']:.4f}, among the {len(items)} new items that test "
            f"{new:.4f}; {run.report.n_rows['test']:,} rows, "
            f"{int((run.users['n_relevant'] > 0).sum())} users",
            flush=True,
        )


def held_items(run: tabcf.Run) -> np.ndarray:
    """The items of the test part of a cold split."""
    events = load_events(run.spec, run.registry)
    return np.unique(events.rows(TEST).frame["item_id"].to_numpy())


def one_run_for_all() -> None:
    """The same test users' warm rows and rows of new items, with attributes and without."""
    ratings = read_source(f"{DATA}/ratings").frame
    rng = np.random.default_rng(SEED)
    items = rng.permutation(ratings["item_id"].unique())
    fifth = len(items) // 5
    part = np.array(["train"] * len(ratings), dtype=object)
    drawn = rng.random(len(ratings))
    part[drawn < 0.2] = "valid"
    part[drawn < 0.1] = "test"
    part[ratings["item_id"].isin(items[fifth : 2 * fifth])] = "valid"
    is_new = ratings["item_id"].isin(items[:fifth]).to_numpy()
    part[is_new] = "test"
    data = ratings.assign(part=part)
    for name in ("dot_product, softmax", "dot_product_bias, mse"):
        metric = next(iter(MODELS[name]["metrics"]))
        metric = "rmse" if metric == "rmse" else "ndcg@10"
        without, _ = chosen(name, {"labels": "part"}, columns={}, side="item", data=data)
        run, unknown = chosen(name, {"labels": "part"}, columns=OF_ITEMS, side="item", data=data)
        everything = np.ones(len(data), dtype=bool)
        for who, rows in (("all rows", everything), ("warm rows", ~is_new), ("new items", is_new)):
            test = data[(part == "test") & rows]
            found = compare_users(without.evaluate_users(test), run.evaluate_users(test), [metric])
            print(f"{name} ({unknown}), {who}, {len(test):,} rows", found.to_string(), sep="\n")
        if metric == "rmse":
            continue
        warm = items[2 * fifth :]
        test = data[(part == "test") & ~is_new]
        found = compare_users(among(without, warm, test), among(run, warm, test), [metric])
        print(f"{name} ({unknown}), warm rows among warm items", found.to_string(), sep="\n")
        found = offsets(run, data[part == "valid"], items[: 2 * fifth])
        print(f"{name} ({unknown}), validation rows", found.to_string(), sep="\n")


def offsets(run: tabcf.Run, held: pd.DataFrame, new: np.ndarray) -> pd.DataFrame:
    """NDCG@10 of held rows where so much is added to the score of each new item."""
    liked = held[held["rating"] >= 4]
    everything = run.recommend(liked["user_id"].unique().tolist(), k=2000)
    is_new, is_liked_new = everything["item_id"].isin(new), liked["item_id"].isin(new)
    rows = []
    for offset in (0.0, -0.25, -0.5, -1.0, -2.0, -4.0):
        lists = everything.assign(score=everything["score"] + offset * is_new)
        lists = lists.sort_values("score", ascending=False, kind="stable")
        lists["rank"] = lists.groupby("user_id").cumcount() + 1
        parts = {"all": liked, "warm": liked[~is_liked_new], "new": liked[is_liked_new]}
        shown = {who: ndcg_of(lists, own)["ndcg@10"].mean() for who, own in parts.items()}
        rows.append({"offset": offset, **shown})
    return pd.DataFrame(rows)


def ratings_of_new_users() -> None:
    """RMSE of users of whom no rating is known, with attributes, without, and of item means."""
    name = "dot_product_bias, mse"
    without, _ = chosen(name, SPLITS["new users"], columns={}, side="user")
    runs = {"without attributes": without}
    for label, columns in (
        ("attributes of users", OF_USERS),
        ("attributes of users and items", {**OF_USERS, **OF_ITEMS}),
    ):
        runs[label], unknown = chosen(name, SPLITS["new users"], columns=columns, side="user")
        print(label, unknown)
    biases = users_of_biases(without)
    print(f"user + item biases: RMSE {without.report.baselines['user + item biases']['rmse']:.4f}")
    assert without.users is not None
    for label, run in runs.items():
        assert run.users is not None
        print(f"{label}: RMSE {run.report.test['rmse']:.4f}")
        for other, users in (("user + item biases", biases), ("without attributes", without.users)):
            if run.users is not users:
                found = compare_users(users, run.users, ["rmse"])
                print(f"less {other}:", found.to_string(), sep="\n")


def users_of_biases(run: tabcf.Run) -> pd.DataFrame:
    """Test errors of each user of the baseline of user and item biases, on the run's split."""
    events = load_events(run.spec, run.registry)
    encoded = encode_split(run.spec, run.registry, events, TRAIN)
    model = BiasModel(encoded.encoder.layout)
    with torch.no_grad():
        model.solve(FitProblem(encoded.train, encoded.encoder.layout, encoded.target))
    model.eval()
    loss = MSE(encoded.target)
    trained = Trained(encoded.encoder, model, loss, encoded.target, encoded.past, SEED)
    table = encode_rows(encoded.encoder, encoded.target, events.learnable(TEST))
    is_counted = np.ones(len(table), dtype=bool)
    return user_metrics(trained, events.rows(TEST), is_counted, table, (), None)


if __name__ == "__main__":
    sections = {
        "unknown": compare_unknown,
        "items": lists_of_new_items,
        "columns": one_run_for_all,
        "users": ratings_of_new_users,
    }
    for section in sys.argv[1:] or sections:
        print(f"## {section}", flush=True)
        sections[section]()
