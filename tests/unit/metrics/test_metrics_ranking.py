from __future__ import annotations

from math import comb, inf, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError
from tabcf.metrics import hit_rate_at_k, precision_at_k, rank_items, recall_at_k


def _rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def _bag(lists: list[list[int]]) -> Bag:
    lengths = torch.tensor([len(items) for items in lists], dtype=torch.long)
    values = torch.tensor([item for items in lists for item in items], dtype=torch.int32)
    return Bag(values, lengths.cumsum(0) - lengths)


@given(
    scores=st.lists(st.integers(-50, 50), min_size=1, max_size=20, unique=True),
    k=st.integers(1, 25),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_different_scores_give_a_stable_sort_less_what_was_seen(scores, k, seed, data):
    seen = data.draw(st.lists(st.integers(0, len(scores) - 1), max_size=6))
    order = sorted(range(len(scores)), key=lambda item: -scores[item])
    left = [item for item in order if item not in seen][:k]
    expected = left + [-1] * (k - len(left))
    # A second user, who has seen nothing, must not be touched by what the first one saw.
    both = torch.tensor([scores, scores], dtype=torch.float32)
    found = rank_items(both, _bag([seen, []]), k, _rng(seed))
    assert found[0].tolist() == expected
    assert found[1].tolist() == order[:k] + [-1] * (k - len(order[:k]))


@given(
    scores=st.lists(st.integers(0, 2), min_size=1, max_size=20),
    k=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_with_ties_the_scores_of_a_list_are_the_highest(scores, k, seed):
    found = rank_items(torch.tensor([scores]).float(), None, k, _rng(seed))[0]
    listed = found[found >= 0]
    assert len(set(listed.tolist())) == len(listed) == min(k, len(scores))
    assert [scores[item] for item in listed] == sorted(scores, reverse=True)[:k]


@pytest.mark.parametrize(("n_items", "k"), [(4, 1), (4, 3), (30, 5), (700, 4), (700, 300)])
def test_every_item_of_equal_score_has_the_same_chance_of_every_place(n_items, k):
    """Chi-square of the counts at the first, the last and any place; all sizes of `topk`."""
    n_trials, rng = 4_000, _rng()
    scores = torch.zeros(1, n_items)
    lists = torch.cat([rank_items(scores, None, k, rng) for _ in range(n_trials)])
    for places in (lists[:, 0], lists[:, -1], lists.reshape(-1)):
        counts = torch.bincount(places, minlength=n_items).double()
        expected = len(places) / n_items
        # Draws without replacement vary less, by the share that is not drawn.
        spread = 1 - (len(places) // n_trials) / n_items if len(places) > n_trials else 1
        chi_square = ((counts - expected) ** 2).sum() / expected / spread
        degrees = n_items - 1
        assert chi_square.item() == pytest.approx(degrees, abs=4 * (2 * degrees) ** 0.5)


def test_ties_at_the_end_of_a_list_are_drawn_evenly():
    scores = torch.tensor([[3.0, 1.0, 1.0, 1.0, 1.0, 0.0]])
    rng = _rng()
    lists = torch.cat([rank_items(scores, None, 3, rng) for _ in range(4_000)])
    share = torch.bincount(lists.reshape(-1), minlength=6) / 4_000
    assert (lists[:, 0] == 0).all()
    assert share[5] == 0
    assert share[1:5].tolist() == pytest.approx([0.5] * 4, abs=0.03)


def test_a_random_recommender_scores_what_combinatorics_says():
    n_items, k, n_trials, rng = 12, 4, 3_000, _rng()
    scores, seen, relevant = torch.zeros(1, n_items), _bag([[0, 5]]), [1, 2, 7]
    lists = torch.cat([rank_items(scores, seen, k, rng) for _ in range(n_trials)])
    hits = torch.isin(lists, torch.tensor(relevant))
    counts = torch.full((n_trials,), len(relevant))
    n_left = n_items - 2
    chance = 1 - comb(n_left - len(relevant), k) / comb(n_left, k)
    assert recall_at_k(hits, counts).mean().item() == pytest.approx(k / n_left, abs=0.02)
    assert precision_at_k(hits, counts).mean().item() == pytest.approx(3 / n_left, abs=0.015)
    assert hit_rate_at_k(hits, counts).mean().item() == pytest.approx(chance, abs=0.03)


def test_the_order_of_ties_comes_from_the_generator_alone():
    scores = torch.zeros(3, 50)
    first, again = (rank_items(scores, None, 10, _rng(7)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, rank_items(scores, None, 10, _rng(8)))


def test_scores_are_left_as_they_are():
    scores = torch.tensor([[0.5, nan, 2.0, -inf]])
    before = scores.clone()
    rank_items(scores, _bag([[2]]), 2, _rng())
    assert torch.equal(scores.nan_to_num(9), before.nan_to_num(9))


def test_an_item_without_a_score_is_never_listed():
    scores = torch.tensor([[nan, 0.1, -inf, inf]])
    assert rank_items(scores, None, 4, _rng()).tolist() == [[3, 1, -1, -1]]


def test_a_user_who_has_seen_everything_gets_an_empty_list():
    scores = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    assert rank_items(scores, _bag([[1, 0, 1], [1]]), 2, _rng()).tolist() == [[-1, -1], [0, -1]]


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_no_users_and_no_items_give_empty_lists(shape):
    found = rank_items(torch.zeros(shape), _bag([[]] * shape[0]), 2, _rng())
    assert found.tolist() == [[-1, -1]] * shape[0]


def test_scores_may_come_from_a_model_in_inference_mode():
    with torch.inference_mode():
        scores = torch.tensor([[1.0, 3.0, 2.0]]) + 0
    assert rank_items(scores, _bag([[1]]), 2, _rng()).tolist() == [[2, 0]]


def test_memory_is_one_copy_of_the_scores():
    """What was seen costs its own number, not even a boolean for each user and item."""
    n_users, n_items = 64, 1000
    scores, seen = torch.zeros(n_users, n_items), _bag([[3, 5]] * n_users)
    with torch.profiler.profile(profile_memory=True) as profile:
        rank_items(scores, seen, 5, _rng())
    allocated = [event.self_cpu_memory_usage for event in profile.events()]
    total = sum(size for size in allocated if size > 0)
    copy, a_boolean_each = 4 * n_users * n_items, n_users * n_items
    assert copy <= total < copy + a_boolean_each


def test_lists_have_at_least_one_place():
    with pytest.raises(DataError, match="k: expected a positive number, got 0"):
        rank_items(torch.zeros(1, 3), None, 0, _rng())


def test_seen_items_of_other_users_are_refused():
    with pytest.raises(DataError, match="expected the items of 2 users, got those of 1"):
        rank_items(torch.zeros(2, 3), _bag([[1]]), 1, _rng())


def test_an_item_outside_the_catalogue_is_an_error():
    with pytest.raises(IndexError, match="out of bounds"):
        rank_items(torch.zeros(1, 3), _bag([[3]]), 1, _rng())


def test_many_users_at_once_match_numpy():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 90))
    seen = [rng.choice(90, size=rng.integers(0, 30), replace=False).tolist() for _ in range(40)]
    masked = scores.copy()
    for user, items in enumerate(seen):
        masked[user, items] = -inf
    expected = np.argsort(-masked, axis=1)[:, :10]
    found = rank_items(torch.tensor(scores), _bag(seen), 10, _rng())
    assert found.tolist() == expected.tolist()
