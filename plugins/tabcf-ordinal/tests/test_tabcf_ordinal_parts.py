"""The metric `rps` and the column `ordered`."""

from __future__ import annotations

import doctest

import numpy as np
import pandas as pd
import pytest
import tabcf_ordinal
import tabcf_ordinal.metric
import torch
from tabcf_ordinal.metric import ranked_probability_score

import tabcf
from tabcf.errors import SpecError
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
