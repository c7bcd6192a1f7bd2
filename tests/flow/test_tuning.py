"""`tabcf tune`: what it finds, what it never reads, what stays when it is broken off."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.data.parts import TEST
from tabcf.errors import MissingExtraError, RunError, SpecError, TrainingError
from tabcf.run.prepare import load_events
from tabcf.run.registry import compose_registry
from tabcf.spec.read import read_spec
from tabcf.testing import tiny_ratings
from tabcf.tuning.bench import Bench
from tabcf.tuning.search import Tuning
from tests.flow.test_evaluation import RATING
from tests.flow.test_folds import YAML, Listener
from tests.unit.cli.test_cli import call

SPEC: dict[str, Any] = {
    **RATING,
    "metrics": ["rmse", "mae"],
    "split": {"random": {"valid": 0.2, "test": 0.2}},
    "train": {"epochs": 4, "batch_size": 64, "learning_rate": 1e-4, "weight_decay": 0.1},
    "tune": {
        "trials": 8,
        "space": {
            "train.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
            "model.dot_product_bias.factors": [2, 4, 8],
            "train.weight_decay": {"low": 0.01, "high": 1.0, "log": True},
        },
    },
}
DATA = tiny_ratings(n_users=40)


def _tune(spec: Any = SPEC, data: Any = DATA, **options: Any) -> Tuning:
    return tabcf.tune(spec, data, **options)


def _with(**tune: Any) -> dict[str, Any]:
    return {**SPEC, "tune": {**SPEC["tune"], **tune}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tune") / "search"


@pytest.fixture(scope="module")
def found(folder: Path) -> Tuning:
    return _tune(out=folder)


def test_the_best_of_the_trials_is_chosen_fitted_again_and_tested(found: Tuning) -> None:
    assert found.trials["trial"].tolist() == list(range(1, 9))
    first = found.trials.iloc[0]
    own = first[["learning_rate", "factors", "weight_decay"]].tolist()
    assert own == [1e-4, 4, 0.1]
    done = found.trials[found.trials["state"] == "done"]
    assert found.best_value == done["rmse"].min() < first["rmse"]
    assert found.run is not None
    assert found.run.report.valid["rmse"] == found.best_value
    assert found.run.report.fitted_on == "train + valid"
    assert found.run.spec.train.learning_rate == found.best["train.learning_rate"]


def test_the_spec_that_is_found_gives_the_same_run(found: Tuning, folder: Path) -> None:
    assert "tune" not in found.spec
    for given in (found.spec, folder / "best.yaml"):
        again = tabcf.fit(given, DATA)
        assert isinstance(again, tabcf.Run)
        assert found.run is not None
        assert again.report.test == found.run.report.test
    assert tabcf.load(folder / "run-1").report.test == found.run.report.test


def test_no_trial_reads_a_test_row(found: Tuning) -> None:
    """Test targets turned upside down change no trial and nothing that is chosen."""
    document = read_spec(SPEC, compose_registry())
    events = load_events(document.spec, document.registry, data=DATA)
    upside_down = events.source.frame.copy()
    is_test = events.part == TEST
    upside_down.loc[is_test, "rating"] = 6 - upside_down.loc[is_test, "rating"]
    other = _tune(data=upside_down)
    pd.testing.assert_frame_equal(
        other.trials.drop(columns="seconds"), found.trials.drop(columns="seconds")
    )
    assert other.best == found.best
    assert other.run is not None
    assert found.run is not None
    assert other.run.report.test != found.run.report.test
    bench = Bench.of(document.tree, None, DATA, ())
    assert bench.events.count(TEST) == 0
    assert len(bench.events.source.frame) == (~is_test).sum()


def test_one_seed_one_search(found: Tuning) -> None:
    again = _tune()
    pd.testing.assert_frame_equal(
        again.trials.drop(columns="seconds"), found.trials.drop(columns="seconds")
    )
    assert again.folder is None
    other = _tune({**_with(trials=3), "seed": 1})
    assert other.trials["learning_rate"].tolist()[1:] != again.trials["learning_rate"].tolist()[1:3]


def _stop() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_keeps_trials_and_the_rest_is_as_if_it_had_not_been(
    found: Tuning, tmp_path: Path
) -> None:
    out = tmp_path / "search"
    stopped = _tune(out=out, progress=Listener("trial 5/8", _stop))
    assert (stopped.is_interrupted, stopped.run, len(stopped.trials)) == (True, None, 5)
    assert (out / "best.yaml").is_file()
    assert not (out / "run-1").exists()
    resumed = _tune(out=out, resume=True)
    pd.testing.assert_frame_equal(
        resumed.trials.drop(columns="seconds"), found.trials.drop(columns="seconds")
    )
    more = _tune(_with(trials=9), out=out, resume=True)
    assert len(more.trials) == 9


def test_a_trial_that_was_killed_is_tried_again(found: Tuning, tmp_path: Path) -> None:
    """As after kill -9: the last trial has begun in the file, and never ends there."""
    out = tmp_path / "search"
    _tune(_with(trials=3), out=out)
    journal = out / "trials.jsonl"
    lines = journal.read_text().splitlines()
    ends = [n for n, line in enumerate(lines) if json.loads(line)["op_code"] == 6]
    journal.write_text("\n".join(lines[: ends[-1]]) + "\n")
    resumed = _tune(_with(trials=3), out=out, resume=True)
    assert resumed.trials["trial"].tolist() == [1, 2, 3]
    reference = _tune(_with(trials=3))
    pd.testing.assert_frame_equal(
        resumed.trials.drop(columns="seconds"), reference.trials.drop(columns="seconds")
    )


def test_only_the_same_search_is_resumed(folder: Path, found: Tuning, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="begun with another spec; train differ"):
        _tune({**SPEC, "train": {"epochs": 2}}, out=folder, resume=True)
    with pytest.raises(RunError, match="begun with another spec; tune differ"):
        _tune(_with(metric="mae"), out=folder, resume=True)
    with pytest.raises(RunError, match="begun with other rows"):
        _tune(data=DATA.iloc[5:], out=folder, resume=True)
    with pytest.raises(RunError, match="expected the folder of a search"):
        _tune(out=tmp_path / "none", resume=True)
    with pytest.raises(RunError, match="found none to resume"):
        _tune(runs=tmp_path, resume=True)
    with pytest.raises(RunError, match="already exists; searches are never overwritten"):
        _tune(out=folder)


def test_a_trial_that_is_behind_ends_early() -> None:
    space = {"train.learning_rate": [1e-1, 3e-2, 1e-6, 1e-7]}
    pruned = _tune(_with(trials=14, sampler="random", space=space)).trials
    assert "pruned" in set(pruned["state"])
    assert pruned[pruned["state"] == "pruned"]["epochs"].max() < 4
    none = _tune(_with(trials=14, sampler="random", space=space, pruner="none")).trials
    assert set(none["state"]) == {"done"}


def test_time_ends_a_search_after_its_first_trial() -> None:
    found = _tune(_with(time=1e-6, trials=50))
    assert found.trials["trial"].tolist() == [1]
    assert found.run is not None


def test_more_of_a_metric_can_be_better() -> None:
    spec = {**SPEC, "target": {"implicit": {"positive": "rating >= 4"}}, "metrics": [{"ndcg": 5}]}
    spec["tune"] = {"trials": 3, "metric": "ndcg@5", "space": SPEC["tune"]["space"]}
    found = _tune(spec)
    assert found.best_value == found.trials["ndcg@5"].max()


def test_a_setting_that_cannot_be_fitted_is_one_trial_less() -> None:
    frame = DATA.astype({"rating": float})
    frame["rating"] *= 1e25
    ranges = [[0, 1e26], [0, 5]]  # squares of 1e26 are no finite 32-bit numbers
    space = {"model.dot_product_bias.y_range": ranges, "train.learning_rate": [0.1, 0.01]}
    with pytest.raises(TrainingError, match="none of 3 settings could be fitted: the loss is"):
        _tune(_with(trials=3, space=space), frame)


def test_columns_and_losses_can_be_tried_too() -> None:
    frame = DATA.assign(hour=np.arange(len(DATA)) % 24)
    space = {"columns": [{}, {"hour": "category"}], "loss": ["mse", "mae"]}
    found = _tune(_with(trials=5, space=space, sampler="random"), frame)
    assert set(found.trials["state"]) == {"done"}
    assert found.trials["columns"].astype(str).nunique() == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": {"random": {"valid": 0, "test": 0.2}}}, "the split leaves none; give it"),
        ({"split": {"kfold": {"k": 3}}}, "split: has 3 folds, and settings are chosen on one"),
        ({"tune": {"metric": "test rmse"}}, "tune.metric: expected one of the spec's metrics"),
        ({"model": "mean", "tune": {}, "train": {}}, "tune.space: is required"),
    ],
)
def test_what_no_search_can_be_made_of_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        _tune({**SPEC, **change}, out=tmp_path / "search")
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tabcf\[tune\]'"):
        _tune()


def test_processes_try_several_settings_at_a_time_and_ctrl_c_ends_them(tmp_path: Path) -> None:
    out = tmp_path / "search"
    stop = Listener("trial 3/50", lambda: os.kill(os.getpid(), signal.SIGINT))
    stopped = _tune(_with(trials=50), out=out, jobs=2, progress=stop)
    assert stopped.is_interrupted
    assert set(stopped.trials["state"]) <= {"done", "pruned"}
    assert 2 <= len(stopped.trials) < 50  # the other one that was at work is lost
    found = _tune(_with(trials=len(stopped.trials) + 1), out=out, resume=True)
    assert found.trials["trial"].tolist() == list(range(1, len(stopped.trials) + 2))
    assert found.run is not None
    assert found.run.report.valid["rmse"] == found.best_value


def test_the_command_line_searches_shows_and_fits_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    DATA.to_csv(tmp_path / "specs" / "ratings.csv", index=False)
    kind = "  item: {id: item_id, columns: {}}\n"
    text = YAML.replace("  item: {id: item_id}\n", kind).replace(
        "split: {kfold: {k: 2}}", "split: {random: {valid: 0.2}}"
    )
    (tmp_path / "specs" / "small.yaml").write_text(text)
    code, printed, said = call("tune", "specs/small.yaml", "--trials", "3")
    assert code == 0
    assert "trial 3/3" in said
    assert "best: trial" in printed
    assert printed.splitlines()[-1] == "runs/small-tune-1"
    code, shown, _ = call("tune", "--show", "runs/small-tune-1", "--csv")
    assert (code, len(shown.splitlines())) == (0, 4)
    code, fitted, _ = call("fit", "runs/small-tune-1/best.yaml", "--json")
    state = json.loads(fitted)
    assert state["test"] == tabcf.load("runs/small-tune-1/run-1").report.test
    code, _, _ = call("tune", "specs/small.yaml", "--trials", "4", "--resume", "--quiet")
    assert (code, (tmp_path / "runs/small-tune-1/run-2").is_dir()) == (0, True)
    code, _, said = call("tune")
    assert (code, "expected SPEC, or --show FOLDER" in said) == (2, True)


def test_what_is_found_reads_its_files_from_its_own_folder(tmp_path: Path) -> None:
    """Tables by a path from there; look-up tables, which have to lie beside a spec, are copied."""
    specs = tmp_path / "specs"
    specs.mkdir()
    DATA.to_csv(specs / "ratings.csv", index=False)
    items = pd.DataFrame({"item_id": DATA["item_id"].unique(), "kind": "a"})
    items.to_csv(specs / "items.csv", index=False)
    (specs / "kinds.csv").write_text("kind,long\na,alpha\n")
    spec = {**SPEC, "data": "ratings.csv", "tune": {**SPEC["tune"], "trials": 2}}
    look_up = {"mapping": {"from": "kind", "table": "kinds.csv", "value": "long"}}
    item = {"id": "item_id", "table": "items.csv", "columns": {"long": look_up}}
    spec["entities"] = {"user": {"id": "user_id"}, "item": item}
    (specs / "spec.yaml").write_text(json.dumps(spec))
    found = tabcf.tune(specs / "spec.yaml", out=tmp_path / "deep" / "search")
    again = tabcf.fit(tmp_path / "deep" / "search" / "best.yaml")
    assert isinstance(again, tabcf.Run)
    assert found.run is not None
    assert again.report.test == found.run.report.test
