"""Fits are read back with MLflow's own client."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
import tabcf_mlflow
import tabcf_mlflow.tracker
from click.testing import CliRunner

import tabcf
from tabcf.errors import TrainingError
from tabcf.testing import tiny_ratings

mlflow = pytest.importorskip("mlflow")


def spec(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "name": "tiny",
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 4}},
        "metrics": ["rmse", {"ndcg": 5}],
        "train": {"epochs": 3},
        "track": [{"mlflow": {"folder": str(folder), "experiment": "films"}}],
        **changes,
    }


def runs(folder: Path, experiment: str) -> list[Any]:
    client = mlflow.MlflowClient(tracking_uri=folder.resolve().as_uri())
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return [client.get_run(run.info.run_id) for run in client.search_runs([found.experiment_id])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tracked fit, which is saved as `run`."""
    folder = tmp_path_factory.mktemp("mlflow")
    plugins = ["no:*", tabcf_mlflow]
    tabcf.fit(spec(folder / "mlruns"), tiny_ratings(), folder / "run", plugins=plugins)
    return folder


def test_a_fit_is_a_run_with_parameters_and_metrics(folder: Path) -> None:
    (run,) = runs(folder / "mlruns", "films")
    report = tabcf.load(folder / "run", plugins=["no:*", tabcf_mlflow]).report
    assert run.info.run_name == "tiny"
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "dot_product_bias"
    assert run.data.params["train.epochs"] == "3"
    assert run.data.params["metrics.1"] == "ndcg"
    assert run.data.metrics["test.rmse"] == pytest.approx(report.test["rmse"])
    assert run.data.metrics["test.ndcg_at_5"] == pytest.approx(report.test["ndcg@5"])
    assert run.data.tags["tabcf.folder"] == str(folder / "run")


def test_each_epoch_is_a_step(folder: Path) -> None:
    (run,) = runs(folder / "mlruns", "films")
    client = mlflow.MlflowClient(tracking_uri=(folder / "mlruns").resolve().as_uri())
    history = client.get_metric_history(run.info.run_id, "train_loss")
    report = tabcf.load(folder / "run", plugins=["no:*", tabcf_mlflow]).report
    assert [metric.step for metric in history] == [1, 2, 3]
    assert [metric.value for metric in history] == [epoch.train_loss for epoch in report.epochs]


def test_a_saved_run_is_logged_by_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that needs no plugin to be loaded."""
    monkeypatch.chdir(tmp_path)
    tabcf.fit(spec(folder, track=[]), tiny_ratings(), tmp_path / "run", plugins=["no:*"])
    result = CliRunner().invoke(tabcf_mlflow.COMMAND.build(), ["run"], catch_exceptions=False)
    assert result.output == "tiny: logged to the experiment tabcf\n"
    (run,) = runs(tmp_path / "mlruns", "tabcf")
    assert "test.rmse" in run.data.metrics
    assert run.data.params["train.epochs"] == "3"


def test_what_mlflow_refuses_ends_the_fit_and_names_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("a file")
    with pytest.raises(TrainingError, match="the tracker mlflow of the plugin tabcf_mlflow failed"):
        tabcf.fit(spec(tmp_path / "mlruns"), tiny_ratings(), plugins=["no:*", tabcf_mlflow])


def test_the_examples_run() -> None:
    assert doctest.testmod(tabcf_mlflow.tracker).failed == 0
