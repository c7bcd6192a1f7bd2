"""`tabcf simulate`: a run in a feedback loop, printed, drawn and taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tabcf
from tabcf.testing import tiny_ratings
from tests.unit.cli.test_cli import call

SETTINGS = ("--rounds", "2", "-k", "3", "--share", "0.3", "--seed", "0", "--seed", "1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    spec = {
        "tabcf": 1,
        "target": {"implicit": {"positive": "rating >= 4"}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"ease": {"l2": 1.0}},
    }
    folder = tmp_path_factory.mktemp("runs") / "ease"
    tabcf.fit(spec, tiny_ratings(), folder)
    return str(folder)


def test_the_last_round_is_a_table_and_all_rounds_a_picture(run: str, tmp_path: Path) -> None:
    picture = tmp_path / "loop.svg"
    code, printed, told = call("simulate", run, *SETTINGS, "--plot", str(picture))
    assert (code, told.strip()) == (0, str(picture))
    assert "round 2, mean over 2 seeds" in printed
    for text in ("no recommender", "model", "popular", "random", "gini(lists)", "homogeneity"):
        assert text in printed
    assert "<!-- homogeneity -->" in picture.read_text(encoding="utf-8")


def test_rounds_as_json_are_those_of_python(run: str, tmp_path: Path) -> None:
    state = str(tmp_path / "state.json")
    asked = ("simulate", run, "--policy", "model", *SETTINGS, "--utility", run, "--state", state)
    code, printed, _ = call(*asked, "--json")
    assert code == 0
    rows = json.loads(printed)
    loaded = tabcf.load(run)
    expected = loaded.simulate(
        ["model"], rounds=2, k=3, share=0.3, seeds=(0, 1), utility=loaded
    ).rounds
    assert [row["policy"] for row in rows] == expected["policy"].tolist()
    assert [row["utility"] for row in rows] == pytest.approx(expected["utility"].tolist())
    assert call(*asked, "--json")[1] == printed
    code, _, error = call(*asked, "--rounds", "3")
    assert code == 2
    assert "holds a simulation of another population or other settings" in error


def test_policies_are_written_in_yaml(run: str) -> None:
    code, printed, _ = call(
        "simulate", run, "--policy", "model", "--policy", "popularity_penalty: 0.3", *SETTINGS
    )
    assert code == 0
    assert "popularity_penalty: 0.3" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--policy", "best"), "policies: no 'best'; known: model, popular, random"),
        (("--policy", "train: {user_weights: 1}"), "weights go with gradient descent"),
        (("--group", "genres=War"), "expected such as item.genres=Animation"),
    ],
)
def test_a_mistake_is_one_line(run: str, options: tuple[str, ...], message: str) -> None:
    code, printed, error = call("simulate", run, *options)
    assert (code, printed) == (2, "")
    assert message in error
    assert len(error.strip().splitlines()) == 1
