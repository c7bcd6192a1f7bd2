from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError, TrainingError
from tabcf.losses import MAE, MSE, Huber, Loss

ONE = TargetInfo("regression", ("y",), center=(3.0,), scale=(2.0,))
TWO = TargetInfo("regression", ("y", "z"), center=(3.0, -1.0), scale=(2.0, 10.0))
RATING = TargetInfo("rating", ("stars",), levels=(1.0, 2.0, 3.0))


def _huber(error: np.ndarray, delta: float) -> np.ndarray:
    size = np.abs(error)
    return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))


FORMULAS = [
    (MSE, lambda error: error**2),
    (MAE, np.abs),
    (lambda target: Huber(target, delta=0.7), lambda error: _huber(error, 0.7)),
]


@pytest.mark.parametrize(("build", "formula"), FORMULAS)
@given(
    errors=st.lists(st.floats(-50, 50), min_size=1, max_size=9),
    seed=st.integers(0, 99),
)
def test_a_loss_is_the_weighted_mean_of_its_formula(build, formula, errors, seed):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=len(errors))
    weight = rng.uniform(0.1, 5, size=len(errors))
    raw = torch.tensor(truth + errors)[:, None]
    loss = build(ONE)
    plain = loss(raw, torch.tensor(truth))
    weighted = loss(raw, torch.tensor(truth), torch.tensor(weight))
    expected = formula(np.array(errors))
    assert plain.item() == pytest.approx(expected.mean(), abs=1e-9)
    assert weighted.item() == pytest.approx(np.average(expected, weights=weight), abs=1e-9)


@pytest.mark.parametrize(("build", "formula"), FORMULAS)
def test_several_targets_count_the_same(build, formula):
    rng = np.random.default_rng(0)
    raw, truth, weight = rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), rng.uniform(size=5)
    loss = build(TWO)
    per_row = formula(raw - truth).mean(1)
    arguments = torch.tensor(raw), torch.tensor(truth)
    assert loss(*arguments).item() == pytest.approx(per_row.mean())
    assert loss(*arguments, torch.tensor(weight)).item() == pytest.approx(
        np.average(per_row, weights=weight)
    )


@pytest.mark.parametrize("leading", [(), (4,), (4, 3), (2, 1, 3)])
def test_decoding_undoes_the_scale_at_any_leading_shape(leading):
    raw = torch.randn(*leading, 1, generator=torch.Generator().manual_seed(0))
    value = MSE(ONE).decode(raw)["value"]
    assert value.shape == leading
    torch.testing.assert_close(value, raw[..., 0] * 2 + 3)


@pytest.mark.parametrize("leading", [(), (4,), (4, 3)])
def test_decoding_several_targets_uses_each_ones_own_scale(leading):
    raw = torch.randn(*leading, 2, generator=torch.Generator().manual_seed(0))
    value = Huber(TWO).decode(raw)["value"]
    torch.testing.assert_close(value[..., 0], raw[..., 0] * 2 + 3)
    torch.testing.assert_close(value[..., 1], raw[..., 1] * 10 - 1)


def test_a_rating_is_not_cut_to_its_levels():
    assert MSE(RATING).decode(torch.tensor([[7.5]]))["value"].tolist() == [7.5]


def test_widths_follow_the_target():
    assert (MSE(ONE).d_out, MSE(TWO).d_out, MAE(RATING).d_out) == (1, 2, 1)
    assert isinstance(MSE(ONE), Loss)


def test_a_loss_of_numbers_has_nothing_to_save_or_to_train():
    assert not MSE(ONE).state_dict()
    assert not list(MSE(ONE).parameters())


def test_rows_without_weight_do_not_count():
    raw = torch.tensor([[1.0], [100.0]], requires_grad=True)
    loss = MSE(ONE)(raw, torch.zeros(2), torch.tensor([2.0, 0.0]))
    loss.backward()
    assert loss.item() == 1.0
    assert raw.grad is not None
    assert raw.grad.tolist() == [[2.0], [0.0]]


def test_a_batch_without_any_weight_teaches_nothing():
    raw = torch.tensor([[1.0], [100.0]], requires_grad=True)
    loss = MSE(ONE)(raw, torch.zeros(2), torch.zeros(2))
    loss.backward()
    assert loss.item() == 0.0
    assert raw.grad is not None
    assert raw.grad.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("raw", "target"), [((4,), (4,)), ((4, 1), (4, 1)), ((4, 1), (3,)), ((4, 2), (4,))]
)
def test_shapes_that_would_broadcast_are_refused(raw, target):
    with pytest.raises(TrainingError, match=r"shape \(B, 1\) and a target of shape \(B,\)"):
        MSE(ONE)(torch.zeros(raw), torch.zeros(target))


def test_a_single_column_for_two_targets_is_refused():
    with pytest.raises(TrainingError, match=r"target of shape \(B, 2\), got \(4, 2\) and \(4,\)"):
        MSE(TWO)(torch.zeros(4, 2), torch.zeros(4))


def test_weights_of_another_length_are_refused():
    with pytest.raises(TrainingError, match=r"weights of shape \(4,\), got \(1,\)"):
        MSE(ONE)(torch.zeros(4, 1), torch.zeros(4), torch.ones(1))


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan")])
def test_delta_must_be_positive(delta):
    with pytest.raises(SpecError, match=r"huber\.delta: expected a positive number"):
        Huber(ONE, delta=delta)
