"""The first of two stages finds its items by an index: the same items, less what is not offered."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.errors import DataError, RunError
from tabcf.recommend import two_stage
from tabcf.recommend.index import choice
from tests.flow.test_index import files_of, flip
from tests.unit.cli.test_cli import call

pytest.importorskip("hnswlib")

N_USERS, N_ITEMS, N = 30, 500, 40
USERS = list(range(N_USERS))


def events() -> pd.DataFrame:
    """30 users with about 20 of 500 items each, of their own parity."""
    rng = np.random.default_rng(3)
    users, items = rng.integers(0, N_USERS, 600), rng.integers(0, N_ITEMS // 2, 600) * 2
    frame = pd.DataFrame({"user_id": users, "item_id": items + users % 2})
    known = pd.DataFrame({"user_id": np.arange(N_ITEMS) % N_USERS, "item_id": np.arange(N_ITEMS)})
    return pd.concat([frame, known]).drop_duplicates(ignore_index=True)


def spec(items: Path) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "name": "two",
        "target": {"implicit": {}},
        "entities": {
            "user": {"id": "user_id"},
            "item": {"id": "item_id", "table": str(items), "columns": {"size": "number"}},
        },
        "model": {"dot_product": {"factors": 4}},
        "split": {"random": {"valid": 0, "test": 0}},
        "train": {"epochs": 1, "batch_size": 30},
        "retrieve": {
            "n": N,
            "model": {"dot_product_bias": {"factors": 8}},
            "columns": [],
            "train": {"epochs": 2, "batch_size": 30, "learning_rate": 0.05},
        },
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved run of two stages without an index."""
    place = tmp_path_factory.mktemp("two")
    table = pd.DataFrame({"item_id": np.arange(N_ITEMS), "size": np.arange(N_ITEMS) % 100})
    table.to_csv(place / "items.csv", index=False)
    tabcf.fit(spec(place / "items.csv"), events(), place / "run")
    return place / "run"


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "run"))


def lists(run: tabcf.Run, index: Any, **more: Any) -> pd.DataFrame:
    return run.recommend(USERS, k=N, index=index, **more)


def share(found: pd.DataFrame, exact: pd.DataFrame) -> float:
    return len(found.merge(exact, on=["user_id", "item_id"])) / len(exact)


def test_the_index_is_of_what_finds_the_items_and_of_lists_as_long_as_its_own(plain: Path) -> None:
    run = tabcf.load(plain)
    with pytest.raises(RunError, match="index: this run has none"):
        lists(run, True)
    info = run.build_index()
    assert run.index is None
    assert run.first_stage is not None
    assert run.first_stage.index == info
    assert (info.k, info.n_items) == (100, N_ITEMS)
    assert run.build_index(places=N, recall=0.9).k == N
    assert f"the first stage has an index of {N_ITEMS} items, which finds" in repr(run)
    assert run.build_index(retrieve=False) == run.index


def test_the_first_stage_finds_nearly_the_same_items_by_its_index(plain: Path) -> None:
    run = tabcf.load(plain)
    run.build_index(recall=0.99)
    exact, mine = lists(run, False), lists(run, True)
    assert mine.groupby("user_id").size().eq(N).all()
    assert share(mine, exact) >= 0.99
    # The order and the scores are the second stage's, and what was seen is left out.
    both = mine.merge(exact, on=["user_id", "item_id"])
    np.testing.assert_allclose(both["score_x"], both["score_y"], rtol=1e-5)
    assert not len(mine.merge(events(), on=["user_id", "item_id"]))
    assert len(lists(run, True, exclude_seen=False).merge(events(), on=["user_id", "item_id"]))


def test_what_is_not_offered_is_not_found_by_the_index_either(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tabcf.load(plain)
    run.build_index(recall=0.99)
    denied = lists(run, False)["item_id"].value_counts().index[:5].tolist()
    for more in ({"deny": denied}, {"where": "size >= 10"}, {"max_per": {"size": 1}}):
        exact, mine = lists(run, False, **more), lists(run, True, **more)
        assert share(mine, exact) >= 0.99, more
        assert not mine.equals(lists(run, True)), more
    assert not set(lists(run, True, deny=denied)["item_id"]) & set(denied)
    assert (lists(run, True, where="size >= 10")["item_id"] % 100 >= 10).all()
    # Where much is not offered the lists are exact.
    monkeypatch.setattr(two_stage, "_MOST_LEFT_OUT", 10)
    monkeypatch.setattr(two_stage, "indexed_items", None)
    where = {"where": "size >= 10"}
    pd.testing.assert_frame_equal(lists(run, True, **where), lists(run, False, **where))
    with pytest.raises(DataError, match="index: it lists all items, so that candidates does not"):
        lists(run, True, candidates=list(range(100)))


def test_an_index_is_added_to_a_saved_run_and_used_by_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(folder)
    code, printed, _ = call("index", str(folder), "--recall", "0.99")
    assert (code, printed[:39]) == (0, "an index of 500 items, which finds 100.")
    added = [f"retrieve-index-1/index.{end}" for end in ("bin", "json")]
    assert files_of(folder) == sorted([*before, *added])
    assert "the first stage has an index of 500 items" in call("inspect", str(folder))[1]
    run = tabcf.load(folder)
    exact = lists(run, False)
    pd.testing.assert_frame_equal(lists(run, True), lists(tabcf.load(folder), True))
    pd.testing.assert_frame_equal(lists(run, "auto"), exact)
    # A run that is saved anew takes the index along, in the first stage's own folder.
    again = tabcf.load(run.save(folder.parent / "again"))
    assert (folder.parent / "again" / "retrieve" / "index-1" / "index.bin").is_file()
    pd.testing.assert_frame_equal(lists(again, True), lists(run, True))
    flip(folder / "retrieve-index-1" / "index.bin")
    run = tabcf.load(folder)
    pd.testing.assert_frame_equal(lists(run, "auto"), exact)  # too few items
    monkeypatch.setattr(choice, "FROM_ITEMS", N_ITEMS)
    with pytest.raises(RunError, match=r"the file retrieve-index-1/index\.bin was changed after"):
        lists(run, "auto")
    # For longer lists than those that were measured they are exact again.
    assert len(run.recommend(1, n_retrieved=101)) == 10
    # Metrics are those of exact lists.
    assert run.evaluate(events().assign(item_id=1))["ndcg@10"] >= 0


def test_an_added_index_takes_the_place_of_the_first_stages_own(folder: Path) -> None:
    run = tabcf.load(folder)
    run.build_index(m=4, recall=0.5)
    own = tabcf.load(run.save(folder.parent / "own"))
    own.build_index(m=8)
    own.save_index()
    loaded = tabcf.load(folder.parent / "own")
    assert loaded.first_stage is not None
    assert loaded.first_stage.index is not None
    assert loaded.first_stage.index.m == 8
    pd.testing.assert_frame_equal(lists(loaded, True), lists(own, True))


def test_another_run_that_finds_the_items_does_so_by_its_own_index(plain: Path) -> None:
    run = tabcf.load(plain)
    run.build_index(recall=0.99)
    finder = run.first_stage
    assert finder is not None
    more: dict[str, Any] = {"retrieve": finder, "n_retrieved": N}
    assert share(lists(run, True, **more), lists(run, False, **more)) >= 0.99


def test_a_grown_runs_first_stage_has_an_index_of_all_items(folder: Path) -> None:
    run = tabcf.load(folder)
    run.build_index(recall=0.9, places=50)
    run.extend(pd.DataFrame({"user_id": [0, 0], "item_id": [500, 501]}))
    assert run.first_stage is not None
    assert run.first_stage.index is not None
    assert (run.first_stage.index.n_items, run.first_stage.index.k) == (502, 50)
    assert len(run.recommend(1, index=True)) == 10
