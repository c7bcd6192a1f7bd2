"""What is believed of a column's rows, and regressions under it.

Dimension letters: see `tabcf.training.gibbs`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

__all__ = ["ColumnPrior", "Expected", "FixedPrior", "Normal", "Priors", "regressions"]


@dataclass(frozen=True, slots=True)
class Priors:
    """What is believed before any data: the form of libFM and myFM, with a smaller rate.

    The rate is what keeps the rows of a column with few of them from shrinking: with 1, their
    variance hardly falls below `2 / R`, so that hundreds of days or twenty occupations bring noise
    into every score, however little they tell. A small one lets the data decide.

    Attributes:
        init_scale: Standard deviation of the first vectors.
        shape: Of the gamma priors on precisions; that of the noise is at least 1.
        rate: Of the same, for a standardised target; that of the noise is at least 1.
        mean_strength: How many rows the prior mean of a column's mean, 0, counts for.
    """

    init_scale: float = 0.1
    shape: float = 0.5
    rate: float = 0.02
    mean_strength: float = 1.0

    def widened(self) -> Priors:
        """With a shape and a rate of at least 1, for the first sweeps and for the noise.

        Small first vectors say little, and precisions that are drawn given these alone would keep
        them small for hundreds of sweeps.
        """
        return replace(self, shape=max(self.shape, 1.0), rate=max(self.rate, 1.0))


@dataclass(slots=True)
class Normal:
    """Normal, uniform and gamma numbers of one generator."""

    rng: Generator

    def like(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.rng)

    def uniform(self, n: int) -> Tensor:
        """`(n,)` float64 in [0, 1)."""
        return torch.rand(n, generator=self.rng, dtype=torch.float64)

    def gamma(self, shape: Tensor, rate: Tensor) -> Tensor:
        """Gamma numbers of shapes and rates of the same size."""
        drawn: Tensor = torch._standard_gamma(shape.double(), generator=self.rng)
        return (drawn / rate.double()).float()


class Expected(Normal):
    """Every normal number is its mean: what is drawn is the most probable."""

    def like(self, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape)


@dataclass(slots=True)
class ColumnPrior:
    """A column's rows are N(mean, 1 / precision), number by number.

    Shape:
        mean, precision: `(W,)`.
    """

    mean: Tensor
    precision: Tensor
    of: Priors

    @classmethod
    def flat(cls, width: int, of: Priors) -> ColumnPrior:
        return cls(torch.zeros(width), torch.ones(width), of)

    def draw(self, rows: Tensor, normal: Normal) -> None:
        """Draw precision and mean given the rows `(R, W)`."""
        n, of = len(rows), self.of
        off = rows - self.mean
        shape = torch.full_like(self.mean, of.shape + 0.5 * (n + 1))
        rate = of.rate + 0.5 * (off.pow(2).sum(0) + of.mean_strength * self.mean.pow(2))
        self.precision = normal.gamma(shape, rate)
        weight = n + of.mean_strength
        spread = (weight * self.precision).rsqrt()
        self.mean = rows.sum(0) / weight + spread * normal.like(tuple(self.mean.shape))


class FixedPrior(ColumnPrior):
    """A prior that no rows change."""

    def draw(self, rows: Tensor, normal: Normal) -> None:
        """Leave it as it is."""


def regressions(
    gram: Tensor, moment: Tensor, prior: ColumnPrior, noise: float, drawn: Tensor
) -> Tensor:
    """`(R, W)` draws of Bayesian linear regressions with the same prior.

    Args:
        gram: `(R, W, W)`: sums of outer products of features.
        moment: `(R, W)`: sums of features times what is to be explained.
        prior: Of all rows.
        noise: The precision of an event.
        drawn: `(R, W)` standard normal numbers.
    """
    precision = noise * gram + torch.diag(prior.precision)
    factor = torch.linalg.cholesky(precision)
    right = noise * moment + prior.precision * prior.mean
    mean = torch.cholesky_solve(right.unsqueeze(2), factor)
    off = torch.linalg.solve_triangular(factor.mT, drawn.unsqueeze(2), upper=True)
    found: Tensor = (mean + off).squeeze(2)
    return found
