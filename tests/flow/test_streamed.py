"""A fit within a memory budget is the fit in memory, bit for bit, or is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.errors import DataError, SpecError
from tabcf.run.progress import Silent
from tests.flow.test_resume import Breaking, Broken
from tests.flow.test_two_stage import ratings

CHUNKS = {"chunk": 96, "together": 3}
IDS = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}


class Told(Silent):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks of few rows."""
    monkeypatch.setattr("tabcf.data.spool._BLOCK", 130)
    monkeypatch.setattr("tabcf.run.block_events._BLOCK", 170)
    monkeypatch.setattr("tabcf.data.order._BLOCK", 128)


def frame() -> pd.DataFrame:
    """Ratings with columns of each kind, some with gaps."""
    found = ratings()
    rng = np.random.default_rng(5)
    n = len(found)
    found["timestamp"] = rng.integers(0, 300, n)
    found["device"] = rng.choice(["tv", "phone", "web", None], n)
    found["minutes"] = np.where(rng.random(n) < 0.1, np.nan, rng.normal(30, 9, n))
    found["day"] = rng.integers(0, 7, n)
    found["when"] = pd.Timestamp("2024-03-01") + pd.to_timedelta(rng.integers(0, 9000, n), "h")
    return found


def spec(**changes: Any) -> dict[str, Any]:
    train = {"epochs": 2, "batch_size": 64, "shuffle": CHUNKS, "checkpoint": None}
    return {
        "tabcf": 1,
        "name": "large",
        "target": "rating",
        "entities": IDS,
        "model": {"dot_product_bias": {"factors": 4}},
        "split": {"random": {"valid": 0.1, "test": 0.2}},
        **changes,
        "train": {**train, **changes.get("train", {})},
    }


def assert_same(run: tabcf.Run, expected: tabcf.Run) -> None:
    own, theirs = (r.trained.model.state_dict() for r in (run, expected))
    assert all(torch.equal(own[name], theirs[name]) for name in theirs)
    for report, other in zip(run.report.epochs, expected.report.epochs, strict=True):
        assert report.train_loss == other.train_loss
        assert repr(report.validation) == repr(other.validation)
    # As text, in which what is no number equals itself.
    for part in ("valid", "test", "baselines", "groups", "told", "n_rows", "test_rows"):
        assert repr(getattr(run.report, part)) == repr(getattr(expected.report, part))
    assert run.users is not None
    assert expected.users is not None
    pd.testing.assert_frame_equal(run.users, expected.users)
    for name, means in expected.mean_targets.items():
        np.testing.assert_array_equal(run.mean_targets[name], means)
    assert run.trained.past is not None
    assert expected.trained.past is not None
    np.testing.assert_array_equal(run.trained.past.seen.items, expected.trained.past.seen.items)


COLUMNS = {
    "device": "category",
    "minutes": "number",
    "weekday": {"date": {"from": "when", "parts": ["weekday"]}},
}
CASES: dict[str, dict[str, Any]] = {
    "dot product": {},
    "y_range": {"model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}}},
    "by autograd": {"train": {"engine": "eager"}},
    "network": {"model": {"embedding_nn": {"layers": [8]}}, "train": {"refit": True}},
    "time": {"split": {"time": {"column": "timestamp"}}},
    "last of each": {"split": {"leave_last_out": {"column": "when"}}},
    "event columns": {
        "model": {"embedding_nn": {"layers": [8]}},
        "columns": {"device": "category", "minutes": "number", "day": "category"},
    },
    "rating levels": {"target": {"column": "rating", "levels": [1, 2, 3, 4, 5]}},
    "classes": {"target": "device_known", "loss": "bce"},
    "ensemble": {"train": {"ensemble": 2}},
}


@pytest.mark.parametrize(
    ("case", "ending"),
    [*((case, "parquet") for case in CASES), ("dot product", "csv"), ("event columns", "csv")],
)
def test_a_fit_from_disk_is_the_fit_in_memory(case: str, ending: str, tmp_path: Path) -> None:
    data = frame().assign(device_known=lambda f: np.where(f["device"].isna(), "no", "yes"))
    path = tmp_path / f"events.{ending}"
    if ending == "csv":
        data.to_csv(path, index=False)
    else:
        data.to_parquet(path, row_group_size=200)
    given = spec(**CASES[case])
    expected = tabcf.fit(given, str(path))
    run = tabcf.fit(given, str(path), memory="2GB")
    assert isinstance(run, tabcf.Run)
    assert isinstance(expected, tabcf.Run)
    assert_same(run, expected)


def test_attributes_of_entities_and_ids_that_are_text(tmp_path: Path) -> None:
    data = frame().assign(user_id=lambda f: "u" + f["user_id"].astype(str))
    data.loc[::50, "user_id"] = None
    users = pd.DataFrame({"user_id": data["user_id"].dropna().unique()})
    users["age"] = np.arange(len(users)) % 50
    users.to_csv(tmp_path / "users.csv", index=False)
    data.to_parquet(tmp_path / "events.parquet")
    user = {
        "id": "user_id",
        "table": str(tmp_path / "users.csv"),
        "columns": {"age": {"bins": {"from": "age", "quantiles": 4}}},
    }
    given = spec(
        data=str(tmp_path / "events.parquet"),
        entities={"user": user, "item": {"id": "item_id"}},
        model={"embedding_nn": {"layers": [8]}},
    )
    run, expected = tabcf.fit(given, memory="2GB"), tabcf.fit(given)
    assert isinstance(run, tabcf.Run)
    assert isinstance(expected, tabcf.Run)
    assert_same(run, expected)
    pd.testing.assert_frame_equal(run.predict(data), expected.predict(data))


def test_files_of_parts_frames_and_only_what_is_positive(tmp_path: Path) -> None:
    data = frame()
    data[:400].to_parquet(tmp_path / "train.parquet")
    data[400:].to_csv(tmp_path / "test.csv", index=False)
    given = spec(split={"files": {"test": str(tmp_path / "test.csv")}})
    path = str(tmp_path / "train.parquet")
    run, expected = tabcf.fit(given, path, memory="2GB"), tabcf.fit(given, path)
    assert isinstance(run, tabcf.Run)
    assert isinstance(expected, tabcf.Run)
    assert_same(run, expected)
    # A frame that is in memory already.
    run, expected = tabcf.fit(spec(), data, memory="2GB"), tabcf.fit(spec(), data)
    assert isinstance(run, tabcf.Run)
    assert isinstance(expected, tabcf.Run)
    assert_same(run, expected)


def test_a_run_is_saved_and_loaded_with_the_events_that_it_learnt_from(tmp_path: Path) -> None:
    told = Told()
    run = tabcf.fit(spec(), frame(), tmp_path / "run", memory="2GB", progress=told)
    assert isinstance(run, tabcf.Run)
    loaded, expected = tabcf.load(tmp_path / "run"), tabcf.fit(spec(), frame())
    assert isinstance(expected, tabcf.Run)
    kept = loaded.trained.events.source.frame
    pd.testing.assert_frame_equal(
        kept, expected.trained.events.source.frame[kept.columns], check_dtype=False
    )
    pd.testing.assert_frame_equal(loaded.recommend([1, 2]), expected.recommend([1, 2]))
    assert loaded.spec.train.memory == "2GB"
    assert any(note.startswith("memory: ") and note.endswith("of 2GB") for note in told.notes)
    warned = Told()
    tabcf.fit(spec(), frame(), progress=warned)
    # Repeated pairs alone are not looked for.
    assert told.warnings == [w for w in warned.warnings if "pair" not in w]


def test_a_fit_that_was_broken_off_goes_on_from_disk(tmp_path: Path) -> None:
    given = spec(model={"embedding_nn": {"layers": [8], "dropout": 0.1}})
    given["train"]["checkpoint"] = {"steps": 3}
    with pytest.raises(Broken):
        tabcf.fit(given, frame(), tmp_path / "run", memory="2GB", progress=Breaking(11))
    resumed = tabcf.fit(given, frame(), tmp_path / "run", memory="2GB", resume=True)
    expected = tabcf.fit(given, frame())
    assert isinstance(resumed, tabcf.Run)
    assert isinstance(expected, tabcf.Run)
    assert_same(resumed, expected)


def test_without_a_shuffle_of_its_own_a_budget_shuffles_by_chunks() -> None:
    given = spec()
    del given["train"]["shuffle"]
    run = tabcf.fit(given, frame(), memory="2GB")
    expected = tabcf.fit(given, frame(), overrides=["train.shuffle={}"])
    assert isinstance(run, tabcf.Run)
    assert isinstance(expected, tabcf.Run)
    assert_same(run, expected)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "duplicates": ({"duplicates": "last"}, "duplicates: last"),
    "history": (
        {"columns": {"past": {"history": {"of": "user"}}}},
        r"column 'past' \(history\) is learnt from all events at once",
    ),
    "count": (
        {"columns": {"activity": {"count": "user"}}},
        r"column 'activity' \(count\) is learnt from all events at once",
    ),
    "quantiles": (
        {"columns": {"late": {"bins": {"from": "minutes", "quantiles": 3}}}},
        r"column 'late' \(bins\) is learnt from all events at once",
    ),
    "solved": ({"model": "ease", "target": {"implicit": {}}}, "ease is solved from all rows"),
    "workers": ({"train": {"workers": 2}}, "train.memory: is of a single process"),
    "folds": ({"split": {"kfold": 3}}, "several folds"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_needs_all_rows_is_refused_by_name(case: str, tmp_path: Path) -> None:
    changes, message = REFUSED[case]
    with pytest.raises(SpecError, match=message):
        tabcf.fit(spec(**changes), frame(), tmp_path / "run", memory="2GB")
    assert not list(tmp_path.glob("run*"))


@pytest.mark.parametrize("size", ["2", "fast", "-1GB", "0MB", "2 GBs"])
def test_a_size_has_a_number_and_a_unit(size: str) -> None:
    with pytest.raises(SpecError, match="expected a size with its unit, such as 500MB"):
        tabcf.fit(spec(), frame(), memory=size)


def test_a_budget_that_cannot_be_kept_is_refused_at_once() -> None:
    with pytest.raises(SpecError, match=r"train.memory: expected at least .*GB, got 20MB"):
        tabcf.fit(spec(), frame(), memory="20MB")


def test_what_cannot_be_kept_on_disk_is_named() -> None:
    data = frame().assign(tags=[["a"]] * len(frame()))
    run = tabcf.fit(spec(), data, memory="2GB")  # nobody asks for it
    assert isinstance(run, tabcf.Run)
    with pytest.raises(DataError, match=r"column 'tags'.*expected numbers, text or dates"):
        tabcf.fit(
            spec(columns={"tags": "category"}, model={"embedding_nn": {}}), data, memory="2GB"
        )
    with pytest.raises(DataError, match="no column 'rating'"):
        tabcf.fit(spec(), data.drop(columns="rating"), memory="2GB")
