"""Cross-validation: folds side by side, their figures, what goes wrong and what goes on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.errors import DataError, RunError, SpecError, TrainingError
from tabcf.evaluation.users import pooled_users
from tabcf.run.compare import compare_runs
from tabcf.testing import tiny_ratings
from tests.flow.test_evaluation import RATING
from tests.unit.cli.test_cli import call

SPEC: dict[str, Any] = {
    **RATING,
    "split": {"kfold": {"k": 3}},
    "train": {"epochs": 3, "batch_size": 64, "learning_rate": 0.03},
}
YAML = """\
tabcf: 1
data: ratings.csv
target: rating
entities:
  user: {id: user_id}
  item: {id: item_id}
model: {dot_product_bias: {factors: 4, y_range: [0, 6]}}
train: {epochs: 2, batch_size: 64, learning_rate: 1e-2}
split: {kfold: {k: 2}}
"""


class Listener:
    """Keeps what is said; at a text that is waited for it does something."""

    def __init__(self, at: str = "\0", do: Any = None) -> None:
        self.lines: list[str] = []
        self._at, self._do = at, do

    def rows(self, what: str, n_rows: int, share: float) -> None: ...

    def start(self, epochs: int, n_steps: int) -> None: ...

    def step(self) -> None: ...

    def stop(self) -> None: ...

    def epoch(self, report: Any, epochs: int) -> None: ...

    def note(self, text: str) -> None:
        self.lines.append(text)
        if self._at in text:
            self._do()

    warn = note


@pytest.fixture(scope="module")
def found() -> tabcf.CrossValidation:
    return _fit(SPEC, jobs=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tiny_ratings().to_csv(tmp_path / "ratings.csv", index=False)
    (tmp_path / "spec.yaml").write_text(YAML)
    return tmp_path / "spec.yaml"


def _fit(spec: Any, data: Any = None, **options: Any) -> tabcf.CrossValidation:
    data = tiny_ratings() if data is None and isinstance(spec, dict) else data
    found = tabcf.fit(spec, data, **options)
    assert isinstance(found, tabcf.CrossValidation)
    return found


def test_folds_hold_each_row_once_and_each_is_the_fit_of_its_own_split(
    found: tabcf.CrossValidation,
) -> None:
    assert list(found.folds) == ["1", "2", "3"]
    assert sum(r.n_rows["test"] for r in found.reports.values()) == len(tiny_ratings())
    alone = tabcf.fit({**SPEC, "split": {"kfold": {"k": 3, "fold": 2}}}, tiny_ratings())
    assert isinstance(alone, tabcf.Run)
    assert alone.report.test == found.folds["2"].report.test
    assert alone.spec == found.folds["2"].spec


def test_mean_and_sd_are_over_folds(found: tabcf.CrossValidation) -> None:
    values = [run.report.test["rmse"] for run in found.folds.values()]
    assert found.table.loc["mean", "rmse"] == pytest.approx(np.mean(values))
    assert found.table.loc["sd", "rmse"] == pytest.approx(np.std(values, ddof=1))
    of_model = found.summary.set_index(["model", "metric"]).loc[("dot_product_bias", "rmse")]
    assert (of_model["mean"], of_model["n_folds"]) == (pytest.approx(np.mean(values)), 3)
    assert "global mean" in set(found.summary["model"])


def test_processes_give_the_same_bits(found: tabcf.CrossValidation, tmp_path: Path) -> None:
    listener = Listener()
    other = _fit(SPEC, jobs=2, progress=listener)
    pd.testing.assert_frame_equal(other.table, found.table)
    assert other.folder is None
    assert len(other.folds["2"].recommend(3, k=4)) == 4
    epochs = [line for line in listener.lines if line.startswith("fold 3: epoch 3/3")]
    assert len(epochs) == 1
    assert sum("engine" in line for line in listener.lines) == 1


def test_folds_by_user_hold_each_user_once() -> None:
    found = _fit({**SPEC, "split": {"kfold": {"k": 4, "by": "user", "seed": 5}}}, jobs=1)
    users = [set(run.users["user_id"]) for run in found.folds.values() if run.users is not None]
    assert len(users) == 4
    assert sum(map(len, users)) == len(set.union(*users)) == tiny_ratings()["user_id"].nunique()
    for run in found.folds.values():
        assert run.users is not None
        assert (run.users["n_train"] == 0).all()


def test_the_seed_of_a_split_is_its_own() -> None:
    rows = [
        _fit({**SPEC, "split": {"kfold": {"k": 2, "seed": s}}, "seed": seed}, jobs=1).test_rows
        for s, seed in ((1, 1), (1, 2), (2, 1))
    ]
    assert rows[0] == rows[1] != rows[2]


def test_users_are_pooled_over_folds() -> None:
    one = pd.DataFrame({"u": [1, 2], "n_train": [5, 1], "n_rows": [1, 3], "rmse": [2.0, 1.0]})
    two = pd.DataFrame({"u": [1], "n_train": [5], "n_rows": [3], "rmse": [0.0]})
    for frame, ndcg in ((one, [0.5, np.nan]), (two, [1.0])):
        frame["mae"], frame["ndcg@5"] = frame["rmse"], ndcg
    pooled = pooled_users([one, two]).set_index("u")
    assert pooled.loc[1].tolist() == [10, 4, 1.0, 0.5, 0.75]
    assert pooled.loc[2, "rmse"] == 1.0
    assert np.isnan(pooled.loc[2, "ndcg@5"])


def test_all_folds_are_compared_together(found: tabcf.CrossValidation) -> None:
    better = _fit({**SPEC, "train": {**SPEC["train"], "epochs": 30}}, jobs=1)
    compared = compare_runs([found, better], names=["first", "second"]).set_index("metric")
    assert compared.loc["rmse", "n_users"] == tiny_ratings()["user_id"].nunique()
    assert compared.loc["rmse", "high"] < 0
    assert better.users is not None
    assert compared.loc["rmse", "second"] == pytest.approx(better.users["rmse"].mean())


def test_folds_of_other_rows_are_not_compared(found: tabcf.CrossValidation) -> None:
    for other in (
        _fit({**SPEC, "seed": 7}, jobs=1),
        _fit({**SPEC, "split": {"kfold": 2}}, jobs=1),
        tabcf.fit({**SPEC, "split": {"kfold": {"k": 3, "fold": 1}}}, tiny_ratings()),
    ):
        with pytest.raises(RunError, match="second and first were tested on different rows"):
            compare_runs([found, other], names=["first", "second"])


def test_a_fold_that_fails_does_not_lose_the_others(tmp_path: Path) -> None:
    frame = tiny_ratings().astype({"rating": float})
    frame.loc[0, "rating"] = 1e30  # its square is no finite number to train on
    spec = {**SPEC, "split": {"kfold": {"k": 2, "valid": 0}}, "metrics": ["mae"]}
    spec["model"] = {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}}
    found = _fit(spec, frame, out=tmp_path / "cv", jobs=1)
    assert (len(found.folds), len(found.failures), found.n_folds) == (1, 1, 2)
    (reason,) = found.failures.values()
    assert "loss is inf" in reason
    loaded = tabcf.CrossValidation.load(tmp_path / "cv")
    assert (loaded.failures, list(loaded.folds)) == (dict(found.failures), list(found.folds))


def test_where_all_fail_the_reason_is_raised_and_nothing_is_left(tmp_path: Path) -> None:
    frame = tiny_ratings().astype({"rating": float})
    frame["rating"] = 1e30
    spec = {**SPEC, "model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}}}
    with pytest.raises(TrainingError, match="none of 3 folds could be fitted: the loss is"):
        _fit(spec, frame, out=tmp_path / "cv", jobs=1)
    assert list(tmp_path.iterdir()) == []


def _stop() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("jobs", "do"), [(1, _stop), (2, lambda: os.kill(os.getpid(), signal.SIGINT))]
)
def test_ctrl_c_keeps_folds_that_are_done_and_the_rest_is_resumed(
    found: tabcf.CrossValidation, tmp_path: Path, jobs: int, do: Any
) -> None:
    stopped = _fit(SPEC, out=tmp_path / "cv", jobs=jobs, progress=Listener("fold 3: epoch 1", do))
    assert stopped.is_interrupted
    assert 0 < len(stopped.folds) < 3 or jobs == 2
    assert {p.name for p in (tmp_path / "cv").iterdir()} == {
        "folds.json",
        *(f"fold-{fold}" for fold in stopped.folds),
    }
    listener = Listener()
    whole = _fit(SPEC, out=tmp_path / "cv", jobs=1, resume=True, progress=listener)
    pd.testing.assert_frame_equal(whole.table, found.table)
    done = next(iter(stopped.folds))
    assert not any(line.startswith(f"fold {done}: epoch") for line in listener.lines)


def test_only_the_same_fit_is_resumed(tmp_path: Path) -> None:
    _fit(SPEC, out=tmp_path / "cv", jobs=1)
    with pytest.raises(RunError, match="begun with another spec; seed differ"):
        _fit({**SPEC, "seed": 1}, out=tmp_path / "cv", resume=True)
    with pytest.raises(RunError, match="begun with other events"):
        _fit(SPEC, tiny_ratings().iloc[1:], out=tmp_path / "cv", resume=True)
    with pytest.raises(RunError, match="found none to resume"):
        _fit(SPEC, runs=tmp_path, resume=True)


def test_a_folder_of_folds_is_no_run_and_says_so(tmp_path: Path) -> None:
    _fit({**SPEC, "split": {"kfold": 2}}, out=tmp_path / "cv", jobs=1)
    with pytest.raises(RunError, match=r"holds the folds of a cross-validation; .*fold-1"):
        tabcf.load(tmp_path / "cv")
    with pytest.raises(RunError, match="already exists"):
        _fit(SPEC, out=tmp_path / "cv", jobs=1)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"kfold": {"k": 1}}, "split.k: expected an integer of at least 2, got 1"),
        ({"kfold": {"k": 3, "fold": 4}}, "expected a fold from 1 to 3, got 4"),
        ({"official": "al"}, "u5, all or a mapping, got 'al'; did you mean 'all'"),
    ],
)
def test_bad_splits_are_refused(split: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        _fit({**SPEC, "split": split})
    assert message in str(caught.value)


def test_bad_data_end_before_the_first_fold(tmp_path: Path) -> None:
    for split, message in (
        ({"kfold": {"k": 3, "by": "town"}}, "town"),
        ({"kfold": {"k": 9999}}, "rows cannot fill 9999 folds"),
    ):
        with pytest.raises(DataError, match=message):
            _fit({**SPEC, "split": split}, out=tmp_path / "cv")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_fits_shows_and_compares_folds(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    code, printed, said = call("fit", str(file), "--jobs", "1")
    assert code == 0
    assert "2 of 2 folds" in printed
    assert "fold 2: epoch 2/2" in said
    assert printed.splitlines()[-1] == "runs/spec-1"
    code, shown, _ = call("evaluate", "runs/spec-1", "--json")
    state = json.loads(shown)
    assert set(state["folds"]) == {"fold 1", "fold 2"}
    assert set(state["models"]["dot_product_bias"]["rmse"]) == {"mean", "sd"}
    code, measured, _ = call("evaluate", "runs/spec-1", "ratings.csv", "--csv")
    assert [line.split(",")[0] for line in measured.splitlines()[1:]] == [
        "fold 1",
        "fold 2",
        "mean",
        "sd",
    ]
    code, printed, _ = call(
        "fit", str(file), "--jobs", "1", "--json", "--set", "train.epochs=9", "--quiet"
    )
    assert json.loads(printed)["n_folds"] == 2
    code, compared, _ = call("compare", "runs/spec-1", "runs/spec-2", "--csv")
    assert (code, len(compared.splitlines())) == (0, 3)
