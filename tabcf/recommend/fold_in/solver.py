"""The most probable rows and their spread: steps of Gauss-Newton or L-BFGS, many rows at once.

Dimension letters: n rows that are sought, P numbers of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = ["Curvature", "Likelihood", "Posterior", "Prior", "Sloped", "covariance", "solve"]

# Steps at most; a model that is linear in its rows needs one, most others two or three, absolute
# errors many. Those that learn the curvature on the way need some five.
_STEPS, _SLOPE_STEPS = 20, 40
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

    def of(self, rows: Tensor) -> Likelihood:
        """That of some of the rows, by their places `(m,)`."""

    def curvature(self, values: Tensor) -> Curvature:
        """At some rows `(n, P)`, by the Gauss-Newton approximation."""

    def judged(self, values: Tensor, given: Any) -> float:
        """How badly rows that were found from other events, `given`, do for these ones."""


@runtime_checkable
class Sloped(Protocol):
    """A likelihood whose slopes cost far less than its curvatures."""

    def sloped(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Losses `(n,)` and gradients `(n, P)` at some rows `(n, P)`."""

    def about(self, values: Tensor) -> Tensor:
        """`(n, P, P)`: about what the curvatures are."""


class Posterior:
    """Rows and how sure they are.

    Args:
        mean: `(n, P)` float64.
        find: Gives the covariance when it is first asked for.
    """

    def __init__(self, mean: Tensor, find: Callable[[], Tensor]) -> None:
        self.mean = mean
        self._find = find

    @cached_property
    def covariance(self) -> Tensor:
        """`(n, P, P)` float64: that of a normal distribution at the mean, by Laplace's method."""
        return self._find()


def solve(likelihood: Likelihood, prior: Prior, start: Tensor) -> Posterior:
    """The rows that make events and prior together most probable.

    Where the outputs are linear in a row and the loss is the squared error this is Bayesian ridge
    regression and the first step is exact; elsewhere steps that do not improve are halved.

    Args:
        likelihood: The events of n rows.
        prior: What rows are like.
        start: `(n, P)` where to start, such as the prior's mean.
    """
    if isinstance(likelihood, Sloped):
        mean = _by_slopes(likelihood, prior, start.double())
    else:
        mean = _by_curvatures(likelihood, prior, start.double())
    return Posterior(mean, lambda: covariance(likelihood, prior, mean))


def covariance(likelihood: Likelihood, prior: Prior, values: Tensor) -> Tensor:
    """`(n, P, P)`: the inverse of the curvature of events and prior at some rows."""
    hessian = likelihood.curvature(values).hessian
    return torch.cholesky_inverse(_cholesky(hessian + prior.precision))


def _by_curvatures(likelihood: Likelihood, prior: Prior, start: Tensor) -> Tensor:
    """Damped Gauss-Newton steps; rows that are found are left out of those that follow."""
    found, rows = start.clone(), torch.arange(len(start))
    best, kept = start, likelihood.curvature(start)
    lowest, scale = _height(kept.value, prior, best), start.new_ones(len(start))
    for _ in range(_STEPS):
        step, gain = _step(kept, prior, best)
        step, gain = scale[:, None] * step, scale * gain
        is_last = gain <= _SURE
        values = best + step
        found[rows] = torch.where(is_last[:, None], values, best)
        if is_last.all():
            break
        if is_last.any():
            still = torch.nonzero(~is_last).squeeze(1)
            likelihood, rows = likelihood.of(still), rows[still]
            best, values, lowest, scale = (x[still] for x in (best, values, lowest, scale))
            kept = Curvature(*(x[still] for x in kept))
        there = likelihood.curvature(values)
        height = _height(there.value, prior, values)
        is_better = height <= lowest
        scale = torch.where(is_better, (2 * scale).clamp_max(1), scale / 2)
        lowest = torch.where(is_better, height, lowest)
        best = torch.where(is_better[:, None], values, best)
        found[rows] = best
        kept = Curvature(
            torch.where(is_better, there.value, kept.value),
            torch.where(is_better[:, None], there.gradient, kept.gradient),
            torch.where(is_better[:, None, None], there.hessian, kept.hessian),
        )
    return found


def _by_slopes(likelihood: Sloped, prior: Prior, best: Tensor) -> Tensor:
    """Steps of L-BFGS (Nocedal, 1980), which learn the curvature from slopes.

    They begin with the approximate curvature at the start.
    """
    factor = _cholesky(likelihood.about(best) + prior.precision)
    value, gradient = likelihood.sloped(best)
    lowest = _height(value, prior, best)
    slope = gradient + (best - prior.mean) @ prior.precision
    moves: list[_Move] = []
    scale = torch.ones_like(lowest)
    is_open = torch.ones_like(lowest, dtype=torch.bool)
    for _ in range(_SLOPE_STEPS):
        step = scale[:, None] * -_curved(slope, moves, factor)
        is_last = is_open & (-0.5 * (slope * step).sum(1) <= _SURE)
        values = best + step
        best = torch.where(is_last[:, None], values, best)
        is_open = is_open & ~is_last
        if not is_open.any():
            break
        value, gradient = likelihood.sloped(values)
        height = _height(value, prior, values)
        is_better = is_open & (height <= lowest)
        there = gradient + (values - prior.mean) @ prior.precision
        moves.append(_Move.of(step, there - slope))
        scale = torch.where(is_better, torch.ones_like(scale), scale / 2)
        lowest = torch.where(is_better, height, lowest)
        best = torch.where(is_better[:, None], values, best)
        slope = torch.where(is_better[:, None], there, slope)
    return best


class _Move(NamedTuple):
    """Steps `(n, P)`, how the slopes changed by them `(n, P)`, and 1 over their products `(n,)`."""

    step: Tensor
    change: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, step: Tensor, change: Tensor) -> _Move:
        """A move along which the slope does not rise says nothing of a curvature: it counts 0."""
        product = (step * change).sum(1)
        return cls(
            step, change, torch.where(product > 1e-12, 1 / product, torch.zeros_like(product))
        )


def _curved(slope: Tensor, moves: list[_Move], factor: Tensor) -> Tensor:
    """`(n, P)`: the inverse curvature times the slope, by the two loops over moves."""
    shares = []
    for move in reversed(moves):
        share = move.inverse * (move.step * slope).sum(1)
        slope = slope - share[:, None] * move.change
        shares.append(share)
    found = torch.cholesky_solve(slope.unsqueeze(2), factor).squeeze(2)
    for move, share in zip(moves, reversed(shares), strict=True):
        back = move.inverse * (move.change * found).sum(1)
        found = found + (share - back)[:, None] * move.step
    return found


def _height(loss: Tensor, prior: Prior, at: Tensor) -> Tensor:
    """`(n,)`: what is to be lowered."""
    off = at - prior.mean
    return loss + 0.5 * ((off @ prior.precision) * off).sum(1)


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
