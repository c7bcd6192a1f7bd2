from __future__ import annotations

from math import log, log2

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError
from tabcf.metrics import (
    calibration_kl,
    coverage_at_k,
    diversity_at_k,
    gini_at_k,
    novelty_at_k,
    popularity_at_k,
    precision_at_k,
    rank_items,
    serendipity_at_k,
)

N_ITEMS = 6
ATTRIBUTES = torch.tensor(
    [[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1], [1, 1, 1]], dtype=torch.float64
)
COUNTS = torch.tensor([9, 4, 4, 1, 0, 2])
N_USERS = 16

# Users' lists of different items, some short.
LISTS = st.lists(
    st.lists(st.integers(0, N_ITEMS - 1), max_size=4, unique=True), min_size=1, max_size=5
)


def _tensor(lists: list[list[int]], k: int = 4) -> Tensor:
    return torch.tensor([items + [-1] * (k - len(items)) for items in lists]).reshape(-1, k)


def _bag(lists: list[list[int]]) -> Bag:
    lengths = torch.tensor([len(items) for items in lists], dtype=torch.long)
    values = torch.tensor([item for items in lists for item in items], dtype=torch.int32)
    return Bag(values, lengths.cumsum(0) - lengths)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def test_coverage_by_hand():
    # Items 0, 1 and 3 of 6 are listed.
    found = coverage_at_k(_tensor([[0, 1], [1, 3], []]), N_ITEMS)
    assert found.dtype == torch.float64
    assert found.item() == 0.5


def test_gini_by_hand():
    # Exposures 0, 1, 3: (-2 * 0 + 0 * 1 + 2 * 3) / (3 * 4).
    assert gini_at_k(torch.tensor([[1, 2], [2, -1], [2, -1]]), 3).item() == 0.5


@given(LISTS.filter(any))
def test_gini_is_half_the_relative_mean_difference(lists):
    found = gini_at_k(_tensor(lists), N_ITEMS).item()
    exposure = np.bincount([item for items in lists for item in items], minlength=N_ITEMS)
    differences = np.abs(exposure[:, None] - exposure[None])
    assert found == pytest.approx(differences.mean() / 2 / exposure.mean())


@given(n_items=st.integers(1, 30), n_times=st.integers(1, 5))
def test_equal_exposure_has_a_gini_of_0_and_one_item_the_highest(n_items, n_times):
    every = torch.arange(n_items).repeat(n_times)[:, None]
    assert gini_at_k(every, n_items).item() == pytest.approx(0)
    one = torch.zeros_like(every)
    assert gini_at_k(one, n_items).item() == pytest.approx((n_items - 1) / n_items)


@given(n_items=st.integers(2, 60), n_users=st.integers(1, 60), seed=st.integers(0, 999))
def test_random_lists_cover_what_combinatorics_says(n_items, n_users, seed):
    """An item is in none of U random lists with chance (1 - K / I)^U."""
    k, n_repeats = min(3, n_items), 60
    rng = Generator().manual_seed(seed)
    scores = torch.rand(n_repeats * n_users, n_items, generator=rng)
    lists = rank_items(scores, None, k, rng).reshape(n_repeats, n_users, k)
    found = torch.stack([coverage_at_k(repeat, n_items) for repeat in lists])
    missed = (1 - k / n_items) ** n_users
    # The items of a list shut one another out, so that coverage varies less than this.
    spread = (missed * (1 - missed) / n_items / n_repeats) ** 0.5
    assert found.mean().item() == pytest.approx(1 - missed, abs=5 * spread + 1e-9)


@given(LISTS)
def test_popularity_and_novelty_are_means_over_the_list(lists):
    popularity = popularity_at_k(_tensor(lists), COUNTS)
    novelty = novelty_at_k(_tensor(lists), COUNTS, N_USERS)
    counts = COUNTS.tolist()
    expected = [_mean([counts[item] for item in items]) for items in lists]
    assert popularity.tolist() == pytest.approx(expected, nan_ok=True)
    bits = [log2(N_USERS / max(count, 1)) for count in counts]
    expected = [_mean([bits[item] for item in items]) for items in lists]
    assert novelty.tolist() == pytest.approx(expected, nan_ok=True)


def test_what_everyone_had_is_no_novelty_and_what_nobody_had_counts_as_rarest():
    counts = torch.tensor([8, 1, 0])
    assert novelty_at_k(torch.tensor([[0], [1], [2]]), counts, 8).tolist() == [0, 3, 3]


def test_more_users_of_an_item_than_users_are_refused():
    with pytest.raises(DataError, match="at least the users of any item, 9, got 8"):
        novelty_at_k(torch.tensor([[0]]), torch.tensor([9]), 8)


@given(LISTS)
def test_diversity_is_the_mean_over_pairs(lists):
    vectors = ATTRIBUTES.numpy()
    expected = []
    for items in lists:
        pairs = [(a, b) for place, a in enumerate(items) for b in items[:place]]
        products = [vectors[a] @ vectors[b] for a, b in pairs]
        lengths = [np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b]) for a, b in pairs]
        cosines = [p / n if n else 0.0 for p, n in zip(products, lengths, strict=True)]
        expected.append(_mean([1 - cosine for cosine in cosines]))
    found = diversity_at_k(_tensor(lists), ATTRIBUTES)
    assert found.tolist() == pytest.approx(expected, nan_ok=True, abs=1e-12)


def test_equal_items_have_no_diversity_and_items_without_anything_in_common_all():
    genres = torch.eye(3).repeat(2, 1)
    found = diversity_at_k(torch.tensor([[0, 3], [0, 1]]), genres)
    assert found.tolist() == pytest.approx([0, 1], abs=1e-12)


def test_serendipity_by_hand():
    lists = torch.tensor([[4, 7, 9, 2], [1, 2, -1, -1]])
    hits = torch.tensor([[True, True, False, True], [True, False, False, False]])
    obvious = torch.tensor([[4, 5, 6], [3, 2, -1]])
    # User 0: hits 7 and 2 are not obvious; user 1: hit 1 is not.
    assert serendipity_at_k(lists, hits, obvious).tolist() == [0.5, 0.25]


@given(lists=LISTS, seed=st.integers(0, 99))
def test_serendipity_is_precision_less_the_expected_hits(lists, seed):
    padded = _tensor(lists)
    hits = torch.rand(padded.shape, generator=Generator().manual_seed(seed)) < 0.5
    hits &= padded >= 0
    precision = precision_at_k(hits, torch.ones(len(lists)))
    nothing_is_obvious = serendipity_at_k(padded, hits, torch.full((len(lists), 2), -1))
    assert nothing_is_obvious.tolist() == precision.tolist()
    assert serendipity_at_k(padded, hits, padded).tolist() == [0] * len(lists)


def test_obvious_lists_of_other_users_are_refused():
    lists = torch.zeros(2, 3, dtype=torch.long)
    with pytest.raises(DataError, match="as many obvious lists"):
        serendipity_at_k(lists, torch.zeros(2, 3), torch.zeros(3, 3, dtype=torch.long))


def test_calibration_by_hand():
    # History: items 0 and 1, so p = (3/4, 1/4, 0); list: items 0 and 4, so q = (1/2, 0, 1/2).
    found = calibration_kl(torch.tensor([[0, 4, -1]]), _bag([[0, 1]]), ATTRIBUTES)
    mixed = 0.99 * 0.5 + 0.01 * 0.75, 0.01 * 0.25
    expected = 0.75 * log(0.75 / mixed[0]) + 0.25 * log(0.25 / mixed[1])
    assert found.tolist() == pytest.approx([expected])


@given(LISTS.filter(lambda lists: all(set(items) - {3} for items in lists)))
def test_a_list_like_the_history_is_calibrated_and_none_is_beyond_the_bound(lists):
    same = calibration_kl(_tensor(lists), _bag(lists), ATTRIBUTES)
    assert same.tolist() == pytest.approx([0] * len(lists), abs=1e-12)
    other = calibration_kl(torch.full((len(lists), 1), 4), _bag(lists), ATTRIBUTES)
    assert ((other >= 0) & (other <= -log(0.01) + 1e-12)).all()


def test_nothing_is_said_of_a_history_or_a_list_without_attributes():
    lists = torch.tensor([[0], [3], [-1], [0], [0]])
    found = calibration_kl(lists, _bag([[1], [1], [1], [3], []]), ATTRIBUTES)
    assert found.isnan().tolist() == [False, True, True, True, True]


@given(lists=LISTS, order=st.permutations(range(N_ITEMS)))
def test_a_permuted_catalogue_changes_nothing(lists, order):
    place = torch.tensor(order)
    there = torch.empty_like(place)
    there[place] = torch.arange(N_ITEMS)
    padded, history = _tensor(lists), [[0, 2], [1], [4, 5], [2], [0, 1, 5]][: len(lists)]
    moved = torch.where(padded >= 0, there[padded], -1)
    moved_history = _bag([there[torch.tensor(items)].tolist() for items in history])
    hits = padded % 2 == 0
    pairs = [
        (coverage_at_k(padded, N_ITEMS), coverage_at_k(moved, N_ITEMS)),
        (gini_at_k(padded, N_ITEMS), gini_at_k(moved, N_ITEMS)),
        (popularity_at_k(padded, COUNTS), popularity_at_k(moved, COUNTS[place])),
        (novelty_at_k(padded, COUNTS, N_USERS), novelty_at_k(moved, COUNTS[place], N_USERS)),
        (diversity_at_k(padded, ATTRIBUTES), diversity_at_k(moved, ATTRIBUTES[place])),
        (
            serendipity_at_k(padded, hits, padded[:, :2]),
            serendipity_at_k(moved, hits, moved[:, :2]),
        ),
        (
            calibration_kl(padded, _bag(history), ATTRIBUTES),
            calibration_kl(moved, moved_history, ATTRIBUTES[place]),
        ),
    ]
    for before, after in pairs:
        torch.testing.assert_close(before, after, equal_nan=True)


def test_without_lists_nothing_is_covered_and_nothing_is_unequal():
    none = torch.zeros(0, 3, dtype=torch.long)
    assert coverage_at_k(none, 4).item() == 0
    assert gini_at_k(none, 4).isnan()
    assert popularity_at_k(none, COUNTS).shape == (0,)
    assert diversity_at_k(none, ATTRIBUTES).shape == (0,)
    assert calibration_kl(none, _bag([]), ATTRIBUTES).shape == (0,)


@pytest.mark.parametrize(
    ("lists", "problem"),
    [
        (torch.zeros(3, dtype=torch.long), r"lists of shape \(U, K\) with at least one place"),
        (torch.zeros(3, 0, dtype=torch.long), r"with at least one place, got \(3, 0\)"),
        (torch.tensor([[0, 6]]), "columns from 0 to 5, or -1 for an empty place, got 0 to 6"),
        (torch.tensor([[-2, 1]]), "got -2 to 1"),
    ],
)
def test_lists_of_another_catalogue_are_refused(lists, problem):
    for metric in (
        lambda: coverage_at_k(lists, N_ITEMS),
        lambda: popularity_at_k(lists, COUNTS),
        lambda: diversity_at_k(lists, ATTRIBUTES),
        lambda: calibration_kl(lists, _bag([[0]] * len(lists)), ATTRIBUTES),
    ):
        with pytest.raises(DataError, match=problem):
            metric()


def test_an_empty_catalogue_is_refused():
    with pytest.raises(DataError, match="at least one item, got 0"):
        coverage_at_k(torch.tensor([[-1]]), 0)


def test_the_history_of_other_users_is_refused():
    with pytest.raises(DataError, match="items of 1 users, got those of 2"):
        calibration_kl(torch.tensor([[0]]), _bag([[0], [1]]), ATTRIBUTES)
