from __future__ import annotations

import itertools
from math import comb, log2

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

from tabcf.errors import DataError
from tabcf.metrics import (
    hit_rate_at_k,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)

ALL = [ndcg_at_k, recall_at_k, precision_at_k, hit_rate_at_k, mrr_at_k, map_at_k]

# The whole catalogue in the order of a list, at least one item of which is relevant.
CATALOGUE = st.lists(st.booleans(), min_size=2, max_size=12).filter(any)


def _by_hand(metric, ranked: list[bool], k: int) -> float:
    """From the definitions, one place at a time."""
    n_relevant, top = sum(ranked), ranked[:k]
    places = [r for r, is_hit in enumerate(top, start=1) if is_hit]
    if metric is ndcg_at_k:
        ideal = sum(1 / log2(r + 1) for r in range(1, min(k, n_relevant) + 1))
        return sum(1 / log2(r + 1) for r in places) / ideal
    if metric is recall_at_k:
        return len(places) / n_relevant
    if metric is precision_at_k:
        return len(places) / k
    if metric is hit_rate_at_k:
        return float(bool(places))
    if metric is mrr_at_k:
        return 1 / places[0] if places else 0.0
    return sum(sum(top[:r]) / r for r in places) / min(k, n_relevant)


@pytest.mark.parametrize("metric", ALL)
@given(ranked=CATALOGUE, data=st.data())
def test_a_metric_is_its_definition(metric, ranked, data):
    k = data.draw(st.integers(1, len(ranked)))
    found = metric(torch.tensor([ranked[:k]]), torch.tensor([sum(ranked)]))
    assert found.dtype == torch.float64
    assert found.tolist() == [pytest.approx(_by_hand(metric, ranked, k))]


@given(ranked=CATALOGUE, data=st.data())
def test_ndcg_matches_scikit_learn(ranked, data):
    k = data.draw(st.integers(1, len(ranked)))
    scores = -np.arange(len(ranked))
    expected = sklearn.metrics.ndcg_score([ranked], [scores], k=k)
    found = ndcg_at_k(torch.tensor([ranked[:k]]), torch.tensor([sum(ranked)]))
    assert found.item() == pytest.approx(expected)


@given(ranked=CATALOGUE)
def test_map_of_the_whole_catalogue_matches_scikit_learn(ranked):
    expected = sklearn.metrics.average_precision_score(ranked, -np.arange(len(ranked)))
    found = map_at_k(torch.tensor([ranked]), torch.tensor([sum(ranked)]))
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("metric", [ndcg_at_k, mrr_at_k, map_at_k, hit_rate_at_k])
@pytest.mark.parametrize("n_relevant", [1, 3, 9])
def test_an_ideal_list_scores_1(metric, n_relevant):
    hits = torch.arange(4)[None] < n_relevant
    assert metric(hits, torch.tensor([n_relevant])).tolist() == [pytest.approx(1.0)]


@pytest.mark.parametrize("metric", ALL)
def test_users_do_not_touch_one_another(metric):
    hits = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.4
    counts = hits.sum(1) + torch.tensor([1, 0, 4, 2, 1, 3])
    together = metric(hits, counts)
    alone = [metric(hits[u : u + 1], counts[u : u + 1]) for u in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), equal_nan=True)


@pytest.mark.parametrize("metric", ALL)
def test_a_user_with_nothing_to_find_has_no_value(metric):
    found = metric(torch.tensor([[False, False], [True, False]]), torch.tensor([0, 1]))
    assert found.isnan().tolist() == [True, False]


@pytest.mark.parametrize("metric", ALL)
def test_no_users_give_no_values(metric):
    assert metric(torch.zeros(0, 3, dtype=torch.bool), torch.zeros(0, dtype=torch.long)).shape == (
        0,
    )


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(("hits", "counts"), [((2, 3), (3,)), ((2, 0), (2,)), ((2,), (2,))])
def test_hits_and_counts_of_other_users_are_refused(metric, hits, counts):
    with pytest.raises(DataError, match=r"hits of shape \(U, K\) with at least one place"):
        metric(torch.zeros(hits, dtype=torch.bool), torch.ones(counts, dtype=torch.long))


@pytest.mark.parametrize(("m", "k"), [(3, 2), (1, 3), (2, 5), (3, 7)])
def test_lists_in_every_order_average_to_what_combinatorics_says(m, k):
    """Of n = 7 items m are relevant, at each set of places with the same chance."""
    n = 7
    orders = [[r in places for r in range(n)] for places in itertools.combinations(range(n), m)]
    hits, counts = torch.tensor(orders)[:, :k], torch.full((len(orders),), m)
    places = range(1, k + 1)
    gains = [1 / log2(r + 1) for r in places]
    expected = {
        precision_at_k: m / n,
        recall_at_k: k / n,
        hit_rate_at_k: 1 - comb(n - m, k) / comb(n, k),
        ndcg_at_k: m / n * sum(gains) / sum(gains[:m]),
        # The first hit is at place r, and the others are behind it.
        mrr_at_k: sum(comb(n - r, m - 1) / r for r in places) / comb(n, m),
        # Of a hit at place r, the r - 1 before it are hits with chance (m - 1) / (n - 1).
        map_at_k: sum(m / n * (1 + (r - 1) * (m - 1) / (n - 1)) / r for r in places) / min(k, m),
    }
    for metric, mean in expected.items():
        assert metric(hits, counts).mean().item() == pytest.approx(mean), metric.__name__
