from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch
from torch import nn

from tabcf import losses
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError
from tabcf.losses import MAE, MSE, CrossEntropy, Loss, Sum

STARS = TargetInfo("rating", ("y",), levels=(1.0, 2.0, 3.0), center=(2.0,), scale=(0.5,))


class _Learned(Loss):
    """A loss with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__(d_out=1)
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, raw, target, weight=None):
        return (raw.squeeze(1) - target - self.offset).square().mean()


def test_a_sum_adds_its_parts_up():
    raw, truth = torch.tensor([[1.0], [-3.0]]), torch.tensor([0.0, 0.0])
    weight = torch.tensor([3.0, 1.0])
    loss = Sum(STARS, [(0.8, MSE(STARS)), (0.2, MAE(STARS))])
    assert loss(raw, truth).item() == pytest.approx(0.8 * 5 + 0.2 * 2)
    assert loss(raw, truth, weight).item() == pytest.approx(0.8 * 3 + 0.2 * 1.5)
    assert loss.d_out == 1
    assert loss.decode(raw)["value"].tolist() == [2.5, 0.5]


def test_the_parts_parameters_are_trained():
    loss = Sum(STARS, [(1.0, MSE(STARS)), (2.0, _Learned())])
    loss(torch.ones(3, 1), torch.zeros(3)).backward()
    (offset,) = loss.parameters()
    assert offset.grad is not None
    assert offset.grad.item() == -4.0


def test_parts_must_read_the_same_outputs():
    with pytest.raises(SpecError, match="MSE reads 1, CrossEntropy 3"):
        Sum(STARS, [(1.0, MSE(STARS)), (1.0, CrossEntropy(STARS))])


def test_a_sum_of_nothing_is_refused():
    with pytest.raises(SpecError, match="at least one loss, got none"):
        Sum(STARS, [])


@pytest.mark.parametrize("factor", [-0.5, float("nan")])
def test_factors_are_not_negative(factor):
    with pytest.raises(SpecError, match="factors of at least 0"):
        Sum(STARS, [(factor, MSE(STARS))])


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(losses.__path__)])
def test_the_examples_of_losses_run(name):
    module = importlib.import_module(f"tabcf.losses.{name}")
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0
