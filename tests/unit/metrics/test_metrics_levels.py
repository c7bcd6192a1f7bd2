"""Whether probabilities and intervals hold what they say: against loops, and at true ones."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch

import tabcf.metrics.levels
from tabcf.errors import DataError
from tabcf.metrics import calibration_error, interval_coverage, level_coverage, level_numbers


def _drawn(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """`(n, 4)` probabilities, and levels drawn by them."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet([1, 2, 3, 1], size=n)
    level = (shares.cumsum(1) < rng.random((n, 1))).sum(1).clip(0, 3)
    return torch.from_numpy(shares), torch.from_numpy(level)


def test_the_examples_run() -> None:
    assert doctest.testmod(tabcf.metrics.levels).failed == 0


def test_the_error_is_that_of_a_loop_over_bins() -> None:
    shares, level = _drawn(300)
    total = 0.0
    for k in range(4):
        own, is_own = shares[:, k].numpy(), (level == k).numpy()
        for b in range(10):
            inside = (own >= b / 10) & (own < (b + 1) / 10)
            if inside.any():
                total += abs(own[inside].mean() - is_own[inside].mean()) * inside.sum()
    found = calibration_error(shares, level, n_bins=10)
    assert found.item() == pytest.approx(total / (4 * 300))


def test_true_probabilities_have_little_error_and_wrong_ones_much() -> None:
    shares, level = _drawn(20_000)
    assert calibration_error(shares, level) < 0.01
    assert calibration_error(shares.flip(1), level) > 0.1
    assert calibration_error(torch.ones(10), torch.ones(10)).item() == 0


def test_one_column_is_the_second_of_two_classes() -> None:
    shares, level = torch.rand(50), torch.randint(0, 2, (50,))
    both = torch.stack([1 - shares, shares], 1)
    assert torch.equal(calibration_error(shares, level), calibration_error(both, level))


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
def test_intervals_of_true_levels_cover_their_share(share: float) -> None:
    shares, level = _drawn(20_000)
    assert level_coverage(shares, level, share=share).item() == pytest.approx(share, abs=0.01)
    # A sure and right prediction covers the share itself, a wrong one nothing.
    sure = torch.nn.functional.one_hot(level, 4).double()
    assert level_coverage(sure, level, share=share).item() == pytest.approx(share)
    assert level_coverage(sure.roll(1, 1), level, share=share).item() == 0


def test_intervals_of_normal_numbers_cover_their_share() -> None:
    rng = torch.Generator().manual_seed(0)
    value, sd = torch.randn(20_000, generator=rng), torch.rand(20_000, generator=rng) + 0.5
    truth = value + sd * torch.randn(20_000, generator=rng)
    assert interval_coverage(value, sd, truth).item() == pytest.approx(0.9, abs=0.01)
    assert interval_coverage(value, sd, truth, share=0.5).item() == pytest.approx(0.5, abs=0.015)


def test_values_are_taken_to_the_nearest_level() -> None:
    levels = torch.tensor([0.5, 1.0, 3.0])
    assert level_numbers(torch.tensor([0.5, 0.9, 2.9, 3.0]), levels).tolist() == [0, 1, 2, 2]


def test_truth_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected truth of shape \(3,\)"):
        calibration_error(torch.ones(3, 2) / 2, torch.zeros(2))
