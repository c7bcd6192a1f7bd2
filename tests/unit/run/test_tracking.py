from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tabcf
from tabcf.contracts.definitions import TrackerDefinition
from tabcf.contracts.options import NoOptions
from tabcf.errors import TrainingError
from tabcf.plugin.hooks import hookimpl
from tabcf.testing import tiny_ratings


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "name": "tiny",
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 4}},
        "metrics": ["rmse", {"ndcg": 5}],
        "train": {"epochs": 2},
        **changes,
    }


class Recorder:
    """A plugin whose tracker keeps what it is told, or fails where it is asked to."""

    def __init__(self, fails_at: str = "") -> None:
        self.told: list[tuple[str, Any, Any]] = []
        self.fails_at = fails_at

    def start(self, name: str, parameters: Any) -> None:
        self._tell("start", name, parameters)

    def epoch(self, epoch: int, metrics: Any) -> None:
        self._tell("epoch", epoch, metrics)

    def finish(self, metrics: Any, folder: Path | None) -> None:
        self._tell("finish", metrics, folder)

    def _tell(self, what: str, *values: Any) -> None:
        if what == self.fails_at:
            raise OSError("disk full")
        self.told.append((what, *values))

    @hookimpl
    def tabcf_trackers(self) -> list[TrackerDefinition]:
        return [
            TrackerDefinition(
                name="recorder", options=NoOptions, summary="", build=lambda options: self
            )
        ]


def test_a_tracker_is_told_of_the_start_each_epoch_and_the_end(tmp_path: Path) -> None:
    recorder = Recorder()
    run = tabcf.fit(spec(track=["recorder"]), tiny_ratings(), tmp_path / "run", plugins=[recorder])
    (_, name, parameters), first, second, (_, metrics, folder) = recorder.told
    assert name == "tiny"
    assert parameters["model"] == "dot_product_bias"
    assert parameters["model.dot_product_bias.factors"] == 4
    assert parameters["train.epochs"] == 2
    assert parameters["metrics[1]"] == "ndcg"
    assert parameters["entities.user.id"] == "user_id"
    assert [first[:2], second[:2]] == [("epoch", 1), ("epoch", 2)]
    assert first[2]["train_loss"] == run.report.epochs[0].train_loss
    assert first[2]["valid.rmse"] == run.report.epochs[0].validation["rmse"]
    assert metrics["test.rmse"] == run.report.test["rmse"]
    assert metrics["valid.ndcg@5"] == run.report.valid["ndcg@5"]
    assert folder == tmp_path / "run"


def test_a_tracker_changes_no_model(tmp_path: Path) -> None:
    one = tabcf.fit(spec(), tiny_ratings())
    two = tabcf.fit(spec(track=["recorder"]), tiny_ratings(), plugins=[Recorder()])
    pd.testing.assert_frame_equal(one.predict(tiny_ratings()), two.predict(tiny_ratings()))


@pytest.mark.parametrize("fails_at", ["start", "epoch", "finish"])
def test_a_tracker_that_fails_is_named(fails_at: str) -> None:
    expected = "track: the tracker recorder of the plugin Recorder failed: OSError: disk full"
    with pytest.raises(TrainingError, match=expected):
        tabcf.fit(spec(track=["recorder"]), tiny_ratings(), plugins=[Recorder(fails_at)])


def test_a_text_file_has_a_line_for_each_metric_of_each_epoch(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "fits.csv"
    tracked = spec(track=[{"csv": str(path)}])
    run = tabcf.fit(tracked, tiny_ratings())
    tabcf.fit({**tracked, "name": "again"}, tiny_ratings())
    log = pd.read_csv(path)
    assert list(log.columns) == ["run", "epoch", "metric", "value"]
    assert log["run"].unique().tolist() == ["tiny", "again"]
    losses = log[(log["run"] == "tiny") & (log["metric"] == "train_loss")]
    assert losses["epoch"].tolist() == [1, 2]
    assert losses["value"].tolist() == [epoch.train_loss for epoch in run.report.epochs]
    final = log[(log["run"] == "tiny") & (log["metric"] == "test.rmse")]
    assert final["value"].tolist() == [run.report.test["rmse"]]
    assert final["epoch"].isna().all()


def test_runs_get_the_next_free_folder(tmp_path: Path) -> None:
    for number in (1, 2):
        run = tabcf.fit(spec(), tiny_ratings(), runs=tmp_path)
        assert run.folder == tmp_path / f"tiny-{number}"
