"""Orders of questions by hand: four users, four items."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.selector import PastAnswers
from tabcf.contracts.target import TargetInfo
from tabcf.recommend.onboarding import rankings
from tabcf.recommend.onboarding.knowledge import Knowledge
from tabcf.recommend.onboarding.rankings import (
    FixedOrder,
    RandomOrder,
    by_score,
    entropy0,
    helf,
    log_pop_entropy,
    popularity,
)

RATING = TargetInfo("rating", ("rating",), levels=(1, 3, 5))


def past_of(
    answers: dict[tuple[int, str], float],
    *,
    items: str = "abcd",
    target: TargetInfo = RATING,
    n_users: int = 4,
) -> PastAnswers:
    """Answers by user and item."""
    return PastAnswers(
        list(items),
        n_users,
        np.array([user for user, _ in answers], dtype=np.int64),
        np.array([items.index(item) for _, item in answers], dtype=np.int64),
        np.array(list(answers.values()), dtype=np.float64),
        target,
    )


# Everybody gave `a` 5; two of four had `b` and gave 1 and 5; one had `c`; nobody had `d`.
PAST = past_of({**{(u, "a"): 5 for u in range(4)}, (0, "b"): 1, (1, "b"): 5, (2, "c"): 3})


def test_popularity_counts_users() -> None:
    assert popularity(PAST).tolist() == [4, 2, 1, 0]


def test_entropy0_has_the_unrated_as_a_kind_of_its_own() -> None:
    # b: shares 1/2, 1/4, 0, 1/4, each half a bit; c: 3/4 of 0.415 bits and 1/4 of two.
    c = 0.75 * np.log2(4 / 3) + 0.25 * 2
    assert entropy0(PAST, unrated_weight=1.0) == pytest.approx([0, 1.5 / 4, c / 4, 0])
    c = 0.5 * 0.75 * np.log2(4 / 3) + 0.25 * 2
    assert entropy0(PAST, unrated_weight=0.5) == pytest.approx([0, 1.25 / 3.5, c / 3.5, 0])
    assert entropy0(PAST, unrated_weight=0.0) == pytest.approx([0, 1 / 3, 0.5 / 3, 0])


def test_log_popularity_times_entropy() -> None:
    assert log_pop_entropy(PAST) == pytest.approx([0, 1, 0, 0])


def test_helf_is_a_harmonic_mean() -> None:
    frequency, entropy = np.log(2) / np.log(4), 1 / np.log2(3)
    b = 2 * frequency * entropy / (frequency + entropy)
    assert helf(PAST) == pytest.approx([0, b, 0, 0])
    assert b == pytest.approx(0.558, abs=1e-3)


def test_equal_scores_go_by_popularity() -> None:
    order = by_score(PAST, log_pop_entropy(PAST))
    assert order.select(9, [], []) == ["b", "a", "c", "d"]
    assert order.select(2, ["b", "c"], [1.0, None]) == ["a", "d"]


def test_many_different_numbers_become_ten_groups() -> None:
    answers = {(user, "a"): float(user) for user in range(100)}
    past = past_of(answers, target=TargetInfo("regression", ("y",)), n_users=100)
    assert log_pop_entropy(past)[0] == pytest.approx(np.log2(100) * np.log2(10))


def test_without_answers_every_order_is_that_of_the_catalogue() -> None:
    past = past_of({})
    for score in (entropy0(past, unrated_weight=0.5), log_pop_entropy(past), helf(past)):
        assert by_score(past, score).select(4, [], []) == ["a", "b", "c", "d"]


@given(st.lists(st.sampled_from("abcd"), unique=True), st.integers(1, 6))
def test_random_draws_what_was_not_asked(asked: list[str], k: int) -> None:
    found = RandomOrder(PAST).select(k, asked, [None] * len(asked))
    assert len(found) == len(set(found)) == min(k, 4 - len(asked))
    assert not set(found) & set(asked)


def test_random_asks_about_each_item_as_often() -> None:
    selector = RandomOrder(PAST)
    first = [selector.select(1, [], [])[0] for _ in range(4000)]
    counts = np.array([first.count(item) for item in "abcd"])
    # Chi square with three degrees of freedom is above 16.3 once in a thousand.
    assert ((counts - 1000) ** 2 / 1000).sum() < 16.3
    assert [RandomOrder(PAST).select(4, [], []) for _ in range(2)] == [
        RandomOrder(PAST).select(4, [], [])
    ] * 2


def test_a_fixed_order_ends() -> None:
    assert FixedOrder("ab").select(3, "ab", [None, 1.0]) == []


def test_who_knows_an_item_is_like_those_who_had_it() -> None:
    answers = {(0, "a"): 5, (0, "b"): 5, (1, "a"): 3, (1, "b"): 1, (2, "c"): 5}
    past = past_of(answers, n_users=3)
    knowledge = Knowledge(past, np.arange(4), smoothing=0.5)
    none = np.zeros((1, 4), dtype=bool)
    assert knowledge(none, none)[0] == pytest.approx([2 / 3, 2 / 3, 1 / 3, 0])
    asked = none.copy()
    asked[0, 0] = True
    # The share of `a` is 2.5 of 4: who had it knows it with 0.5 + 0.5 · 0.625, others with half.
    like, unlike = 0.8125, 0.3125
    b = 2 * like / (2 * like + unlike)
    assert knowledge(asked, none)[0] == pytest.approx([b, b, 1 - b, 0], abs=1e-6)
    b = 2 * (1 - like) / (2 * (1 - like) + 1 - unlike)
    assert knowledge(none, asked)[0] == pytest.approx([b, b, 1 - b, 0], abs=1e-6)


def test_with_full_smoothing_answers_change_nothing() -> None:
    knowledge = Knowledge(PAST, np.arange(4), smoothing=1.0)
    none = np.zeros((2, 4), dtype=bool)
    asked = none.copy()
    asked[1, 1] = True
    assert knowledge(asked, none) == pytest.approx(np.tile([1, 0.5, 0.25, 0], (2, 1)))


def test_examples() -> None:
    assert doctest.testmod(rankings).failed == 0
