from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tabcf
from tabcf.contracts.definitions import TrackerDefinition
from tabcf.contracts.options import NoOptions
from tabcf.errors import DataError, SpecError, TrainingError
from tabcf.plugin.hooks import hookimpl
from tabcf.testing import tiny_ratings


class Two:
    """A plugin with a tracker of each name."""

    def __init__(self, trackers: dict[str, Any]) -> None:
        self.trackers = trackers

    @hookimpl
    def tabcf_trackers(self) -> list[TrackerDefinition]:
        return [
            TrackerDefinition(
                name=name, options=NoOptions, summary="", build=lambda _, one=tracker: one
            )
            for name, tracker in self.trackers.items()
        ]


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

    def __init__(self, *fails_at: str, failure: BaseException | None = None) -> None:
        self.told: list[tuple[str, Any, Any]] = []
        self.fails_at = fails_at
        self.failure = failure or OSError("disk full")

    def start(self, name: str, parameters: Any) -> None:
        self._tell("start", name, parameters)

    def epoch(self, epoch: int, metrics: Any) -> None:
        self._tell("epoch", epoch, metrics)

    def finish(self, metrics: Any, folder: Path | None) -> None:
        self._tell("finish", metrics, folder)

    def abort(self, reason: str) -> None:
        self._tell("abort", reason, None)

    def _tell(self, what: str, *values: Any) -> None:
        if what in self.fails_at:
            raise self.failure
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


def test_parameters_have_the_defaults_that_the_fit_goes_by() -> None:
    recorder = Recorder()
    changes = {"metrics": ["mae", "rmse"], "train": {"epochs": 1, "schedule": "cosine"}}
    tabcf.fit(spec(track=["recorder"], **changes), tiny_ratings(), plugins=[recorder])
    parameters = recorder.told[0][2]
    assert parameters["loss"] == "mse"
    assert parameters["model.dot_product_bias.dropout"] == 0.0
    assert parameters["train.schedule.cosine.warmup"] == 0.0
    assert parameters["split"] == "random"
    assert [parameters["metrics[0]"], parameters["metrics[1]"]] == ["mae", "rmse"]
    plain = (str, int, float, bool, list, dict)
    assert all(isinstance(value, plain) for value in parameters.values())


def test_components_by_default_are_parameters_too() -> None:
    recorder = Recorder()
    tracked = spec(track=["recorder"], target={"implicit": {}}, loss="bpr")
    del tracked["metrics"]
    tabcf.fit(tracked, tiny_ratings(), plugins=[recorder])
    parameters = recorder.told[0][2]
    assert (parameters["metrics[0]"], parameters["metrics[0].ndcg.k"]) == ("ndcg", 10)
    assert (parameters["split"], parameters["negatives"]) == ("time", "uniform")
    assert parameters["unknown.mean.strength"] == 10


def test_a_model_that_is_solved_has_no_loss_among_its_parameters() -> None:
    recorder = Recorder()
    tracked = spec(track=["recorder"], target={"implicit": {}}, model="ease", metrics=["ndcg"])
    tabcf.fit(tracked, tiny_ratings(), plugins=[recorder])
    assert {"loss", "unknown", "negatives"}.isdisjoint(recorder.told[0][2])
    assert [told[0] for told in recorder.told] == ["start", "finish"]


def test_a_tracker_changes_no_model(tmp_path: Path) -> None:
    one = tabcf.fit(spec(), tiny_ratings())
    two = tabcf.fit(spec(track=["recorder"]), tiny_ratings(), plugins=[Recorder()])
    pd.testing.assert_frame_equal(one.predict(tiny_ratings()), two.predict(tiny_ratings()))


@pytest.mark.parametrize("fails_at", ["start", "epoch", "finish"])
def test_a_tracker_that_fails_is_named(fails_at: str) -> None:
    expected = "track: the tracker recorder of the plugin Recorder failed: OSError: disk full"
    recorder = Recorder(fails_at)
    with pytest.raises(TrainingError, match=expected):
        tabcf.fit(spec(track=["recorder"]), tiny_ratings(), plugins=[recorder])
    assert recorder.told[-1][0] == "abort"
    assert "disk full" in recorder.told[-1][1]


def test_a_fit_that_fails_aborts_its_trackers() -> None:
    recorder = Recorder()
    diverging = spec(
        track=["recorder"], train={"epochs": 2, "learning_rate": 1e30, "schedule": "constant"}
    )
    with pytest.raises(TrainingError, match="the loss is") as caught:
        tabcf.fit(diverging, tiny_ratings(), plugins=[recorder])
    assert [told[0] for told in recorder.told][-1] == "abort"
    assert recorder.told[-1][1] == str(caught.value)
    assert "finish" not in [told[0] for told in recorder.told]


def test_ctrl_c_outside_the_epochs_aborts_the_trackers() -> None:
    recorder = Recorder("finish", failure=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        tabcf.fit(spec(track=["recorder"]), tiny_ratings(), plugins=[recorder])
    assert recorder.told[-1] == ("abort", "KeyboardInterrupt", None)


def test_ctrl_c_in_an_epoch_ends_the_fit_and_finishes_the_trackers(tmp_path: Path) -> None:
    recorder = Recorder("epoch", failure=KeyboardInterrupt())
    tracked = spec(track=["recorder"])
    run = tabcf.fit(tracked, tiny_ratings(), tmp_path / "run", plugins=[recorder])
    assert run.report.is_interrupted
    assert [told[0] for told in recorder.told] == ["start", "finish"]
    assert recorder.told[-1][2] == tmp_path / "run"


def test_an_abort_that_fails_does_not_hide_why_the_fit_failed() -> None:
    with pytest.raises(TrainingError, match="disk full") as caught:
        tabcf.fit(spec(track=["recorder"]), tiny_ratings(), plugins=[Recorder("epoch", "abort")])
    assert caught.value.__notes__ == [str(caught.value)]


def test_only_trackers_that_are_not_done_are_aborted(tmp_path: Path) -> None:
    """The first has finished when the second fails; a third never starts after one that fails."""
    first, second = Recorder(), Recorder("finish")
    names = {"one": first, "two": second}
    with pytest.raises(TrainingError, match="the tracker two of the plugin Two"):
        tabcf.fit(spec(track=list(names)), tiny_ratings(), plugins=[Two(names)])
    assert [told[0] for told in first.told] == ["start", "epoch", "epoch", "finish"]
    assert [told[0] for told in second.told] == ["start", "epoch", "epoch", "abort"]
    first, second = Recorder("start"), Recorder()
    names = {"one": first, "two": second}
    with pytest.raises(TrainingError, match="the tracker one of the plugin Two"):
        tabcf.fit(spec(track=list(names)), tiny_ratings(), plugins=[Two(names)])
    assert second.told == []


def test_a_spec_that_cannot_be_fitted_starts_no_tracker() -> None:
    recorder = Recorder()
    with pytest.raises(SpecError, match="metrics: rmse says nothing about a target"):
        tabcf.fit(spec(track=["recorder"], loss="bce"), tiny_ratings(), plugins=[recorder])
    assert recorder.told == []


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


def test_a_text_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("user_id,item_id,rating\n1,2,3\n")
    with pytest.raises(DataError, match=r"ratings\.csv: expected a log .*got 'user_id,item_id,ra"):
        tabcf.fit(spec(track=[{"csv": str(path)}]), tiny_ratings())
    assert path.read_text() == "user_id,item_id,rating\n1,2,3\n"


def test_a_text_file_is_relative_to_the_current_folder_and_may_be_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").touch()
    tabcf.fit(spec(track=[{"csv": {"path": "log.csv"}}]), tiny_ratings())
    assert (tmp_path / "log.csv").read_text().startswith("run,epoch,metric,value\ntiny,1,train")


def test_a_text_file_keeps_the_epochs_of_a_fit_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    tracked = spec(track=[{"csv": str(path)}, "recorder"])
    with pytest.raises(TrainingError, match="disk full"):
        tabcf.fit(tracked, tiny_ratings(), plugins=[Recorder("finish")])
    assert pd.read_csv(path)["epoch"].dropna().unique().tolist() == [1, 2]


def test_runs_get_the_next_free_folder(tmp_path: Path) -> None:
    for number in (1, 2):
        run = tabcf.fit(spec(), tiny_ratings(), runs=tmp_path)
        assert run.folder == tmp_path / f"tiny-{number}"


def test_a_run_is_loaded_without_its_trackers(tmp_path: Path) -> None:
    fitted = tabcf.fit(
        spec(track=["recorder"]), tiny_ratings(), tmp_path / "run", plugins=[Recorder()]
    )
    loaded = tabcf.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.predict(tiny_ratings()), fitted.predict(tiny_ratings()))
