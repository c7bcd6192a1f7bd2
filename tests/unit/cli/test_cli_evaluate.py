from __future__ import annotations

import json
from pathlib import Path

import pytest

import tabcf
from tabcf.testing import tiny_ratings
from tests.flow.test_evaluation import RANKING
from tests.unit.cli.test_cli import call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and rows of known and unknown users and items."""
    folder = tmp_path_factory.mktemp("evaluate")
    data = tiny_ratings()
    tabcf.fit({**RANKING, "seed": 1}, data[data["user_id"] < 20], folder / "run")
    data.to_csv(folder / "all.csv", index=False)
    return folder


def test_users_whom_ranking_metrics_leave_out_are_counted(folder: Path) -> None:
    code, printed, said = call("evaluate", str(folder / "run"), str(folder / "all.csv"), "--json")
    assert code == 0
    assert json.loads(printed)["dot_product_bias"]["ndcg@5"] > 0
    users = tabcf.load(folder / "run").evaluate_users(tiny_ratings())
    n_without = int((users["n_relevant"] == 0).sum())
    assert n_without >= 10
    assert f"30 users, {n_without} of them without held-out positives" in said


def test_those_of_the_test_rows_are_counted_too(folder: Path) -> None:
    code, _, said = call("evaluate", str(folder / "run"), "--json")
    users = tabcf.load(folder / "run").users
    assert code == 0
    assert users is not None
    n_without = int((users["n_relevant"] == 0).sum())
    assert f"{len(users)} users, {n_without} of them without held-out positives" in said


def test_groups_are_shown(folder: Path) -> None:
    run, data = str(folder / "run"), str(folder / "all.csv")
    code, printed, said = call("evaluate", run, data, "--groups", "--csv")
    assert code == 0
    header, *rows = printed.splitlines()
    assert header.startswith("group,n_rows,n_lists,ndcg@5")
    assert [row.split(",")[0] for row in rows] == ["warm", "cold user"]
    assert "without held-out positives" in said


def test_groups_need_rows(folder: Path) -> None:
    code, _, said = call("evaluate", str(folder / "run"), "--groups")
    assert code == 2
    assert "--groups needs DATA" in said
