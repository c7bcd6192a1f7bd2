"""Against the formula as it stands in textbooks, planted cut-points, and one fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tabcf_ordinal
import torch
from hypothesis import given
from hypothesis import strategies as st
from tabcf_ordinal.loss import OrderedLogit

import tabcf
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError, TrainingError
from tabcf.testing import LossContract, tiny_ratings

LEVELS = (0.5, 1.0, 3.0, 4.0)
TARGET = TargetInfo("rating", ("stars",), LEVELS, center=(2.0,), scale=(1.5,))
CUTS = torch.tensor([-1.5, 0.2, 1.0])


class TestOrderedLogit(LossContract):
    definition = tabcf_ordinal.ORDERED_LOGIT


class TestMedian(LossContract):
    definition = tabcf_ordinal.ORDERED_LOGIT
    options = "median"


def loss_with(cuts: torch.Tensor, **options: Any) -> OrderedLogit:
    loss = OrderedLogit(TARGET, **options)
    with torch.no_grad():
        loss.first.copy_(cuts[:1])
        loss.steps.copy_(cuts.diff().expm1().log())
    return loss


def encoded(level: torch.Tensor, target: TargetInfo = TARGET) -> torch.Tensor:
    return (torch.tensor(target.levels)[level] - target.center[0]) / target.scale[0]


def brute_force(x: torch.Tensor, cuts: torch.Tensor) -> torch.Tensor:
    """`(B, K)`: differences of the cumulative probabilities, in double precision."""
    cumulative = torch.sigmoid(cuts.double() - x.double()[:, None])
    zero, one = torch.zeros(len(x), 1), torch.ones(len(x), 1)
    return torch.cat([zero, cumulative, one], 1).diff(dim=1)


def test_probabilities_are_those_of_the_formula() -> None:
    x = torch.linspace(-6, 6, 41)
    expected = brute_force(x, CUTS)
    decoded = loss_with(CUTS).decode(x[:, None])
    torch.testing.assert_close(decoded["probabilities"].double(), expected, rtol=1e-4, atol=1e-6)
    value = expected @ torch.tensor(LEVELS).double()
    torch.testing.assert_close(decoded["value"].double(), value, rtol=1e-5, atol=1e-5)


def test_the_loss_is_minus_the_log_of_the_true_levels_probability() -> None:
    x, level = torch.tensor([-2.0, 0.3, 0.9, 4.0]), torch.tensor([1, 3, 0, 2])
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5])
    each = -brute_force(x, CUTS)[range(4), level].log()
    loss = loss_with(CUTS)
    assert loss(x[:, None], encoded(level)).item() == pytest.approx(each.mean().item(), rel=1e-5)
    weighted = (each * weight).sum() / weight.sum()
    got = loss(x[:, None], encoded(level), weight)
    assert got.item() == pytest.approx(weighted.item(), rel=1e-5)


def test_median_and_mode_are_levels() -> None:
    x = torch.linspace(-4, 4, 81)
    p = brute_force(x, CUTS)
    levels = torch.tensor(LEVELS)
    median = levels[(p.cumsum(1) < 0.5).sum(1)]
    off_a_cut = ((x[:, None] - CUTS).abs() > 1e-3).all(1)
    got = loss_with(CUTS, predict="median").decode(x[:, None])["value"]
    assert torch.equal(got[off_a_cut], median[off_a_cut])
    got = loss_with(CUTS, predict="mode").decode(x[:, None])["value"]
    assert torch.equal(got, levels[p.argmax(1)])


@pytest.mark.parametrize("x", [0.0, 60.0, -60.0, 1e4, -1e4])
def test_far_outputs_have_the_loss_and_the_slope_of_their_distance(x: float) -> None:
    """Where a difference of sigmoids is 0 in any precision."""
    for level in range(len(LEVELS)):
        loss = loss_with(CUTS)
        raw = torch.full((1, 1), x, requires_grad=True)
        value = loss(raw, encoded(torch.tensor([level])))
        value.backward()
        gradients = [raw.grad, *(parameter.grad for parameter in loss.parameters())]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)
        if x > 1 and level < 3:  # the higher cut is what it has to get below
            assert value.item() == pytest.approx(x - CUTS[level].item(), rel=0.02)
        if x < -1 and level > 0:
            assert value.item() == pytest.approx(CUTS[level - 1].item() - x, rel=0.02)


@given(
    first=st.floats(-50, 50),
    steps=st.lists(st.floats(-200, 50), min_size=3, max_size=3),
    x=st.floats(-100, 100),
)
def test_cut_points_stay_in_order_whatever_the_weights(
    first: float, steps: list[float], x: float
) -> None:
    loss = OrderedLogit(replace(TARGET, levels=(1.0, 2.0, 3.0, 4.0, 5.0))).double()
    with torch.no_grad():
        loss.first.fill_(first)
        loss.steps.copy_(torch.tensor(steps))
    assert (loss.cut_points.diff() > 0).all()
    decoded = loss.decode(torch.full((1, 1), x, dtype=torch.float64))
    assert decoded["probabilities"].sum().item() == pytest.approx(1)
    assert 1 - 1e-9 <= decoded["value"].item() <= 5 + 1e-9


def test_it_starts_with_even_probabilities() -> None:
    for levels in [(1.0, 2.0), LEVELS, tuple(float(k) for k in range(10))]:
        decoded = OrderedLogit(replace(TARGET, levels=levels)).decode(torch.zeros(1, 1))
        even = torch.full((1, len(levels)), 1 / len(levels))
        torch.testing.assert_close(decoded["probabilities"], even)


def test_planted_cut_points_and_slope_are_found() -> None:
    """Levels drawn from an output 1.5 · feature; both are learnt from feature and level."""
    rng = torch.Generator().manual_seed(0)
    feature = torch.randn(40_000, generator=rng)
    logistic = torch.rand(40_000, generator=rng).logit()
    level = torch.bucketize(1.5 * feature + logistic, CUTS)
    loss, slope = OrderedLogit(TARGET), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([*loss.parameters(), slope], max_iter=60)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss((feature * slope)[:, None], encoded(level))
        value.backward()
        return value

    optimiser.step(closure)
    torch.testing.assert_close(loss.cut_points.detach(), CUTS, atol=0.05, rtol=0)
    assert slope.item() == pytest.approx(1.5, abs=0.05)


def test_a_level_that_no_row_has_is_no_trouble() -> None:
    loss = OrderedLogit(TARGET)
    raw = torch.zeros(6, 1, requires_grad=True)
    target = encoded(torch.tensor([0, 1, 3, 0, 1, 3]))
    optimiser = torch.optim.SGD([raw, *loss.parameters()], lr=1e3)
    for _ in range(100):
        optimiser.zero_grad()
        loss(raw, target).backward()
        optimiser.step()
        assert all(torch.isfinite(p).all() for p in [raw, *loss.parameters()])
    assert torch.isfinite(loss(raw, target))
    assert loss.decode(raw)["probabilities"][:, 2].max() < 0.01


def test_how_the_target_is_scaled_does_not_matter() -> None:
    x, level = torch.randn(8, 1), torch.arange(8) % 4
    other = replace(TARGET, center=(-7.0,), scale=(0.25,))
    one = OrderedLogit(TARGET)(x, encoded(level))
    assert torch.equal(one, OrderedLogit(other)(x, encoded(level, other)))


def test_what_it_cannot_use_is_refused() -> None:
    with pytest.raises(SpecError, match="leave out the model's y_range"):
        OrderedLogit(TargetInfo("rating", ("stars",), LEVELS))
    OrderedLogit(TargetInfo("rating", ("vote",), (-1.0, 1.0)))  # standardised, and even
    with pytest.raises(SpecError, match="at least two levels, got rating with 1"):
        OrderedLogit(replace(TARGET, levels=(1.0,)))
    with pytest.raises(SpecError, match="expected mean, median or mode, got 'sum'"):
        OrderedLogit(TARGET, predict="sum")
    with pytest.raises(TrainingError, match=r"got \(3, 2\) and \(3,\)"):
        OrderedLogit(TARGET)(torch.zeros(3, 2), torch.zeros(3))


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 2, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"dot_product_bias": {"factors": 4}},
        "loss": "ordered_logit",
        "train": {"epochs": 60, "batch_size": 64, "learning_rate": 0.05},
        **changes,
    }


def ratings() -> pd.DataFrame:
    """The checkerboard, a tenth of its low ratings a step higher."""
    frame = tiny_ratings()
    is_raised = (frame["rating"] == 1) & (np.arange(len(frame)) % 10 == 0)
    return frame.assign(rating=frame["rating"].mask(is_raised, 2))


def test_a_fit_learns_and_is_loaded_again(tmp_path: Path) -> None:
    plugins = ["no:*", tabcf_ordinal]
    run = tabcf.fit(spec(), ratings(), tmp_path / "run", plugins=plugins)
    predicted = run.predict(ratings())
    high = ratings()["rating"] == 5
    assert run.report.test["rmse"] < 0.7
    assert predicted["prediction"][high].mean() > 4.5
    assert predicted["prediction"][~high].mean() < 1.6
    again = tabcf.load(tmp_path / "run", plugins=plugins)
    pd.testing.assert_frame_equal(again.predict(ratings()), predicted)
    assert len(again.recommend(3, k=3)) == 3


def test_two_levels_will_do() -> None:
    target = {"column": "rating", "levels": [1, 5]}
    run = tabcf.fit(spec(target=target), tiny_ratings(), plugins=["no:*", tabcf_ordinal])
    assert run.report.test["rmse"] < 1


def test_a_range_of_the_model_is_refused() -> None:
    model = {"dot_product_bias": {"factors": 4, "y_range": [0, 5.5]}}
    with pytest.raises(SpecError, match="y_range"):
        tabcf.fit(spec(model=model), ratings(), plugins=["no:*", tabcf_ordinal])
