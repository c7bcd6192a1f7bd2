"""Fits by two workers of Ray on this machine; skipped where Ray is not installed."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import tabcf_ray

import tabcf
from tabcf.errors import RunError
from tabcf.run.progress import Silent
from tabcf.testing import tiny_ratings
from tabcf.training.loop import EpochReport

HAS_RAY = importlib.util.find_spec("ray") is not None
with_ray = pytest.mark.skipif(
    not HAS_RAY, reason="Ray is not installed; pip install 'tabcf-ray[ray]'"
)
# Ray warns of what of its own is deprecated, and leaves files open.
pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def spec(**train: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "name": "tiny",
        "data": "ratings.parquet",
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 4}},
        "train": {"epochs": 2, "engine": "ray", "workers": 2, "checkpoint": None, **train},
    }


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_ratings().to_parquet(tmp_path / "ratings.parquet", row_group_size=50)
    monkeypatch.chdir(tmp_path)
    # Other processes find what this one does.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


class Heard(Silent):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.reports: list[EpochReport] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def epoch(self, report: EpochReport, epochs: int) -> None:
        self.reports.append(report)


def test_the_engine_is_registered() -> None:
    assert [found.name for found in tabcf_ray.tabcf_engines()] == ["ray"]
    assert tabcf_ray.RAY.options.model_validate("auto").address == "auto"


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"pip install 'tabcf-ray\[ray\]'"):
        tabcf.fit(spec(), out=tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["ratings.parquet"]


@with_ray
def test_two_workers_train_as_one_process_and_are_heard(tmp_path: Path) -> None:
    alone = tabcf.fit(spec(engine="eager", workers=1))
    heard = Heard()
    run = tabcf.fit(spec(), out="run", progress=heard)
    assert isinstance(run, tabcf.Run)
    assert isinstance(alone, tabcf.Run)
    for own, told, other in zip(run.report.epochs, heard.reports, alone.report.epochs, strict=True):
        assert own.train_loss == told.train_loss == pytest.approx(other.train_loss, rel=1e-5)
    # A run needs nothing of who trained it.
    assert tabcf.load(tmp_path / "run").report.test == run.report.test


@with_ray
def test_workers_with_rows_of_their_own(tmp_path: Path) -> None:
    run = tabcf.fit(spec(shard={"data": True}), out="run")
    assert isinstance(run, tabcf.Run)
    n = len(tiny_ratings())
    assert sum(run.report.n_rows.values()) == n
    assert run.report.epochs[1].train_loss < run.report.epochs[0].train_loss


@with_ray
def test_what_a_worker_found_wrong_is_the_error(tmp_path: Path) -> None:
    given = {**spec(), "columns": {"genre": "category"}}
    with pytest.raises(tabcf.TabcfError, match="no column 'genre'"):
        tabcf.fit(given, out="run")
    assert not (tmp_path / "run").exists()


class Killing(Heard):
    """Ends one of the workers when the first epoch is told of."""

    def epoch(self, report: EpochReport, epochs: int) -> None:
        super().epoch(report, epochs)
        if len(self.reports) == 1:
            os.kill(workers()[0], signal.SIGKILL)


def workers() -> list[int]:
    """Processes of Ray's that train, by what Ray calls them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            is_own = path.stat().st_uid == os.getuid() and b"RayTrainWorker" in path.read_bytes()
        except OSError:
            continue
        found += [int(path.parent.name)] if is_own else []
    return sorted(found)


@with_ray
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for processes in /proc")
def test_a_worker_that_is_killed_is_told_of_and_the_fit_gone_on_with(tmp_path: Path) -> None:
    given = spec(epochs=8, checkpoint={"steps": 1})
    with pytest.raises(RunError, match=r"process \d of the 2 that train: .*go on with --resume"):
        tabcf.fit(given, out="run", progress=Killing())
    heard = Heard()
    run = tabcf.fit(given, out="run", progress=heard, resume=True)
    assert isinstance(run, tabcf.Run)
    assert any("goes on from epoch" in note for note in heard.notes)
    assert len(run.report.epochs) == 8
