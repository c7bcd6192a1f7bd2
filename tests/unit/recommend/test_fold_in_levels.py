"""What ratings on levels say of a score, against the normal distribution function."""

from __future__ import annotations

import math

import pytest
import scipy.optimize
import scipy.stats
import torch

from tabcf.contracts.target import TargetInfo
from tabcf.losses.classification import CrossEntropy
from tabcf.recommend.fold_in.levels import LossOfScore
from tabcf.recommend.fold_in.pointwise import Pointwise
from tabcf.recommend.fold_in.rows import Responses
from tabcf.recommend.fold_in.solver import Prior, solve

TARGET = TargetInfo("rating", ("stars",), levels=(1.0, 2.0, 3.0))
CUTS = torch.tensor([-0.4, 0.9], dtype=torch.float64)


class Linear:
    """Scores that are products with features `(M, P)`."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features

    def outputs(self, values: torch.Tensor) -> torch.Tensor:
        return (self.features * values).sum(1, keepdim=True)

    def jacobian(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.outputs(values), self.features[:, None]

    def of(self, events: torch.Tensor) -> Responses:
        return Linear(self.features[events])


def _loss() -> LossOfScore:
    return LossOfScore(CrossEntropy(TARGET).double(), CUTS)


def test_a_level_is_as_likely_as_the_latent_number_is_to_fall_there() -> None:
    score = torch.tensor([[-1.3], [0.2], [4.0], [-5.0]], dtype=torch.float64)
    for level, (low, high) in enumerate([(-9e9, -0.4), (-0.4, 0.9), (0.9, 9e9)], 1):
        for own in score:
            bounds = scipy.stats.norm(loc=float(own[0]))
            expected = float(bounds.cdf(high) - bounds.cdf(low))
            found = _loss()(own[None], torch.tensor([float(level)], dtype=torch.float64))
            assert float(found) == pytest.approx(-math.log(expected), rel=1e-6, abs=1e-9)
    shares = _loss().decode(score)["probabilities"]
    torch.testing.assert_close(shares.sum(1), torch.ones(4, dtype=torch.float64))


def test_the_most_probable_row_is_where_nothing_slopes() -> None:
    """By a search that knows of no derivatives: bias and vector of a newcomer with nine events."""
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(9, 2, generator=rng, dtype=torch.float64)
    stars = torch.tensor([1.0, 3, 2, 3, 3, 1, 2, 2, 3], dtype=torch.float64)
    prior = Prior(torch.tensor([0.2, -0.1]).double(), torch.eye(2).double() * 0.7)
    owner = torch.zeros(9, dtype=torch.long)
    said = Pointwise(Linear(features), _loss(), stars, None, owner, 1)
    found = solve(said, prior, prior.mean[None]).mean[0]

    def height(row: torch.Tensor) -> float:
        score = (features @ row).numpy()
        cuts = [-9e9, *CUTS.tolist(), 9e9]
        total = 0.0
        for own, level in zip(score, stars.long().tolist(), strict=True):
            normal = scipy.stats.norm(loc=own)
            total -= math.log(normal.cdf(cuts[level]) - normal.cdf(cuts[level - 1]))
        off = row - prior.mean
        return total + 0.5 * float(off @ prior.precision @ off)

    best = scipy.optimize.minimize(
        lambda row: height(torch.from_numpy(row)), prior.mean.numpy(), method="Nelder-Mead"
    )
    # The last step is taken unseen, where it promises hardly anything.
    torch.testing.assert_close(found, torch.from_numpy(best.x), atol=0.03, rtol=0)
