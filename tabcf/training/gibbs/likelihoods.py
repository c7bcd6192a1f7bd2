"""How targets come from scores: with normal noise, or by cut-points of a latent number.

Dimension letters: see `tabcf.training.gibbs`; C = K - 1 cut-points.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.special import ndtri

from tabcf.training.gibbs.priors import Normal, Priors

__all__ = ["Likelihood", "NormalNoise", "OrderedProbit", "latent_numbers"]

# What each level counts beforehand, in events of score 0: a prior of the cut-points that is proper
# and has an inner mode, whatever levels were given.
_PSEUDO_EVENTS = 0.5
# Degrees of freedom of the proposals: their tails are heavier than those of what they are for.
_FREEDOM = 10.0
# Newton's steps end where one would move the mode by a hundredth of a standard deviation.
_NEWTON_STEPS, _NEWTON_SIZE = 20, 1e-4
_LEAST = 1e-300
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


class Likelihood(Protocol):
    """What the scores should be, how exactly, and what is drawn of it given the scores.

    Attributes:
        target: `(N,)` float32.
        precision: Of a target about its score.
    """

    target: Tensor
    precision: float

    @property
    def cut_points(self) -> tuple[float, ...]:
        """Where the latent number's levels part, if there are any."""

    def draw(self, score: Tensor, normal: Normal) -> None:
        """Draw all that is not known of the targets, given the scores `(N,)`."""


class NormalNoise:
    """Targets are scores and normal noise of a precision that is drawn."""

    cut_points: tuple[float, ...] = ()

    def __init__(self, target: Tensor, priors: Priors) -> None:
        self.target = target
        self.precision = 1.0
        self._priors = priors

    def draw(self, score: Tensor, normal: Normal) -> None:
        """Draw the precision."""
        error = (self.target - score).double()
        shape = torch.tensor([self._priors.shape + 0.5 * len(error)])
        rate = torch.tensor([self._priors.rate + 0.5 * float(error.pow(2).sum())])
        self.precision = float(normal.gamma(shape, rate))


class OrderedProbit:
    """A level says between which cut-points a latent number fell: the score and noise of N(0, 1).

    Cut-points and latent numbers are drawn in one block given the scores: first the cut-points, the
    latent numbers summed out, by Metropolis-Hastings with proposals about the mode; then each
    latent number, a normal one between two cut-points (Albert and Chib, 1993; that drawing the
    cut-points given the latent numbers barely moves them, Cowles, 1996). Their prior is half an
    event of each level at a score of 0.

    Args:
        level: `(N,)` int64.
        n_levels: K, at least 2.
    """

    precision = 1.0

    def __init__(self, level: Tensor, n_levels: int) -> None:
        self._order = torch.argsort(level, stable=True)
        self._sorted = torch.cat([level[self._order], torch.arange(n_levels)])
        self._weight = torch.ones(len(self._sorted), dtype=torch.float64)
        self._weight[len(level) :] = _PSEUDO_EVENTS
        counts = torch.bincount(level, minlength=n_levels).double()
        counts += _PSEUDO_EVENTS
        share = counts.cumsum(0)[:-1] / counts.sum()
        # Levels without events part by a little, so that the cut-points rise from the start.
        self._cuts = ndtri(share) + 1e-2 * torch.arange(n_levels - 1).double()
        self._mode = self._cuts
        self.n_tried = self.n_taken = 0
        middle = torch.cat([self._cuts[:1] - 1, (self._cuts[1:] + self._cuts[:-1]) / 2])
        self.target = torch.cat([middle, self._cuts[-1:] + 1])[level].float()

    @property
    def cut_points(self) -> tuple[float, ...]:
        return tuple(self._cuts.tolist())

    def draw(self, score: Tensor, normal: Normal) -> None:
        """Draw the cut-points, then the latent numbers."""
        pseudo = torch.zeros(len(self._cuts) + 1, dtype=torch.float64)
        ordered = torch.cat([score[self._order].double(), pseudo])
        self._draw_cuts(ordered, normal)
        n = len(score)
        low, high = (bound[:n] for bound in self._bounds(self._cuts))
        found = latent_numbers(ordered[:n], low, high, normal.uniform(n))
        self.target = torch.empty_like(score)
        self.target[self._order] = found.float()

    def _draw_cuts(self, score: Tensor, normal: Normal) -> None:
        mode, curvature = self._find_mode(score)
        self._mode = mode
        factor = torch.linalg.cholesky(curvature)
        shape = torch.tensor([0.5 * _FREEDOM])
        stretch = (normal.gamma(shape, shape)).double().rsqrt()
        noise = normal.like((len(mode), 1)).double()
        off = torch.linalg.solve_triangular(factor.mT, noise, upper=True).squeeze(1)
        proposed = mode + stretch * off
        self.n_tried += 1
        chance = float(normal.uniform(1))
        if not bool((proposed.diff() > 0).all()):
            return
        gain = self._value(proposed, score) - self._value(self._cuts, score)
        gain = gain + _log_t(self._cuts - mode, curvature) - _log_t(proposed - mode, curvature)
        if math.log(max(chance, 1e-300)) < float(gain):
            self._cuts = proposed
            self.n_taken += 1

    def _find_mode(self, score: Tensor) -> tuple[Tensor, Tensor]:
        """The most probable cut-points and minus the second derivatives there, by Newton's steps.

        The density is log-concave, so that there is one mode. It is found so exactly that where
        the search began, at an earlier mode, leaves no trace.
        """
        at, found = self._mode, self._log_density(self._mode, score)
        for _ in range(_NEWTON_STEPS):
            step = torch.linalg.solve(found.curvature, found.slope)
            size = float(step @ found.slope)
            if size < _NEWTON_SIZE:
                break
            for halving in range(30):
                tried = at + step * 0.5**halving
                if not bool((tried.diff() > 0).all()):
                    continue
                new = self._log_density(tried, score)
                if new.value >= found.value - 1e-9 * abs(found.value):
                    break
            else:
                break
            at, found = tried, new
        return at, found.curvature

    def _bounds(self, cuts: Tensor) -> tuple[Tensor, Tensor]:
        """The cut-points below and above each event, sorted by level, and each pseudo-event."""
        end = cuts.new_tensor([torch.inf])
        return torch.cat([-end, cuts])[self._sorted], torch.cat([cuts, end])[self._sorted]

    def _log_density(self, cuts: Tensor, score: Tensor) -> _Density:
        """Of the cut-points, up to a constant, the latent numbers summed out."""
        below, above = (bound - score for bound in self._bounds(cuts))
        mass = _mass(below, above)
        n = len(cuts)
        # The densities at both bounds over the mass between them; 0 at an infinite bound.
        low = (-0.5 * below.square() - _LOG_ROOT_2PI).exp() / mass
        high = (-0.5 * above.square() - _LOG_ROOT_2PI).exp() / mass
        low_turn = low * (low - below.nan_to_num(0, 0, 0))
        high_turn = high * (high + above.nan_to_num(0, 0, 0))

        def per_level(values: Tensor) -> Tensor:
            return cuts.new_zeros(n + 1).index_add_(0, self._sorted, self._weight * values)

        slope = per_level(high)[:-1] - per_level(low)[1:]
        diagonal = per_level(high_turn)[:-1] + per_level(low_turn)[1:]
        beside = -per_level(low * high)[1:-1]
        curvature = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
        return _Density(self._weight @ mass.log(), slope, curvature)

    def _value(self, cuts: Tensor, score: Tensor) -> Tensor:
        """The log density alone."""
        mass = _mass(*(bound - score for bound in self._bounds(cuts)))
        return self._weight @ mass.log()


class _Density(NamedTuple):
    """A log density, its first derivatives and minus its second ones."""

    value: Tensor
    slope: Tensor
    curvature: Tensor


def latent_numbers(score: Tensor, low: Tensor, high: Tensor, uniform: Tensor) -> Tensor:
    """`(N,)` normal numbers about scores, between bounds, from uniform ones.

    By the inverse of the distribution function in the lower tail, where it is exact.
    """
    below, above = low - score, high - score
    is_high = below > 0
    start = torch.where(is_high, -above, below)
    stop = torch.where(is_high, -below, above)
    first, last = _lower_tail(start), _lower_tail(stop)
    found = ndtri(first + uniform * (last - first))
    # Where the tail is too far out for any precision, the bound nearest to the score is the number.
    found = torch.where(last > _LEAST, found, stop)
    found = torch.maximum(torch.minimum(found, stop), start)
    return score + torch.where(is_high, -found, found)


def _lower_tail(x: Tensor) -> Tensor:
    """Φ(x), exact far below 0; `torch.special.ndtr` is not."""
    found: Tensor = 0.5 * torch.special.erfc(x * -(0.5**0.5))
    return found


def _mass(below: Tensor, above: Tensor) -> Tensor:
    """Φ(above) - Φ(below) without a difference of two numbers near 1; never quite 0."""
    is_high = below > 0
    low = torch.where(is_high, -above, below)
    high = torch.where(is_high, -below, above)
    return (_lower_tail(high) - _lower_tail(low)).clamp_min(_LEAST)


def _log_t(off: Tensor, precision: Tensor) -> Tensor:
    """The log density of a multivariate t, up to a constant."""
    return -0.5 * (_FREEDOM + len(off)) * torch.log1p(off @ precision @ off / _FREEDOM)
