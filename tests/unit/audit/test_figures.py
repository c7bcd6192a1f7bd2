"""Figures of a simulation against small cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.audit.figures import divergence, gini, jaccard, kind_shares, list_figures
from tabcf.audit.population import Group, Population
from tabcf.errors import DataError


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([1, 1, 1, 1], 0.0), ([0, 0, 0, 4], 0.75), ([1, 3], 0.25), ([0, 0], 0.0), ([], 0.0)],
)
def test_gini_by_hand(counts: list[int], expected: float) -> None:
    assert gini(np.array(counts)) == pytest.approx(expected)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20).filter(any))
def test_gini_is_half_the_relative_mean_difference(counts: list[int]) -> None:
    values = np.array(counts)
    differences = np.abs(values[:, None] - values[None]).mean()
    assert gini(values) == pytest.approx(differences / (2 * values.mean()))


def test_jaccard_leaves_out_pairs_of_two_who_took_nothing() -> None:
    taken = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)
    # 1 of 3 for the first two; 0 for each of them beside the others; the last two do not count.
    assert jaccard(taken) == pytest.approx(1 / 3 / 5)
    assert jaccard(taken[2:]) == 0.0
    assert jaccard(taken[:1]) == 0.0


def test_divergence_is_of_the_users_who_took_something() -> None:
    kinds = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    before = kind_shares(np.array([[1, 1, 0], [1, 1, 0]], dtype=bool), kinds)
    now = kind_shares(np.array([[1, 0, 1], [0, 0, 0]], dtype=bool), kinds)
    assert before[0] == pytest.approx([0.5, 0.5])
    high, low = 2.01 / 2.02, 0.01 / 2.02
    expected = high * np.log(high / 0.5) + low * np.log(low / 0.5)
    assert divergence(now, before, np.array([True, False])) == pytest.approx(expected)
    assert np.isnan(divergence(now, before, np.array([False, False])))


def test_lists_beside_first_interactions() -> None:
    """User 0 is a member, item 0 the group's; others had it once in four, and now half the time."""
    group = Group("g", np.array([True, False, False]), np.array([True, False, False, False]))
    population = Population(
        np.zeros((3, 4)),
        np.array([0, 1, 1, 2, 2]),
        np.array([0, 0, 1, 1, 2]),
        np.ones(3),
        (group,),
    )
    lists = np.array([[1, 2], [3, -1], [0, -1]])
    figures = list_figures(population, lists)
    assert figures["amplification(g)"] == pytest.approx((1 / 2) / (1 / 4))
    assert figures["amplification(g, members)"] == pytest.approx(0.0)
    assert figures["coverage"] == 1.0
    assert figures["gini(lists)"] == 0.0
    # Items were had 2, 2, 1 and 0 times: (2 + 1 + 0 + 2) / 4 over (2 + 2 + 2 + 2 + 1) / 5.
    assert figures["popularity"] == pytest.approx((5 / 4) / (9 / 5))


def test_kinds_are_the_groups_items_and_those_of_no_group() -> None:
    groups = tuple(
        Group(name, np.array([True, False]), np.array(items, dtype=bool))
        for name, items in (("a", [1, 1, 0]), ("b", [0, 1, 0]))
    )
    nobody = np.zeros(0, dtype=np.int64)
    population = Population(np.zeros((2, 3)), nobody, nobody, np.ones(2), groups)
    assert population.item_kinds.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activity": np.ones(3)}, "activity: expected a number"),
        ({"activity": np.array([1.0, -1.0])}, "activity: expected a number"),
        ({"utility": np.array([[0.0, np.nan], [0.0, 0.0]])}, "utility: expected finite"),
        ({"items": np.array([0])}, "as many users as items"),
        ({"users": np.array([0, 2])}, "expected users from 0 to 1, got 0 to 2"),
        ({"items": np.array([-1, 0])}, "expected items from 0 to 1, got -1 to 0"),
        ({"groups": (Group("g", np.ones(2, bool), np.ones(3, bool)),)}, "group g: expected"),
        ({"kinds": np.ones((3, 1))}, "kinds: expected 2 rows"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    parts: dict[str, object] = {
        "utility": np.zeros((2, 2)),
        "users": np.array([0, 1]),
        "items": np.array([0, 1]),
        "activity": np.ones(2),
    }
    with pytest.raises(DataError, match=message):
        Population(**{**parts, **changes})
