"""A fit by two processes is that of one, and goes on after one of them was killed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

import tabcf
from tabcf.errors import RunError, SpecError
from tabcf.run.checkpoints import kept_by
from tabcf.run.progress import Silent
from tabcf.run.rank_process import work
from tabcf.training.loop import EpochReport
from tests.flow.test_two_stage import ratings
from tests.unit.cli.test_cli import call


def spec(**train: Any) -> dict[str, Any]:
    """A network with batch normalisation, whose tables are spread over the processes."""
    return {
        "tabcf": 1,
        "name": "shared",
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"embedding_nn": {"layers": [8]}},
        "split": {"random": {"valid": 0.1, "test": 0.2}},
        "train": {
            "epochs": 4,
            "batch_size": 64,
            "learning_rate": 1e-3,
            "engine": "eager",
            "shard": {"rows": 2},
            "checkpoint": {"steps": 8},
            **train,
        },
    }


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return ratings()


class Killing(Silent):
    """Kills one of the processes when the first epoch is told of."""

    def __init__(self) -> None:
        self.reports: list[EpochReport] = []
        self.others = self.children()

    def epoch(self, report: EpochReport, epochs: int) -> None:
        self.reports.append(report)
        if len(self.reports) == 1:
            _, second = sorted(self.children() - self.others)
            os.kill(second, signal.SIGKILL)

    def children(self) -> set[int]:
        tasks = Path("/proc/self/task").glob("*/children")
        return {int(pid) for path in tasks for pid in path.read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_two_processes_of_which_one_is_killed_end_as_one(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    """Their losses are those of one, and one process goes on from the state of both."""
    alone = tabcf.fit(spec(), frame)
    out, progress = tmp_path / "run", Killing()
    with pytest.raises(RunError, match=r"process \d of the 2 that train: .*signal 9.*--resume"):
        tabcf.fit(spec(workers=2), frame, out, progress=progress)
    assert kept_by(out) == "several"
    assert not out.exists()
    first = alone.report.epochs[0]
    assert progress.reports[0].train_loss == pytest.approx(first.train_loss, rel=1e-5)
    assert progress.reports[0].validation["rmse"] == pytest.approx(first.validation["rmse"], 1e-5)

    frame.to_parquet(tmp_path / "data.parquet")
    told: list[Any] = []
    work(as_one(tmp_path), told.append)
    assert any("goes on from epoch" in message.get("note", "") for message in told)
    run = tabcf.load(out)
    for own, other in zip(run.report.epochs, alone.report.epochs, strict=True):
        assert own.train_loss == pytest.approx(other.train_loss, rel=1e-5)
    assert run.report.test == pytest.approx(alone.report.test, rel=1e-4)
    weights = run.trained.model.state_dict()
    for name, value in alone.trained.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert kept_by(out) is None


def as_one(folder: Path, **changes: Any) -> dict[str, Any]:
    """The task of a process that is all there are."""
    return {
        "spec": spec(),
        "folder": None,
        "data": str(folder / "data.parquet"),
        "name": "shared",
        "plugins": [],
        "out": str(folder / "run"),
        "is_resumed": True,
        "cache": False,
        "rank": 0,
        "size": 1,
        "meeting": (folder / "meeting").as_uri(),
        **changes,
    }


def test_torchruns_variables_are_noticed(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame.to_csv(tmp_path / "data.csv", index=False)
    path = tmp_path / "shared.yaml"
    path.write_text(yaml.safe_dump({**spec(epochs=1), "data": "data.csv"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    code, out, err = call("fit", str(path))
    assert code == 0
    assert "engine: eager: processes share the rows of every batch" in err
    assert out.splitlines()[-1] == str(Path("runs/shared-1"))
    assert tabcf.load(tmp_path / "runs/shared-1").report.test


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"split": {"kfold": {"k": 3}}}, {}, "folds are fitted side by side already"),
        ({"model": "ease", "target": {"implicit": {}}}, {}, "ease is solved rather than trained"),
        ({}, {"out": None}, "expected the folder of the run"),
        ({}, {"plugins": [object()]}, "expected plugins as names of modules"),
    ],
)
def test_what_several_processes_cannot_do_is_said_at_once(
    changes: dict[str, Any],
    options: dict[str, Any],
    message: str,
    frame: pd.DataFrame,
    tmp_path: Path,
) -> None:
    given = {"out": tmp_path / "run", **options}
    with pytest.raises((SpecError, RunError), match=message):
        tabcf.fit({**spec(workers=2), **changes}, frame, **given)
    assert not list(tmp_path.iterdir())


def test_a_fit_begun_by_one_process_is_gone_on_with_by_one(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / ".run.partial/fit").mkdir(parents=True)
    (tmp_path / ".run.partial/fit/000000000003.safetensors").touch()
    with pytest.raises(RunError, match="found one by a single process"):
        tabcf.fit(spec(workers=2), frame, tmp_path / "run", resume=True)
