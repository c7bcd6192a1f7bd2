"""Predictions, metrics and lists of files that go through memory in blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tabcf
from tabcf.errors import DataError
from tests.flow.test_streamed import frame, spec
from tests.unit.cli.test_cli import call


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[tabcf.Run, Path]:
    """A run, and a folder with it, its rows and its users."""
    folder = tmp_path_factory.mktemp("blocks")
    data = frame()
    data.to_parquet(folder / "events.parquet", row_group_size=150)
    data.to_csv(folder / "events.csv", index=False)
    pd.DataFrame({"user_id": data["user_id"].unique()}).to_csv(folder / "users.csv", index=False)
    metrics: Any = ["rmse", {"ndcg": 5}]
    run = tabcf.fit(spec(metrics=metrics), data, folder / "run")
    assert isinstance(run, tabcf.Run)
    return run, folder


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tabcf.run.in_blocks._LARGE", 1)
    monkeypatch.setattr("tabcf.run.in_blocks._BLOCK", 170)
    monkeypatch.setattr("tabcf.run.in_blocks._USERS", 7)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_predictions_written_in_blocks_are_those_of_all_rows(
    saved: tuple[tabcf.Run, Path], ending: str, tmp_path: Path
) -> None:
    run, folder = saved
    expected = run.predict(folder / f"events.{ending}")
    out = tmp_path / f"out.{ending}"
    assert run.predict_to(out, folder / f"events.{ending}") == len(expected)
    found = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    pd.testing.assert_series_equal(found["prediction"], expected["prediction"], check_dtype=False)
    assert list(found.columns) == list(expected.columns)
    again = tmp_path / "frame.csv"
    run.predict_to(again, pd.read_parquet(folder / "events.parquet"))
    assert len(pd.read_csv(again)) == len(expected)


@pytest.mark.usefixtures("_small")
def test_metrics_of_large_files_are_those_of_their_frames(saved: tuple[tabcf.Run, Path]) -> None:
    run, folder = saved
    for ending in ("csv", "parquet"):
        path = folder / f"events.{ending}"
        data = frame()
        assert dict(run.evaluate(path)) == dict(run.evaluate(data))
        pd.testing.assert_frame_equal(run.evaluate_groups(path), run.evaluate_groups(data))
        assert run.count_users(path) == run.count_users(data)


@pytest.mark.usefixtures("_small")
def test_the_commands_write_files(saved: tuple[tabcf.Run, Path], tmp_path: Path) -> None:
    run, folder = saved
    out, home = tmp_path / "lists.parquet", str(folder / "run")
    users = pd.read_csv(folder / "users.csv")
    asked = ("--users", str(folder / "users.csv"), "-k", "3", "--out", str(out))
    code, shown, _ = call("recommend", home, *asked)
    assert code == 0
    assert shown == f"{3 * len(users):,} rows in {out}\n"
    pd.testing.assert_frame_equal(pd.read_parquet(out), run.recommend(users, k=3))
    predicted = ("predict", home, str(folder / "events.csv"), "--out", str(tmp_path / "p.csv"))
    assert call(*predicted)[0] == 0
    assert len(pd.read_csv(tmp_path / "p.csv")) == len(frame())
    code, _, error = call(*predicted)
    assert code == 2
    assert "already exists; give another name" in error


def test_a_file_that_cannot_be_written_leaves_nothing(
    saved: tuple[tabcf.Run, Path], tmp_path: Path
) -> None:
    run, folder = saved
    with pytest.raises(DataError, match=r"expected a file that ends with .csv or .parquet"):
        run.predict_to(tmp_path / "out.txt", folder / "events.csv")
    with pytest.raises(DataError, match="cannot be written"):
        run.predict_to(tmp_path / "missing" / "out.csv", folder / "events.csv")
    with pytest.raises(DataError, match="no column 'item_id'"):
        run.predict_to(tmp_path / "out.csv", folder / "users.csv")
    assert list(tmp_path.iterdir()) == []
