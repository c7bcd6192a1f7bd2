"""Runs beside one another on the same test rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.errors import RunError
from tabcf.run.compare import compare_runs, identity_of_rows
from tabcf.testing import tiny_ratings
from tests.flow.test_evaluation import RANKING, RATING
from tests.unit.cli.test_cli import call

NAMES = ["first", "second"]
OF_USERS = ["ndcg@5", "recall@3", "popularity@5", "novelty@3", "list_auc", "serendipity@5"]
LEARNT = {"train": {"epochs": 40, "batch_size": 32, "learning_rate": 0.03}}


def _fit(base: dict[str, Any], **changes: Any) -> tabcf.Run:
    return tabcf.fit({**base, **changes}, tiny_ratings(n_users=60))


@pytest.fixture(scope="module")
def popular() -> tabcf.Run:
    return _fit({key: value for key, value in RANKING.items() if key != "train"}, model="popular")


@pytest.fixture(scope="module")
def learnt() -> tabcf.Run:
    return _fit(RANKING, **LEARNT)


def test_a_planted_difference_is_found(popular: tabcf.Run, learnt: tabcf.Run) -> None:
    """Ratings are a checkerboard: what is popular says nothing, and a model of pairs finds all."""
    found = compare_runs([popular, learnt], names=NAMES).set_index("metric")
    assert set(found["run"]) == {"second"}
    for name in ("ndcg@5", "recall@3"):
        row = found.loc[name]
        assert 0 < row["low"] < row["difference"] < row["high"]
        assert row["first"] == pytest.approx(popular.report.test[name])
        assert row["second"] == pytest.approx(learnt.report.test[name])
        assert row["difference"] == pytest.approx(row["second"] - row["first"])
    back = compare_runs([learnt, popular], names=NAMES).set_index("metric")
    assert back.loc["ndcg@5", "high"] < 0


def test_the_same_seed_gives_the_same_intervals(popular: tabcf.Run, learnt: tabcf.Run) -> None:
    first, again, other = (
        compare_runs([popular, learnt], names=NAMES, seed=seed) for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(first, again)
    assert (first["low"] != other["low"]).any()


def test_errors_of_ratings_are_paired_by_user() -> None:
    untrained = _fit(RATING, train={"epochs": 1, "learning_rate": 1e-6})
    found = compare_runs([untrained, _fit(RATING, **LEARNT)], names=NAMES).set_index("metric")
    assert found.index.tolist() == ["ndcg@5", "rmse", "mae"]
    assert found.loc["rmse", "high"] < 0
    assert untrained.users is not None
    assert found.loc["rmse", "first"] == pytest.approx(untrained.users["rmse"].mean())


def test_runs_of_other_test_rows_are_refused(learnt: tabcf.Run) -> None:
    for other in (
        _fit(RANKING, seed=1),
        _fit(RANKING, split={"random": {"valid": 0, "test": 0.2}}),
        _fit(RANKING, target={"implicit": {}}),
    ):
        with pytest.raises(RunError, match="second and first were tested on different rows"):
            compare_runs([learnt, other], names=NAMES)


def test_runs_without_users_or_test_rows_are_refused(learnt: tabcf.Run) -> None:
    untested = _fit(RANKING, split={"random": {"valid": 0, "test": 0}})
    assert untested.users is None
    with pytest.raises(RunError, match="second: has no test results per user"):
        compare_runs([learnt, untested], names=NAMES)
    with pytest.raises(RunError, match="at least two runs"):
        compare_runs([learnt], names=["first"])


def test_runs_that_were_not_trained_on_the_same_rows_are_refused(learnt: tabcf.Run) -> None:
    """What was in training is not to be found: another number of relevant items."""
    assert learnt.users is not None
    users = learnt.users.assign(n_relevant=learnt.users["n_relevant"] + 1)
    other = tabcf.Run(
        name="other",
        spec=learnt.spec,
        registry=learnt.registry,
        plans=learnt.plans,
        trained=learnt.trained,
        report=learnt.report,
        metrics=learnt.metrics,
        mean_targets=learnt.mean_targets,
        users=users,
    )
    with pytest.raises(RunError, match="second and first: n_relevant differs for 59 of 59 users"):
        compare_runs([learnt, other], names=NAMES)


def test_test_results_are_those_of_evaluate_users(learnt: tabcf.Run) -> None:
    """The users of test rows that are not positive are there too, with nothing to find."""
    assert learnt.users is not None
    for name in OF_USERS:
        assert learnt.users[name].mean() == pytest.approx(learnt.report.test[name])
    assert learnt.users["n_rows"].sum() == learnt.report.n_rows["test"]


def test_a_saved_run_keeps_its_users(learnt: tabcf.Run, tmp_path: Path) -> None:
    learnt.save(tmp_path / "run")
    loaded = tabcf.load(tmp_path / "run")
    assert loaded.users is not None
    pd.testing.assert_frame_equal(loaded.users, learnt.users)
    assert loaded.report.test_rows == learnt.report.test_rows
    assert len(loaded.report.test_rows) == 64


def test_the_identity_of_rows_is_that_of_their_ids_in_any_order() -> None:
    frame = pd.DataFrame({"u": [1, 1, 2], "i": [5, 6, 5], "rating": [1, 2, 3]})
    identity = identity_of_rows(frame, ["u", "i"])
    assert identity == identity_of_rows(frame[::-1], ["u", "i"])
    assert identity == identity_of_rows(frame.rename(columns={"u": "a", "i": "b"}), ["a", "b"])
    assert identity != identity_of_rows(frame, ["i", "u"])
    assert identity != identity_of_rows(frame.head(2), ["u", "i"])
    assert identity != identity_of_rows(pd.concat([frame, frame]), ["u", "i"])


def test_the_command_line_compares(popular: tabcf.Run, learnt: tabcf.Run, tmp_path: Path) -> None:
    runs = [str(tmp_path / name) for name in NAMES]
    for run, folder in zip((popular, learnt), runs, strict=True):
        run.save(folder)
    code, printed, _ = call("compare", *runs, "--json")
    assert code == 0
    rows = json.loads(printed)
    assert [row["metric"] for row in rows] == OF_USERS
    assert np.sign([rows[0]["low"], rows[0]["high"]]).tolist() == [1, 1]
    code, printed, _ = call("compare", *runs)
    assert code == 0
    assert "difference" in printed
    code, _, said = call("compare", runs[0])
    assert code == 2
    assert "at least two runs" in said
