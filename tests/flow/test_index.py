"""A run's index: built, saved, added to a folder, used by itself, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import tabcf
from tabcf.errors import DataError, MissingExtraError, RunError
from tabcf.recommend.index import choice
from tabcf.run.manifest import fingerprints, read_manifest, write_manifest
from tabcf.testing import tiny_ratings
from tests.unit.cli.test_cli import call

pytest.importorskip("hnswlib")

SPEC: dict[str, Any] = {
    "tabcf": 1,
    "name": "tiny",
    "target": {"implicit": {"positive": "rating >= 4"}},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product_bias": {"factors": 4}},
    "train": {"epochs": 2, "batch_size": 32, "learning_rate": 0.03},
}
USERS = list(range(30))


def files_of(folder: Path) -> list[str]:
    """All files of a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def flip(path: Path) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved run without an index."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    tabcf.fit(SPEC, tiny_ratings(n_items=200), folder)
    return folder


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(plain, tmp_path / "run"))


@pytest.fixture
def indexed(plain: Path, tmp_path: Path) -> Path:
    """The same run, saved with an index."""
    run = tabcf.load(plain)
    run.build_index()
    return run.save(tmp_path / "indexed")


def test_a_run_says_what_its_index_finds(plain: Path, indexed: Path) -> None:
    said = "an index of 200 items, which finds "
    assert tabcf.load(plain).index is None
    assert said not in repr(tabcf.load(plain))
    run = tabcf.load(indexed)
    assert run.index is not None
    assert (run.index.n_queries, run.index.k) == (30, 100)
    assert run.index.recall is not None
    assert run.index.recall >= 0.95
    assert f"{said}{run.index.recall:.1%} of the exact top 100" in repr(run)
    assert said in run._repr_html_()
    assert said in call("inspect", str(indexed))[1]
    assert said not in call("inspect", str(plain))[1]


def test_a_saved_index_gives_the_same_lists(plain: Path, indexed: Path) -> None:
    run = tabcf.load(plain)
    run.build_index()
    loaded = tabcf.load(indexed)
    again = tabcf.load(loaded.save(indexed.parent / "again"))

    def lists(of: tabcf.Run, *, index: bool) -> pd.DataFrame:
        # With what was seen, lists are short enough for the graph to be searched.
        return of.recommend(USERS, k=5, exclude_seen=False, index=index)

    mine, exact = lists(run, index=True), lists(run, index=False)
    pd.testing.assert_frame_equal(lists(loaded, index=True), mine)
    pd.testing.assert_frame_equal(lists(again, index=True), mine)
    assert len(mine.merge(exact, on=["user_id", "item_id"])) >= 0.95 * len(exact)


def test_an_index_is_read_when_it_is_used(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flip(indexed / "index-1" / "index.bin")
    run = tabcf.load(indexed)
    exact = run.recommend(USERS, k=5)
    assert len(exact) == 5 * len(USERS)
    with pytest.raises(RunError, match=r"the file index-1/index\.bin was changed after"):
        run.recommend(USERS, k=5, index=True)
    monkeypatch.setattr(choice, "FROM_ITEMS", 200)
    with pytest.raises(RunError, match=r"the file index-1/index\.bin was changed after"):
        run.recommend(USERS, k=5)
    pd.testing.assert_frame_equal(run.recommend(USERS, k=5, index=False), exact)
    # Metrics are those of exact lists.
    assert run.evaluate(tiny_ratings(n_items=200)).keys() == run.report.test.keys()


def test_what_an_index_is_made_of_is_checked_at_once(indexed: Path) -> None:
    shutil.copytree(indexed, indexed.parent / "other")
    flip(indexed / "index-1" / "index.json")
    with pytest.raises(RunError, match=r"the file index-1/index\.json was changed after"):
        tabcf.load(indexed)
    (indexed.parent / "other" / "index-1" / "index.bin").unlink()
    with pytest.raises(RunError, match=r"the file index-1/index\.bin is missing"):
        tabcf.load(indexed.parent / "other")


def test_an_index_of_other_weights_is_refused(indexed: Path, tmp_path: Path) -> None:
    other = tabcf.fit({**SPEC, "seed": 7}, tiny_ratings(n_items=200), tmp_path / "other").folder
    assert other is not None
    shutil.copytree(indexed / "index-1", other / "index-1")
    own = fingerprints(other, sorted((other / "index-1").iterdir()))
    write_manifest(other, read_manifest(other) | own)
    with pytest.raises(RunError, match="the index in index-1 is of other weights than the run's"):
        tabcf.load(other)


def test_a_model_changed_since_is_not_saved_with_its_index(plain: Path, tmp_path: Path) -> None:
    run = tabcf.load(plain)
    run.build_index()
    with torch.no_grad():
        next(run.trained.model.parameters()).add_(1)
    with pytest.raises(DataError, match="index: it was built from another model; build it again"):
        run.save(tmp_path / "changed")
    with pytest.raises(DataError, match="index: it was built from another model; build it again"):
        run.save_index()
    assert list(tmp_path.iterdir()) == []
    run.build_index()
    with pytest.raises(RunError, match="its weights are not those of the run; save it elsewhere"):
        run.save_index()
    assert tabcf.load(run.save(tmp_path / "changed")).index is not None


def test_an_index_is_added_to_a_folder_in_place_of_another(folder: Path) -> None:
    before = files_of(folder)
    first = tabcf.load(folder)
    first.build_index(recall=0.5, m=4)
    assert first.save_index() == folder
    assert files_of(folder) == sorted([*before, "index-1/index.bin", "index-1/index.json"])
    loaded, late = tabcf.load(folder), tabcf.load(folder)
    assert loaded.index is not None
    assert loaded.index.m == 4
    loaded.build_index(m=8)
    loaded.save_index()
    assert files_of(folder) == sorted([*before, "index-2/index.bin", "index-2/index.json"])
    again = tabcf.load(folder)
    assert again.index is not None
    assert again.index.m == 8
    lists = again.recommend(USERS, index=True)
    pd.testing.assert_frame_equal(lists, loaded.recommend(USERS, index=True))
    with pytest.raises(RunError, match=r"the file index-1/index\.bin is missing"):
        late.recommend(1, index=True)


KILLED = """
import os, signal, sys
import tabcf
import tabcf.run.kept_index as kept
run = tabcf.load(sys.argv[1])
run.build_index()
def killed(*given):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(kept, sys.argv[2], killed)
run.save_index()
"""


@pytest.mark.parametrize("step", ["has_weights_of", "fingerprints", "write_manifest"])
def test_killed_in_between_a_run_stays_what_it_was(step: str, folder: Path) -> None:
    before = files_of(folder)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder), step], check=False)
    assert ended.returncode == -9
    assert (files_of(folder) == before) is (step == "has_weights_of")
    run = tabcf.load(folder)
    assert run.index is None
    run.build_index()
    run.save_index()
    assert tabcf.load(folder).recommend(1, index=True)["item_id"].nunique() == 10
    assert [name for name in files_of(folder) if name not in before] == [
        f"index-{1 if step == 'has_weights_of' else 2}/index.{end}" for end in ("bin", "json")
    ]


def test_two_processes_do_not_add_at_once(folder: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    run = tabcf.load(folder)
    run.build_index()
    before = files_of(folder)
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(RunError, match="another process is changing it"):
        run.save_index()
    os.close(handle)
    assert files_of(folder) == before
    run.save_index()
    assert tabcf.load(folder).index is not None


def test_what_cannot_be_added_is_said(folder: Path) -> None:
    run = tabcf.load(folder)
    with pytest.raises(RunError, match="save_index: the run has no index"):
        run.save_index()
    run.build_index()
    run.folder = None
    with pytest.raises(RunError, match="save_index: the run is not saved"):
        run.save_index()
    run.folder = folder / "nowhere"
    with pytest.raises(RunError, match="nowhere: cannot be read: No such file"):
        run.save_index()


def test_new_users_get_lists_from_the_index(indexed: Path) -> None:
    run = tabcf.load(indexed)
    new = run.fold_in(pd.DataFrame({"item_id": [2, 4, 6], "rating": 5}))
    exact, mine = (new.recommend(k=5, index=index) for index in (False, True))
    assert len(mine.merge(exact, on="item_id")) >= 4
    assert not {2, 4, 6} & set(mine["item_id"])
    items = run.fold_in(
        pd.DataFrame({"user_id": [1, 3], "item_id": 999, "rating": 5}), entity="item"
    )
    with pytest.raises(DataError, match="index: it lists all items, so that candidates does not"):
        items.recommend(USERS, k=200, index=True)
    assert 999 in set(items.recommend(USERS, k=200)["item_id"])


def test_each_of_two_stages_has_an_index_of_its_own(tmp_path: Path) -> None:
    stages = {"retrieve": {"n": 20, "model": {"dot_product": {"factors": 4}}}}
    run = tabcf.fit({**SPEC, **stages}, tiny_ratings(n_items=200))
    assert run.first_stage is not None
    run.build_index(m=8, retrieve=False)
    run.first_stage.build_index(m=4)
    loaded = tabcf.load(run.save(tmp_path / "two"))
    first = loaded.first_stage
    assert loaded.index is not None
    assert first is not None
    assert first.index is not None
    assert (loaded.index.m, first.index.m) == (8, 4)
    for stage in (loaded, first):
        assert len(stage.recommend(1, k=5, retrieve=False, index=True)) == 5
    assert len(loaded.recommend(1, k=5, index=True)) == 5
    with pytest.raises(RunError, match=r"retrieve: the run is the first stage of .*two;"):
        first.save_index()
    loaded.save_index()
    again = tabcf.load(tmp_path / "two")
    assert again.first_stage is not None
    assert again.first_stage.index == first.index
    flip(tmp_path / "two" / "retrieve" / "index-1" / "index.bin")
    assert len(tabcf.load(tmp_path / "two").recommend(1, k=5)) == 5


def test_the_command_line_builds_uses_and_rejects_an_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, printed, _ = call("index", str(folder), "--recall", "0.9", "--m", "8", "--json")
    info = json.loads(printed)
    assert code == 0
    assert (info["m"], info["n_items"]) == (8, 200)
    assert info["recall"] >= 0.9
    code, printed, _ = call("index", str(folder))
    assert code == 0
    assert printed.startswith("an index of 200 items, which finds ")
    asked = ["recommend", str(folder), "--user", "3", "--csv"]
    exact = call(*asked)[1]
    flip(folder / "index-2" / "index.bin")
    assert call(*asked)[:2] == (0, exact)  # too few items
    monkeypatch.setattr(choice, "FROM_ITEMS", 200)
    code, _, said = call(*asked)
    assert code == 2
    assert "the file index-2/index.bin was changed" in said
    assert call(*asked, "--exact")[:2] == (0, exact)
    assert call(*asked, "--deny", "5")[0] == 0


def test_without_hnswlib_lists_are_exact_and_a_demand_is_refused(
    indexed: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    monkeypatch.setattr(choice, "FROM_ITEMS", 200)
    run = tabcf.load(indexed)
    pd.testing.assert_frame_equal(run.recommend(USERS), tabcf.load(plain).recommend(USERS))
    with pytest.raises(MissingExtraError, match=r"pip install 'tabcf\[ann\]'"):
        run.recommend(USERS, index=True)
    code, printed, said = call("index", str(plain))
    assert (code, printed) == (2, "")
    assert said == "hnswlib is not installed; pip install 'tabcf[ann]'\n"
