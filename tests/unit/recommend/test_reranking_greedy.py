"""Greedy re-rankers do at each place what their formula says, as a slow loop does it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tabcf.recommend.reranking.greedy import calibrated, mmr, scaled, xquad
from tabcf.recommend.reranking.rules import group_caps, popularity_penalty


def pools(seed: int, *, n_users: int = 3, n: int = 7) -> torch.Tensor:
    """Falling scores; the last list is short."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=(n_users, n)), axis=1)[:, ::-1].copy()
    scores[-1, -2:] = -np.inf
    return torch.from_numpy(scores)


def greedy(scores: torch.Tensor, k: int, value: Callable[[int, int, list[int]], float]) -> object:
    """The definition: each place to the item that is worth most behind those above it."""
    lists = []
    for user, own in enumerate(scores.tolist()):
        chosen: list[int] = []
        while len(chosen) < k:
            left = [i for i, s in enumerate(own) if s > -math.inf and i not in chosen]
            if not left:
                break
            chosen.append(max(left, key=lambda i: value(user, i, chosen)))
        lists.append(chosen + [-1] * (k - len(chosen)))
    return lists


_SEEDS = st.integers(0, 10_000)
_STRENGTHS = st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])


@given(_SEEDS, _STRENGTHS)
@settings(max_examples=30)
def test_mmr_is_its_definition(seed: int, strength: float) -> None:
    scores = pools(seed)
    vectors = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=(3, 7, 4)))
    relevance = scaled(scores)

    def value(user: int, item: int, above: list[int]) -> float:
        unit = vectors[user] / vectors[user].norm(dim=1, keepdim=True)
        cosines = [float(unit[item] @ unit[other]) for other in above]
        return (1 - strength) * float(relevance[user, item]) - strength * max(cosines, default=0.0)

    assert mmr(scores, vectors, strength=strength, k=6).tolist() == greedy(scores, 6, value)


@given(_SEEDS, _STRENGTHS, st.booleans())
@settings(max_examples=30)
def test_xquad_is_its_definition(seed: int, strength: float, is_smooth: bool) -> None:
    scores, rng = pools(seed), np.random.default_rng(seed + 1)
    aspects = torch.from_numpy(rng.random((3, 7, 3)))
    wanted = torch.from_numpy(rng.dirichlet(np.ones(3), size=3))
    relevance = scaled(scores)

    def value(user: int, item: int, above: list[int]) -> float:
        total = 0.0
        for a in range(3):
            own = [float(aspects[user, j, a]) for j in above]
            novelty = math.prod(1 - x for x in own)
            if is_smooth:
                novelty = 1 - (sum(own) / len(own) if own else 0.0)
            total += float(wanted[user, a] * aspects[user, item, a]) * novelty
        return (1 - strength) * float(relevance[user, item]) + strength * total

    found = xquad(scores, aspects, wanted, strength=strength, k=5, is_smooth=is_smooth)
    assert found.tolist() == greedy(scores, 5, value)


@given(_SEEDS, _STRENGTHS)
@settings(max_examples=30)
def test_calibrated_is_its_definition(seed: int, strength: float) -> None:
    scores, rng = pools(seed), np.random.default_rng(seed + 1)
    aspects = rng.dirichlet(np.ones(3), size=(3, 7))
    aspects[0, 2] = 0  # an item without attributes
    had = rng.dirichlet(np.ones(3), size=3)
    had[0, 1:] = [1 - had[0, 0], 0]  # somebody without one of them
    relevance = scaled(scores)

    def value(user: int, item: int, above: list[int]) -> float:
        listed = [*above, item]
        q = aspects[user, listed].sum(0)
        q = q / q.sum() if q.sum() else q
        p = had[user]
        divergence = sum(
            p[a] * math.log(p[a] / (0.99 * q[a] + 0.01 * p[a])) for a in range(3) if p[a]
        )
        total = float(relevance[user, listed].sum())
        return (1 - strength) * total - strength * divergence

    found = calibrated(
        scores, torch.from_numpy(aspects), torch.from_numpy(had), strength=strength, k=6
    )
    if strength < 1:  # at 1 items without attributes tie with one another
        assert found.tolist() == greedy(scores, 6, value)
    assert sorted(found[0].tolist()) == sorted(set(found[0].tolist()))


def test_a_user_without_a_past_keeps_the_order() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0]])
    genres = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    found = calibrated(scores, genres, torch.zeros(1, 2), strength=0.9, k=3)
    assert found.tolist() == [[0, 1, 2]]


def test_one_item_of_the_tail_ends_its_novelty_and_the_smooth_form_goes_on() -> None:
    scores = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]])
    is_tail = torch.tensor([[[1.0, 0], [1, 0], [1, 0], [0, 1], [0, 1]]])
    wanted = torch.tensor([[0.5, 0.5]])
    binary = xquad(scores, is_tail, wanted, strength=0.8, k=4)
    smooth = xquad(scores, is_tail, wanted, strength=0.8, k=4, is_smooth=True)
    assert binary.tolist() == [[0, 3, 1, 2]]
    assert smooth.tolist() == [[0, 3, 1, 4]]


@given(_SEEDS, st.integers(0, 3), st.integers(1, 7))
@settings(max_examples=30)
def test_caps_are_a_walk_from_the_top(seed: int, most: int, k: int) -> None:
    scores = pools(seed)
    groups = torch.from_numpy(np.random.default_rng(seed + 1).random((3, 7, 2)) < 0.5)
    found = group_caps(scores, groups, torch.tensor([most, 7]), k=k).tolist()
    for user, own in enumerate(scores.tolist()):
        kept: list[int] = []
        for item, score in enumerate(own):
            n_first = sum(bool(groups[user, other, 0]) for other in kept)
            is_full = bool(groups[user, item, 0]) and n_first >= most
            if score > -math.inf and len(kept) < k and not is_full:
                kept.append(item)
        assert found[user] == kept + [-1] * (k - len(kept))


def test_a_price_on_popularity() -> None:
    scores = torch.tensor([[2.0, 1.9]], dtype=torch.float64)
    found = popularity_penalty(scores, torch.tensor([[math.e**3, 0.0]]), strength=0.5)
    assert found.tolist() == [[pytest.approx(0.5), 1.9]]
