"""Trees over planted answers."""

from __future__ import annotations

import numpy as np
import pytest

from tabcf.contracts.selector import PastAnswers
from tabcf.contracts.target import TargetInfo
from tabcf.recommend.onboarding.rankings import FixedOrder
from tabcf.recommend.onboarding.tree import Tree
from tests.unit.recommend.test_onboarding_rankings import past_of

ITEMS = "abcdexyz"


def planted() -> PastAnswers:
    """Eighty users of four kinds: `a` tells one half of their taste, `b` or `c` the other.

    Of those who like `a` it is `b` that tells the other half, of those who do not it is `c`; `x`,
    `y` and `z` follow from the kind and are known by a half. Nobody has a reason for `d`.
    """
    rng = np.random.default_rng(0)
    answers: dict[tuple[int, str], float] = {}
    for user in range(80):
        first, second = user % 2 == 0, user // 2 % 2 == 0
        liked = {
            "a": first,
            "b": second if first else rng.random() < 0.5,
            "c": rng.random() < 0.5 if first else second,
            "d": rng.random() < 0.5,
            **{item: first for item in "xy" if rng.random() < 0.5},
            **{item: second for item in "z" if rng.random() < 0.5},
        }
        answers |= {(user, item): 5.0 if is_liked else 1.0 for item, is_liked in liked.items()}
    for user in range(0, 80, 10):
        del answers[user, "a"]
    return past_of(answers, items=ITEMS, n_users=80)


def tree_of(past: PastAnswers, **options: object) -> Tree:
    values = {"depth": 2, "pool": 8, "least_users": 2, "like": None}
    return Tree(past, behind=FixedOrder(list(ITEMS)), **{**values, **options})


def test_each_answer_leads_to_a_question_of_its_own() -> None:
    tree = tree_of(planted(), pool=4)
    assert tree.select(1, [], []) == ["a"]
    assert tree.select(1, ["a"], [5.0]) == ["b"]
    assert tree.select(1, ["a"], [1.0]) == ["c"]


def test_behind_the_leaves_another_one_asks() -> None:
    tree = tree_of(planted(), depth=1)
    (first,) = tree.select(1, [], [])
    rest = [item for item in ITEMS if item != first]
    assert tree.select(3, [first], [5.0]) == rest[:3]
    assert tree.select(9, [first], [5.0]) == rest


def test_several_questions_at_once_are_as_if_none_was_known() -> None:
    tree = tree_of(planted())
    first, second, *_ = tree.select(8, [], [])
    assert [second] == tree.select(1, [first], [None])
    assert sorted(tree.select(8, [], [])) == sorted(ITEMS)


def test_other_questions_do_not_move_it() -> None:
    tree = tree_of(planted())
    (first,) = tree.select(1, [], [])
    assert tree.select(1, ["d"], [5.0]) == [first]
    assert tree.select(1, ["d", first], [5.0, 1.0]) == tree.select(1, [first, "d"], [1.0, 5.0])


@pytest.mark.parametrize(
    ("options", "expected"), [({"least_users": 81}, "abcdexyz"), ({"pool": 1}, "bacdexyz")]
)
def test_few_users_or_items_leave_little_of_it(options: dict[str, int], expected: str) -> None:
    """With a pool of one it asks about `b`, which all know, and then about nothing more."""
    assert tree_of(planted(), **options).select(8, [], []) == list(expected)


def test_what_is_a_like_can_be_said() -> None:
    """At 6 nothing is one, so that an item parts users by who knows it alone."""
    tree = tree_of(planted(), like=6.0, pool=4)
    (first,) = tree.select(1, [], [])
    assert tree.select(1, [first], [5.0]) == tree.select(1, [first], [1.0])


def test_an_implicit_target_is_who_has_what() -> None:
    """`a` and `x` go together, `b` and `y` too; `d` goes with nothing."""
    answers = {}
    rng = np.random.default_rng(0)
    for user in range(60):
        pair = "ax" if user % 2 else "by"
        answers |= {(user, item): 1.0 for item in pair}
        if rng.random() < 0.6:
            answers[user, "d"] = 1.0
    past = past_of(answers, items=ITEMS, target=TargetInfo("implicit"), n_users=60)
    assert tree_of(past).select(1, [], [])[0] in "abxy"


def test_without_answers_there_is_no_tree() -> None:
    past = past_of({}, items=ITEMS, n_users=0)
    assert tree_of(past).select(3, [], []) == list(ITEMS[:3])


def test_the_split_is_that_of_the_lowest_error() -> None:
    """Against the definition, pair by pair: squares about drawn means, summed over branches."""
    past = planted()
    values = np.full((80, 8), np.nan)
    values[past.user, past.item] = past.value
    mean = np.nansum(values, axis=0) / (~np.isnan(values)).sum(0).clip(1)
    like = past.value.mean()

    def error(rows: np.ndarray) -> float:
        own = values[rows]
        count = (~np.isnan(own)).sum(0)
        drawn = (np.nansum(own, axis=0) + 10 * mean) / (count + 10)
        return float(np.nansum((own - drawn) ** 2))

    errors = [
        error(values[:, i] >= like) + error(values[:, i] < like) + error(np.isnan(values[:, i]))
        for i in range(8)
    ]
    assert tree_of(past).select(1, [], []) == [ITEMS[int(np.argmin(errors))]]
