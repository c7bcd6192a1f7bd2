"""The most probable rows and their spread: damped Gauss-Newton steps for many rows at once.

Dimension letters: n rows that are sought, P numbers of a row.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["Curvature", "Likelihood", "Posterior", "Prior", "solve"]

# Steps at most; a model that is linear in its rows needs one, most others two or three, absolute
# errors many.
_STEPS = 20
# A step that promises to lower a row's objective, a log-probability, by no more than this is taken
# without a look at where it leads, and is the last: it is a fifth of a standard deviation at most.
_SURE = 0.02


class Prior(NamedTuple):
    """What rows are like before anything is known: N(mean, precision⁻¹).

    Shape:
        mean: `(P,)` float64. precision: `(P, P)` float64.
    """

    mean: Tensor
    precision: Tensor


class Curvature(NamedTuple):
    """How the loss of each row's own events changes with the row.

    Shape:
        value: `(n,)`. gradient: `(n, P)`. hessian: `(n, P, P)`, nowhere negative; all float64.
    """

    value: Tensor
    gradient: Tensor
    hessian: Tensor


class Likelihood(Protocol):
    """What the events say of rows: minus the log of how likely they are."""

    def curvature(self, values: Tensor) -> Curvature:
        """At some rows `(n, P)`, by the Gauss-Newton approximation."""

    def judged(self, values: Tensor, given: Any) -> float:
        """How badly rows that were found from other events, `given`, do for these ones."""


class Posterior(NamedTuple):
    """Rows and how sure they are.

    Shape:
        mean: `(n, P)` float64. covariance: `(n, P, P)` float64.
    """

    mean: Tensor
    covariance: Tensor


def solve(
    likelihood: Likelihood, prior: Prior, start: Tensor, *, with_covariance: bool = True
) -> Posterior:
    """The rows that make events and prior together most probable.

    Where the outputs are linear in a row and the loss is the squared error this is Bayesian ridge
    regression and the first step is exact; elsewhere steps that do not improve are halved. The
    covariance is that of a normal distribution at the solution (Laplace's approximation).

    Args:
        likelihood: The events of n rows.
        prior: What rows are like.
        start: `(n, P)` where to start, such as the prior's mean.
        with_covariance: Whether to give the covariance too; it is empty otherwise.
    """
    best = start.double()
    kept = likelihood.curvature(best)
    lowest = _height(kept, prior, best)
    scale = torch.ones_like(lowest)
    is_open = torch.ones_like(lowest, dtype=torch.bool)
    for _ in range(_STEPS):
        step, gain = _step(kept, prior, best)
        step, gain = scale[:, None] * step, scale * gain
        is_last = is_open & (gain <= _SURE)
        values = best + step
        best = torch.where(is_last[:, None], values, best)
        is_open = is_open & ~is_last
        if not is_open.any():
            break
        found = likelihood.curvature(values)
        height = _height(found, prior, values)
        is_better = is_open & (height <= lowest)
        scale = torch.where(is_better, torch.ones_like(scale), scale / 2)
        lowest = torch.where(is_better, height, lowest)
        best = torch.where(is_better[:, None], values, best)
        kept = Curvature(
            torch.where(is_better, found.value, kept.value),
            torch.where(is_better[:, None], found.gradient, kept.gradient),
            torch.where(is_better[:, None, None], found.hessian, kept.hessian),
        )
    if not with_covariance:
        return Posterior(best, best.new_empty(0))
    return Posterior(best, torch.cholesky_inverse(_cholesky(kept.hessian + prior.precision)))


def _height(found: Curvature, prior: Prior, at: Tensor) -> Tensor:
    """`(n,)`: what is to be lowered."""
    off = at - prior.mean
    return found.value + 0.5 * ((off @ prior.precision) * off).sum(1)


def _step(found: Curvature, prior: Prior, at: Tensor) -> tuple[Tensor, Tensor]:
    """The Newton step `(n, P)` and by how much it should lower the objective, `(n,)`."""
    slope = found.gradient + (at - prior.mean) @ prior.precision
    factor = _cholesky(found.hessian + prior.precision)
    step = -torch.cholesky_solve(slope.unsqueeze(2), factor).squeeze(2)
    return step, -0.5 * (slope * step).sum(1)


def _cholesky(matrices: Tensor) -> Tensor:
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrices)
    if not failed.any():
        return factor
    # Rounding can make a nearly singular matrix indefinite; a ridge of its own size mends that.
    size = matrices.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype)
    mended: Tensor = torch.linalg.cholesky(matrices + 1e-8 * size * eye)
    return mended
