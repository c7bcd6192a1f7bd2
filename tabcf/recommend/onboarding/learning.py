"""How an answer moves what is believed of a user's row: one step of fold-in, for many at once.

Dimension letters: n users, c answers, I items, K outputs of the model, P numbers of a row.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.pointwise import Pointwise, is_scaled
from tabcf.recommend.onboarding.outputs import Outputs

__all__ = ["Beliefs", "Choices", "Learning", "Values"]

# Numbers of the matrices that are held at a time: 64 MB.
_BUDGET = 1 << 23


class Beliefs:
    """What is believed of n users' rows: normal distributions.

    Shape:
        mean: `(n, P)`. covariance: `(n, P, P)`; both float64 and changed in place.
    """

    def __init__(self, fold: FoldIn, n: int) -> None:
        prior = fold.prior
        self.mean = prior.mean.repeat(n, 1)
        self.covariance = prior.covariance.repeat(n, 1, 1)


class Learning(Protocol):
    """What answers of some users do to what is believed of them."""

    def steps(self, beliefs: Beliefs, users: Tensor, items: Tensor, answers: Tensor) -> Tensor:
        """`(c, P)`: how far each of c answers alone would move its user's mean.

        Args:
            beliefs: Before the answers.
            users: `(c,)`, in ascending order.
            items: `(c,)` items by their numbers.
            answers: `(c,)` encoded targets.
        """

    def learn(self, beliefs: Beliefs, users: Tensor, items: Tensor, answers: Tensor) -> None:
        """Take one answer of each of some users, who are all different."""


class Values:
    """Answers to a pointwise loss: by its slope and curvature at the mean, as a Kalman filter."""

    def __init__(self, fold: FoldIn, outputs: Outputs) -> None:
        self._fold, self._outputs = fold, outputs

    def steps(self, beliefs: Beliefs, users: Tensor, items: Tensor, answers: Tensor) -> Tensor:
        width = beliefs.mean.shape[1]
        places = torch.arange(len(users)).split(max(_BUDGET // width**2, 1))
        parts = [self._step(beliefs, users[p], items[p], answers[p])[0] for p in places]
        return torch.cat(parts) if parts else beliefs.mean[:0]

    def learn(self, beliefs: Beliefs, users: Tensor, items: Tensor, answers: Tensor) -> None:
        step, shrinkage = self._step(beliefs, users, items, answers)
        beliefs.mean[users] += step
        beliefs.covariance[users] -= shrinkage

    def _step(
        self, beliefs: Beliefs, users: Tensor, items: Tensor, answers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """With Jacobian J, slope g and curvature h of the loss, and S = J Σ Jᵀ.

        The mean moves by `-Σ Jᵀ (1 + h S)⁻¹ g`, and Σ loses `Σ Jᵀ (1 + h S)⁻¹ h J Σ`.
        """
        mean, covariance = beliefs.mean[users], beliefs.covariance[users]
        slope = self._outputs.slope[items]
        raw = self._outputs.rest[items] + (slope @ mean.unsqueeze(2)).squeeze(2)
        n = len(raw)
        found = Pointwise(
            _Itself(),
            self._fold.loss,
            answers,
            None,
            torch.arange(n),
            n,
            noise=self._fold.noise,
            is_scaled=is_scaled(self._fold.loss),
        ).curvature(raw)
        across = slope @ covariance
        inner = found.hessian @ (across @ slope.mT)
        inner += torch.eye(inner.shape[-1], dtype=inner.dtype)
        both = torch.cat([found.gradient.unsqueeze(2), found.hessian @ across], 2)
        solved = torch.linalg.solve(inner, both)
        step = -(across.mT @ solved[:, :, :1]).squeeze(2)
        return step, across.mT @ solved[:, :, 1:]


class _Itself:
    """Outputs as if they were the rows."""

    def outputs(self, values: Tensor) -> Tensor:
        return values

    def jacobian(self, values: Tensor) -> tuple[Tensor, Tensor]:
        width = values.shape[1]
        return values, torch.eye(width, dtype=values.dtype).expand(len(values), -1, -1)

    def of(self, events: Tensor) -> _Itself:
        return self


class Choices:
    """Chosen items, by the softmax over all; a dislike says nothing.

    The slope of a choice is the item's derivative less the mean one, and its curvature their
    covariance, by the items' shares at the mean.
    """

    def __init__(self, outputs: Outputs) -> None:
        self._rest, self._slope = outputs.rest[:, 0], outputs.slope[:, 0]
        width = self._slope.shape[1]
        self._products = (self._slope.unsqueeze(2) * self._slope.unsqueeze(1)).view(-1, width**2)

    def steps(self, beliefs: Beliefs, users: Tensor, items: Tensor, answers: Tensor) -> Tensor:
        found = torch.zeros(len(users), beliefs.mean.shape[1], dtype=beliefs.mean.dtype)
        own, place = users.unique_consecutive(return_inverse=True)
        n_at_once = max(_BUDGET // len(self._rest), 1)
        for few in torch.arange(len(own)).split(n_at_once):
            is_there = (place >= few[0]) & (place <= few[-1])
            middle, covariance = self._after(beliefs, own[few])
            at = place[is_there] - few[0]
            off = self._slope[items[is_there]] - middle[at]
            found[is_there] = (covariance[at] @ off.unsqueeze(2)).squeeze(2)
        return found * (answers > 0.5).to(found).unsqueeze(1)

    def learn(self, beliefs: Beliefs, users: Tensor, items: Tensor, answers: Tensor) -> None:
        is_like = answers > 0.5
        users, items = users[is_like], items[is_like]
        for few in torch.arange(len(users)).split(max(_BUDGET // len(self._rest), 1)):
            own = users[few]
            middle, covariance = self._after(beliefs, own)
            off = self._slope[items[few]] - middle
            beliefs.mean[own] += (covariance @ off.unsqueeze(2)).squeeze(2)
            beliefs.covariance[own] = covariance

    def _after(self, beliefs: Beliefs, users: Tensor) -> tuple[Tensor, Tensor]:
        """The mean derivative `(n, P)`, and the covariance `(n, P, P)` after one more choice."""
        mean, covariance = beliefs.mean[users], beliefs.covariance[users]
        share = (self._rest + mean @ self._slope.T).softmax(1)
        middle = share @ self._slope
        curvature = (share @ self._products).view_as(covariance)
        curvature -= middle.unsqueeze(2) * middle.unsqueeze(1)
        # (Σ⁻¹ + C)⁻¹ = (1 + Σ C)⁻¹ Σ.
        eye = torch.eye(mean.shape[1], dtype=mean.dtype)
        after = torch.linalg.solve(eye + covariance @ curvature, covariance)
        return middle, (after + after.mT) / 2
