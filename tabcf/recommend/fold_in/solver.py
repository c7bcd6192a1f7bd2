"""The most probable rows and their spread: steps of Gauss-Newton or L-BFGS, many rows at once.

Dimension letters: n rows that are sought, P numbers of a row, L halves of the curvature of the row
that has most: outputs of its events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = [
    "SHORTEST",
    "STEPS",
    "SURE",
    "Curvature",
    "Halves",
    "Likelihood",
    "Posterior",
    "Prior",
    "Sloped",
    "covariance",
    "solve",
]

# Steps at most; a model that is linear in its rows needs one, most others two or three, absolute
# errors many. Those that learn the curvature on the way need some five.
STEPS, _SLOPE_STEPS = 20, 40
# A step that promises to lower a row's objective, a log-probability, by no more than this is taken
# without a look at where it leads, and is the last: a quarter of a standard deviation at most.
SURE = 0.03
# A step that led upwards is shortened to the lowest point of a parabola, but to no less than this.
SHORTEST = 0.1


@dataclass(frozen=True)
class Prior:
    """What rows are like before anything is known: N(mean, precision⁻¹).

    Shape:
        mean: `(P,)` float64. precision: `(P, P)` float64.
    """

    mean: Tensor
    precision: Tensor

    @cached_property
    def covariance(self) -> Tensor:
        """`(P, P)` float64."""
        found: Tensor = torch.linalg.inv(self.precision)
        return found


class Curvature(NamedTuple):
    """How the loss of each row's own events changes with the row.

    Shape:
        value: `(n,)`. gradient: `(n, P)`. hessian: `(n, P, P)`, nowhere negative; all float64.
    """

    value: Tensor
    gradient: Tensor
    hessian: Tensor


class Halves(NamedTuple):
    """The same of few events for the numbers of a row: the curvature is `halfᵀ half`.

    Shape:
        value: `(n,)`. gradient: `(n, P)`. half: `(n, L, P)`, rows of zeros behind a row's own.
    """

    value: Tensor
    gradient: Tensor
    half: Tensor

    @property
    def hessian(self) -> Tensor:
        """`(n, P, P)`."""
        return self.half.mT @ self.half


class Likelihood(Protocol):
    """What the events say of rows: minus the log of how likely they are."""

    def of(self, rows: Tensor) -> Likelihood:
        """That of some of the rows, by their places `(m,)`."""

    def curvature(self, values: Tensor) -> Curvature | Halves:
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
    """Damped Gauss-Newton steps; rows that are found are left out of those that follow.

    Where a step leads upwards, as it may across the kink of an activation, the next one goes to the
    lowest point of the parabola through both heights and the slope at its beginning.
    """
    found, rows, best = start.clone(), torch.arange(len(start)), start
    there = likelihood.curvature(best)
    lowest, slope = _with_prior(there, prior, best)
    step, gain = _step(there, slope, prior)
    scale, promised = torch.ones_like(gain), gain
    for _ in range(STEPS):
        values = best + scale[:, None] * step
        is_last = promised <= SURE
        n_last = int(is_last.sum())
        if n_last:
            found[rows[is_last]] = values[is_last]
            if n_last == len(rows):
                return found
            still = torch.nonzero(~is_last).squeeze(1)
            likelihood, rows = likelihood.of(still), rows[still]
            best, values, lowest = best[still], values[still], lowest[still]
            step, gain, scale = step[still], gain[still], scale[still]
        there = likelihood.curvature(values)
        height, slope = _with_prior(there, prior, values)
        rise = height - lowest
        is_better = rise <= 0
        n_better = int(is_better.sum())
        if n_better == len(rows):
            best, lowest = values, height
            step, gain = _step(there, slope, prior)
            scale, promised = torch.ones_like(gain), gain
            continue
        # A gain of g by the whole step is a slope of -2g along it.
        shorter = gain * scale.square() / (rise + 2 * gain * scale)
        scale = shorter.clamp(SHORTEST * scale, 0.5 * scale)
        promised = gain * scale
        if n_better:
            better = torch.nonzero(is_better).squeeze(1)
            best = torch.where(is_better[:, None], values, best)
            lowest = torch.where(is_better, height, lowest)
            kept = type(there)(*(part[better] for part in there))
            step[better], gain[better] = _step(kept, slope[better], prior)
            scale[better], promised[better] = 1.0, gain[better]
    found[rows] = best
    return found


def _by_slopes(likelihood: Sloped, prior: Prior, best: Tensor) -> Tensor:
    """Steps of L-BFGS (Nocedal, 1980), which learn the curvature from slopes.

    They begin with the approximate curvature at the start.
    """
    factor = _cholesky(likelihood.about(best) + prior.precision)
    lowest, slope = _with_prior(likelihood.sloped(best), prior, best)
    moves: list[_Move] = []
    scale = torch.ones_like(lowest)
    is_open = torch.ones_like(lowest, dtype=torch.bool)
    for _ in range(_SLOPE_STEPS):
        step = scale[:, None] * -_curved(slope, moves, factor)
        is_last = is_open & (-0.5 * (slope * step).sum(1) <= SURE)
        values = best + step
        best = torch.where(is_last[:, None], values, best)
        is_open = is_open & ~is_last
        if not is_open.any():
            break
        height, there = _with_prior(likelihood.sloped(values), prior, values)
        is_better = is_open & (height <= lowest)
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


def _with_prior(said: tuple[Tensor, ...], prior: Prior, at: Tensor) -> tuple[Tensor, Tensor]:
    """What is to be lowered, `(n,)`, and its slope `(n, P)`.

    Args:
        said: Losses of the events and their gradients; what follows does not matter.
        prior: What rows are like.
        at: `(n, P)` the rows.
    """
    off = at - prior.mean
    pull = off @ prior.precision
    return said[0] + 0.5 * (pull * off).sum(1), said[1] + pull


def _step(found: Curvature | Halves, slope: Tensor, prior: Prior) -> tuple[Tensor, Tensor]:
    """The Newton step `(n, P)` and by how much it should lower the objective, `(n,)`."""
    if isinstance(found, Halves) and found.half.shape[1] < found.half.shape[2]:
        step = -_by_events(found.half, prior.covariance, slope)
    else:
        factor = _cholesky(found.hessian + prior.precision)
        step = -torch.cholesky_solve(slope.unsqueeze(2), factor).squeeze(2)
    return step, -0.5 * (slope * step).sum(1)


def _by_events(half: Tensor, covariance: Tensor, slope: Tensor) -> Tensor:
    """`(n, P)`: the slope times `(halfᵀ half + covariance⁻¹)⁻¹`, by a matrix of events.

    Woodbury's identity: `S - S halfᵀ (1 + half S halfᵀ)⁻¹ half S` is that inverse.
    """
    direct = slope @ covariance
    across = half @ covariance
    inner = across @ half.mT
    inner.diagonal(dim1=1, dim2=2).add_(1)
    seen = half @ direct.unsqueeze(2)
    weight = torch.cholesky_solve(seen, _cholesky(inner))
    return direct - (across.mT @ weight).squeeze(2)


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
