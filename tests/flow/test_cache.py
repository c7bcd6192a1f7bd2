"""A fit from the cache is the fit without it to the last bit, and never one of other data."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.data import digests
from tabcf.data.entries import Entries
from tabcf.errors import DataError, SpecError
from tabcf.run import cached, prepare

BASE: dict[str, Any] = {
    "tabcf": 1,
    "data": "ratings.csv",
    "target": "rating",
    "entities": {
        "user": {"id": "user_id", "table": "users.csv", "columns": {"age": "number"}},
        "item": {
            "id": "item_id",
            "table": "items.csv",
            "label": "title",
            "columns": {"genres": "set", "seen": {"count": "item"}},
        },
    },
    "columns": {"device": "category", "before": {"history": "user"}},
    "model": {"embedding_nn": {"layers": [8]}},
    "split": {"random": {"valid": 0.2, "test": 0.2}},
    "train": {"epochs": 2, "batch_size": 64, "user_weights": 0.5},
}
IDS = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}
SPECS: dict[str, dict[str, Any]] = {
    "everything": BASE,
    "implicit, by time": {
        **BASE,
        "target": {"implicit": {"positive": "rating >= 4", "weight": "minutes"}},
        "columns": {},
        "entities": IDS,
        "split": {"time": {"valid": 0.2, "test": 0.2}},
        "model": "dot_product_bias",
        "loss": "bpr",
        "train": {"epochs": 1},
        "duplicates": "last",
    },
    "means, refitted": {
        **BASE,
        "duplicates": "mean",
        "train": {"epochs": 1, "refit": True},
        "model": {"dot_product_bias": {"y_range": [0, 6]}},
        "entities": IDS,
        "columns": {},
    },
    "two stages": {
        **BASE,
        "columns": {"device": "category"},
        "retrieve": {"model": "ials", "target": {"implicit": {"positive": "rating >= 3"}}},
        "train": {"epochs": 1},
    },
    "plain table": {
        **BASE,
        "entities": {},
        "columns": "auto",
        "model": "tabular",
        "train": {"epochs": 1},
    },
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ratings with repeats, gaps and text ids, and a cache of its own for files of any size."""
    monkeypatch.setenv("TABCF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cached, "_LEAST_BYTES", 0)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n = 400
    frame = pd.DataFrame(
        {
            "user_id": [f"u{k}" for k in rng.integers(0, 30, n)],
            "item_id": rng.integers(0, 25, n),
            "rating": rng.integers(1, 6, n),
            "device": rng.choice(["phone", "desk", None], n),
            "minutes": rng.integers(1, 90, n),
            "timestamp": rng.permutation(n),
        }
    )
    frame.to_csv("ratings.csv", index=False)
    pd.DataFrame({"user_id": [f"u{k}" for k in range(28)], "age": [*range(27), None]}).to_csv(
        "users.csv", index=False
    )
    items = {"item_id": range(25), "title": [f"film {k}" for k in range(25)]}
    pd.DataFrame({**items, "genres": ["a|b", "b", ""] * 8 + ["c"]}).to_csv("items.csv", index=False)
    return tmp_path


def fit(spec: dict[str, Any], folder: Path, **more: Any) -> tabcf.Run:
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    run = tabcf.fit(path, **more)
    assert isinstance(run, tabcf.Run)
    return run


@pytest.fixture
def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A switch that makes reading, merging, splitting and encoding of training rows fail."""

    def switch() -> None:
        def refused(*_: Any, **__: Any) -> Any:
            raise AssertionError("this was to come from the cache")

        for name in ("load_events", "encode_split"):
            monkeypatch.setattr(prepare, name, refused)
        monkeypatch.setattr(cached, "examine", refused)
        monkeypatch.setattr(cached, "examine_blocks", refused)
        monkeypatch.setattr(digests, "file_digest", refused)

    return switch


def everything(run: tabcf.Run) -> dict[str, Any]:
    """What a run is worth comparing by, in plain values."""
    stages = {"": run} if run.first_stage is None else {"": run, "first ": run.first_stage}
    found: dict[str, Any] = {"groups": run.report.groups, "baselines": run.report.baselines}
    for stage, own in stages.items():
        weights = {**own.trained.model.state_dict(), **own.trained.loss.state_dict()}
        found |= {f"{stage}weight {name}": value for name, value in weights.items()}
        columns, arrays = own.trained.encoder.to_json()
        found |= {f"{stage}columns": columns, f"{stage}target": own.trained.target}
        found |= {f"{stage}array {name}": a for name, a in arrays.items()}
        found |= {f"{stage}report": (own.report.valid, own.report.test, own.report.n_rows)}
        found |= {f"{stage}warnings": own.report.warnings, f"{stage}users": own.users}
        if own.trained.past is not None:
            found[f"{stage}events"] = own.trained.events.source.frame
    for name, entity in run.trained.encoder.entities.items():
        found |= {f"frame {name}": entity.frame, f"ids {name}": entity.ids.values.tolist()}
        found |= {f"counts {name}": entity.n_events.tolist(), f"labels {name}": entity.labels}
    return found


def assert_same(own: tabcf.Run, other: tabcf.Run) -> None:
    found, expected = everything(own), everything(other)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, expected[name])
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, expected[name], strict=True)
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, expected[name]), name
        else:
            assert repr(value) == repr(expected[name]), name


@pytest.mark.parametrize("kind", SPECS)
def test_with_and_without_the_cache_a_fit_is_the_same_to_the_bit(
    kind: str, folder: Path, nothing_is_read: Any
) -> None:
    without = fit(SPECS[kind], folder, cache=False)
    assert not (folder / "cache").exists()
    first = fit(SPECS[kind], folder)
    settle(folder)
    fit(SPECS[kind], folder)  # which hashes files once more that were new before
    nothing_is_read()
    second = fit(SPECS[kind], folder)
    assert_same(first, without)
    assert_same(second, without)


def settle(folder: Path) -> None:
    """Let files be older than what may still change within one tick of the clock."""
    for path in folder.glob("*.csv"):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns - 10**10))


def kept(folder: Path) -> list[str]:
    return [entry.label for entry in Entries(folder / "cache" / "encoded", 10**9).all()]


def test_folds_of_one_file_are_kept_apart(folder: Path) -> None:
    spec = {**SPECS["means, refitted"], "split": {"kfold": 2}}
    without = tabcf.fit(spec, folder / "ratings.csv", jobs=1, cache=False)
    for _ in range(2):
        found = tabcf.fit(spec, folder / "ratings.csv", jobs=1)
        for fold, run in found.folds.items():
            assert_same(run, without.folds[fold])
    assert kept(folder).count("ratings.csv, encoded") == 4  # two folds, train and train + valid


class TestOtherData:
    def test_other_bytes_in_the_file(self, folder: Path) -> None:
        fit(BASE, folder)
        rows = (folder / "ratings.csv").read_text().splitlines()
        (folder / "ratings.csv").write_text("\n".join(rows[:-7]) + "\n")
        assert sum(fit(BASE, folder).report.n_rows.values()) == 393

    def test_other_bytes_in_an_entitys_table(self, folder: Path) -> None:
        fit(BASE, folder)
        text = (folder / "items.csv").read_text().replace("film 3", "opus 3")
        (folder / "items.csv").write_text(text)
        assert "opus 3" in (fit(BASE, folder).trained.encoder.entities["item"].labels or [])

    def test_other_bytes_in_a_look_up_file(self, folder: Path) -> None:
        spec = {
            **BASE,
            "columns": {
                "kind": {"mapping": {"from": "device", "table": "kinds.csv", "value": "kind"}}
            },
        }
        (folder / "kinds.csv").write_text("device,kind\nphone,small\ndesk,large\n")
        cardinality = {
            c.name: c.cardinality for c in fit(spec, folder).trained.encoder.layout.categorical
        }
        (folder / "kinds.csv").write_text("device,kind\nphone,any\ndesk,any\n")
        found = {
            c.name: c.cardinality for c in fit(spec, folder).trained.encoder.layout.categorical
        }
        assert (cardinality["kind"], found["kind"]) == (3, 2)

    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 7},
            {"split": {"random": {"valid": 0.2, "test": 0.3}}},
            {"duplicates": "first"},
            {"columns": {"minutes": "number"}},
            {"train": {"epochs": 1}},
            {"train": {"epochs": 1, "item_propensity": 0.5}},
            {"train": {"epochs": 1, "time_decay": {"half_life": 1, "at": "minutes"}}},
        ],
    )
    def test_a_spec_that_says_so_encodes_anew(self, change: dict[str, Any], folder: Path) -> None:
        fit(BASE, folder)
        assert_same(fit({**BASE, **change}, folder), fit({**BASE, **change}, folder, cache=False))

    def test_another_model_of_the_same_rows_does_not(
        self, folder: Path, nothing_is_read: Any
    ) -> None:
        fit(BASE, folder)
        settle(folder)
        fit(BASE, folder)
        nothing_is_read()
        fit({**BASE, "model": {"embedding_nn": {"layers": [4]}}, "metrics": ["mae"]}, folder)

    def test_metrics_are_checked_nevertheless(self, folder: Path) -> None:
        fit(BASE, folder)
        with pytest.raises(
            SpecError, match=r"metrics\[0\].*no column 'genre' in the table of item"
        ):
            fit({**BASE, "metrics": [{"diversity": {"of": "genre"}}]}, folder)


class TestDamage:
    def files(self, folder: Path) -> list[Path]:
        return [p for p in (folder / "cache" / "encoded").rglob("*") if p.is_file()]

    def test_nothing_is_kept_that_could_hold_code(self, folder: Path) -> None:
        fit(SPECS["two stages"], folder)
        assert {path.suffix for path in self.files(folder)} == {".npy", ".json", ".arrow"}
        for path in self.files(folder):
            if path.suffix == ".npy":
                np.load(path, allow_pickle=False)

    @pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "no json", "other json"])
    def test_a_damaged_entry_is_made_anew(self, damage: str, folder: Path) -> None:
        expected = fit(BASE, folder)
        for path in self.files(folder):
            content = bytearray(path.read_bytes())
            if damage == "cut":
                path.write_bytes(content[: len(content) // 2])
            elif damage == "flipped" and content:
                content[-1] ^= 1
                path.write_bytes(content)
            elif damage == "gone" and path.suffix == ".npy":
                path.unlink()
            elif path.name == "entry.json" and damage == "no json":
                path.write_text("{")
            elif path.name == "entry.json" and damage == "other json":
                path.write_text("[]")
        assert_same(fit(BASE, folder), expected)
        assert len(kept(folder)) == 4

    def test_what_a_killed_process_left_does_not_count(self, folder: Path) -> None:
        left = folder / "cache" / "encoded" / ".partial-left"
        left.mkdir(parents=True)
        (left / "entry.json").write_text('{"label": "x", "bytes": 1, "files": {}}')
        os.utime(left, (0, 0))
        fit(BASE, folder)
        assert not left.exists()
        assert len(kept(folder)) == 4

    def test_a_cache_that_cannot_be_written_keeps_nothing(self, folder: Path) -> None:
        (folder / "cache").write_text("a file")
        assert_same(fit(BASE, folder), fit(BASE, folder, cache=False))


class TestEntries:
    def write(self, entries: Entries, key: str, size: int = 100) -> bool:
        return entries.write(key, lambda place: place.joinpath("x").write_bytes(b"x" * size))

    def test_the_least_recently_used_goes(self, tmp_path: Path) -> None:
        entries = Entries(tmp_path / "kept", 250)
        for age, key in ((3, "a"), (2, "b")):
            assert self.write(entries, key)
            os.utime(tmp_path / "kept" / key / "entry.json", (time.time() - age,) * 2)
        assert entries.read("a", lambda place: place.name) == "a"
        assert self.write(entries, "c")
        assert [entry.key for entry in entries.all()] == ["c", "a"]
        assert entries.read("b", lambda place: place.name) is None

    def test_what_is_larger_than_all_may_be_is_not_kept(self, tmp_path: Path) -> None:
        entries = Entries(tmp_path / "kept", 250)
        assert self.write(entries, "a")
        assert not self.write(entries, "b", 300)
        assert [entry.key for entry in entries.all()] == ["a"]

    def test_of_two_who_make_the_same_one_stays(self, tmp_path: Path) -> None:
        entries, both = Entries(tmp_path / "kept", 10**6), Barrier(2)

        def write(content: str) -> bool:
            def into(place: Path) -> None:
                (place / "x").write_text(content)
                both.wait(timeout=10)

            return entries.write("a", into)

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(write, ["same", "same"])) == [True, True]
        assert entries.read("a", lambda place: (place / "x").read_text()) == "same"
        assert [path.name for path in (tmp_path / "kept").iterdir()] == ["a"]

    def test_what_is_mapped_outlives_its_entry(self, folder: Path) -> None:
        fit(BASE, folder)
        run = fit(BASE, folder)
        assert cached.entries().clear() == 4
        assert len(run.predict(pd.read_csv("ratings.csv").head(3))) == 3

    def test_a_file_is_hashed_again_only_if_it_may_have_changed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashed: list[Path] = []
        digest = digests.file_digest
        monkeypatch.setattr(
            digests, "file_digest", lambda path, how: hashed.append(path) or digest(path, how)
        )
        path, memory = tmp_path / "rows.csv", tmp_path / "memory"
        path.write_text("a")
        first = digests.digest_of(path, memory)
        digests.digest_of(path, memory)  # it is too new to be sure of
        assert len(hashed) == 2
        os.utime(path, (0, 0))
        assert {digests.digest_of(path, memory) for _ in range(3)} == {first}
        assert len(hashed) == 3
        path.write_text("b")
        assert digests.digest_of(path, memory) != first


@pytest.mark.parametrize("size", ["0", "0.0"])
def test_a_size_of_nothing_switches_it_off(
    size: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABCF_CACHE_GB", size)
    fit(BASE, folder)
    assert not (folder / "cache").exists()


@pytest.mark.parametrize("size", ["four", "-1", "nan"])
def test_a_size_that_is_none_is_told(
    size: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TABCF_CACHE_GB", size)
    with pytest.raises(DataError, match=f"TABCF_CACHE_GB: expected a number .*'{size}'"):
        fit(BASE, folder)


def test_small_files_frames_and_columns_of_objects_are_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.read_csv("ratings.csv")
    tabcf.fit({**SPECS["means, refitted"], "data": None}, frame)
    items = pd.read_csv("items.csv").assign(genres=[["a", "b"]] * 25)
    items.to_parquet("items.parquet")
    item = {**BASE["entities"]["item"], "table": "items.parquet"}
    fit({**BASE, "entities": {**BASE["entities"], "item": item}}, folder)
    assert kept(folder) == []
    monkeypatch.setattr(cached, "_LEAST_BYTES", 10**6)
    fit(BASE, folder)
    assert kept(folder) == []
