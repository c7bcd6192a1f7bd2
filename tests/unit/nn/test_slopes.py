"""Slopes of a perceptron by hand are those of autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, nn

from tabcf.nn import CollabNN, TabularModel
from tabcf.nn.slopes import hidden_slopes


@pytest.mark.parametrize("y_range", [None, (0.5, 5.5)])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize(("d_out", "layers"), [(1, [7, 5]), (3, [6]), (2, [])])
def test_slopes_are_those_of_autograd(
    y_range: tuple[float, float] | None, batch_norm: bool, d_out: int, layers: list[int]
) -> None:
    torch.manual_seed(0)
    model = TabularModel(
        [9, 8], 1, d_out, layers, y_range=y_range, batch_norm=batch_norm, dropout=0.3
    )
    # Norms that have seen data, so that they do something.
    for _ in range(3):
        model(torch.randint(0, 8, (32, 2)), torch.randn(32, 1))
    model.eval()
    rng = Generator().manual_seed(1)
    hidden = torch.randn(11, layers[0] if layers else d_out, generator=rng)
    by_hand = model.hidden_slopes()
    assert by_hand is not None
    given = hidden.clone()
    raw, slopes = by_hand(given)
    assert torch.equal(given, hidden)
    expected = torch.func.vmap(torch.func.jacrev(lambda h: model.from_hidden(h[None].clone())[0]))
    assert torch.allclose(raw, model.from_hidden(hidden.clone()), atol=1e-6)
    assert torch.allclose(slopes, expected(hidden), atol=1e-6)


def test_what_is_not_known_by_hand_is_said() -> None:
    odd = nn.Sequential(nn.Linear(2, 3), nn.SiLU(), nn.Linear(3, 1))
    assert hidden_slopes(odd, None) is None
    assert hidden_slopes(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), None) is None


def test_rows_enter_the_hidden_layer_of_a_collab_network() -> None:
    model = CollabNN(5, 7, y_range=(0, 6)).eval()
    x_cat = torch.tensor([[1, 2], [4, 6], [0, 3]])
    for column in (0, 1):
        weight, rest = model.hidden_terms(column, x_cat, torch.zeros(3, 0), ())
        hidden = rest + model.column_vectors(column)[x_cat[:, column]] @ weight
        assert torch.allclose(model.from_hidden(hidden), model(x_cat), atol=1e-6)
