"""Runs grow: new users, items and categories, further training, versions, and the way back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.errors import DataError, RunError
from tabcf.testing import tiny_ratings, tiny_table

TRAIN = {"epochs": 40, "batch_size": 32, "learning_rate": 0.03, "weight_decay": 0.0}
IMPLICIT = {"implicit": {"positive": "rating >= 4"}}
ALL = tiny_ratings(n_users=40, n_items=30)
IS_OLD = ((ALL["user_id"] < 35) & (ALL["item_id"] < 26)).to_numpy()
OLD, NEW = (ALL[chosen].reset_index(drop=True) for chosen in (IS_OLD, ~IS_OLD))
# Of users and items that are new, half of the events are kept back.
GIVEN, HELD = (NEW[NEW.index % 2 == part].reset_index(drop=True) for part in (0, 1))
RATED: dict[str, dict[str, Any]] = {
    "dot_product_bias": {"model": {"dot_product_bias": {"factors": 8, "y_range": [0, 6]}}},
    "embedding_nn": {"model": {"embedding_nn": {"layers": [32], "y_range": [0, 6]}}},
    "collab_nn": {"model": {"collab_nn": {"n_hidden": 32, "y_range": [0, 6]}}},
    "als": {"model": {"dot_product_bias": {"factors": 4}}, "fit": {"als": {"l2": 1.0}}},
}
RANKED: dict[str, dict[str, Any]] = {
    "softmax": {"model": {"dot_product": {"factors": 8}}, "loss": "softmax"},
    "bpr": {"model": {"dot_product_bias": {"factors": 8}}, "loss": "bpr"},
    "ials": {"model": {"ials": {"factors": 4}}},
}
SOLVED: dict[str, dict[str, Any]] = {
    "als": RATED["als"],
    "gibbs": {
        "model": {"dot_product_bias": {"factors": 4}},
        "fit": {"gibbs": {"sweeps": 60, "burn_in": 20, "keep": 10}},
    },
    "ials": RANKED["ials"] | {"target": IMPLICIT},
    "ease": {"model": {"ease": 1.0}, "target": IMPLICIT},
    "item_knn": {"model": {"item_knn": {"k": 20}}, "target": IMPLICIT},
}


def _base(**changes: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "split": {"random": {"valid": 0, "test": 0.1}},
        "train": TRAIN,
        **changes,
    }


@cache
def fitted(name: str) -> tabcf.Run:
    """A run in memory that no test changes; `own` copies it."""
    if name in RANKED:
        return tabcf.fit(_base(target=IMPLICIT, **RANKED[name]), OLD)
    return tabcf.fit(_base(**(RATED | SOLVED)[name]), OLD)


def own(name: str, folder: Path) -> tabcf.Run:
    fitted(name).save(folder)
    fitted(name).folder = None
    return tabcf.load(folder)


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def error(run: tabcf.Run, events: pd.DataFrame) -> float:
    return float((run.predict(events)["prediction"] - events["rating"]).abs().mean())


@pytest.mark.parametrize("name", RATED)
def test_new_users_and_items_are_found_and_nothing_else_changes(name: str, tmp_path: Path) -> None:
    run = own(name, tmp_path / "run")
    before = run.predict(OLD)
    assert error(run, HELD) > 1.5
    growth = run.extend(GIVEN)
    same(run.predict(OLD), before)
    assert error(run, HELD) < 1.2
    assert growth.added == {"user": 5, "item": 4}
    assert growth.rested == {"user": "events", "item": "events"}
    assert growth.before["rmse"] > growth.after["rmse"]
    assert set(run.predict(HELD)["basis"]) == {"trained"}
    again = tabcf.load(tmp_path / "run")
    same(again.predict(ALL), run.predict(ALL))
    assert again.growth == growth
    assert (again.version, growth.version) == (2, 2)


@pytest.mark.parametrize("name", RANKED)
def test_new_users_get_their_own_lists(name: str, tmp_path: Path) -> None:
    run = own(name, tmp_path / "run")
    users = range(35)
    before = run.recommend(users, k=3, candidates=range(26))
    run.extend(GIVEN)
    after = run.recommend(users, k=3, candidates=range(26))
    assert (after["item_id"] == before["item_id"]).all()
    lists = tabcf.load(tmp_path / "run").recommend(range(35, 40), k=3, exclude_seen=False)
    assert ((lists["user_id"] + lists["item_id"]) % 2 == 0).mean() > 0.8
    seen = run.recommend(range(35, 40), k=30)
    had = set(map(tuple, GIVEN[["user_id", "item_id"]].to_numpy().tolist()))
    assert not had & set(zip(seen["user_id"], seen["item_id"], strict=True))


def test_events_among_trained_ones_are_left_for_an_update() -> None:
    run = tabcf.fit(_base(**RATED["dot_product_bias"]), OLD)
    growth = run.extend(pd.concat([GIVEN, OLD[:7]]))
    assert growth.n_events == len(GIVEN)
    assert growth.notes == (
        "7 events of users and items that were trained are left out; `update` learns from them",
    )
    assert growth.version is None
    with pytest.raises(RunError, match="versions: the run is not saved"):
        run.versions()
    with pytest.raises(RunError, match="rollback: the run is not saved"):
        run.rollback()


@pytest.mark.parametrize("name", [*RATED, *SOLVED])
def test_an_update_learns_from_what_is_new(name: str, tmp_path: Path) -> None:
    run = own(name, tmp_path / "run")
    growth = run.update(GIVEN)
    assert growth.added == {"user": 5, "item": 4}
    assert growth.n_events == len(GIVEN)
    again = tabcf.load(tmp_path / "run")
    if name in ("ease", "item_knn", "ials"):
        lists = again.recommend(range(35, 40), k=3)
        hits = (lists["user_id"] + lists["item_id"]) % 2 == 0
        assert hits.mean() > 0.8
    else:
        assert error(again, HELD) < 1.2
        same(again.predict(ALL), run.predict(ALL))
    assert (growth.epochs == 0) == (name in SOLVED)
    n_old = len(fitted(name).trained.events.learnable().frame)
    if name in SOLVED:
        assert growth.n_replayed == n_old
    else:
        assert 0.3 * n_old < growth.n_replayed < 0.7 * n_old
    assert len(run.trained.events.source.frame) == len(GIVEN) + round(len(OLD) * 0.9)


def test_a_solved_update_is_the_fit_on_all_events() -> None:
    spec = _base(target=IMPLICIT, model={"ease": 1.0}, split={"random": {"valid": 0, "test": 0}})
    run = tabcf.fit(spec, OLD)
    run.update(NEW)
    whole = tabcf.fit(spec, ALL)
    columns = ["user_id", "rank", "item_id"]
    same(run.recommend(range(40), k=5)[columns], whole.recommend(range(40), k=5)[columns])


def test_replay_keeps_what_new_events_alone_would_overwrite() -> None:
    upside_down = OLD[OLD["user_id"] < 5].assign(rating=lambda f: 6 - f["rating"])
    upside_down["timestamp"] += 1
    others = OLD[OLD["user_id"] >= 5]
    errors = {}
    for replay in (0.0, 1.0):
        run = tabcf.fit(_base(**RATED["dot_product_bias"]), OLD)
        growth = run.update(upside_down, replay=replay, epochs=20)
        errors[replay] = error(run, others)
        assert growth.n_replayed == (0 if replay == 0 else round(len(OLD) * 0.9))
    assert errors[1.0] < errors[0.0]


def test_the_same_events_again_are_the_same_events() -> None:
    run = tabcf.fit(_base(**RATED["dot_product_bias"]), OLD)
    run.extend(GIVEN)
    n = len(run.trained.events.source.frame)
    growth = run.update(GIVEN)
    assert len(run.trained.events.source.frame) == n
    assert growth.n_events == len(GIVEN)
    entity = run.trained.encoder.entities["user"]
    counts = run.trained.events.source.frame["user_id"].value_counts()
    rows = entity.rows_of_ids(counts.index)
    assert (entity.n_events[rows] == counts.to_numpy()).all()


@pytest.mark.parametrize("rule", ["first", "last", "mean"])
def test_repeated_pairs_are_merged_as_the_spec_says(rule: str) -> None:
    spec = _base(duplicates=rule, target={"column": "rating"}, **RATED["dot_product_bias"])
    run = tabcf.fit(spec, OLD)
    events = run.trained.events.source.frame
    pair = events.iloc[[0]].assign(rating=lambda f: 6 - f["rating"], timestamp=2_000_000_000)
    was = float(events["rating"].iloc[0])
    run.update(pd.concat([pair, GIVEN]))
    now = run.trained.events.source.frame
    own_pair = (now["user_id"] == pair["user_id"].iloc[0]) & (
        now["item_id"] == pair["item_id"].iloc[0]
    )
    expected = {"first": was, "last": 6 - was, "mean": 3.0}
    assert now.loc[own_pair, "rating"].tolist() == [expected[rule]]


def rich(tmp_path: Path, **changes: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    """A spec with columns of every kind, and events with one of its own."""
    events = ALL.assign(place=np.where(ALL["user_id"] > 36, "moon", "earth"))
    users = pd.DataFrame({"user_id": range(40), "city": [f"c{i % 5}" for i in range(39)] + ["x"]})
    genres = [["A|B", "B", "C|A"][i % 3] for i in range(29)] + ["Z|A"]
    items = pd.DataFrame({"item_id": range(30), "title": list("ab" * 15), "genres": genres})
    users[users["user_id"] < 33].to_csv(tmp_path / "users.csv", index=False)
    items[items["item_id"] < 28].to_csv(tmp_path / "items.csv", index=False)
    users[users["user_id"] >= 33].to_csv(tmp_path / "users-2.csv", index=False)
    items[items["item_id"] >= 27].to_csv(tmp_path / "items-2.csv", index=False)
    spec = _base(
        entities={
            "user": {
                "id": "user_id",
                "table": str(tmp_path / "users.csv"),
                "columns": {"city": "category"},
            },
            "item": {
                "id": "item_id",
                "table": str(tmp_path / "items.csv"),
                "label": "title",
                "columns": {"genres": "set"},
            },
        },
        columns={
            "place": "category",
            "activity": {"count": {"of": "user", "log": True}},
            "had": {"history": "user"},
        },
        **changes,
    )
    return spec, events


@pytest.mark.parametrize("model", ["dot_product_bias", "embedding_nn"])
def test_categories_of_every_column_are_added(model: str, tmp_path: Path) -> None:
    spec, events = rich(tmp_path, model=RATED[model]["model"])
    old, new = events[IS_OLD].reset_index(drop=True), events[~IS_OLD].reset_index(drop=True)
    run = tabcf.fit(spec, old, tmp_path / "run")
    before = run.predict(old)
    tables = {"user": tmp_path / "users-2.csv", "item": tmp_path / "items-2.csv"}
    growth = run.extend(new, tables=tables)
    same(run.predict(old), before)
    assert growth.added == {"user": 5, "item": 4, "user.city": 1, "place": 1, "item.genres": 1}
    assert growth.drift is not None
    assert growth.drift.unknown["place"] > 0
    again = tabcf.load(tmp_path / "run")
    assert again.trained.encoder.layout == run.trained.encoder.layout
    same(again.predict(events), run.predict(events))
    later = again.update(new)
    assert later.added == {"had": 4}, "what users had is counted anew"
    third = tabcf.load(tmp_path / "run")
    same(third.predict(events), again.predict(events))
    assert third.recommend([39], k=2, context={"place": "moon"})["title"].notna().all()
    third.rollback(1)
    same(third.predict(old), before)


def test_a_table_alone_adds_items_that_attributes_speak_for(tmp_path: Path) -> None:
    spec, events = rich(tmp_path, model=RATED["dot_product_bias"]["model"])
    run = tabcf.fit(spec, events[IS_OLD].reset_index(drop=True))
    growth = run.extend(tables={"item": tmp_path / "items-2.csv"})
    assert growth.added == {}
    assert growth.notes == ("2 new items have no events: their attributes speak for them",)
    assert growth.drift is None
    assert 29 in set(run.recommend([1], k=30, exclude_seen=False)["item_id"])


def test_a_plain_table_grows_by_new_categories_without_replay() -> None:
    table = tiny_table().assign(color=lambda f: f["color"].where(f.index > 3, "violet"))
    target = table.columns[-1]
    old, new = table[4:].reset_index(drop=True), table[:40].reset_index(drop=True)
    spec = {
        "tabcf": 1,
        "target": {"column": target},
        "model": {"tabular": {"layers": [8]}},
        "split": {"random": {"valid": 0, "test": 0.1}},
        "train": {"epochs": 10, "batch_size": 32},
    }
    run = tabcf.fit(spec, old)
    before = run.predict(old)
    growth = run.extend(new)
    assert growth.added == {"color": 1}
    same(run.predict(old), before)
    with pytest.raises(RunError, match="keeps no events to replay"):
        run.update(new, replay=0.5)
    updated = run.update(new, epochs=3)
    assert (updated.epochs, updated.n_replayed) == (3, 0)
    assert updated.after["rmse"] < updated.before["rmse"]
    solved = tabcf.fit({**spec, "model": "mean"}, old)
    with pytest.raises(RunError, match=r"mean is solved from all events.*fit it again"):
        solved.update(new)


def test_both_of_two_stages_grow(tmp_path: Path) -> None:
    spec = _base(
        target=IMPLICIT,
        model={"embedding_nn": {"layers": [16], "widths": 8}},
        loss="bpr",
        retrieve={"model": {"ials": {"factors": 4}}, "n": 10},
    )
    run = tabcf.fit(spec, OLD, tmp_path / "run")
    run.update(GIVEN)
    again = tabcf.load(tmp_path / "run")
    assert again.first_stage is not None
    assert again.first_stage.folder == tmp_path / "run" / "versions" / "2" / "retrieve"
    lists = again.recommend(range(35, 40), k=3)
    same(lists, run.recommend(range(35, 40), k=3))
    assert ((lists["user_id"] + lists["item_id"]) % 2 == 0).mean() > 0.6
    with pytest.raises(RunError, match="the first stage of another; grow that one"):
        again.first_stage.extend(HELD)


def test_an_index_grows_with_its_run(tmp_path: Path) -> None:
    pytest.importorskip("hnswlib")
    run = own("softmax", tmp_path / "run")
    run.build_index()
    run.save_index()
    run.update(GIVEN)
    assert run.index is not None
    assert run.index.n_items == 30
    again = tabcf.load(tmp_path / "run")
    same(again.recommend([1], index=True), run.recommend([1], index=True))
    again.build_index(m=8)
    again.save_index()
    added = tabcf.load(tmp_path / "run").index
    assert added is not None
    assert added.m == 8
    again.rollback()
    assert again.index is not None
    assert again.index.n_items == 26


@pytest.mark.parametrize(
    ("name", "events", "options", "message"),
    [
        ("dot_product_bias", NEW.drop(columns="rating"), {}, "no column 'rating'"),
        ("dot_product_bias", NEW.assign(rating=3), {}, "on none of the levels 1, 5"),
        ("dot_product_bias", NEW.astype({"user_id": str}), {}, "expected whole numbers as in"),
        ("dot_product_bias", NEW, {"replay": 1.5}, "replay: expected a share from 0 to 1"),
        ("dot_product_bias", NEW, {"epochs": 0}, "epochs: expected at least 1"),
        ("dot_product_bias", NEW, {"learning_rate": 0.0}, "learning_rate: expected above 0"),
        ("dot_product_bias", NEW, {"tables": {"film": NEW}}, "no entity 'film'; known: user, item"),
        ("softmax", NEW.assign(rating=1), {}, "expected events to learn from, got none"),
        ("ials", NEW, {"epochs": 3}, "ials is not trained but solved anew .* leave `epochs` out"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    name: str, events: pd.DataFrame, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    run = own(name, tmp_path / "run")
    files = sorted((tmp_path / "run").rglob("*"))
    with pytest.raises((DataError, RunError), match=message):
        run.update(events, **options)
    assert sorted((tmp_path / "run").rglob("*")) == files
    assert run.version == 1


def test_what_a_model_cannot_take_is_refused(tmp_path: Path) -> None:
    run = own("ease", tmp_path / "run")
    with pytest.raises(RunError, match="EASE cannot take new users or items"):
        run.extend(GIVEN)
    with pytest.raises(DataError, match="expected new rows, or tables"):
        run.extend()
    assert not (tmp_path / "run" / "versions").exists()


KILLED = """
import os, signal, sys
from importlib import import_module
import pandas as pd
import tabcf
run = tabcf.load(sys.argv[1])
def killed(*given, **named):
    os.kill(os.getpid(), signal.SIGKILL)
module, _, name = sys.argv[2].rpartition(".")
setattr(import_module(module), name, killed)
run.extend(pd.read_csv(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grow")
    own("dot_product_bias", folder / "run")
    GIVEN.to_csv(folder / "new.csv", index=False)
    return folder


@pytest.mark.parametrize(
    "step",
    ["tabcf.run.folder.save_weights", "tabcf.run.versions._sync", "tabcf.run.versions._write"],
)
def test_killed_in_between_a_run_stays_what_it_was(step: str, saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved / "run", tmp_path / "run")
    before = tabcf.load(folder).predict(ALL)
    command = [sys.executable, "-c", KILLED, str(folder), step, str(saved / "new.csv")]
    assert subprocess.run(command, check=False).returncode == -9
    assert (folder / "versions").exists()
    run = tabcf.load(folder)
    assert [v.version for v in run.versions()] == [1]
    same(run.predict(ALL), before)
    assert run.extend(saved / "new.csv").version == 2
    assert sorted(path.name for path in (folder / "versions").iterdir()) == ["2"]
    assert error(tabcf.load(folder), HELD) < 1.2


def test_a_version_is_loaded_without_going_back(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved / "run", tmp_path / "run")
    run = tabcf.load(folder)
    before = run.predict(ALL)
    run.update(GIVEN)
    same(tabcf.load(folder, version=1).predict(ALL), before)
    assert tabcf.load(folder).version == 2
    with pytest.raises(RunError, match="no version 3; there are: 1, 2"):
        tabcf.load(folder, version=3)
    with pytest.raises(RunError, match="grows from version 1, but version 2 is in use by now"):
        tabcf.load(folder, version=1).extend(GIVEN)
    copy = run.save(tmp_path / "copy")
    assert [v.version for v in tabcf.load(copy).versions()] == [1]
    same(tabcf.load(copy).predict(ALL), run.predict(ALL))


PLUGIN = """\
tabcf_plugin: 1
name: night
version: '1'
columns:
  daypart: {hour_bins: {from: timestamp, edges: [6, 18]}}
  kind: {mapping: {from: item_id, table: kinds.csv, value: kind}}
"""


def test_a_version_has_its_plugins_with_it(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "night.yaml").write_text(PLUGIN)
    kinds = [f"{item},k{item % 3}" for item in range(30)]
    (shelf / "kinds.csv").write_text("\n".join(["item_id,kind", *kinds, ""]))
    spec = _base(
        plugins=[str(shelf / "night.yaml")],
        columns={"at": "night/daypart", "kind": "night/kind"},
        **RATED["embedding_nn"],
    )
    tabcf.fit(spec, OLD, tmp_path / "run", plugins=["no:*"])
    shutil.rmtree(shelf)
    run = tabcf.load(tmp_path / "run")
    run.update(GIVEN)
    again = tabcf.load(tmp_path / "run")
    same(again.predict(ALL), run.predict(ALL))
    assert (tmp_path / "run" / "versions" / "2" / "plugins" / "night.yaml").is_file()
    (tmp_path / "run" / "versions" / "2" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match=r"versions/2: the file weights\.safetensors was changed"):
        tabcf.load(tmp_path / "run")
    again.rollback()
    assert tabcf.load(tmp_path / "run").version == 1
