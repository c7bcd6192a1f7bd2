"""Each forward pass beside a reference written by hand, and item scores beside expanded pairs."""

from __future__ import annotations

import doctest
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import tabcf.nn.collab
import tabcf.nn.dot_product
import tabcf.nn.embedding
import tabcf.nn.embedding_nn
import tabcf.nn.tabular
from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.errors import DataError
from tabcf.nn import (
    CollabNN,
    ColumnEmbeddings,
    DotProduct,
    DotProductBias,
    EmbeddingNN,
    TabularModel,
    embedding_width,
    score_by_pairs,
)

CARDINALITIES = [6, 4, 7, 3]  # user, user's column, item, event's column
SIDES: dict[str, Any] = {
    "user": 0,
    "item": 2,
    "cat_sides": ["user", "user", "item", "event"],
    "cont_sides": ["user", "item", "event"],
    "set_sides": ["user", "item"],
    "set_cardinalities": [5, 8],
}


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics that are far from their simple starting values."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=rng))
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=rng) + 0.5)
    return model.eval()


def bag(lengths: list[int], cardinality: int, seed: int) -> Bag:
    rng = torch.Generator().manual_seed(seed)
    ends = torch.tensor([0, *lengths]).cumsum(0)
    return Bag(torch.randint(0, cardinality, (int(ends[-1]),), generator=rng), ends[:-1])


def mixed() -> tuple[Query, Inputs]:
    """Two users and three items with columns of all kinds on all sides."""
    query = Query(
        user=Inputs(
            torch.tensor([[1, 2], [5, 0]]), torch.tensor([[0.5], [-1.0]]), (bag([2, 0], 5, 1),)
        ),
        event=Inputs(torch.tensor([[2], [1]]), torch.tensor([[0.1], [0.2]])),
    )
    items = Inputs(
        torch.tensor([[0], [3], [6]]),
        torch.tensor([[1.5], [0.0], [2.0]]),
        (bag([1, 3, 0], 8, 2),),
    )
    return query, items


MODELS = {
    "embedding_nn": lambda: EmbeddingNN(CARDINALITIES, 3, 2, [9, 5], **SIDES),
    "embedding_nn without norm": lambda: EmbeddingNN(
        CARDINALITIES, 3, 1, [9], **SIDES, batch_norm=False, y_range=(0, 5)
    ),
    "embedding_nn of one layer": lambda: EmbeddingNN(CARDINALITIES, 3, 1, [], **SIDES, widths=4),
    "dot_product": lambda: DotProduct(CARDINALITIES, 3, factors=4, **SIDES),
    "dot_product_bias": lambda: DotProductBias(
        CARDINALITIES, 3, factors=4, set_norm="mean", y_range=(0, 5), **SIDES
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_item_scores_equal_the_forward_pass_over_all_pairs(name: str) -> None:
    model = randomise(MODELS[name]())
    query, items = mixed()
    scores = model.score_items(query, items)
    expected = score_by_pairs(model, query, items, block=4)
    assert scores.shape == expected.shape
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_collab_scores_equal_the_forward_pass() -> None:
    model = randomise(CollabNN(6, 7, widths=(3, 5), n_hidden=4, y_range=(0, 5)))
    none = torch.zeros(2, 0)
    users, items = torch.tensor([[1], [5]]), torch.tensor([[0], [3], [6]])
    query = Query(Inputs(users, none), Inputs(torch.zeros(2, 0, dtype=torch.long), none))
    scores = model.score_items(query, Inputs(items, torch.zeros(3, 0)))
    for u in range(2):
        for i in range(3):
            pair = torch.cat([users[u], items[i]])[None]
            torch.testing.assert_close(scores[u, i], model(pair)[0])


def pooled(table: Tensor, found: Bag, row: int, *, norm: str) -> Tensor:
    ends = [*found.offsets.tolist(), len(found.values)]
    values = found.values[ends[row] : ends[row + 1]]
    n = max(len(values), 1)
    return table[values].sum(0) / (n**0.5 if norm == "sqrt" else n)


@pytest.mark.parametrize("norm", ["sqrt", "mean"])
def test_dot_product_bias_is_a_factorisation_machine(norm: str) -> None:
    model = randomise(DotProductBias([6, 7, 3], 2, factors=4, set_cardinalities=[5], set_norm=norm))
    x_cat = torch.tensor([[1, 2, 0], [5, 6, 2]])
    x_cont = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    found = bag([3, 0], 5, 3)
    starts = [0, 6, 13]
    expected = []
    for row in range(2):
        rows = [starts[c] + int(x_cat[row, c]) for c in range(3)]
        vectors = [model.factors[r] for r in rows]
        vectors += [x_cont[row, f] * model.continuous_factors[f] for f in range(2)]
        vectors += [pooled(model.set_factors[0], found, row, norm=norm)]
        linear = sum(model.biases[r, 0] for r in rows)
        linear = linear + x_cont[row] @ model.continuous_weights
        linear = linear + pooled(model.set_biases[0], found, row, norm=norm)[0]
        expected.append(linear + sum((a * b).sum() for a, b in combinations(vectors, 2)))
    torch.testing.assert_close(model(x_cat, x_cont, (found,)).squeeze(1), torch.stack(expected))


def test_two_columns_are_the_plain_dot_product() -> None:
    model = randomise(DotProductBias([6, 7], factors=4, y_range=(0, 5.5)))
    users, items = model.column_vectors(0), model.column_vectors(1)
    x_cat = torch.tensor([[1, 2], [5, 6]], dtype=torch.int32)
    raw = (users[[1, 5]] * items[[2, 6]]).sum(1)
    raw = raw + model.column_bias(0)[[1, 5]] + model.column_bias(1)[[2, 6]]
    torch.testing.assert_close(model(x_cat).squeeze(1), torch.sigmoid(raw) * 5.5)


def test_tabular_model_is_embeddings_numbers_and_an_mlp() -> None:
    model = randomise(TabularModel([4, 3], 2, 1, [5], widths=[2, 3], y_range=(1, 3)))
    x_cat, x_cont = torch.tensor([[1, 2], [3, 0]]), torch.tensor([[0.5, 1.0], [2.0, -1.0]])
    first, second = (model.embeddings.column_weight(c) for c in range(2))
    norm = model.continuous_norm
    scaled = (x_cont - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    scaled = scaled * norm.weight + norm.bias
    x = torch.cat([first[x_cat[:, 0]], second[x_cat[:, 1]], scaled], 1)
    linear, hidden_norm, last = model.mlp[0], model.mlp[2], model.mlp[3]
    assert linear.bias is None
    x = (x @ linear.weight.T).relu()
    x = (x - hidden_norm.running_mean) / (hidden_norm.running_var + hidden_norm.eps).sqrt()
    x = (x * hidden_norm.weight + hidden_norm.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(model(x_cat, x_cont), torch.sigmoid(x) * 2 + 1)


def test_embedding_nn_is_a_tabular_model_with_the_same_forward() -> None:
    assert "forward" not in vars(EmbeddingNN)
    assert issubclass(EmbeddingNN, TabularModel)


@given(
    cardinalities=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    width=st.one_of(st.none(), st.integers(1, 3)),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_a_look_up_is_a_one_hot_row_times_the_matrix(
    cardinalities: list[int], width: int | None, data: st.DataObject
) -> None:
    embeddings = ColumnEmbeddings(cardinalities, width)
    row = [data.draw(st.integers(0, n - 1)) for n in cardinalities]
    expected = [
        nn.functional.one_hot(torch.tensor(index), n).float() @ embeddings.column_weight(c)
        for c, (index, n) in enumerate(zip(row, cardinalities, strict=True))
    ]
    torch.testing.assert_close(embeddings(torch.tensor([row]))[0], torch.cat(expected))


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = MODELS[name]().train()
    query, items = mixed()
    rows = [0, 1, 0]
    x_cat = torch.cat([query.user.x_cat[rows], items.x_cat, query.event.x_cat[rows]], 1)
    x_cont = torch.cat([query.user.x_cont[rows], items.x_cont, query.event.x_cont[rows]], 1)
    model(x_cat, x_cont, (bag([1, 2, 1], 5, 4), *items.x_sets)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_vectors_are_views_of_the_weights() -> None:
    for model in (EmbeddingNN([6, 7]), DotProductBias([6, 7]), CollabNN(6, 7)):
        with torch.no_grad():
            model.column_vectors(1)[3] = 9.0
        parameter, rows = model.column_rows(1)[0]
        assert (parameter[rows][3] == 9).all()
        assert len(parameter[rows]) == 7


def test_widths_are_fastais() -> None:
    assert [embedding_width(n) for n in (2, 10, 944, 1683, 10**6)] == [2, 6, 74, 103, 600]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: TabularModel([3, 4])(torch.zeros(1, 3, dtype=torch.long)), "x_cat has 3 columns"),
        (lambda: DotProduct([3, 4])(torch.zeros(1, 1, dtype=torch.long)), "x_cat has 1 columns"),
        (lambda: TabularModel([3], 2)(torch.zeros(1, 1, dtype=torch.long)), "x_cont has 0 feat"),
        (lambda: CollabNN(3, 4)(torch.zeros(1, 3, dtype=torch.long)), "use EmbeddingNN for more"),
        (lambda: EmbeddingNN([3, 4], user=1), "user and item are both column 1"),
        (lambda: EmbeddingNN([3, 4], cat_sides=["user"]), "cat_sides: expected one for each of 2"),
        (lambda: TabularModel([3, 4], widths=[2]), "widths: expected one for each of 2 columns"),
        (lambda: TabularModel([]), "a model needs at least one column"),
    ],
)
def test_a_wrong_shape_is_said_in_words(call: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        call()


@pytest.mark.parametrize(
    "module",
    [
        tabcf.nn.collab,
        tabcf.nn.dot_product,
        tabcf.nn.embedding,
        tabcf.nn.embedding_nn,
        tabcf.nn.tabular,
    ],
    ids=lambda module: module.__name__,
)
def test_the_examples_run(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
