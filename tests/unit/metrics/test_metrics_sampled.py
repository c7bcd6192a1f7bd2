"""Metrics of drawn items: what enumerating every draw gives, and who is never drawn."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import tabcf
from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError
from tabcf.metrics import rank_relevant, sampled_ndcg_at_k, sampled_recall_at_k
from tabcf.testing import tiny_ratings


def bag(lists: list[list[int]]) -> Bag:
    lengths = torch.tensor([len(items) for items in lists], dtype=torch.long)
    values = torch.tensor([item for items in lists for item in items], dtype=torch.int32)
    return Bag(values, lengths.cumsum(0) - lengths)


def enumerated(scores: Tensor, relevant: list[int], others: list[int], k: int, n: int) -> Any:
    """Mean recall and NDCG over the user's relevant items and every draw of n others."""
    recalls, gains = [], []
    for item in relevant:
        for drawn in itertools.combinations(others, min(n, len(others))):
            place = 1 + sum(bool(scores[other] > scores[item]) for other in drawn)
            recalls.append(float(place <= k))
            gains.append(1 / np.log2(place + 1) if place <= k else 0.0)
    return np.mean(recalls), np.mean(gains)


@given(
    seed=st.integers(0, 1000),
    k=st.integers(1, 4),
    n=st.integers(1, 9),
    n_relevant=st.integers(1, 4),
)
def test_the_values_are_means_over_all_draws(seed: int, k: int, n: int, n_relevant: int) -> None:
    """Ten items without ties, one of them seen, which is drawn as little as what is relevant."""
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.permutation(10)).double()
    order = rng.permutation(10).tolist()
    relevant, seen, others = order[:n_relevant], order[n_relevant:][:1], order[n_relevant + 1 :]
    ranks, left = rank_relevant(scores[None], bag([seen]), bag([relevant]))
    found = [of(ranks, left, k=k, n=n) for of in (sampled_recall_at_k, sampled_ndcg_at_k)]
    expected = enumerated(scores, relevant, others, k, n)
    assert [float(value) for value in found] == pytest.approx(expected, abs=1e-12)


def test_ties_count_half_and_users_without_a_pair_have_no_value() -> None:
    scores = torch.tensor([[1.0, 1.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    ranks, left = rank_relevant(scores, None, bag([[0], [2], [], [0, 1, 2]]))
    found = sampled_recall_at_k(ranks, left, k=1, n=1)
    assert found.tolist() == pytest.approx([0.5, 0.0, np.nan, np.nan], nan_ok=True)
    # Two relevant items that tie are not above one another.
    ranks, left = rank_relevant(torch.tensor([[2.0, 2.0, 1.0]]), None, bag([[0, 1]]))
    assert sampled_recall_at_k(ranks, left, k=1, n=1).tolist() == [1.0]


def test_a_large_catalogue_loses_nothing() -> None:
    ranks = Bag(torch.tensor([1.0, 1e6, 5e5]), torch.tensor([0, 1, 2]))
    left = torch.full((3,), 1_000_000)
    found = sampled_ndcg_at_k(ranks, left, k=101, n=100)
    assert found[0] == pytest.approx(1.0)
    assert found[1] == pytest.approx(1 / np.log2(102))
    draws = np.random.default_rng(0).hypergeometric(499_999, 500_000, 100, 20_000)
    assert float(found[2]) == pytest.approx(np.mean(1 / np.log2(draws + 2)), abs=1e-3)


def test_a_spec_asks_for_it_by_a_name_that_says_what_it_is() -> None:
    data = tiny_ratings()
    metrics: list[Any] = [{"ndcg": 5}, {"sampled_biased_ndcg": {"k": 5, "n": 3}}]
    spec = {
        "tabcf": 1,
        "target": {"implicit": {"positive": "rating >= 4"}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": "popular",
        "metrics": [*metrics, "sampled_biased_recall"],
        "split": {"random": {"valid": 0, "test": 0.4}},
    }
    run = tabcf.fit(spec, data)
    names = ["ndcg@5", "sampled_biased_ndcg@5", "sampled_biased_recall@10"]
    assert list(run.report.test) == names
    assert isinstance(run.users, pd.DataFrame)
    assert run.users["sampled_biased_ndcg@5"].mean() == run.report.test["sampled_biased_ndcg@5"]
    assert run.report.test["sampled_biased_ndcg@5"] > run.report.test["ndcg@5"]


def test_what_makes_no_sense_is_told() -> None:
    ranks, left = Bag(torch.tensor([1.0]), torch.tensor([0])), torch.tensor([3])
    for options in ({"k": 0, "n": 1}, {"k": 1, "n": 0}):
        with pytest.raises(DataError, match=r"[kn]: expected a positive number, got 0"):
            sampled_ndcg_at_k(ranks, left, **options)
    with pytest.raises(DataError, match="of the same users, got those of 1 and 2"):
        sampled_recall_at_k(ranks, torch.tensor([3, 3]), k=1, n=1)
