"""Propensities are the shares with which items come to places, as draws show."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from tabcf.recommend.reranking.exploration import (
    epsilon_greedy,
    place_chances,
    rank_chances,
    thompson,
)

N_DRAWS = 40_000


def shares(places: Tensor, n: int) -> Tensor:
    """`(n, K)`: how often each item came to each place."""
    k = places.shape[1]
    return torch.stack([torch.bincount(places[:, r], minlength=n) for r in range(k)], 1) / len(
        places
    )


def test_epsilon_greedy_draws_with_the_stated_propensities() -> None:
    scores = torch.arange(6.0, 0.0, -1.0).repeat(N_DRAWS, 1)
    found = epsilon_greedy(scores, epsilon=0.4, k=4, rng=Generator().manual_seed(1))
    expected = place_chances(6, 4, 0.4)
    # Five standard errors of a share.
    torch.testing.assert_close(
        shares(found.places, 6).double(), expected, rtol=0, atol=5 * 0.5 / N_DRAWS**0.5
    )
    for place in range(4):
        own = expected[found.places[:, place], place]
        torch.testing.assert_close(found.propensities[:, place], own)
    torch.testing.assert_close(expected.sum(0), torch.ones(4, dtype=torch.float64))


def test_every_item_is_somewhere() -> None:
    """A whole list: each item comes to some place, each place has some item."""
    chances = place_chances(5, 5, 0.3)
    torch.testing.assert_close(chances.sum(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(chances.sum(0), torch.ones(5, dtype=torch.float64))
    assert (place_chances(5, 5, 0.0) == torch.eye(5)).all()
    torch.testing.assert_close(place_chances(5, 5, 1.0), torch.full((5, 5), 0.2).double())


def test_a_short_list_ends_early_and_is_drawn_among_its_own() -> None:
    scores = torch.tensor([[3.0, 2.0, -torch.inf], [3.0, 2.0, 1.0]]).repeat(200, 1)
    found = epsilon_greedy(scores, epsilon=1.0, k=3, rng=Generator().manual_seed(0))
    assert (found.places[::2, 2] == -1).all()
    assert found.propensities[::2, 2].isnan().all()
    assert (found.propensities[::2, :2] == 0.5).all()
    assert set(found.places[::2, :2].flatten().tolist()) == {0, 1}
    torch.testing.assert_close(found.propensities[1::2], torch.full((200, 3), 1 / 3).double())


def test_thompson_draws_with_the_stated_propensities() -> None:
    means = torch.tensor([2.0, 1.7, 1.0, 0.9, -1.0])
    deviations = torch.tensor([0.3, 1.0, 0.05, 0.6, 2.0], dtype=torch.float64)
    scores, spread = means.repeat(N_DRAWS, 1), deviations.repeat(N_DRAWS, 1)
    drawn = torch.randn(N_DRAWS, 5, generator=Generator().manual_seed(2)).double()
    seen = shares((means + deviations * drawn).topk(3).indices, 5)
    every = torch.tensor([[a, a, a] for a in range(5)])
    exact = rank_chances(scores[:5], spread[:5], every)
    torch.testing.assert_close(exact.double(), seen.double(), rtol=0, atol=0.013)
    found = thompson(scores[:500], spread[:500], k=3, rng=Generator().manual_seed(3))
    own = exact[found.places, torch.arange(3)]
    torch.testing.assert_close(found.propensities, own, rtol=1e-4, atol=1e-6)


def test_nothing_is_drawn_where_scores_are_sure() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0, -torch.inf]])
    found = thompson(scores, torch.zeros(1, 4, dtype=torch.float64), k=4, rng=Generator())
    assert found.places.tolist() == [[0, 1, 2, -1]]
    assert found.propensities[0, :3].tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert found.propensities[0, 3].isnan()
