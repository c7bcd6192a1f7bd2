"""The metric `rps`, the column `ordered` and the selector `contested`."""

from __future__ import annotations

import doctest

import numpy as np
import pandas as pd
import pytest
import tabcf_ordinal
import tabcf_ordinal.metric
import tabcf_ordinal.selector
import torch
from tabcf_ordinal.metric import ranked_probability_score

import tabcf
from tabcf.errors import RunError, SpecError
from tabcf.testing import ColumnContract, tiny_ratings

SIZES = pd.DataFrame(
    {"size": ["small", "large", None, "medium", "huge", "large", "small", "medium"]}
)


class TestOrdered(ColumnContract):
    definition = tabcf_ordinal.ORDERED
    options = {"from": "size", "order": ["small", "medium", "large"]}  # noqa: RUF012 - as in YAML
    frame = SIZES


def test_a_value_is_its_place_and_another_one_is_missing() -> None:
    spec = {
        "tabcf": 1,
        "target": "price",
        "columns": {"size": {"ordered": {"from": "size", "order": ["small", "medium", "large"]}}},
        "model": {"tabular": {"layers": [4]}},
        "train": {"epochs": 1},
    }
    frame = SIZES.assign(price=np.arange(8.0))
    run = tabcf.fit(spec, frame, plugins=["no:*", tabcf_ordinal])
    names = [column.name for column in run.trained.encoder.layout.continuous]
    assert names == ["size", "size is missing"]


def test_an_order_has_each_value_once() -> None:
    spec = {
        "tabcf": 1,
        "target": "price",
        "columns": {"size": {"ordered": {"from": "size", "order": ["small", "small"]}}},
        "model": "tabular",
    }
    with pytest.raises(SpecError, match=r"columns.size.order: expected each value once"):
        tabcf.fit(spec, SIZES.assign(price=1.0), plugins=["no:*", tabcf_ordinal])


def test_the_score_grows_with_the_distance_and_is_zero_when_sure_and_right() -> None:
    sure = torch.eye(5)
    truth = torch.full((5,), 3.0)
    scores = [
        float(ranked_probability_score(sure[i : i + 1], truth[:1], [1, 2, 3, 4, 5]))
        for i in range(5)
    ]
    assert scores == [2.0, 1.0, 0.0, 1.0, 2.0]


def test_the_score_is_the_brier_score_of_two_levels() -> None:
    p = torch.tensor([0.1, 0.7, 0.4])
    truth = torch.tensor([1.0, 2.0, 2.0])
    brier = (p - (truth == 2).float()).pow(2).mean()
    score = ranked_probability_score(torch.stack([1 - p, p], 1), truth, [1, 2])
    assert score == pytest.approx(float(brier))


def test_a_fit_reports_it() -> None:
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 8}},
        "loss": "ordered_logit",
        "metrics": ["rmse", "rps"],
        "train": {"epochs": 30, "batch_size": 32, "learning_rate": 0.03, "weight_decay": 0.0},
    }
    run = tabcf.fit(spec, tiny_ratings(), plugins=["no:*", tabcf_ordinal])
    assert 0 <= run.report.test["rps"] < 0.15


def test_a_loss_without_probabilities_is_refused() -> None:
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 4}},
        "loss": "mse",
        "metrics": ["rps"],
    }
    with pytest.raises(SpecError, match="rps reads probabilities, and what the loss predicts has"):
        tabcf.fit(spec, tiny_ratings(), plugins=["no:*", tabcf_ordinal])


def test_the_examples_run() -> None:
    assert doctest.testmod(tabcf_ordinal.metric).failed == 0
    assert doctest.testmod(tabcf_ordinal.selector).failed == 0


def divided_ratings() -> pd.DataFrame:
    """Of five items all users agree about 0, are torn over 1, and nearly agree about the others."""
    levels = {0: [4], 1: [1, 5], 2: [3, 4], 3: [2, 3], 4: [4, 5]}
    rows = [(u, i, own[u % len(own)]) for u in range(24) for i, own in levels.items()]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rating"])


def test_what_people_are_torn_over_is_asked_about_first() -> None:
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "split": {"random": {"valid": 0, "test": 0.1}},
        "model": {"dot_product_bias": {"factors": 2}},
        "train": {"epochs": 1},
    }
    run = tabcf.fit(spec, divided_ratings(), plugins=["no:*", tabcf_ordinal])
    interview = run.interview("contested")
    assert interview.ask()["item_id"].tolist() == [1]
    asked = interview.ask(5)["item_id"].tolist()
    assert asked[-1] == 0
    assert sorted(asked) == [0, 1, 2, 3, 4]
    interview.answer(1, 5)
    assert interview.ask()["item_id"].tolist() == [asked[1]]


def test_without_levels_nobody_is_torn() -> None:
    spec = {
        "tabcf": 1,
        "target": {"implicit": {}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "split": {"random": {"valid": 0, "test": 0.1}},
        "model": "popular",
    }
    run = tabcf.fit(spec, divided_ratings(), plugins=["no:*", tabcf_ordinal])
    with pytest.raises(
        RunError, match="contested takes targets of kind rating, and this run's is implicit"
    ):
        run.interview("contested")
    assert "contested" not in set(run.replay_interviews(unseen(), at=[1]).users["selector"])


def unseen() -> pd.DataFrame:
    return divided_ratings().assign(user_id=lambda frame: frame["user_id"] + 100)
