"""What models say of themselves: biases, rows of columns, abilities; and dropout, and imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tabcf.contracts.inputs import Inputs, Query
from tabcf.contracts.model import (
    ColumnBiases,
    ColumnRows,
    ColumnVectors,
    ItemScorer,
    KnowsBiases,
    LinearRows,
)
from tabcf.nn import CollabNN, DotProduct, DotProductBias, EmbeddingNN, TabularModel

BUILD: dict[str, Callable[[], nn.Module]] = {
    "tabular": lambda: TabularModel([5, 4], 2, layers=[6], set_cardinalities=[3], widths=2),
    "embedding_nn": lambda: EmbeddingNN([5, 4], layers=[6, 3], batch_norm=False, widths=[2, 3]),
    "dot_product": lambda: DotProduct([5, 4], 2, set_cardinalities=[3]),
    "dot_product_bias": lambda: DotProductBias([5, 4], 2, set_cardinalities=[3]),
    "collab_nn": lambda: CollabNN(5, 4, n_hidden=3),
}
BIASES = {
    "tabular": {
        "continuous_norm.weight",
        "continuous_norm.bias",
        "mlp.2.weight",
        "mlp.2.bias",
        "mlp.3.bias",
    },
    "embedding_nn": {"mlp.0.bias", "mlp.2.bias", "mlp.4.bias"},
    "dot_product": set(),
    "dot_product_bias": {"biases", "continuous_weights", "set_biases.0"},
    "collab_nn": {"layers.0.bias", "layers.2.bias"},
}
SECOND_COLUMN = {
    "tabular": {"embeddings.tables.0": slice(5, 9)},
    "embedding_nn": {"embeddings.tables.1": slice(0, 4)},
    "dot_product": {"factors": slice(5, 9)},
    "dot_product_bias": {"factors": slice(5, 9), "biases": slice(5, 9)},
    "collab_nn": {"items": slice(0, 4)},
}


@pytest.mark.parametrize("name", BUILD)
def test_biases_and_norms_are_named(name: str) -> None:
    model = BUILD[name]()
    names = {id(parameter): own for own, parameter in model.named_parameters()}
    assert {names[id(parameter)] for parameter in model.bias_parameters()} == BIASES[name]


@pytest.mark.parametrize("name", BUILD)
def test_the_rows_of_a_column_are_named(name: str) -> None:
    model = BUILD[name]()
    names = {id(parameter): own for own, parameter in model.named_parameters()}
    rows = {names[id(parameter)]: rows for parameter, rows in model.column_rows(1)}
    assert rows == SECOND_COLUMN[name]


@pytest.mark.parametrize("name", BUILD)
def test_only_the_rows_of_a_column_change_its_outputs(name: str) -> None:
    """Moving the second column's row 3 moves the predictions of value 3 and no other."""
    torch.manual_seed(0)
    model = BUILD[name]().eval()
    if name == "tabular":
        model = TabularModel([5, 4], widths=2, layers=[6]).eval()
    if "dot" in name:
        model = type(model)([5, 4]).eval()
    x_cat = torch.tensor([[1, 3], [1, 2], [4, 3], [4, 0]])
    before = model(x_cat).detach()
    with torch.no_grad():
        for parameter, rows in model.column_rows(1):
            parameter[rows][3] += 1
    moved = (model(x_cat) - before).abs().squeeze(1) > 0
    assert moved.tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("ability", "names"),
    [
        (KnowsBiases, set(BUILD)),
        (ColumnRows, set(BUILD)),
        (ColumnVectors, set(BUILD)),
        (ItemScorer, set(BUILD) - {"tabular"}),
        (ColumnBiases, {"dot_product_bias"}),
        (LinearRows, {"dot_product", "dot_product_bias"}),
    ],
)
def test_abilities_are_told_by_type(ability: Any, names: set[str]) -> None:
    assert {name for name, build in BUILD.items() if isinstance(build(), ability)} == names


def test_embedding_dropout_zeroes_embedded_values_in_training_only() -> None:
    model = EmbeddingNN([5, 4], 1, widths=50, embedding_dropout=0.5, cont_sides=["user"])
    x_cat, x_cont = torch.ones(200, 2, dtype=torch.long), torch.ones(200, 1)
    kept = model.eval().features(x_cat, x_cont)
    dropped = model.train().features(x_cat, x_cont)
    is_zero = dropped[:, :100] == 0
    assert is_zero.float().mean() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(dropped[:, :100][~is_zero], 2 * kept[:, :100][~is_zero])


def test_embedding_dropout_holds_where_items_are_scored() -> None:
    model = EmbeddingNN([5, 4], layers=[], widths=4, embedding_dropout=0.5)
    none = torch.zeros(20, 0)
    users = Inputs(torch.ones(20, 1, dtype=torch.long), none)
    query = Query(users, Inputs(torch.zeros(20, 0, dtype=torch.long), none))
    items = Inputs(torch.ones(1, 1, dtype=torch.long), torch.zeros(1, 0))
    assert len(model.eval().score_items(query, items).unique()) == 1
    assert len(model.train().score_items(query, items).unique()) > 1


def test_dropout_follows_each_hidden_layer() -> None:
    kinds = [type(module).__name__ for module in TabularModel([5], layers=[4, 3], dropout=0.2).mlp]
    block = ["Linear", "ReLU", "BatchNorm", "Dropout"]
    assert kinds == [*block, *block, "Linear"]


def test_models_load_torch_and_nothing_heavy() -> None:
    code = (
        "import sys; from tabcf.nn import EmbeddingNN; EmbeddingNN([3, 4]); "
        "heavy = {'pandas', 'pydantic', 'pluggy', 'yaml', 'torch._dynamo'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
