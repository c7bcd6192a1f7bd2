"""Splits of new users and items: learnt from, measured, told some events, and shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.errors import DataError
from tabcf.testing import tiny_ratings
from tests.unit.cli.test_cli import call

ENTITIES = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}
SPEC: dict[str, Any] = {
    "tabcf": 1,
    "name": "cold",
    "target": {"column": "rating", "levels": [1, 5]},
    "entities": ENTITIES,
    "model": {"dot_product_bias": {"factors": 6, "y_range": [0, 6]}},
    "metrics": ["rmse", {"ndcg": 5}],
    "train": {"epochs": 30, "batch_size": 32, "learning_rate": 0.03, "weight_decay": 0.0},
}
GIVEN = {"side": "user", "valid": 0.1, "test": 0.2, "given": 6, "by": "timestamp"}


def _ratings() -> pd.DataFrame:
    return tiny_ratings(n_users=40, n_items=30)


@pytest.fixture(scope="module")
def told() -> tabcf.Run:
    return tabcf.fit({**SPEC, "split": {"cold": GIVEN}}, _ratings())


def test_what_is_given_is_neither_learnt_from_nor_scored(told: tabcf.Run) -> None:
    data, report = _ratings(), told.report
    assert sum(report.n_rows.values()) == len(data)
    assert report.n_rows["given"] == 6 * 8
    trained = set(told.trained.events.source.frame["user_id"])
    users = told.users
    assert users is not None
    assert len(users) == 8
    assert not trained & set(users["user_id"])
    assert (users["n_train"] == 0).all()
    # Of a user's events those behind the first six are scored.
    n_events = data["user_id"].value_counts()
    assert users["n_rows"].tolist() == [n_events[user] - 6 for user in users["user_id"]]


def test_a_run_is_measured_before_and_after_it_is_told(told: tabcf.Run) -> None:
    """On a board of likes six events say which half a user likes."""
    before = told.report.told["new users, before"]
    after = told.report.told["new users, told 6 events each"]
    assert before["rmse"] == pytest.approx(told.report.test["rmse"])
    assert after["rmse"] < 0.8 * before["rmse"]
    labels = list(told.test_table)
    assert labels[1:3] == [f"dot_product_bias, {who}" for who in told.report.told]


def test_new_items_are_told_their_raters() -> None:
    split = {"cold": {**GIVEN, "side": "item"}}
    report = tabcf.fit({**SPEC, "split": split}, _ratings()).report
    assert [group["group"] for group in report.groups] == ["cold item"]
    before, after = report.told.values()
    assert after["rmse"] < 0.8 * before["rmse"]


@pytest.fixture(scope="module")
def both() -> tabcf.Run:
    split = {"cold": {"side": "both", "valid": 0.1, "test": 0.2, "given": 2}}
    return tabcf.fit({**SPEC, "split": split}, _ratings())


def test_cold_users_items_and_both_are_measured_apart(both: tabcf.Run) -> None:
    groups = both.test_groups.set_index("group")
    assert list(groups.index) == ["cold user", "cold item", "cold both"]
    assert groups["n_rows"].sum() == both.report.n_rows["test"]
    square = (groups["rmse"] ** 2 * groups["n_rows"]).sum() / groups["n_rows"].sum()
    assert both.report.test["rmse"] == pytest.approx(np.sqrt(square))
    assert list(both.report.told) == [
        *("new users, before", "new users, told 2 events each"),
        *("new items, before", "new items, told 2 events each"),
    ]


def test_given_rows_are_measured_apart_as_well(both: tabcf.Run) -> None:
    found = both.evaluate(_ratings())
    pd.testing.assert_frame_equal(found.groups, both.evaluate_groups(_ratings()))
    assert found.groups["group"].tolist() == ["warm", "cold user", "cold item", "cold both"]
    assert found.groups["n_rows"].sum() == len(_ratings())


@pytest.mark.parametrize(
    "model", [{"dot_product": {"factors": 6}}, "ease", "popular"], ids=["trained", "solved", "none"]
)
def test_lists_of_new_users_are_measured(model: Any) -> None:
    spec = {
        **SPEC,
        "model": model,
        "target": {"implicit": {"positive": "rating >= 4"}},
        "metrics": [{"ndcg": 5}, {"recall": 5}],
        "split": {"cold": {**GIVEN, "valid": 0}},
    }
    if model == "ease" or model == "popular":
        spec.pop("train")
    run = tabcf.fit(spec, _ratings())
    before, after = run.report.told.values()
    is_told = model != "popular"
    assert (after["ndcg@5"] > before["ndcg@5"]) is is_told


def test_the_command_line_shows_groups_where_any_are_cold(tmp_path: Path, both: tabcf.Run) -> None:
    folder = both.save(tmp_path / "run")
    code, printed, _ = call("evaluate", str(folder))
    assert code == 0
    assert "cold both" in printed
    assert "new items, told 2 events each" in printed
    code, printed, _ = call("evaluate", str(folder), "--json")
    rows = json.loads(printed)
    assert rows["dot_product_bias (test), cold item"]["n_rows"] > 0
    loaded = tabcf.load(folder)
    pd.testing.assert_frame_equal(loaded.test_groups, both.test_groups)
    assert loaded.report.told == both.report.told
    warm = loaded.trained.events.source.frame
    warm.to_csv(tmp_path / "warm.csv", index=False)
    code, printed, _ = call("evaluate", str(folder), str(tmp_path / "warm.csv"))
    assert code == 0
    assert "whether training had" not in printed


def test_by_goes_with_given() -> None:
    with pytest.raises(DataError, match="`by` says which events are given"):
        tabcf.fit({**SPEC, "split": {"cold": {"by": "timestamp"}}}, _ratings())


def test_a_warm_split_has_one_group() -> None:
    spec = {**SPEC, "split": {"random": {"valid": 0, "test": 0.1}}, "train": {"epochs": 1}}
    run = tabcf.fit(spec, _ratings())
    (group,) = run.report.groups
    assert group["group"] == "warm"
    assert {name: group[name] for name in run.report.test} == run.report.test
