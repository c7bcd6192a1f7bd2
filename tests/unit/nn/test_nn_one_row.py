"""A batch of one row: the last one of an epoch, and a single prediction."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import tabcf
from tabcf.nn import CollabNN, DotProduct, DotProductBias, EmbeddingNN, TabularModel
from tabcf.testing import tiny_ratings

BUILD: dict[str, Callable[[], nn.Module]] = {
    "tabular": lambda: TabularModel([5, 4], 2, d_out=3, layers=[6, 5], dropout=0.1),
    "embedding_nn": lambda: EmbeddingNN([5, 4], 2, d_out=3, layers=[6]),
    "dot_product": lambda: DotProduct([5, 4], 2, factors=3),
    "dot_product_bias": lambda: DotProductBias([5, 4], 2, factors=3),
    "collab_nn": lambda: CollabNN(5, 4, d_out=3),
}


def inputs(model: nn.Module, n_rows: int) -> tuple[Tensor, Tensor]:
    n_continuous = 0 if isinstance(model, CollabNN) else 2
    rng = torch.Generator().manual_seed(n_rows)
    return (
        torch.randint(0, 4, (n_rows, 2), generator=rng),
        torch.randn(n_rows, n_continuous, generator=rng),
    )


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize(
    ("n_rows", "is_training"), [(0, False), (1, False), (7, False), (1, True), (7, True)]
)
def test_any_number_of_rows_in_either_mode(name: str, n_rows: int, is_training: bool) -> None:
    model = BUILD[name]().train(is_training)
    out = model(*inputs(model, n_rows))
    assert out.shape == (n_rows, 1 if "dot" in name else 3)
    assert torch.isfinite(out).all()


def test_one_row_goes_by_the_running_statistics_and_leaves_them_alone() -> None:
    model = TabularModel([5, 4], 2, layers=[6])
    model.train()(*inputs(model, 50))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one = inputs(model, 1)
    trained = model(*one)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    torch.testing.assert_close(trained, model.eval()(*one))
    trained.sum().backward()
    assert model.embeddings.tables[0].grad is not None


def test_one_row_in_a_batch_of_many_is_normalised_with_its_batch() -> None:
    model = TabularModel([5, 4], 2, layers=[6]).train()
    x_cat, x_cont = inputs(model, 7)
    before = model.mlp[2].running_mean.clone()
    model(x_cat, x_cont)
    assert not torch.equal(before, model.mlp[2].running_mean)


def test_an_epoch_may_end_with_one_row() -> None:
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"embedding_nn": {"y_range": [0, 6], "layers": [8]}},
        "split": {"random": {"valid": 0, "test": 0}},
        "train": {"epochs": 1, "batch_size": 20},
    }
    run = tabcf.fit(spec, tiny_ratings().iloc[:101])
    assert run.predict(tiny_ratings().iloc[:1])["prediction"].between(0, 6).all()
