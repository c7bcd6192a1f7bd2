"""Decay and l2 of single columns, sets among them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tabcf
from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.table import Table
from tabcf.contracts.target import TargetInfo
from tabcf.data.batches import Batch
from tabcf.errors import SpecError
from tabcf.losses import MSE
from tabcf.nn import DotProductBias
from tabcf.testing import tiny_ratings
from tabcf.training.objectives import PointwiseObjective


def spec(**train: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "columns": {"had": {"history": "user"}},
        "model": {"dot_product_bias": {"factors": 4}},
        "train": {"epochs": 3, "batch_size": 64, "learning_rate": 0.03, **train},
    }


def test_a_set_columns_decay_is_its_own() -> None:
    norms = []
    for decay in (0.0, 10.0):
        fitted = spec(weight_decay={"default": 0.0, "had": decay})
        model = tabcf.fit(fitted, tiny_ratings()).trained.model
        norms.append([model.set_factors[0].norm().item(), model.factors.norm().item()])
    (plain, others), (decayed, same) = norms
    assert decayed < 0.7 * plain
    assert same == pytest.approx(others, rel=0.3)


def test_an_unknown_column_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SpecError, match=r"no column 'hat'.*known: default, user, item, had"):
        tabcf.fit(spec(weight_decay={"hat": 1.0}), tiny_ratings())


def test_l2_counts_each_row_that_an_event_uses_sets_included() -> None:
    model = DotProductBias([3, 4], factors=2, set_cardinalities=[5], set_sides=["user"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    bag = Bag(torch.tensor([1, 2, 3]), torch.tensor([0, 2]))
    inputs = Inputs(torch.tensor([[1, 1], [2, 3]]), torch.zeros(2, 0), (bag,))
    batch = Batch(inputs, torch.zeros(2), None)
    table = Table({}, inputs)
    loss = MSE(TargetInfo("regression", ("y",)))

    def value(l2: float) -> float:
        objective = PointwiseObjective(table, model, loss, batch_size=2, l2=l2)
        return objective.loss(batch).item()

    # Two events of two ids each and three set values: seven rows of two factors and a bias.
    assert value(1.0) - value(0.0) == pytest.approx(7 * 3 / 2)


def test_l2_is_refused_where_it_would_not_be_heard() -> None:
    ranked = {**spec(l2=0.1), "target": {"implicit": {}}, "loss": "bpr"}
    with pytest.raises(SpecError, match=r"train\.l2: goes with losses of single events, and bpr"):
        tabcf.fit(ranked, tiny_ratings())
