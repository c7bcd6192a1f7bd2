"""An ensemble says the mean of what its members say, and can do what all of them can."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.model import (
    AdditiveScorer,
    CandidateScorer,
    ColumnBiases,
    ColumnRows,
    ColumnVectors,
    FactoredScorer,
    ItemScorer,
    KnowsSpread,
    LinearRows,
    SetRows,
)
from tabcf.data.batches import select_bag
from tabcf.errors import DataError
from tabcf.nn import CollabNN, DotProduct, DotProductBias, EmbeddingNN, TabularModel
from tabcf.nn.members import ensemble_of

SIDES: dict[str, Any] = {
    "cat_sides": ("user", "item", "event"),
    "cont_sides": ("user", "item"),
    "set_sides": ("item", "user"),
    "set_cardinalities": (7, 4),
}


def products(kind: type[DotProduct] = DotProductBias, n: int = 3, **options: Any) -> list[Any]:
    torch.manual_seed(3)
    members = [kind([5, 6, 3], 2, factors=4, **SIDES, **options) for _ in range(n)]
    for member in members:
        for parameter in member.parameters():
            nn.init.normal_(parameter, std=0.5)
    return members


def batch(n: int = 9) -> tuple[Tensor, Tensor, tuple[Bag, Bag]]:
    rng = torch.Generator().manual_seed(8)
    x_cat = torch.stack([torch.randint(0, c, (n,), generator=rng) for c in (5, 6, 3)], 1)
    bags = []
    for n_values in (7, 4):
        lengths = torch.randint(0, 4, (n,), generator=rng)
        values = torch.randint(0, n_values, (int(lengths.sum()),), generator=rng)
        bags.append(Bag(values, lengths.cumsum(0) - lengths))
    return x_cat, torch.randn(n, 2, generator=rng), (bags[0], bags[1])


def sides(n: int = 9) -> tuple[Query, Inputs]:
    x_cat, x_cont, (of_items, of_users) = batch(n)
    users = Inputs(x_cat[:, :1], x_cont[:, :1], (of_users,))
    events = Inputs(x_cat[:, 2:], x_cont[:, :0])
    return Query(users, events), Inputs(x_cat[:, 1:2], x_cont[:, 1:], (of_items,))


def twice(bag: Bag) -> Bag:
    """Each row of a bag two times in a row."""
    return select_bag(bag, torch.arange(len(bag.offsets)).repeat_interleave(2))


@pytest.mark.parametrize("kind", [DotProduct, DotProductBias])
@pytest.mark.parametrize("norm", ["sqrt", "mean"])
@pytest.mark.parametrize("y_range", [None, (1.0, 5.0)])
def test_one_look_up_in_training_is_what_each_member_says(
    kind: type[DotProduct], norm: str, y_range: tuple[float, float] | None
) -> None:
    members = products(kind, set_norm=norm, y_range=y_range)
    found = ensemble_of(members).train().each(*batch())
    expected = torch.stack([member(*batch()) for member in members])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    found.pow(2).sum().backward()
    own = [p.grad.clone() for member in members for p in member.parameters()]
    for member in members:
        member.zero_grad()
    expected.pow(2).sum().backward()
    for mine, parameter in zip(own, [p for m in members for p in m.parameters()], strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("y_range", [None, (1.0, 5.0)])
def test_networks_look_sets_up_once_in_training(y_range: tuple[float, float] | None) -> None:
    torch.manual_seed(1)
    members = [EmbeddingNN([5, 6, 3], 2, layers=[6], y_range=y_range, **SIDES) for _ in range(3)]
    alone = copy.deepcopy(members)
    found = ensemble_of(members).train().each(*batch())
    expected = torch.stack([member.train()(*batch()) for member in alone])
    torch.testing.assert_close(found, expected)
    found.pow(2).sum().backward()
    expected.pow(2).sum().backward()
    for member, own in zip(members, alone, strict=True):
        for mine, theirs in zip(member.parameters(), own.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)
        running = [value for name, value in member.named_buffers() if "running" in name]
        expected_running = [value for name, value in own.named_buffers() if "running" in name]
        assert len(running) > 0
        torch.testing.assert_close(running, expected_running)


def test_members_with_dropout_draw_their_own() -> None:
    ensemble = ensemble_of(products(dropout=0.5)).train()
    torch.manual_seed(0)
    first = ensemble.each(*batch())
    torch.manual_seed(0)
    expected = torch.stack([member(*batch()) for member in ensemble.members])
    torch.testing.assert_close(first, expected)


def test_products_are_averaged_before_the_range() -> None:
    members = products(y_range=(1.0, 5.0))
    raw = torch.stack([member.products(*batch()) for member in members]).mean(0)
    found = ensemble_of(members).eval()(*batch())
    torch.testing.assert_close(found, raw.sigmoid() * 4 + 1)


@pytest.mark.parametrize("y_range", [None, (1.0, 5.0)])
def test_a_mean_of_products_is_scored_by_one_product(y_range: tuple[float, float] | None) -> None:
    ensemble: Any = ensemble_of(products(y_range=y_range)).eval()
    query, items = sides()
    scores = ensemble.score_items(query, items)
    same = torch.arange(9)
    torch.testing.assert_close(scores[same, same], ensemble(*batch()), rtol=1e-4, atol=1e-5)
    turned = Inputs(*(x.repeat_interleave(2, 0) for x in items[:2]), (twice(items.x_sets[0]),))
    candidates = ensemble.score_candidates(query, turned)
    torch.testing.assert_close(candidates, scores[same, same][:, None].repeat(1, 2, 1))
    assert ensemble.item_factors(items).shape == (9, 3 * 6)
    assert ensemble.is_linear == (y_range is None)


def test_terms_add_up_and_rows_are_linear() -> None:
    ensemble: Any = ensemble_of(products()).eval()
    x_cat, x_cont, bags = batch()
    expected = ensemble(x_cat, x_cont, bags)
    terms = ensemble.terms(Inputs(x_cat, x_cont, bags))
    assert len(terms) == 7 + 21
    torch.testing.assert_close(sum(v for _, v in terms), expected[:, 0], rtol=1e-4, atol=1e-5)
    slope, rest = ensemble.row_terms(1, x_cat, x_cont, bags)
    rows = torch.cat([p[r][x_cat[:, 1]].flatten(1) for p, r in ensemble.column_rows(1)], 1)
    found = rest + (slope * rows).sum(1, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_biases_are_means_and_vectors_stand_side_by_side() -> None:
    members = products()
    ensemble: Any = ensemble_of(members)
    biases = torch.stack([member.column_bias(1) for member in members])
    torch.testing.assert_close(ensemble.column_bias(1), biases.mean(0))
    assert ensemble.column_vectors(1).shape == (6, 12)
    assert torch.equal(ensemble.column_vectors(1)[:, 4:8], members[1].column_vectors(1))


def test_networks_are_averaged_and_score_all_items() -> None:
    torch.manual_seed(1)
    options = {**SIDES, "layers": [6], "y_range": (0.0, 5.0)}
    members = [EmbeddingNN([5, 6, 3], 2, **options) for _ in range(3)]
    ensemble: Any = ensemble_of(members).eval()
    expected = torch.stack([member(*batch()) for member in members]).mean(0)
    torch.testing.assert_close(ensemble(*batch()), expected)
    scores = ensemble.score_items(*sides())
    same = torch.arange(9)
    torch.testing.assert_close(scores[same, same], expected)
    assert len(ensemble.column_rows(0)) == len(ensemble.set_rows(1)) == 3
    assert len(ensemble.bias_parameters()) == sum(len(m.bias_parameters()) for m in members)


ABILITIES = (
    AdditiveScorer,
    CandidateScorer,
    ColumnBiases,
    ColumnRows,
    ColumnVectors,
    FactoredScorer,
    ItemScorer,
    LinearRows,
    SetRows,
)


@pytest.mark.parametrize(
    "build",
    [
        lambda: DotProductBias([3, 4], factors=2),
        lambda: DotProduct([3, 4], factors=2),
        lambda: EmbeddingNN([3, 4], layers=[2]),
        lambda: CollabNN(3, 4, n_hidden=2),
        lambda: TabularModel([3, 4], layers=[2]),
        lambda: nn.Linear(2, 1),
    ],
    ids=["dot product with biases", "dot product", "network", "book", "table", "foreign"],
)
def test_an_ensemble_can_do_what_its_members_can(build: Any) -> None:
    members = [build(), build()]
    ensemble = ensemble_of(members)
    expected = [ability for ability in ABILITIES if isinstance(members[0], ability)]
    assert [ability for ability in ABILITIES if isinstance(ensemble, ability)] == expected
    assert not isinstance(ensemble, KnowsSpread), "members that agree may all be wrong"


def test_an_ensemble_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="members: expected at least one model, got none"):
        ensemble_of([])
