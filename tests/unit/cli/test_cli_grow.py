"""`tabcf extend`, `update`, `versions` and `rollback`: what they print and leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import tabcf
from tabcf.testing import tiny_ratings
from tests.unit.cli.test_cli import call

ALL = tiny_ratings(n_users=30, n_items=20)
OLD = ALL[ALL["user_id"] < 28].reset_index(drop=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and the events of two new users beside it; versions follow each other in the tests."""
    folder = tmp_path_factory.mktemp("grow")
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}},
        "split": {"random": {"valid": 0, "test": 0.1}},
        "train": {"epochs": 10, "batch_size": 32, "learning_rate": 0.03},
    }
    tabcf.fit(spec, OLD, folder / "run")
    ALL[ALL["user_id"] >= 28].to_csv(folder / "new.csv", index=False)
    return folder


def test_growing_and_going_back_is_a_command_each(folder: Path) -> None:
    run, new = str(folder / "run"), str(folder / "new.csv")
    before = tabcf.load(run).predict(ALL)
    code, printed, _ = call("extend", run, new)
    assert code == 0
    assert "2 new in user; version 2" in printed
    assert "unknown before: user 100.0%, item 0.0%" in printed
    assert "these events, before learning from them: rmse" in printed
    code, printed, said = call("update", run, new, "--epochs", "3", "--replay", "0.1", "--json")
    assert code == 0
    assert "epoch 3/3" in said
    found = json.loads(printed)
    assert (found["kind"], found["epochs"], found["version"]) == ("update", 3, 3)
    assert call("evaluate", run)[1].startswith("update: ")
    _, printed, _ = call("versions", run)
    assert "* 3" in printed
    assert "extend" in printed
    _, printed, _ = call("versions", run, "--json")
    assert [row["based_on"] for row in json.loads(printed)] == [None, 1, 2]
    assert call("rollback", run)[:2] == (0, f"{run}: version 2 is in use\n")
    assert call("rollback", run, "1")[0] == 0
    pd.testing.assert_frame_equal(tabcf.load(run).predict(ALL), before, check_exact=True)
    code, printed, _ = call("report", run, "-o", str(folder / "report.html"))
    assert code == 0


def test_a_report_of_a_grown_run_is_written(folder: Path) -> None:
    run = tabcf.load(folder / "run")
    run.save(folder / "copy")
    assert call("update", str(folder / "copy"), str(folder / "new.csv"), "--quiet")[0] == 0
    code, _, _ = call("report", str(folder / "copy"), "-o", str(folder / "report.html"))
    assert code == 0
    assert "update" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("extend", "RUN"), "expected DATA, --table, or both"),
        (("extend", "RUN", "--table", "item"), "--table: expected ENTITY=FILE"),
        (("extend", "RUN", "--table", "film=new.csv"), "no entity 'film'"),
        (("update", "RUN", "no.csv"), "no file 'no.csv'"),
        (("update", "RUN", "new.csv", "--replay", "2"), "replay: expected a share from 0 to 1"),
        (("rollback", "RUN", "9"), "there is no version 9"),
        (("versions", "nowhere"), "no such folder"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    code, _, said = call(*("run" if argument == "RUN" else argument for argument in arguments))
    assert code == 2
    assert message in said
