"""Fits are read back with MLflow's own client."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tabcf_mlflow
import tabcf_mlflow.command
import tabcf_mlflow.tracker
from click.testing import CliRunner

import tabcf
from tabcf.errors import PluginError, TrainingError
from tabcf.testing import tiny_ratings

# MLflow asks for its owner's server on import, unless it is told not to.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
mlflow = pytest.importorskip("mlflow")
PLUGINS = ["no:*", tabcf_mlflow]


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


def client_of(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        return mlflow.MlflowClient(tracking_uri=folder.resolve().as_uri())


def runs(folder: Path, experiment: str) -> list[Any]:
    client = client_of(folder)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return [client.get_run(run.info.run_id) for run in client.search_runs([found.experiment_id])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tracked fit, which is saved as `run`."""
    folder = tmp_path_factory.mktemp("mlflow")
    tabcf.fit(spec(folder / "mlruns"), tiny_ratings(), folder / "run", plugins=PLUGINS)
    return folder


def test_a_fit_is_a_run_with_parameters_and_metrics(folder: Path) -> None:
    (run,) = runs(folder / "mlruns", "films")
    report = tabcf.load(folder / "run", plugins=PLUGINS).report
    assert run.info.run_name == "tiny"
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "dot_product_bias"
    assert run.data.params["train.epochs"] == "3"
    assert run.data.params["metrics.1"] == "ndcg"
    assert run.data.params["metrics.1.ndcg.k"] == "5"
    assert run.data.params["loss"] == "mse"
    assert run.data.metrics["test.rmse"] == pytest.approx(report.test["rmse"])
    assert run.data.metrics["test.ndcg_at_5"] == pytest.approx(report.test["ndcg@5"])
    assert run.data.tags["tabcf.folder"] == str(folder / "run")


def test_each_epoch_is_a_step(folder: Path) -> None:
    (run,) = runs(folder / "mlruns", "films")
    history = client_of(folder / "mlruns").get_metric_history(run.info.run_id, "train_loss")
    report = tabcf.load(folder / "run", plugins=PLUGINS).report
    assert [metric.step for metric in history] == [1, 2, 3]
    assert [metric.value for metric in history] == [epoch.train_loss for epoch in report.epochs]


def test_metrics_shown_are_those_of_the_weights_that_are_kept(tmp_path: Path) -> None:
    tracked = spec(tmp_path, train={"epochs": 9, "learning_rate": 0.5, "early_stopping": 3})
    fitted = tabcf.fit(tracked, tiny_ratings(), plugins=PLUGINS)
    report = fitted.report
    assert report.best_epoch < len(report.epochs)
    assert report.valid["rmse"] != report.epochs[-1].validation["rmse"]
    (run,) = runs(tmp_path, "films")
    assert run.data.metrics["valid.rmse"] == report.valid["rmse"]


def test_a_fit_that_fails_is_a_failed_run(tmp_path: Path) -> None:
    train = {"epochs": 2, "learning_rate": 1e30, "schedule": "constant"}
    with pytest.raises(TrainingError, match="the loss is"):
        tabcf.fit(spec(tmp_path, train=train), tiny_ratings(), plugins=PLUGINS)
    (run,) = runs(tmp_path, "films")
    assert run.info.status == "FAILED"
    assert run.info.end_time is not None
    assert run.data.tags["tabcf.error"].startswith("the loss is")


def test_fits_share_an_experiment(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tabcf.fit(spec(tmp_path / "a b", name=name), tiny_ratings(), plugins=PLUGINS)
    names = {run.info.run_name for run in runs(tmp_path / "a b", "films")}
    assert names == {"one", "two"}


def test_without_a_folder_mlflows_own_setting_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "server").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tracked = spec(tmp_path, track=[{"mlflow": {"folder": None}}])
    tabcf.fit(tracked, tiny_ratings(), plugins=PLUGINS)
    assert len(runs(tmp_path / "server", "tabcf")) == 1
    assert not (tmp_path / "mlruns").exists()


def test_a_fit_leaves_the_environment_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    before, uri = dict(os.environ), mlflow.get_tracking_uri()
    tabcf.fit(spec(tmp_path / "mlruns"), tiny_ratings(), plugins=PLUGINS)
    assert dict(os.environ) == before
    assert mlflow.get_tracking_uri() == uri
    assert mlflow.active_run() is None


def test_a_saved_run_is_logged_by_the_command_as_its_fit_would_be(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that needs no plugin to be loaded."""
    monkeypatch.chdir(tmp_path)
    (tracked,) = runs(folder / "mlruns", "films")
    tabcf.fit(spec(folder, track=[]), tiny_ratings(), tmp_path / "run", plugins=["no:*"])
    result = CliRunner().invoke(tabcf_mlflow.COMMAND.build(), ["run"], catch_exceptions=False)
    assert result.output == "tiny: logged to the experiment tabcf\n"
    (run,) = runs(tmp_path / "mlruns", "tabcf")
    assert run.info.status == "FINISHED"
    assert run.data.metrics == tracked.data.metrics
    assert run.data.tags["tabcf.folder"] == str(tmp_path / "run")
    assert run.data.params["model.dot_product_bias.factors"] == "4"
    given = {k: v for k, v in run.data.params.items() if not k.startswith(("track", "metrics.1."))}
    assert given.items() <= tracked.data.params.items()


def test_the_command_line_has_the_command(tmp_path: Path) -> None:
    tabcf.fit(spec(tmp_path, track=[]), tiny_ratings(), tmp_path / "run", plugins=["no:*"])
    words = ["-p", "no:*", "-p", "tabcf_mlflow", "mlflow", str(tmp_path / "run")]
    options = ["--folder", str(tmp_path / "mlruns"), "--experiment", "films"]
    python = [sys.executable, "-c", "from tabcf.cli import main; main()"]
    done = subprocess.run([*python, *words, *options], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("tiny: logged to the experiment films\n", 0)
    assert len(runs(tmp_path / "mlruns", "films")) == 1


def test_mlflow_is_imported_by_a_fit_alone() -> None:
    code = (
        "import sys, tabcf_mlflow; tabcf_mlflow.COMMAND.build(); "
        "sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_without_mlflow_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(PluginError, match="mlflow is not installed; pip install mlflow-skinny"):
        tabcf.fit(spec(tmp_path), tiny_ratings(), plugins=PLUGINS)


def test_what_mlflow_refuses_ends_the_fit_and_names_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("a file")
    with pytest.raises(TrainingError, match="the tracker mlflow of the plugin tabcf_mlflow failed"):
        tabcf.fit(spec(tmp_path / "mlruns"), tiny_ratings(), plugins=PLUGINS)


def test_the_examples_run() -> None:
    for module in (tabcf_mlflow.tracker, tabcf_mlflow.command):
        result = doctest.testmod(module)
        assert (result.failed, result.attempted > 0) == (0, True)
