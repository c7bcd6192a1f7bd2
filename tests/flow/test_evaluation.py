"""What a run is worth: metrics of lists, of each user, of groups, and beside another run's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.testing import tiny_ratings

ENTITIES = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}
RANKING: dict[str, Any] = {
    "tabcf": 1,
    "name": "tiny",
    "target": {"implicit": {"positive": "rating >= 4"}},
    "entities": ENTITIES,
    "split": {"random": {"valid": 0, "test": 0.3}},
    "model": {"dot_product_bias": {"factors": 4}},
    "metrics": [
        {"ndcg": 5},
        {"recall": 3},
        {"coverage": 5},
        {"gini": 5},
        {"popularity": 5},
        {"novelty": 3},
    ],
    "train": {"epochs": 3, "batch_size": 32, "learning_rate": 0.03},
}


@pytest.fixture(scope="module")
def ranking() -> tabcf.Run:
    return tabcf.fit(RANKING, tiny_ratings())


def test_metrics_of_lists_are_those_of_the_lists_that_are_recommended(ranking: tabcf.Run) -> None:
    new = tiny_ratings().query("rating >= 4")
    found = ranking.evaluate(new)
    lists = ranking.recommend(_with_something_to_find(ranking, new), k=5)
    positive = ranking.trained.past.positive
    users, items = positive.pairs()
    counts = np.bincount(items - 1, minlength=len(ranking.trained.encoder.entities["item"]) - 1)
    exposure = lists["item_id"].value_counts().reindex(range(len(counts)), fill_value=0)
    assert found["coverage@5"] == (exposure > 0).mean()
    differences = np.abs(np.subtract.outer(exposure.to_numpy(), exposure.to_numpy()))
    assert found["gini@5"] == pytest.approx(differences.mean() / 2 / exposure.mean())
    listed = lists.assign(count=counts[lists["item_id"]])
    by_user = listed.groupby("user_id")["count"].mean()
    assert found["popularity@5"] == pytest.approx(by_user.mean())
    bits = -np.log2(listed["count"].clip(lower=1) / len(set(users)))
    top = listed["rank"] <= 3
    assert found["novelty@3"] == pytest.approx(
        bits[top].groupby(listed["user_id"][top]).mean().mean()
    )


def test_baselines_and_test_rows_have_metrics_of_lists(ranking: tabcf.Run) -> None:
    names = ["ndcg@5", "recall@3", "coverage@5", "gini@5", "popularity@5", "novelty@3"]
    assert list(ranking.report.test) == names
    popular = ranking.report.baselines["most popular"]
    assert list(popular) == names
    assert popular["popularity@5"] > ranking.report.baselines["EASE"]["popularity@5"]
    assert popular["gini@5"] > ranking.report.baselines["EASE"]["gini@5"]


def _with_something_to_find(run: tabcf.Run, data: pd.DataFrame) -> list[int]:
    users, items = run.trained.past.seen.pairs()
    seen = set(zip(users - 1, items - 1, strict=True))
    pairs = set(zip(data["user_id"], data["item_id"], strict=True)) - seen
    return sorted({user for user, _ in pairs})
