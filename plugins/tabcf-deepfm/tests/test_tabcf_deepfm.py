"""Against sums over pairs as the paper writes them, and fits that must learn."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import tabcf_deepfm
import torch
from tabcf_deepfm.model import DeepFM

import tabcf
from tabcf.contracts.inputs import Bag
from tabcf.contracts.model import ColumnBiases, ColumnRows, ColumnVectors, KnowsBiases
from tabcf.errors import DataError, SpecError
from tabcf.testing import ModelContract, tiny_ratings, tiny_table

X_CAT = torch.tensor([[1, 2], [0, 4], [3, 0]])
X_CONT = torch.tensor([[0.5, -1.0], [2.0, 0.0], [0.0, 3.0]])
BAG = Bag(torch.tensor([1, 3, 2]), torch.tensor([0, 2, 2]))  # {1, 3}, {}, {2}


class TestDeepFM(ModelContract):
    definition = tabcf_deepfm.DEEPFM
    options: ClassVar = {"factors": 4, "layers": []}


class TestWithNorms(ModelContract):
    definition = tabcf_deepfm.DEEPFM
    options: ClassVar = {"factors": 4, "layers": [8], "batch_norm": True, "y_range": [0, 5.5]}


def model(**options: Any) -> DeepFM:
    """A model with weights large enough for each term to be seen."""
    torch.manual_seed(0)
    made = DeepFM([4, 5], 2, factors=3, layers=[6], set_cardinalities=[4], **options)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made.eval()


@torch.no_grad()
def test_the_output_is_the_papers_sum() -> None:
    one = model()
    fm = []
    for row in range(3):
        user, item = (one.column_vectors(c)[X_CAT[row, c]] for c in range(2))
        fields = [user, item]
        linear = sum(float(one.column_bias(c)[X_CAT[row, c]]) for c in range(2))
        for feature in range(2):
            fields.append(X_CONT[row, feature] * one.continuous_vectors[feature])
            linear += float(X_CONT[row, feature] * one.continuous_weights[feature])
        values = [[1, 3], [], [2]][row]
        root = max(len(values), 1) ** 0.5
        fields.append(one.set_vectors.tables[0][values].sum(0) / root)
        linear += float(one.set_weights.tables[0][values].sum() / root)
        pairs = sum(float(a @ b) for a, b in combinations(fields, 2))
        deep = one.perceptron(X_CAT[:1, :0], torch.cat(fields)[None])
        fm.append(linear + pairs + deep.item())
    expected = torch.tensor(fm)[:, None]
    torch.testing.assert_close(one(X_CAT, X_CONT, (BAG,)), expected, rtol=1e-4, atol=1e-4)
    held = model(y_range=(1.0, 3.0))(X_CAT, X_CONT, (BAG,))
    torch.testing.assert_close(held, 1 + 2 * expected.sigmoid(), rtol=1e-4, atol=1e-4)


def test_both_parts_train_the_same_vectors() -> None:
    """A row's gradient is that of the products and that of the perceptron together."""
    one = model()
    table = one.vectors.tables[0]
    flat = one.vectors(X_CAT)
    only = DeepFM([4, 5], factors=3, layers=[6]).eval()
    only.vectors.load_state_dict(one.vectors.state_dict())
    gradients = []
    for part in (only._products(flat), only.perceptron(X_CAT[:, :0], flat)):
        gradients.append(torch.autograd.grad(part.sum(), table, retain_graph=True)[0])
    only(X_CAT).sum().backward()
    torch.testing.assert_close(only.vectors.tables[0].grad, gradients[0] + gradients[1])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_it_says_what_it_can_do() -> None:
    one = model()
    for ability in (KnowsBiases, ColumnRows, ColumnVectors, ColumnBiases):
        assert isinstance(one, ability)
    decayed = {id(p) for p in one.parameters()} - {id(p) for p in one.bias_parameters()}
    linear = [m.weight for m in one.perceptron.modules() if isinstance(m, torch.nn.Linear)]
    vectors = [*one.vectors.parameters(), *one.set_vectors.parameters(), one.continuous_vectors]
    assert decayed == {id(p) for p in linear + vectors}
    before = one.column_bias(0)[2].item(), one.column_vectors(1)[3].clone()
    with torch.no_grad():
        for column in range(2):
            for parameter, rows in one.column_rows(column):
                parameter[rows] += 1
    assert one.column_bias(0)[2].item() == pytest.approx(before[0] + 1)
    torch.testing.assert_close(one.column_vectors(1)[3], before[1] + 1)


def test_no_rows_are_a_batch() -> None:
    empty = Bag(BAG.values[:0], BAG.offsets[:0])
    assert model()(X_CAT[:0], X_CONT[:0], (empty,)).shape == (0, 1)


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="x_cat has 3 columns, but the model has 2"):
        model()(torch.zeros(1, 3, dtype=torch.long), X_CONT[:1], (BAG,))
    with pytest.raises(DataError, match="x_cont has 0 features, but the model has 2"):
        model()(X_CAT)
    with pytest.raises(DataError, match="x_sets has 0 set columns, expected 1"):
        model()(X_CAT, X_CONT)
    with pytest.raises(DataError, match="at least one column"):
        DeepFM([])


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"deepfm": {"factors": 8, "layers": [16], "y_range": [0, 5.5]}},
        "train": {"epochs": 40, "batch_size": 64, "learning_rate": 0.02},
        **changes,
    }


def test_a_fit_learns_and_is_loaded_again(tmp_path: Path) -> None:
    plugins = ["no:*", tabcf_deepfm]
    ratings = tiny_ratings()
    run = tabcf.fit(spec(), ratings, tmp_path / "run", plugins=plugins)
    assert run.report.test["rmse"] < 0.7  # 2 without pairs
    predicted = run.predict(ratings)
    again = tabcf.load(tmp_path / "run", plugins=plugins)
    pd.testing.assert_frame_equal(again.predict(ratings), predicted)
    liked = run.recommend(3, k=5, exclude_seen=False)["item_id"]
    assert (liked.astype(int) % 2 == 1).all()
    near = run.similar("item", 4, k=3)["item_id"]
    assert (near.astype(int) % 2 == 0).all()


def test_it_takes_a_plain_table_with_gaps() -> None:
    table = tiny_table(n_rows=400)
    plain = {
        "tabcf": 1,
        "target": "price",
        "model": {"deepfm": {"factors": 4, "layers": [16]}},
        "train": {"epochs": 60, "batch_size": 32, "learning_rate": 0.02},
    }
    run = tabcf.fit(plain, table, plugins=["no:*", tabcf_deepfm])
    assert run.report.test["rmse"] < 0.6 * table["price"].std()


def test_several_outputs_are_refused() -> None:
    with pytest.raises(SpecError, match="cross_entropy needs one output a level"):
        tabcf.fit(spec(loss="cross_entropy"), tiny_ratings(), plugins=["no:*", tabcf_deepfm])
