from __future__ import annotations

import itertools
from math import inf, nan

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError
from tabcf.metrics import list_auc, rank_items, rank_relevant

# A user's catalogue: each item's score and whether it is relevant, seen, or neither.
SCORES = st.sampled_from([-inf, -2.0, -0.5, 0.0, 0.25, 1.0, 3.0, inf, nan])
CATALOGUE = st.lists(st.tuples(SCORES, st.sampled_from(["relevant", "seen", "other"])), max_size=12)


def _bag(lists: list[list[int]]) -> Bag:
    lengths = torch.tensor([len(items) for items in lists], dtype=torch.long)
    values = torch.tensor([item for items in lists for item in items], dtype=torch.int32)
    return Bag(values, lengths.cumsum(0) - lengths)


def _auc(scores: Tensor, seen: list[list[int]], relevant: list[list[int]]) -> Tensor:
    return list_auc(*rank_relevant(scores, _bag(seen), _bag(relevant)))


def _where(catalogue: list[tuple[float, str]], kind: str) -> list[int]:
    return [item for item, (_, what) in enumerate(catalogue) if what == kind]


@given(users=st.lists(CATALOGUE, min_size=1, max_size=4))
def test_ranks_are_those_of_scipy_and_their_auc_is_that_of_scikit_learn(users):
    """Users of one catalogue: each is padded with items that they have seen."""
    n_items = max(map(len, users))
    users = [user + [(9.0, "seen")] * (n_items - len(user)) for user in users]
    scores = torch.tensor([[score for score, _ in user] for user in users])
    scores = scores.reshape(len(users), n_items)
    seen, relevant = ([_where(user, kind) for user in users] for kind in ("seen", "relevant"))
    ranks, n_candidates = rank_relevant(scores, _bag(seen), _bag(relevant))
    assert ranks.values.dtype == torch.float64
    assert n_candidates.tolist() == [n_items - len(items) for items in seen]
    expected, aucs = [], []
    for row, was_seen, wanted in zip(scores, seen, relevant, strict=True):
        left = [item for item in range(n_items) if item not in was_seen]
        known = np.nan_to_num(row.numpy(), nan=-1e30, neginf=-1e30, posinf=1e30)[left]
        truth = np.isin(left, wanted)
        expected += rankdata(-known)[truth].tolist()
        is_defined = 0 < truth.sum() < len(truth)
        aucs.append(sklearn.metrics.roc_auc_score(truth, known) if is_defined else nan)
    assert ranks.values.tolist() == expected
    assert list_auc(ranks, n_candidates).tolist() == pytest.approx(aucs, abs=1e-12, nan_ok=True)


def test_many_users_match_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 400)).round(1).astype(np.float32)  # with ties
    what = rng.choice(3, size=scores.shape, p=[0.7, 0.2, 0.1])
    seen, relevant = ([np.flatnonzero(row == k).tolist() for row in what] for k in (1, 2))
    found = _auc(torch.from_numpy(scores), seen, relevant)
    expected = [
        sklearn.metrics.roc_auc_score(kind[kind != 1] == 2, row[kind != 1])
        for row, kind in zip(scores, what, strict=True)
    ]
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, rel=0, abs=1e-12)


def test_auc_by_hand():
    # Relevant: items 1 and 3. Item 1 is above 0 and 4 and level with 2; item 3 is below them all.
    scores = torch.tensor([[0.5, 0.7, 0.7, 0.1, 0.2]])
    assert _auc(scores, [[]], [[1, 3]]).tolist() == [pytest.approx(2.5 / 6)]
    # Without item 2, which was seen.
    assert _auc(scores, [[2]], [[1, 3]]).tolist() == [pytest.approx(2 / 4)]


@given(n_items=st.integers(2, 30), data=st.data())
def test_nothing_told_apart_is_a_half(n_items, data):
    n_relevant = data.draw(st.integers(1, n_items - 1))
    relevant = list(range(n_relevant))
    assert _auc(torch.ones(1, n_items), [[]], [relevant]).tolist() == [0.5]


def test_rankings_in_every_order_average_to_a_half():
    orders = torch.tensor(list(itertools.permutations(range(6)))).float()
    found = _auc(orders, [[5]] * len(orders), [[0, 2]] * len(orders))
    assert found.mean().item() == pytest.approx(0.5)
    # The variance of the Mann-Whitney statistic: (n + 1) / (12 m (n - m)) of n candidates.
    assert found.var(correction=0).item() == pytest.approx(6 / (12 * 2 * 3))


@given(
    scores=st.lists(st.integers(-9, 9), min_size=3, max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_a_permuted_catalogue_changes_nothing(scores, order):
    n_items = len(scores)
    item_at = order.sample(range(n_items), n_items)
    there = [item_at.index(item) for item in range(n_items)]
    row = torch.tensor([scores]).float()
    one = rank_relevant(row, _bag([[2]]), _bag([[0, 1]]))
    two = rank_relevant(row[:, item_at], _bag([[there[2]]]), _bag([[there[0], there[1]]]))
    assert one[0].values.tolist() == two[0].values.tolist()
    assert list_auc(*one).tolist() == pytest.approx(list_auc(*two).tolist(), nan_ok=True)


@given(scores=st.lists(st.integers(-50, 50), min_size=1, max_size=20, unique=True), data=st.data())
def test_without_ties_ranks_are_the_places_of_the_whole_list(scores, data):
    items = st.integers(0, len(scores) - 1)
    seen = data.draw(st.lists(items, max_size=5))
    relevant = data.draw(st.lists(items.filter(lambda i: i not in seen), max_size=5, unique=True))
    row = torch.tensor([scores]).float()
    order = rank_items(row, _bag([seen]), len(scores), Generator())[0].tolist()
    ranks, n_candidates = rank_relevant(row, _bag([seen]), _bag([relevant]))
    assert ranks.values.tolist() == [order.index(item) + 1 for item in relevant]
    assert n_candidates.item() == len(order) - order.count(-1)


def test_a_better_order_is_a_higher_auc():
    scores = torch.tensor([[4.0, 3, 2, 1], [3, 4, 2, 1], [3, 2, 4, 1], [1, 2, 3, 4]])
    found = _auc(scores, [[]] * 4, [[0, 1]] * 4)
    assert found.tolist() == [1, 1, 0.5, 0]


def test_a_user_with_nothing_to_find_or_nothing_else_has_no_auc():
    scores = torch.rand(3, 4, generator=Generator().manual_seed(0))
    found = _auc(scores, [[], [2, 3], [0, 1, 2, 3]], [[], [0, 1], []])
    assert found.isnan().tolist() == [True, True, True]


def test_scores_are_left_as_they_are():
    scores = torch.tensor([[0.5, nan, 2.0, -inf]])
    before = scores.clone()
    rank_relevant(scores, _bag([[2]]), _bag([[0]]))
    assert torch.equal(scores.nan_to_num(9), before.nan_to_num(9))


def test_scores_may_come_from_a_model_in_inference_mode():
    with torch.inference_mode():
        scores = torch.tensor([[1.0, 3.0, 2.0]]) + 0
    assert _auc(scores, [[1]], [[2]]).tolist() == [1]


def test_no_users_have_no_ranks():
    assert _auc(torch.zeros(0, 5), [], []).shape == (0,)


def test_memory_is_two_copies_of_the_scores():
    """One of torch and, which this does not count, a sorted one of numpy; no third of booleans."""
    n_users, n_items = 64, 1000
    scores = torch.rand(n_users, n_items, generator=Generator().manual_seed(0))
    seen, relevant = _bag([[3, 5]] * n_users), _bag([[1, 4, 8]] * n_users)
    with torch.profiler.profile(profile_memory=True) as profile:
        rank_relevant(scores, seen, relevant)
    total = sum(size for e in profile.events() if (size := e.self_cpu_memory_usage) > 0)
    copy, a_boolean_each = 4 * n_users * n_items, n_users * n_items
    assert copy <= total < copy + a_boolean_each


def test_bags_of_other_users_are_refused():
    scores, two = torch.zeros(2, 3), _bag([[0], [1]])
    with pytest.raises(DataError, match="seen: expected the items of 2 users, got those of 1"):
        rank_relevant(scores, _bag([[1]]), two)
    with pytest.raises(DataError, match="relevant: expected the items of 2 users, got those of 1"):
        rank_relevant(scores, None, _bag([[1]]))
    with pytest.raises(DataError, match="the same users, got those of 2 and 3"):
        list_auc(two, torch.ones(3))


def test_a_relevant_item_that_was_seen_is_refused():
    with pytest.raises(DataError, match="expected items that were not seen"):
        rank_relevant(torch.zeros(1, 3), _bag([[1, 2]]), _bag([[0, 2]]))
