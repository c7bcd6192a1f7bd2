"""On real data, newcomers are the better known the more of their events are told."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.data.sources import read_source

COUNTS = (0, 1, 2, 5, 10, 20)
RATED = {"target": {"column": "rating", "levels": [1, 2, 3, 4, 5]}, "model": "bias"}
RANKED = {"target": {"implicit": {}}, "model": {"ials": {"factors": 16}}}


@cache
def events() -> pd.DataFrame:
    return read_source("builtin:movielens-100k/ratings").frame


@cache
def curve(kind: str) -> pd.DataFrame:
    """Of a fifth of the users, whose events come in a random order."""
    spec: dict[str, Any] = {
        "tabcf": 1,
        "entities": {
            "user": {
                "id": "user_id",
                "table": "builtin:movielens-100k/users",
                "columns": {"gender": "category"},
            },
            "item": {"id": "item_id"},
        },
        "split": {"cold": {"side": "user", "valid": 0, "test": 0.2}},
        **(RATED if kind == "rated" else RANKED),
    }
    if kind == "network":
        spec |= {
            "target": RATED["target"],
            "model": {"dot_product_bias": {"factors": 8, "y_range": [0.5, 5.5]}},
            "train": {"epochs": 4, "batch_size": 1024, "learning_rate": 0.03, "weight_decay": 0.1},
        }
    else:
        spec["entities"]["user"] = {"id": "user_id"}
    run = tabcf.fit(spec, events())
    order = events().sample(frac=1, random_state=0, ignore_index=True)
    return run.learning_curve(order, at=COUNTS, by=None)


@pytest.mark.network
@pytest.mark.parametrize("kind", ["rated", "network"])
def test_errors_fall_with_each_step(kind: str) -> None:
    found = curve(kind)
    assert found["n"].tolist() == list(COUNTS)
    assert found["n_users"].nunique() == 1
    for name in ("rmse", "rmse without attributes"):
        if name in found:
            steps = np.diff(found[name])
            assert (steps < 0.005).all(), found[name]
            assert found[name].iloc[-1] < found[name].iloc[0] - 0.08


@pytest.mark.network
def test_lists_gain_with_each_step() -> None:
    found = curve("ranked")
    gains = np.diff(found["ndcg@10"])
    # A standard error of a paired difference of these 180-odd users' lists.
    assert (gains > -0.02).all(), found["ndcg@10"]
    assert found["ndcg@10"].iloc[-1] > found["ndcg@10"].iloc[0] + 0.1
