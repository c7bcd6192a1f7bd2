"""A fit that was broken off goes on, and ends with the run that it would have been."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

import tabcf
from tabcf.errors import RunError, SpecError, TrainingError
from tabcf.run.progress import Silent
from tests.flow.test_two_stage import ratings
from tests.flow.test_two_stage import spec as two_stage
from tests.unit.cli.test_cli import call


class Broken(BaseException):
    """What ends a process at once, and no part of the program catches."""


class Breaking(Silent):
    """Breaks off at a step, counted over all trainings, and writes down what it is told."""

    def __init__(self, at: int = 0) -> None:
        self.left = at
        self.n_steps = 0
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def step(self) -> None:
        self.n_steps += 1
        self.left -= 1
        if self.left == 0:
            raise Broken

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def spec(**changes: Any) -> dict[str, Any]:
    """A network that is fitted again on the validation rows; 10 steps an epoch, then 12."""
    train = {"epochs": 3, "batch_size": 64, "refit": True, "checkpoint": {"steps": 4}}
    return {
        "tabcf": 1,
        "name": "long",
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"embedding_nn": {"layers": [8], "dropout": 0.1}},
        "split": {"random": {"valid": 0.1, "test": 0.2}},
        **changes,
        "train": {**train, **changes.get("train", {})},
    }


def broken(folder: Path, at: int, given: dict[str, Any] | None = None, **options: Any) -> None:
    """A fit that ends at a step, with its states in the folder."""
    with pytest.raises(Broken):
        tabcf.fit(given or spec(), ratings(), folder, progress=Breaking(at), **options)


def assert_same(run: tabcf.Run, expected: tabcf.Run) -> None:
    for own, other in ((run.trained, expected.trained), (run.first_stage, expected.first_stage)):
        if own is None:
            assert other is None
            continue
        weights, theirs = (getattr(r, "trained", r).model.state_dict() for r in (own, other))
        assert all(torch.equal(weights[name], theirs[name]) for name in theirs)
    assert course(run) == course(expected)


def course(run: tabcf.Run) -> tabcf.FitReport:
    """The report without times."""
    epochs = tuple(replace(epoch, seconds=0.0) for epoch in run.report.epochs)
    return replace(run.report, epochs=epochs, seconds=0.0, cpu_seconds=0.0)


@pytest.fixture(scope="module")
def whole() -> tabcf.Run:
    return tabcf.fit(spec(), ratings())


@pytest.mark.parametrize("at", [7, 24, 45], ids=["first epoch", "third", "refit"])
def test_a_fit_ends_with_the_run_that_it_would_have_been(
    at: int, whole: tabcf.Run, tmp_path: Path
) -> None:
    broken(tmp_path / "run", at)
    assert [path.name for path in tmp_path.iterdir()] == [".run.partial"]
    told = Breaking()
    run = tabcf.fit(spec(), ratings(), tmp_path / "run", resume=True, progress=told)
    assert_same(run, whole)
    assert any("goes on from epoch" in note for note in told.notes)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert_same(tabcf.load(tmp_path / "run"), whole)


def test_it_may_break_off_again_and_again(whole: tabcf.Run, tmp_path: Path) -> None:
    broken(tmp_path / "run", 6)
    for at in (6, 12, 18, 24, 30, 36):
        broken(tmp_path / "run", at, resume=True)
    run = tabcf.fit(spec(), ratings(), tmp_path / "run", resume=True)
    assert_same(run, whole)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.95])
def test_two_stages_go_on_from_the_one_at_hand(share: float, tmp_path: Path) -> None:
    """The second one is at hand at half of the steps, and in the end, when both are refitted."""
    given = two_stage()
    for train in (given["train"], given["retrieve"]["train"]):
        train.update(checkpoint={"steps": 2}, refit=True)
    counted = Breaking()
    expected = tabcf.fit(given, ratings(), progress=counted)
    at = int(share * counted.n_steps)
    broken(tmp_path / "run", at, given)
    assert_same(tabcf.fit(given, ratings(), tmp_path / "run", resume=True), expected)


def test_the_last_fit_in_a_folder_of_runs_goes_on(whole: tabcf.Run, tmp_path: Path) -> None:
    tabcf.fit(spec(), ratings(), runs=tmp_path)
    with pytest.raises(Broken):
        tabcf.fit(spec(), ratings(), runs=tmp_path, progress=Breaking(20))
    other = tabcf.fit(spec(), ratings(), runs=tmp_path)
    assert other.folder == tmp_path / "long-3", "the broken one keeps its number"
    run = tabcf.fit(spec(), ratings(), runs=tmp_path, resume=True)
    assert run.folder == tmp_path / "long-2"
    assert_same(run, whole)
    with pytest.raises(RunError, match="a fit of 'long' that was broken off, found none"):
        tabcf.fit(spec(), ratings(), runs=tmp_path, resume=True)


def test_a_fit_broken_off_before_its_first_state_begins_anew(
    whole: tabcf.Run, tmp_path: Path
) -> None:
    with pytest.raises(Broken):
        tabcf.fit(spec(), ratings(), runs=tmp_path, progress=Breaking(2))
    assert list(tmp_path.iterdir()) == [], "there is nothing to keep"


def test_a_damaged_state_is_left_out(whole: tabcf.Run, tmp_path: Path) -> None:
    broken(tmp_path / "run", 20)
    states = sorted((tmp_path / ".run.partial" / "fit").iterdir())
    assert len(states) == 2
    states[-1].write_bytes(states[-1].read_bytes()[:100])
    told = Breaking()
    run = tabcf.fit(spec(), ratings(), tmp_path / "run", resume=True, progress=told)
    assert_same(run, whole)
    assert any("left out, since it cannot be read" in warning for warning in told.warnings)


def test_what_is_resumed_has_to_be_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    broken(folder, 20)
    changed = spec(train={"learning_rate": 0.1, "epochs": 4})
    with pytest.raises(RunError) as error:
        tabcf.fit(changed, ratings(), folder, resume=True)
    assert "train.epochs was 3, now 4; train.learning_rate was 0.0018, now 0.1" in str(error.value)
    fewer = ratings().iloc[:800]
    with pytest.raises(RunError, match="expected the state of a training with the same rows"):
        tabcf.fit(spec(), fewer, folder, resume=True)
    with pytest.raises(RunError, match="was broken off; go on with --resume"):
        tabcf.fit(spec(), ratings(), folder)
    # How often states are kept is free, and nothing above has lost one.
    run = tabcf.fit(spec(train={"checkpoint": None}), ratings(), folder, resume=True)
    assert run.folder == folder


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"found no \.run\.partial beside it"):
        tabcf.fit(spec(), ratings(), tmp_path / "run", resume=True)
    with pytest.raises(RunError, match="expected the folder of the run in `out`"):
        tabcf.fit(spec(), ratings(), resume=True)
    assert list(tmp_path.iterdir()) == []


def test_a_fit_that_cannot_succeed_leaves_no_states(tmp_path: Path) -> None:
    given = spec(train={"learning_rate": 1e30, "checkpoint": {"steps": 1}}, loss="mse")
    with pytest.raises(TrainingError):
        tabcf.fit(given, ratings(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_rule_without_a_number_is_refused() -> None:
    with pytest.raises(SpecError, match="expected minutes or steps"):
        tabcf.fit(spec(train={"checkpoint": {"minutes": None}}), ratings())


def test_two_processes_do_not_write_one_run(tmp_path: Path) -> None:
    """The other one stands still in the middle of its training."""
    code = (
        "import sys, time, tabcf\n"
        "from tests.flow.test_resume import Breaking, ratings, spec\n"
        "class Waiting(Breaking):\n"
        "    def step(self):\n"
        "        print('here', flush=True); sys.stdin.read()\n"
        f"tabcf.fit(spec(), ratings(), {str(tmp_path / 'run')!r}, progress=Waiting())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "here\n"
        with pytest.raises(RunError, match="another process is fitting this run"):
            tabcf.fit(spec(), ratings(), tmp_path / "run")
        other.kill()


def test_the_command(whole: tabcf.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ratings().to_csv("ratings.csv", index=False)
    Path("long.yaml").write_text(yaml.safe_dump({**spec(), "data": "ratings.csv"}))
    with pytest.raises(Broken):
        tabcf.fit("long.yaml", runs="runs", progress=Breaking(33))
    code, printed, said = call("fit", "long.yaml", "--resume")
    assert code == 0, said
    assert "goes on from epoch" in said
    assert printed.splitlines()[-1] == str(Path("runs/long-1"))
    run = tabcf.load("runs/long-1")
    frame = ratings().head(50)
    pd.testing.assert_frame_equal(run.predict(frame), whole.predict(frame))
    code, _, said = call("fit", "long.yaml", "--resume")
    assert code == 2
    assert "found none to resume" in said
