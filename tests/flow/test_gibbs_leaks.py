"""What draws from a posterior must not see: held-out events, by any way that bags could take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.data.batches import gather
from tabcf.testing import tiny_ratings

SPEC: dict[str, Any] = {
    "tabcf": 1,
    "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "columns": {"rated": {"history": "user"}, "raters": {"history": "item"}},
    "model": {"dot_product_bias": {"factors": 2, "set_norm": "sqrt"}},
    "split": {"random": {"valid": 0.0, "test": 0.3}},
    "fit": {"gibbs": {"sweeps": 6, "burn_in": 2, "keep": 2}},
}


@pytest.fixture(scope="module")
def run() -> tabcf.Run:
    return tabcf.fit(SPEC, tiny_ratings())


def _with_test_rows(run: tabcf.Run, column: str) -> pd.DataFrame:
    """The same events, a column of the held-out ones shuffled among themselves."""
    ratings = tiny_ratings()
    train = run.trained.events.source.frame[["user_id", "item_id"]]
    is_test = (ratings.merge(train, how="left", indicator=True)["_merge"] != "both").to_numpy()
    own = ratings.loc[is_test, column].to_numpy()
    ratings.loc[is_test, column] = np.random.default_rng(0).permutation(own)
    assert not ratings.equals(tiny_ratings())
    return ratings


def _bag(run: tabcf.Run, entity: str, column: str) -> dict[Any, set[str]]:
    """What is in each row's bag, as text, by the row's id."""
    encoder = run.trained.encoder
    vocabularies: dict[str, Any] = {
        plan.key: encoding.vocabulary for plan, encoding in encoder.columns
    }
    (bag,) = encoder.tables[entity].inputs.x_sets
    ids = encoder.entities[entity].ids.values_of(bag.row_of_value.tolist())
    values = vocabularies[column].values_of(bag.values.tolist())
    found: dict[Any, set[str]] = {}
    for own, value in zip(ids, values, strict=True):
        found.setdefault(own, set()).add(value)
    return found


def _training(run: tabcf.Run, own: str, other: str) -> dict[Any, set[str]]:
    train = run.trained.events.source.frame
    grouped = train.groupby(own)[other].agg(lambda ids: {str(value) for value in ids})
    return dict(grouped.to_dict())


@pytest.mark.parametrize("column", ["item_id", "user_id", "rating"])
@pytest.mark.parametrize("likelihood", ["normal", "ordered_probit"])
def test_leak_of_held_out_events_into_draws(run: tabcf.Run, column: str, likelihood: str) -> None:
    """Who rated what, and how, in held-out rows changes no bit of the weights."""
    fit = {"gibbs": {**SPEC["fit"]["gibbs"], "likelihood": likelihood}}
    one = tabcf.fit(SPEC | {"fit": fit}, tiny_ratings())
    two = tabcf.fit(SPEC | {"fit": fit}, _with_test_rows(run, column))
    weights = two.trained.model.state_dict()
    for name, own in one.trained.model.state_dict().items():
        assert torch.equal(own, weights[name]), name


def test_leak_rated_by_user_bag_holds_training_items_alone(run: tabcf.Run) -> None:
    assert _bag(run, "user", "rated") == _training(run, "user_id", "item_id")


def test_leak_rated_the_item_bag_holds_training_users_alone(run: tabcf.Run) -> None:
    assert _bag(run, "item", "raters") == _training(run, "item_id", "user_id")


def test_leak_counts_leave_a_training_rows_own_event_out() -> None:
    """What the draws see of a count is one less for a training row than for others."""
    spec = SPEC | {"columns": {"n": {"count": "user"}}}
    run = tabcf.fit(spec, tiny_ratings())
    events, encoder = run.trained.events.source, run.trained.encoder
    shown = [encoder.encode(events, is_training=is_training) for is_training in (True, False)]
    encoding: Any = next(e for plan, e in encoder.columns if plan.key == "n")
    own, all_of = (
        # The column is log(1 + count), standardised.
        (gather(table, torch.arange(len(table))).x_cont[:, 0] * encoding.scale + encoding.mean)
        .double()
        .expm1()
        for table in shown
    )
    torch.testing.assert_close(all_of - own, torch.ones_like(own), atol=1e-3, rtol=0)
