"""Recommenders of a simulation, each by what it must list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.audit.loop_policies import (
    PopularPolicy,
    RandomPolicy,
    Reranked,
    ScoresPolicy,
    ease_scores,
    top_lists,
)

USERS = np.array([0, 0, 1, 1, 2, 3])
ITEMS = np.array([0, 1, 0, 1, 0, 2])


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _seen() -> np.ndarray:
    seen = np.zeros((4, 4), dtype=bool)
    seen[USERS, ITEMS] = True
    return seen


@given(st.integers(0, 1000), st.integers(1, 7))
def test_top_lists_are_a_stable_sort_of_what_was_not_seen(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores, seen = rng.normal(size=(3, 5)), rng.random((3, 5)) < 0.4
    lists = top_lists(scores, seen, k, rng)
    for user in range(3):
        free = [item for item in np.argsort(-scores[user]) if not seen[user, item]][:k]
        assert lists[user].tolist() == free + [-1] * (k - len(free))


def test_ties_are_in_another_order_for_each_user() -> None:
    scores, seen = np.zeros((2000, 4)), np.zeros((2000, 4), dtype=bool)
    first = np.bincount(top_lists(scores, seen, 1, _rng())[:, 0], minlength=4)
    assert first == pytest.approx(500, abs=4 * np.sqrt(2000 * 0.25 * 0.75))


def test_random_lists_are_even_and_without_what_was_seen() -> None:
    seen = np.zeros((3000, 4), dtype=bool)
    seen[:, 3] = True
    lists = RandomPolicy().lists(seen, 2, _rng())
    assert (lists[:, 0] != lists[:, 1]).all()
    assert np.bincount(lists.ravel(), minlength=4)[:3] == pytest.approx(2000, abs=110)
    assert (lists < 3).all()


def test_popular_lists_are_by_number_of_choices() -> None:
    policy = PopularPolicy()
    policy.learn(USERS, ITEMS, _rng())
    assert policy.lists(_seen(), 3, _rng()).tolist() == [
        [2, 3, -1],
        [2, 3, -1],
        [1, 2, 3],
        [0, 1, 3],
    ]


def test_ease_scores_are_those_of_the_formula() -> None:
    had = _seen().astype(float)
    inverse = np.linalg.inv(had.T @ had + 2.0 * np.eye(4))
    weights = -inverse / np.diag(inverse)[None]
    np.fill_diagonal(weights, 0.0)
    scores = ease_scores(4, 4, l2=2.0)(USERS, ITEMS, _rng())
    assert scores == pytest.approx(had @ weights)
    policy = ScoresPolicy(ease_scores(4, 4, l2=2.0))
    policy.learn(USERS, ITEMS, _rng())
    assert policy.lists(_seen(), 1, _rng())[2, 0] == 1


def test_reranked_lists_are_made_of_the_scores() -> None:
    told = []

    def worst(scores: np.ndarray, seen: np.ndarray, k: int) -> np.ndarray:
        told.append((scores, seen, k))
        return np.argsort(np.where(seen, np.inf, scores), axis=1)[:, :k]

    scores = np.arange(16.0).reshape(4, 4)
    policy = Reranked(ScoresPolicy(lambda users, items, rng: scores), worst)
    policy.learn(USERS, ITEMS, _rng())
    assert policy.lists(_seen(), 1, _rng()).tolist() == [[2], [2], [1], [0]]
    assert told[0][0] is scores
    assert told[0][2] == 1
