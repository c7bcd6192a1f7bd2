"""New users at the command line: lists, predictions and the learning curve."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

import tabcf
from tabcf.testing import tiny_ratings
from tests.unit.cli.test_cli import call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of forty users of two kinds, ten of them kept from training, and a newcomer's file."""
    folder = tmp_path_factory.mktemp("newcomers")
    ratings = tiny_ratings(n_users=50, n_items=30)
    ratings.to_csv(folder / "ratings.csv", index=False)
    kinds = pd.DataFrame({"user_id": range(50), "kind": ["even", "odd"] * 25})
    kinds.to_csv(folder / "users.csv", index=False)
    spec = {
        "tabcf": 1,
        "data": str(folder / "ratings.csv"),
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {
            "user": {
                "id": "user_id",
                "table": str(folder / "users.csv"),
                "columns": {"kind": "category"},
            },
            "item": {"id": "item_id"},
        },
        "split": {"cold": {"side": "user", "valid": 0, "test": 0.2}},
        "model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}},
        "train": {"epochs": 40, "batch_size": 32, "learning_rate": 0.03, "weight_decay": 0.0},
    }
    tabcf.fit(spec, out=folder / "run")
    given = pd.DataFrame({"item_id": range(6), "rating": [5, 1] * 3}).assign(user_id=900)
    given.to_csv(folder / "new.csv", index=False)
    return folder


def test_lists_for_users_of_a_file_of_events(folder: Path) -> None:
    run, new = str(folder / "run"), str(folder / "new.csv")
    code, printed, _ = call("recommend", run, "--interactions", new, "-k", "4", "--json")
    assert code == 0
    found = pd.DataFrame(json.loads(printed))
    expected = tabcf.load(run).fold_in(new).recommend(k=4)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert (found["item_id"] % 2 == 0).all()
    _, printed, _ = call("recommend", run, "--interactions", new, "-k", "4", "--deny", "8", "--csv")
    assert 8 not in pd.read_csv(StringIO(printed))["item_id"].tolist()


def test_re_rankers_order_the_lists_of_new_users(folder: Path) -> None:
    run, new = str(folder / "run"), str(folder / "new.csv")
    named = "mmr: 0.9"
    given = ["recommend", run, "--interactions", new, "-k", "4", "--json"]
    listed = {}
    for options in ((), ("--rerank", named), ("--no-rerank",)):
        code, printed, said = call(*given, *options)
        assert code == 0, said
        listed[options[:1]] = pd.DataFrame(json.loads(printed))
    expected = tabcf.load(run).fold_in(new).recommend(k=4, rerank={"mmr": 0.9})
    pd.testing.assert_frame_equal(listed["--rerank",], expected, check_dtype=False)
    assert listed["--rerank",]["item_id"].tolist() != listed[()]["item_id"].tolist()
    assert listed["--no-rerank",].equals(listed[()])


def test_attributes_may_come_beside_events(folder: Path) -> None:
    kinds = folder / "kinds.csv"
    pd.DataFrame({"user_id": [900], "kind": ["even"]}).to_csv(kinds, index=False)
    run, new = str(folder / "run"), str(folder / "new.csv")
    asked = ("recommend", run, "--interactions", new, "--users", str(kinds), "--csv")
    code, printed, _ = call(*asked)
    assert code == 0
    expected = tabcf.load(run).fold_in(new, attributes=kinds).recommend()
    scores = pd.read_csv(StringIO(printed))["score"]
    assert scores.tolist() == pytest.approx(expected["score"].tolist())
    without = tabcf.load(run).fold_in(new).recommend()
    assert scores.tolist() != pytest.approx(without["score"].tolist())


def test_predictions_for_users_of_a_file_of_events(folder: Path) -> None:
    pairs = folder / "pairs.csv"
    pd.DataFrame({"user_id": [900, 900, 1], "item_id": [10, 11, 10]}).to_csv(pairs, index=False)
    run, new = str(folder / "run"), str(folder / "new.csv")
    code, printed, _ = call("predict", run, str(pairs), "--interactions", new, "--csv")
    assert code == 0
    found = pd.read_csv(StringIO(printed))
    assert found["prediction"][0] > 4 > 2 > found["prediction"][1]
    assert found["basis"].tolist()[:2] == ["6 events", "6 events"]


def test_the_learning_curve_is_printed_and_drawn(folder: Path) -> None:
    run, picture = str(folder / "run"), folder / "curve.svg"
    asked = ("learning-curve", run, "--counts", "0,2,8", "--as-they-come", "--csv")
    code, printed, _ = call(*asked, "--plot", str(picture))
    assert code == 0
    found = pd.read_csv(StringIO(printed))
    assert found["n"].tolist() == [0, 2, 8]
    assert {"rmse", "rmse without attributes"} <= set(found)
    assert found["rmse without attributes"][2] < found["rmse without attributes"][0]
    text = picture.read_text(encoding="utf-8")
    assert text.count('<g id="axes_') == len(found.columns[2:]) // 2
    code, printed, _ = call("learning-curve", run, str(folder / "ratings.csv"), *asked[2:])
    pd.testing.assert_frame_equal(pd.read_csv(StringIO(printed)), found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recommend", "RUN"), "give --user, --users or --interactions"),
        (
            ("recommend", "RUN", "--interactions", "NEW", "--user", "3"),
            "--user does not go with --interactions",
        ),
        (
            ("recommend", "RUN", "--interactions", "NEW", "--retrieved", "5"),
            "--retrieved does not go with --interactions",
        ),
        (("recommend", "RUN", "--interactions", "nowhere.csv"), "no file 'nowhere.csv'"),
        (("learning-curve", "RUN", "--counts", "few"), "--counts: expected numbers such as 0,1,5"),
        (("learning-curve", "RUN", "--by", "day"), "no column 'day' that says which events"),
        (
            ("learning-curve", "RUN", "NEW", "--as-they-come"),
            "no new 'user_id' has more than 20 events",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    places = {"RUN": str(folder / "run"), "NEW": str(folder / "new.csv")}
    code, _, said = call(*(places.get(argument, argument) for argument in arguments))
    assert code == 2
    assert message in " ".join(said.split())
