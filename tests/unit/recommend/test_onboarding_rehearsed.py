"""Rehearsed interviews: what answers do, and which questions come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.contracts.selector import PastAnswers
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.onboarding.past import past_answers
from tabcf.recommend.onboarding.rehearsal import Interviews
from tabcf.recommend.onboarding.rehearsed import Rehearsed
from tabcf.testing import tiny_ratings
from tests.unit.recommend.test_onboarding_rankings import past_of

RATINGS: dict[str, Any] = {
    "tabcf": 1,
    "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product_bias": {"factors": 3}},
    "loss": "mse",
    "split": {"random": {"valid": 0, "test": 0.1}},
    "train": {"epochs": 8, "batch_size": 32, "learning_rate": 0.03},
}
LIKES = {
    **RATINGS,
    "target": {"implicit": {"positive": "rating >= 4"}},
    "model": {"dot_product": {"factors": 3}},
    "loss": "softmax",
}


def interviews_of(spec: dict[str, Any], n: int = 30) -> tuple[tabcf.Run, Interviews]:
    run = tabcf.fit(spec, tiny_ratings(n_users=40), plugins=["no:*"])
    return run, Interviews(FoldIn(run.trained, "user"), past_answers(run.trained), pool=10, n=n)


@pytest.fixture(scope="module")
def rated() -> tuple[tabcf.Run, Interviews]:
    return interviews_of(RATINGS)


def first_known(interviews: Interviews) -> np.ndarray:
    """One item that each knows, by its column; -1 where there is none."""
    is_known = ~np.isnan(interviews.answers)
    return np.where(is_known.any(1), is_known.argmax(1), -1)


@pytest.mark.parametrize("spec", [RATINGS, LIKES], ids=["rating", "implicit"])
def test_the_gain_is_what_asking_brings(spec: dict[str, Any]) -> None:
    _, interviews = interviews_of(spec)
    for _ in range(2):
        columns = first_known(interviews)
        gains = interviews.gains()[np.arange(len(interviews)), columns]
        before = interviews.quality()
        interviews.ask(columns)
        assert interviews.quality() - before == pytest.approx(gains.mean(), abs=1e-6)
        interviews.answers[np.arange(len(interviews)), columns] = np.nan


def test_nothing_is_gained_where_an_item_is_not_known(rated: tuple[tabcf.Run, Interviews]) -> None:
    gains = rated[1].gains()
    assert (gains[np.isnan(rated[1].answers)] == 0).all()
    assert (gains != 0).any()


def test_rows_are_those_of_fold_in() -> None:
    """Of a model that is linear in its rows, with squared errors."""
    run, interviews = interviews_of(RATINGS)
    columns = first_known(interviews)
    value = interviews.answers[0, columns[0]]
    item = interviews.items[columns[0]]
    interviews.ask(columns)
    folded = run.fold_in(pd.DataFrame({"item_id": [item], "rating": [value]})).posterior
    np.testing.assert_allclose(interviews._beliefs.mean[0], folded.mean[0], atol=1e-5)
    np.testing.assert_allclose(interviews._beliefs.covariance[0], folded.covariance[0], atol=1e-5)


class Planted:
    """Half of eighty interviews like `a`: `b` helps them, and `c` the others; `d` is for nobody."""

    items: Sequence[Any] = "abcd"

    def __init__(self) -> None:
        likes = np.arange(80) % 2 == 0
        self.answers = np.full((80, 4), 5.0)
        self.answers[~likes, 0] = 1.0
        self.answers[::10, 0] = np.nan
        self._help = np.stack([np.full(80, 3.0), 2.0 * likes, 1.5 * ~likes, np.zeros(80)], 1)
        self.asked: list[np.ndarray] = []

    def gains(self) -> np.ndarray:
        return np.where(np.isnan(self.answers), 0.0, self._help)

    def ask(self, columns: np.ndarray) -> None:
        self.asked.append(columns)


def rehearsed(planted: Planted, strength: float, depth: int = 2) -> Rehearsed:
    past: PastAnswers = past_of({(0, "a"): 3.0}, items="abcde")
    past = replace(past, rehearse=lambda pool, n: planted)
    return Rehearsed(past, depth=depth, pool=4, interviews=80, strength=strength, like=3.0)


def test_an_answer_leads_to_the_question_that_helped_those_who_gave_it() -> None:
    selector = rehearsed(Planted(), 1e-3)
    assert selector.select(1, [], []) == ["a"]
    assert selector.select(1, ["a"], [5.0]) == ["b"]
    assert selector.select(1, ["a"], [1.0]) == ["c"]


def test_strength_makes_everybody_alike() -> None:
    planted = Planted()
    selector = rehearsed(planted, 1e6)
    assert selector.select(1, ["a"], [5.0]) == selector.select(1, ["a"], [1.0]) == ["b"]
    assert [set(columns) for columns in planted.asked] == [{0}, {1}]


def test_behind_the_rehearsed_questions_are_all_items_once() -> None:
    selector = rehearsed(Planted(), 1e6, depth=1)
    assert selector.select(9, [], []) == ["a", "b", "c", "d", "e"]
    assert selector.select(9, ["c"], [None]) == ["a", "b", "d", "e"]


def test_all_users_of_a_run_share_the_rehearsal(rated: tuple[tabcf.Run, Interviews]) -> None:
    run, _ = rated
    first, second = (run.interview("rehearsed") for _ in range(2))
    assert first._selector is second._selector
    assert run.interview({"rehearsed": 3})._selector is not first._selector
    assert first.ask(20)["item_id"].nunique() == 20
