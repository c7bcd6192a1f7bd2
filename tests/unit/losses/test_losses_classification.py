from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError, TrainingError
from tabcf.losses import BCE, CrossEntropy

BINARY = TargetInfo("binary", ("y",), labels=("no", "yes"))
CLASSES = TargetInfo("classes", ("y",), labels=("a", "b", "c"))
STARS = TargetInfo("rating", ("y",), levels=(0.5, 1.0, 2.0, 5.0), center=(2.3,), scale=(1.7,))


def _logits(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("weight", [None, np.array([0.5, 2.0, 0.0, 1.0, 3.0])])
def test_bce_is_the_log_loss_of_its_probabilities(weight):
    raw, truth = _logits(5, 1), np.array([1, 0, 0, 1, 1])
    loss = BCE(BINARY)
    found = loss(raw, torch.tensor(truth).float(), None if weight is None else torch.tensor(weight))
    expected = log_loss(truth, loss.decode(raw)["probability"].numpy(), sample_weight=weight)
    assert found.item() == pytest.approx(expected)


def test_bce_takes_probabilities_as_targets():
    soft = BCE(BINARY)(torch.tensor([[0.4]]), torch.tensor([0.25]))
    p = 1 / (1 + math.exp(-0.4))
    assert soft.item() == pytest.approx(-0.25 * math.log(p) - 0.75 * math.log(1 - p))


def test_bce_is_finite_at_large_logits():
    loss = BCE(BINARY)(torch.tensor([[500.0], [-500.0]]), torch.tensor([0.0, 1.0]))
    assert loss.item() == pytest.approx(500.0)


@pytest.mark.parametrize("weight", [None, np.array([0.5, 2.0, 0.0, 1.0, 3.0])])
def test_cross_entropy_is_the_log_loss_of_its_probabilities(weight):
    raw, truth = _logits(5, 3), np.array([2, 0, 1, 1, 2])
    loss = CrossEntropy(CLASSES)
    found = loss(raw, torch.tensor(truth), None if weight is None else torch.tensor(weight))
    expected = log_loss(truth, loss.decode(raw)["probabilities"].numpy(), sample_weight=weight)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("target", [CLASSES, BINARY])
def test_label_smoothing_spreads_its_share_over_all_classes(target):
    k = len(target.labels)
    raw, truth = _logits(4, k), np.array([1, 0, 1, 0])
    loss = CrossEntropy(target, label_smoothing=0.3)
    encoded = torch.tensor(truth) if target is CLASSES else torch.tensor(truth).float()
    goal = np.full((4, k), 0.3 / k)
    goal[np.arange(4), truth] += 0.7
    expected = -(goal * _log_softmax(raw.numpy())).sum(1).mean()
    assert loss(raw, encoded).item() == pytest.approx(expected)


def test_a_binary_target_may_have_two_outputs():
    two, one = CrossEntropy(BINARY), BCE(BINARY)
    raw, truth = _logits(5, 2), torch.tensor([0.0, 1.0, 1.0, 0.25, 0.0])
    difference = raw[:, 1:] - raw[:, :1]
    assert two.d_out == 2
    assert two(raw, truth).item() == pytest.approx(one(difference, truth).item())
    torch.testing.assert_close(two.decode(raw), one.decode(difference))


@given(
    quarters=st.lists(st.integers(-400, 400), min_size=2, max_size=8, unique=True).map(sorted),
    center=st.floats(-10, 10),
    scale=st.floats(0.125, 10),
)
def test_an_encoded_rating_finds_its_own_level(quarters, center, scale):
    levels = [quarter / 4 for quarter in quarters]
    target = TargetInfo("rating", ("y",), tuple(levels), center=(center,), scale=(scale,))
    encoded = ((np.array(levels) - center) / scale).astype(np.float32)
    raw = torch.arange(float(len(levels) ** 2)).sin().view(len(levels), -1)
    found = CrossEntropy(target)(raw, torch.from_numpy(encoded))
    expected = -_log_softmax(raw.double().numpy()).diagonal().mean()
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_rating_predicts_the_expectation_over_its_levels():
    raw = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64).log() + 7
    decoded = CrossEntropy(STARS).decode(raw)
    assert decoded["value"].item() == pytest.approx(0.05 + 0.2 + 0.6 + 2.0)
    assert decoded["probabilities"][0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("leading", [(), (6,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize(
    ("loss", "shapes"),
    [
        (BCE(BINARY), {"probability": ()}),
        (CrossEntropy(BINARY), {"probability": ()}),
        (CrossEntropy(CLASSES), {"probabilities": (3,)}),
        (CrossEntropy(STARS), {"value": (), "probabilities": (4,)}),
    ],
)
def test_decoding_works_at_any_leading_shape(loss, shapes, leading):
    raw = _logits(*leading, loss.d_out)
    decoded = loss.decode(raw)
    assert {name: value.shape for name, value in decoded.items()} == {
        name: (*leading, *shape) for name, shape in shapes.items()
    }
    flat = loss.decode(raw.reshape(-1, loss.d_out))
    for name, value in decoded.items():
        torch.testing.assert_close(value.reshape(flat[name].shape), flat[name])


def test_decoding_takes_float32_outputs():
    assert CrossEntropy(STARS).decode(torch.zeros(2, 4))["value"].dtype == torch.float32


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (TargetInfo("classes", ("y",)), "at least two labels, got 0"),
        (TargetInfo("rating", ("y",), levels=(1.0,)), "at least two levels, got 1"),
    ],
)
def test_a_target_without_classes_is_refused(target, message):
    with pytest.raises(SpecError, match=message):
        CrossEntropy(target)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_smoothing_is_a_share(share):
    with pytest.raises(SpecError, match=r"label_smoothing: expected a number in \[0, 1\)"):
        CrossEntropy(CLASSES, label_smoothing=share)


def test_outputs_of_another_width_are_refused():
    with pytest.raises(TrainingError, match=r"shape \(B, 3\).*got \(5, 2\)"):
        CrossEntropy(CLASSES)(torch.zeros(5, 2), torch.zeros(5, dtype=torch.long))


def test_a_ratings_median_and_mode_are_levels():
    raw = torch.tensor([[0.4, 0.2, 0.1, 0.3], [0.1, 0.3, 0.35, 0.25]]).log()
    found = {
        name: CrossEntropy(STARS, predict=name).decode(raw)["value"].tolist()
        for name in ("median", "mode")
    }
    assert found == {"median": [1.0, 2.0], "mode": [0.5, 2.0]}


def test_median_and_mode_are_of_levels_alone():
    with pytest.raises(SpecError, match=r"predict: is of a rating's levels, and the target is cla"):
        CrossEntropy(CLASSES, predict="mode")
    with pytest.raises(SpecError, match=r"predict: expected mean, median or mode, got 'sum'"):
        CrossEntropy(STARS, predict="sum")
