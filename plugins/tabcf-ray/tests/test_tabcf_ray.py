"""One fit by two workers of Ray on this machine; skipped where Ray is not installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tabcf_ray
import yaml
from click.testing import CliRunner
from tabcf_ray.command import command

import tabcf
from tabcf.errors import RunError
from tabcf.testing import tiny_ratings

HAS_RAY = importlib.util.find_spec("ray") is not None
SPEC = {
    "tabcf": 1,
    "data": "ratings.csv",
    "target": "rating",
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product_bias": {"factors": 4}},
    "train": {"epochs": 2, "engine": "eager", "checkpoint": None},
}


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny_ratings().to_csv(tmp_path / "ratings.csv", index=False)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SPEC))
    monkeypatch.chdir(tmp_path)
    # Other processes find what this one does.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    return tmp_path / "tiny.yaml"


def test_the_command_is_registered() -> None:
    assert [found.name for found in tabcf_ray.tabcf_commands()] == ["ray-fit"]
    assert tabcf_ray.COMMAND.build() is command


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_it_says_what_to_install(spec: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(spec), "--out", str(tmp_path / "run")])
    assert isinstance(result.exception, RunError)
    assert "pip install 'tabcf-ray[ray]'" in str(result.exception)


def test_a_worker_runs_the_command_line_and_says_that_it_failed(spec: Path, tmp_path: Path) -> None:
    task = {"folder": str(tmp_path), "arguments": ["fit", str(spec), "--out", "run", "--quiet"]}
    twice = f"from tabcf_ray.command import fit_in_worker as f; f({task!r}); f({task!r})"
    done = subprocess.run([sys.executable, "-c", twice], capture_output=True, text=True)
    assert tabcf.load(tmp_path / "run").report.test
    assert "RuntimeError: tabcf fit ended with status 2" in done.stderr  # the folder is taken


@pytest.mark.filterwarnings("default")  # Ray warns of what of its own is deprecated
@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed; pip install 'tabcf-ray[ray]'")
def test_two_workers_train_as_one_process(spec: Path, tmp_path: Path) -> None:
    alone = tabcf.fit(spec)
    result = CliRunner().invoke(command, [str(spec), "--workers", "2", "--out", "run"])
    assert result.exit_code == 0, result.output
    run = tabcf.load(tmp_path / "run")
    for own, other in zip(run.report.epochs, alone.report.epochs, strict=True):
        assert own.train_loss == pytest.approx(other.train_loss, rel=1e-5)
