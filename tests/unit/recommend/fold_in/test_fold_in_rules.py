"""Losses of choices: slopes and curvatures against autograd, and what they mean."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from tabcf.recommend.fold_in.rules import Rule, ShareOfUsers, Shares, Squares

N = 9


def rules() -> dict[str, Rule]:
    rng = Generator().manual_seed(5)
    return {
        "shares": Shares(),
        "share_of_users": ShareOfUsers(
            torch.randn(40, generator=rng, dtype=torch.float64) + 3,
            torch.randint(0, 6, (40,), generator=rng).double(),
        ),
        "squares": Squares(0.2),
    }


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = Generator().manual_seed(seed)
    scores = torch.randn(N, generator=rng, dtype=torch.float64)
    is_chosen = torch.rand(N, generator=rng) < 0.4
    share = torch.where(is_chosen, 1.0, 1 + 5 * torch.rand(N, generator=rng)).double()
    return scores, is_chosen, share, torch.randperm(40, generator=rng)[:N]


@pytest.mark.parametrize("name", ["shares", "share_of_users", "squares"])
@given(seed=st.integers(0, 1000))
def test_slopes_and_curvatures_are_those_of_the_loss(name: str, seed: int) -> None:
    rule = rules()[name]
    scores, is_chosen, share, other = drawn(seed)

    def loss(at: Tensor) -> Tensor:
        return rule(at, is_chosen, share, other)[0]

    _, slope, curve, centre = rule(scores, is_chosen, share, other)
    found = torch.diag(curve)
    if centre is not None:
        found -= curve.sum() * torch.outer(centre, centre)
    assert torch.allclose(slope, torch.func.grad(loss)(scores), atol=1e-10)
    assert torch.allclose(found, torch.autograd.functional.hessian(loss, scores), atol=1e-10)


def test_the_loss_of_a_new_user_is_that_of_the_softmax() -> None:
    scores, is_chosen, share, other = drawn(1)
    p = (scores.exp() * share) / (scores.exp() * share).sum()
    expected = -(p / share)[is_chosen].log().sum()
    assert torch.allclose(rules()["shares"](scores, is_chosen, share, other)[0], expected)


def test_an_item_that_stands_for_others_counts_as_all_of_them() -> None:
    scores, is_chosen, _, other = drawn(2)
    is_twice = ~is_chosen
    share = torch.where(is_twice, 2.0, 1.0).double()
    places = torch.cat([torch.arange(N), torch.arange(N)[is_twice]])
    for name, rule in rules().items():
        one = rule(scores, is_chosen, share, other)
        ones = torch.ones(len(places)).double()
        each = rule(scores[places], is_chosen[places], ones, other[places])
        assert torch.allclose(one[0], each[0]), name
        assert torch.allclose(one[1].sum(), each[1].sum(), atol=1e-10), name
        assert torch.allclose(one[2].sum(), each[2].sum()), name


def test_a_new_items_share_is_among_all_items_of_each_user() -> None:
    """Two users of three items each: one chose the new item, and five others before."""
    others = torch.tensor([[1.0, 0.5, 0.0], [2.0, 0.0, 1.0]]).double()
    rule = ShareOfUsers(others.logsumexp(1), torch.tensor([5.0, 2.0]).double())
    scores = torch.tensor([0.7, 0.1]).double()
    is_chosen = torch.tensor([True, False])
    found = rule(scores, is_chosen, torch.ones(2).double(), torch.arange(2))[0]
    p = scores.exp() / (scores.exp() + others.exp().sum(1))
    expected = -p[0].log() - 5 * (1 - p[0]).log() - 2 * (1 - p[1]).log()
    assert torch.allclose(found, expected)
