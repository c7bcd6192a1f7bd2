"""An id that nobody has, given to every method and command: an answer that says it is cold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest

import tabcf
from tabcf.recommend.onboarding.interview import Interview
from tabcf.testing import tiny_ratings
from tests.unit.cli.test_cli import call

USER, ITEM = 999, 888
AVERAGE = "cold: average"
BOTH = "cold user: average; cold item: average"


def _rows() -> pd.DataFrame:
    """A cold user, a cold item, and both."""
    return pd.DataFrame(
        {
            "user_id": [USER, 1, USER],
            "item_id": [1, ITEM, ITEM],
            "rating": [1, 5, 5],
            "timestamp": [1, 2, 3],
        }
    )


@pytest.fixture(scope="module")
def run() -> tabcf.Run:
    spec = {
        "tabcf": 1,
        "name": "known",
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}},
        "split": {"random": {"valid": 0, "test": 0.1}},
        "metrics": ["rmse", {"ndcg": 5}],
        "train": {"epochs": 3, "batch_size": 32},
    }
    return tabcf.fit(spec, tiny_ratings())


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> tabcf.Run:
    """Items have a table and a column of it; one of them has no event."""
    ids = [*range(20), ITEM]
    titles = [f"film {id}" for id in ids]
    items = pd.DataFrame({"item_id": ids, "kind": ["odd", "even", "even"] * 7, "title": titles})
    path = tmp_path_factory.mktemp("described") / "items.csv"
    items.to_csv(path, index=False)
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {
            "user": {"id": "user_id"},
            "item": {"id": "item_id", "table": str(path), "label": "title"},
        },
        "columns": {"item.kind": "category"},
        "model": {"dot_product": {"factors": 4, "y_range": [0, 6]}},
        "split": {"random": {"valid": 0, "test": 0.1}},
        "train": {"epochs": 1, "batch_size": 32},
    }
    return tabcf.fit(spec, tiny_ratings())


def _basis(frame: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(frame["basis"]))


def _told(run: tabcf.Run, *items: int) -> Interview:
    """An interview whose user named items, liked, before the first question."""
    interview = run.interview("popularity")
    for item in items:
        interview.answer(item, 5)
    return interview


def _resumed(run: tabcf.Run) -> Interview:
    with TemporaryDirectory() as folder:
        path = _told(run, ITEM).save(Path(folder) / "saved.json")
        return run.interview(resume=path)


METHODS: dict[str, tuple[Callable[[tabcf.Run], Any], list[str]]] = {
    "predict": (
        lambda run: run.predict(_rows()),
        ["cold user: average", "cold item: average", BOTH],
    ),
    "recommend": (lambda run: run.recommend([USER, 1], k=3), [AVERAGE, "trained"]),
    "recommend attributes": (
        lambda run: run.recommend(pd.DataFrame({"user_id": [USER]}), k=3),
        [AVERAGE],
    ),
    "recommend re-ranked": (lambda run: run.recommend(USER, k=3, rerank={"mmr": {}}), [AVERAGE]),
    "candidates": (
        lambda run: run.recommend(1, candidates=[ITEM]),
        ["trained; cold item: average"],
    ),
    "deny": (lambda run: run.recommend(1, deny=[ITEM], k=3), ["trained"]),
    "similar item": (lambda run: run.similar("item", ITEM, 3), [AVERAGE]),
    "similar user": (lambda run: run.similar("user", USER, 3), [AVERAGE]),
    "neighbours": (lambda run: run.inspection.neighbours("item", ITEM, 3), [AVERAGE]),
    "fold_in": (lambda run: run.fold_in(_rows()[2:]).recommend(k=3), ["1 event"]),
    "fold_in predict": (
        lambda run: run.fold_in(_rows()[2:]).predict(_rows()[2:]),
        ["1 event; cold item: average"],
    ),
    "fold_in items": (
        lambda run: run.fold_in(_rows()[2:], entity="item").recommend(USER, k=30, only_new=True),
        [AVERAGE],
    ),
    "fold_in re-ranked": (
        lambda run: run.fold_in(_rows()[2:]).recommend(k=3, rerank={"mmr": {}}),
        ["1 event"],
    ),
    "where, a first stage and an index": (
        lambda run: run.recommend(USER, k=3, where="item_id < 9", retrieve=run, index=False),
        [AVERAGE],
    ),
    "interview": (lambda run: _told(run, ITEM).recommend(3), ["1 event"]),
    "interview's answers": (
        lambda run: _told(run, 1, ITEM).ratings,
        ["trained", "cold item: average"],
    ),
    "resumed interview": (lambda run: _resumed(run).ratings, ["cold item: average"]),
    "fold_in nothing": (
        lambda run: run.fold_in(attributes=pd.DataFrame({"user_id": [USER]})).recommend(k=3),
        [AVERAGE],
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_that_an_id_is_cold(run: tabcf.Run, name: str) -> None:
    method, basis = METHODS[name]
    found = method(run)
    assert len(found)
    assert _basis(found) == basis


@pytest.mark.parametrize(
    ("user", "item", "basis"),
    [
        (USER, 1, "cold user: average"),
        (1, ITEM, "cold item: average"),
        (USER, ITEM, BOTH),
        (1, 1, "trained"),
    ],
)
def test_why_says_who_is_cold(run: tabcf.Run, user: int, item: int, basis: str) -> None:
    why = run.inspection.why(user, item)
    pair = pd.DataFrame({"user_id": [user], "item_id": [item]})
    assert why.basis == basis
    assert why.score == pytest.approx(run.predict(pair)["prediction"][0], abs=1e-5)
    assert (f"({basis})" in str(why)) is (basis != "trained")


def test_a_crosstab_marks_who_is_cold(run: tabcf.Run) -> None:
    found = run.inspection.crosstab([1, USER], [2, ITEM])
    assert found.values.index.tolist() == [1, "999 (cold: average)"]
    assert found.values.columns.tolist() == [2, "888 (cold: average)"]
    assert not found.is_known.iloc[1].any()
    predicted = run.predict(pd.DataFrame({"user_id": [USER], "item_id": [ITEM]}))["prediction"]
    assert found.values.iloc[1, 1] == pytest.approx(predicted[0])


def test_measures_count_the_cold(run: tabcf.Run) -> None:
    groups = run.evaluate(_rows()).groups.set_index("group")
    assert groups["n_rows"].to_dict() == {"cold user": 1, "cold item": 1, "cold both": 1}
    assert groups["rmse"].notna().all()
    assert run.evaluate_groups(_rows())["group"].tolist() == list(groups.index)
    users = run.evaluate_users(_rows()).set_index("user_id")
    assert users["n_train"][USER] == 0
    assert run.count_users(_rows())[0] == 2
    calibration = run.inspection.calibration(_rows(), n_bins=2)
    assert "no events" in set(calibration["band"])
    assert run.audit([], data=_rows()) is not None
    assert len(run.compare_policies([], [], data=_rows())) == 1
    newcomer = tiny_ratings().query("user_id == 3").assign(user_id=USER)
    assert run.learning_curve(newcomer, at=[0, 2])["n_users"].tolist() == [1, 1]
    replay = run.replay_interviews(newcomer, at=[1], selectors=["popularity"])
    assert replay.summary()["n_users"].tolist() == [1]


@pytest.mark.parametrize("selector", ["rehearsed", "tree", "d_optimal", "entropy0", "popularity"])
def test_an_answer_about_an_unknown_item_is_taken(run: tabcf.Run, selector: str) -> None:
    """Selectors go on as if it had not come; the list may change, and undo takes it back."""
    interview = run.interview(selector)
    asked, before = interview.ask(3), interview.recommend(5)
    assert interview.answer(ITEM, 1) == "cold item: average"
    assert interview.ask(3).equals(asked)
    assert interview.ratings["item_id"].tolist() == [ITEM]
    assert _basis(interview.recommend(5)) == ["1 event"]
    with pytest.raises(tabcf.TabcfError, match="item_id 888 is answered already"):
        interview.answer(ITEM, 5)
    assert interview.undo() == ITEM
    pd.testing.assert_frame_equal(interview.recommend(5), before)
    assert interview.answer(1, 5) == "trained"


def test_attributes_speak_for_an_item_without_events(described: tabcf.Run) -> None:
    interview = described.interview("popularity")
    assert interview.answer("film 888", 5) == "cold item: attributes"
    assert interview.answer(777, 5) == "cold item: average"
    ratings = interview.ratings
    assert ratings["item_id"].tolist() == [ITEM, 777]
    assert ratings["title"].fillna("").tolist() == ["film 888", ""]
    with pytest.raises(tabcf.TabcfError, match="'film 99' is unknown; did you mean item_id"):
        interview.answer("film 99", 5)


@pytest.mark.parametrize("model", ["ease", "popular"])
def test_a_model_without_rows_takes_one_too(model: str) -> None:
    spec = {
        "tabcf": 1,
        "target": {"implicit": {"positive": "rating >= 5"}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": model,
    }
    run = tabcf.fit(spec, tiny_ratings())
    interview = run.interview("popularity")
    assert interview.answer(ITEM, "like") == "cold item: average"
    assert len(interview.recommend(3)) == 3
    frame = run.fold_in(_rows()[2:].assign(rating=5)).recommend(k=3)
    assert len(frame) == 3


def test_growing_says_who_was_unknown_and_knows_them_afterwards(
    folder: Path, tmp_path: Path
) -> None:
    grown = tabcf.load(shutil.copytree(folder / "run", tmp_path / "run"))
    growth = grown.extend(_rows())
    assert growth.drift is not None
    assert growth.drift.unknown["user"] > 0
    assert growth.rested == {"user": "events", "item": "events"}
    assert _basis(grown.predict(_rows())) == ["trained"]
    newer = pd.DataFrame({"user_id": [777], "item_id": [776], "rating": [5], "timestamp": [4]})
    assert grown.update(newer).added == {"user": 1, "item": 1}
    assert _basis(grown.predict(newer)) == ["trained"]


def test_attributes_stand_in_for_events(described: tabcf.Run) -> None:
    rows = pd.DataFrame({"user_id": [1, 1, USER], "item_id": [ITEM, 777, ITEM]})
    assert described.predict(rows)["basis"].tolist() == [
        "cold item: attributes",
        "cold item: average",
        "cold user: average; cold item: attributes",
    ]
    lists = described.recommend(1, candidates=[ITEM, 2], exclude_seen=False).set_index("item_id")
    assert lists["basis"].to_dict() == {ITEM: "trained; cold item: attributes", 2: "trained"}
    assert described.inspection.why(1, "film 888").basis == "cold item: attributes"
    crosstab = described.inspection.crosstab([1], [2, ITEM])
    assert crosstab.values.columns.tolist() == ["film 2", "film 888 (cold: attributes)"]
    with pytest.raises(tabcf.TabcfError, match="'film 99' is unknown; did you mean item_id"):
        described.similar("item", "film 99")


COMMANDS: dict[str, tuple[list[str], str]] = {
    "predict": (["predict", "RUN", "ROWS", "--csv"], BOTH),
    "recommend": (["recommend", "RUN", "--user", str(USER)], AVERAGE),
    "recommend --users": (["recommend", "RUN", "--users", "ROWS", "--csv"], AVERAGE),
    "similar --item": (["similar", "RUN", "--item", str(ITEM)], AVERAGE),
    "similar --user": (["similar", "RUN", "--user", str(USER)], AVERAGE),
    "inspect --why": (["inspect", "RUN", "--why", str(USER), str(ITEM)], BOTH),
    "inspect --neighbours": (["inspect", "RUN", "--neighbours", str(ITEM)], AVERAGE),
    "inspect --calibration": (["inspect", "RUN", "--calibration", "ROWS"], "no events"),
    "evaluate": (["evaluate", "RUN", "ROWS"], "cold both"),
    "evaluate --groups": (["evaluate", "RUN", "ROWS", "--groups"], "cold both"),
    "audit": (["audit", "RUN", "--data", "ROWS"], "have nothing to find"),
    "recommend --deny": (
        ["recommend", "RUN", "--user", str(USER), "--deny", str(ITEM), "--retrieve", "RUN"],
        AVERAGE,
    ),
    "recommend --interactions": (
        ["recommend", "RUN", "--interactions", "ROWS", "--rerank", "mmr", "--csv"],
        "2 events",
    ),
    "predict --interactions": (
        ["predict", "RUN", "ROWS", "--interactions", "ROWS", "--csv"],
        "2 events; cold item: average",
    ),
    "onboard": (
        ["onboard", "RUN", "--answer", f"{ITEM}=5", "--questions", "1"],
        f"item_id {ITEM}: cold item: average",
    ),
}


@pytest.fixture(scope="module")
def folder(run: tabcf.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unknown")
    run.save(folder / "run")
    _rows().to_csv(folder / "rows.csv", index=False)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_that_an_id_is_cold(folder: Path, name: str) -> None:
    arguments, expected = COMMANDS[name]
    places = {"RUN": str(folder / "run"), "ROWS": str(folder / "rows.csv")}
    code, printed, said = call(*(places.get(argument, argument) for argument in arguments))
    assert code == 0, said
    assert expected in " ".join(printed.split())


def test_machines_read_it_too(folder: Path) -> None:
    code, printed, _ = call("evaluate", str(folder / "run"), str(folder / "rows.csv"), "--json")
    assert code == 0
    assert json.loads(printed)["dot_product_bias, cold both"]["n_rows"] == 1
