"""Scores of all items: expanded pairs, wrong sides, training mode, vectors and dropout."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tabcf.nn.scoring
from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.errors import DataError
from tabcf.nn import CollabNN, DotProduct, DotProductBias, EmbeddingNN, score_by_pairs

N_USERS, N_ITEMS = 3, 4
SIDES: dict[str, Any] = {
    "cardinalities": [5, 4, 6, 3],
    "user": 0,
    "item": 2,
    "cat_sides": ["user", "user", "item", "event"],
    "cont_sides": ["user", "item", "event"],
    "set_sides": ["user", "item"],
    "set_cardinalities": [7, 8],
    "n_continuous": 3,
}
MIXED = {
    "embedding_nn": lambda: EmbeddingNN(**SIDES, d_out=2, layers=[6, 5]),
    "dot_product": lambda: DotProduct(**SIDES, factors=3),
    "dot_product_bias": lambda: DotProductBias(**SIDES, factors=3, y_range=(0, 5)),
}


def large(model: nn.Module) -> nn.Module:
    """Weights so large that every term shows."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    return model


def side(cardinalities: list[int], n_rows: int, n_cont: int, *bags: Bag) -> Inputs:
    rng = torch.Generator().manual_seed(n_rows)
    cats = [torch.randint(0, n, (n_rows, 1), generator=rng) for n in cardinalities]
    x_cat = torch.cat([torch.zeros(n_rows, 0, dtype=torch.long), *cats], 1)
    return Inputs(x_cat.int(), torch.randn(n_rows, n_cont, generator=rng), bags)


def mixed() -> tuple[Query, Inputs]:
    """Columns of each kind on each side; sets that are empty or weighted."""
    of_users = Bag(torch.tensor([6, 1, 2]), torch.tensor([0, 0, 2]), torch.tensor([0.5, 2.0, 3.0]))
    of_items = Bag(torch.tensor([7, 0, 3, 3]), torch.tensor([0, 1, 1, 3]))
    query = Query(side([5, 4], N_USERS, 1, of_users), side([3], N_USERS, 1))
    return query, side([6], N_ITEMS, 1, of_items)


def row_of(inputs: Inputs, row: int) -> Inputs:
    bags = []
    for bag in inputs.x_sets:
        ends = [*bag.offsets.tolist(), len(bag.values)]
        chosen = slice(ends[row], ends[row + 1])
        weights = None if bag.weights is None else bag.weights[chosen]
        bags.append(Bag(bag.values[chosen], torch.tensor([0]), weights))
    return Inputs(inputs.x_cat[row : row + 1], inputs.x_cont[row : row + 1], tuple(bags))


def one_by_one(model: nn.Module, query: Query, items: Inputs) -> Tensor:
    """The model's forward, one pair a call."""
    users = []
    for u in range(len(query.user.x_cat)):
        scores = []
        for i in range(len(items.x_cat)):
            sides = [row_of(query.user, u), row_of(items, i), row_of(query.event, u)]
            scores.append(
                model(
                    torch.cat([part.x_cat for part in sides], 1),
                    torch.cat([part.x_cont for part in sides], 1),
                    tuple(bag for part in sides for bag in part.x_sets),
                )[0]
            )
        users.append(torch.stack(scores))
    return torch.stack(users)


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("block", [1, 5, 1000])
def test_pairs_in_blocks_are_the_forward_pass_of_each_pair(name: str, block: int) -> None:
    model = large(MIXED[name]()).eval()
    query, items = mixed()
    expected = one_by_one(model, query, items)
    assert expected.std() > 0.1
    scores = score_by_pairs(model, query, items, block=block)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.score_items(query, items), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n_users", "n_items"), [(0, 3), (2, 0), (1, 1)])
def test_any_number_of_users_and_items(n_users: int, n_items: int) -> None:
    query = Query(side([5], n_users, 0), side([], n_users, 0))
    items = side([6], n_items, 0)
    for model in (EmbeddingNN([5, 6], d_out=2), DotProductBias([5, 6]), CollabNN(5, 6)):
        expected = (n_users, n_items, 2 if isinstance(model, EmbeddingNN) else 1)
        assert model.eval().score_items(query, items).shape == expected
        assert score_by_pairs(model, query, items).shape == expected


TWO_COLUMNS = {
    "embedding_nn": lambda: EmbeddingNN([5, 6]),
    "dot_product": lambda: DotProduct([5, 6]),
    "collab_nn": lambda: CollabNN(5, 6),
}


@pytest.mark.parametrize("name", TWO_COLUMNS)
@pytest.mark.parametrize(
    ("user", "item", "event", "expected"),
    [
        (side([5, 5], 2, 0), side([6], 3, 0), side([], 2, 0), "user side: x_cat has 2 columns"),
        (side([], 2, 0), side([6], 3, 0), side([], 2, 0), "user side: x_cat has 0 columns"),
        (side([5], 2, 0), side([6], 3, 1), side([], 2, 0), "item side: x_cont has 1 columns"),
        (side([5], 2, 0), side([6], 3, 0), side([2], 2, 0), "event side: x_cat has 1 columns"),
    ],
)
def test_a_sides_wrong_columns_are_refused(
    name: str, user: Inputs, item: Inputs, event: Inputs, expected: str
) -> None:
    with pytest.raises(DataError, match=f"{expected}, but the model has"):
        TWO_COLUMNS[name]().score_items(Query(user, event), item)


def test_one_user_column_is_not_spread_over_three() -> None:
    model = DotProduct([5, 6, 5, 5], cat_sides=["user", "item", "user", "user"])
    query = Query(side([5], 2, 0), side([], 2, 0))
    with pytest.raises(DataError, match="user side: x_cat has 1 columns, but the model has 3"):
        model.score_items(query, side([6], 3, 0))


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        (["user", "movie"], "cat_sides: expected user, item or event, got 'movie'"),
        (["item", "item"], "cat_sides: column 0 holds the user ids, but its side is 'item'"),
    ],
)
def test_sides_that_make_no_sense_are_refused(sides: list[Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        DotProduct([5, 6], cat_sides=sides)


def test_in_training_hidden_layers_are_normalised_over_all_pairs() -> None:
    model = large(EmbeddingNN([5, 6], layers=[4])).train()
    query, items = Query(side([5], 3, 0), side([], 3, 0)), side([6], 4, 0)
    pairs = torch.cat([query.user.x_cat.repeat_interleave(4, 0), items.x_cat.repeat(3, 1)], 1)
    scores = model.score_items(query, items)
    after_scores = model.mlp[2].running_mean.clone()
    model.mlp[2].reset_running_stats()
    torch.testing.assert_close(scores.flatten(), model(pairs).flatten(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after_scores, model.mlp[2].running_mean)
    assert after_scores.abs().max() > 0.01


@pytest.mark.parametrize("name", MIXED)
def test_scores_in_training_reach_every_parameter(name: str) -> None:
    model = MIXED[name]().train()
    query, items = mixed()
    scores = model.score_items(query, items)
    assert scores.shape == (N_USERS, N_ITEMS, 2 if name == "embedding_nn" else 1)
    scores.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_scores_differ_by_the_product_of_the_vectors_alone() -> None:
    """What users and items have of their own moves whole rows and columns of the scores."""
    model = large(DotProductBias(**SIDES, factors=3)).eval()
    query, items = mixed()
    scores = model.score_items(query, items).squeeze(2)
    rest = scores - model.user_vectors(query) @ model.item_vectors(items).T
    rest = rest - rest.mean(0, keepdim=True) - rest.mean(1, keepdim=True) + rest.mean()
    assert scores.std() > 1
    torch.testing.assert_close(rest, torch.zeros_like(rest), rtol=0, atol=1e-4)


def test_dropped_factors_are_the_users_and_keep_the_rest() -> None:
    """With two factors and p = ½ the product is one of four numbers; biases always count."""
    model = large(DotProductBias([5, 6], factors=2, dropout=0.5)).train()
    x_cat = torch.tensor([[2, 3]]).expand(200, 2)
    first, second = (model.column_vectors(0)[2] * model.column_vectors(1)[3]).tolist()
    biases = (model.column_bias(0)[2] + model.column_bias(1)[3]).item()
    possible = {0.0, 2 * first, 2 * second, 2 * (first + second)}
    expected = {round(value + biases, 4) for value in possible}
    assert len(expected) == 4
    assert {round(value, 4) for value in model(x_cat).flatten().tolist()} == expected
    query, items = Query(side([5], 200, 0), side([], 200, 0)), side([6], 1, 0)
    query.user.x_cat[:], items.x_cat[:] = 2, 3
    scored = model.score_items(query, items).flatten().tolist()
    assert {round(value, 4) for value in scored} == expected
    kept = first + second + biases
    assert model.eval()(x_cat).flatten().tolist() == pytest.approx([kept] * 200, abs=1e-5)


def test_dropout_of_mixed_columns_leaves_the_expectation() -> None:
    model = large(DotProduct(**SIDES, factors=3, dropout=0.3))
    query, items = mixed()
    rows = [0, 1, 2]
    parts = [query.user, Inputs(items.x_cat[rows], items.x_cont[rows]), query.event]
    of_items = Bag(torch.tensor([7, 0, 3]), torch.tensor([0, 1, 1]))
    arguments = (
        torch.cat([part.x_cat for part in parts], 1),
        torch.cat([part.x_cont for part in parts], 1),
        (query.user.x_sets[0], of_items),
    )
    expected = model.eval()(*arguments)
    torch.manual_seed(0)
    drawn = torch.stack([model.train()(*arguments) for _ in range(4000)]).detach()
    error = (drawn.mean(0) - expected).abs() / (drawn.std(0) / 4000**0.5)
    assert (drawn.std(0) > 0.1).all()
    assert (error < 4.5).all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"factors": 0}, "factors: expected a positive integer, got 0"),
        ({"set_norm": "max"}, "set_norm: expected sqrt or mean, got 'max'"),
    ],
)
def test_options_of_dot_products_are_checked(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        DotProduct([5, 6], **options)


def test_the_example_of_pairs_runs() -> None:
    found = doctest.testmod(tabcf.nn.scoring)
    assert found.attempted > 0
    assert found.failed == 0
