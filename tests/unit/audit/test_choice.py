"""Choices against the Plackett-Luce model, written out."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest

from tabcf.audit.choice import Choice
from tabcf.errors import DataError

N = 40_000
UTILITY = np.array([1.0, 0.2, -0.8])


def chances(choice: Choice, n: int) -> dict[frozenset[int], float]:
    """How likely each set of items is to be taken from the list 0, 1, 2: all orders summed."""
    weight = np.exp(choice.sharpness * UTILITY)
    nothing = np.exp(choice.sharpness * np.quantile(UTILITY, choice.outside))
    looked = choice.decay ** np.arange(3)
    found: dict[frozenset[int], float] = {}
    for size in range(4):
        for places in combinations(range(3), size):
            seen = np.isin(np.arange(3), places)
            chance = float(np.prod(np.where(seen, looked, 1 - looked)))
            for length in range(min(size, n) + 1):
                for order in permutations(places, length):
                    left, product = weight[seen].sum() + nothing, 1.0
                    for item in order:
                        product *= weight[item] / left
                        left -= weight[item]
                    # Stops because it may take no more, or because nothing is drawn next.
                    product *= 1.0 if length == min(size, n) and length == n else nothing / left
                    key = frozenset(order)
                    found[key] = found.get(key, 0.0) + chance * product
    return found


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    "choice", [Choice(), Choice(decay=1.0, sharpness=1.0, outside=0.0), Choice(decay=0.5)]
)
def test_what_is_taken_follows_plackett_luce(choice: Choice, n: int) -> None:
    users, items = choice.take(
        np.tile(UTILITY, (N, 1)),
        np.tile(np.arange(3), (N, 1)),
        np.full(N, n),
        np.random.default_rng(n),
    )
    taken: list[set[int]] = [set() for _ in range(N)]
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        taken[user].add(item)
    counts = Counter(frozenset(own) for own in taken)
    expected = chances(choice, n)
    assert sum(expected.values()) == pytest.approx(1.0)
    assert set(counts) <= set(expected)
    for own, chance in expected.items():
        error = np.sqrt(chance * (1 - chance) / N)
        assert counts[own] / N == pytest.approx(chance, abs=4 * error + 1e-12)


def test_empty_places_and_users_who_want_nothing_take_nothing() -> None:
    lists = np.array([[-1, -1], [0, 1], [1, -1]])
    users, items = Choice(decay=1.0, sharpness=50.0, outside=0.0).take(
        np.array([[1.0, 2.0, 0.0]] * 3), lists, np.array([2, 0, 2]), np.random.default_rng(0)
    )
    assert (users.tolist(), items.tolist()) == ([2], [1])


@pytest.mark.parametrize("wrong", [{"decay": 0.0}, {"sharpness": -1.0}, {"outside": 1.5}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match="expected decay above 0"):
        Choice(**wrong)
