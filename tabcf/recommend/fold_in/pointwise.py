"""What single events say of a row: ratings, classes, yes or no.

Dimension letters: n rows that are sought, M events, L events of the row that has most,
K outputs of the model, P numbers of a row.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tabcf.losses.blend import Sum
from tabcf.losses.loss import Loss
from tabcf.losses.regression import MSE, NumberLoss
from tabcf.recommend.fold_in.alone import SquaredErrors
from tabcf.recommend.fold_in.rows import AnswersAlone, Responses
from tabcf.recommend.fold_in.solver import Halves

__all__ = ["Pointwise", "is_scaled", "padded_places"]


class Pointwise:
    """Losses of single events: ratings, classes, yes or no.

    Args:
        responses: How the outputs for M events hang on their rows.
        loss: A pointwise loss in float64; its value is minus a log-likelihood times `noise`.
        target: The events' encoded target.
        weight: `(M,)` or None.
        owner: `(M,)` int64: which of the n rows an event is of.
        n: How many rows.
        noise: What the loss is divided by: twice the variance for squared errors, 1 where the
            loss is a log-likelihood itself.
        is_scaled: Whether it is a loss of numbers, whose noise is not known beforehand.
    """

    def __init__(
        self,
        responses: Responses,
        loss: Loss,
        target: Tensor,
        weight: Tensor | None,
        owner: Tensor,
        n: int,
        *,
        noise: float = 1.0,
        is_scaled: bool = False,
    ) -> None:
        self._responses = responses
        self._loss = loss
        self._target = target.double() if target.is_floating_point() else target
        self._weight = None if weight is None else weight.double()
        self._owner = owner
        self._n = n
        self._place = padded_places(owner, n)
        self._noise = noise
        self._is_scaled = is_scaled

    def of(self, rows: Tensor) -> Pointwise:
        number = torch.full((self._n,), -1)
        number[rows] = torch.arange(len(rows))
        owner = number[self._owner]
        events = torch.nonzero(owner >= 0).squeeze(1)
        return Pointwise(
            self._responses.of(events),
            self._loss,
            self._target[events],
            None if self._weight is None else self._weight[events],
            owner[events],
            len(rows),
            noise=self._noise,
            is_scaled=self._is_scaled,
        )

    def alone(self) -> SquaredErrors | None:
        """Where all events are one row's and their losses squared errors, what numpy solves."""
        if self._n > 1 or type(self._loss) is not MSE or not len(self._owner):
            return None
        answers = self._responses.alone() if isinstance(self._responses, AnswersAlone) else None
        if answers is None:
            return None
        twice = self._of_squares[0].numpy()[:, 0]
        return SquaredErrors(answers, self._target.numpy().reshape(-1), twice)

    def judged(self, values: Tensor, given: Pointwise) -> float:
        raw = self._responses.outputs(values[self._owner])
        return float(self._loss(raw, self._target, self._weight))

    def scale(self, values: Tensor) -> float:
        """The noise that makes the events likeliest, given the rows; 1 for a log-likelihood.

        A density `exp(-f(e) / s) / s^(T/q)` of T errors e, f growing as their power q, is highest
        at `s = q · mean f / T`, and `q · f = Σ f'(e) · e`: twice the variance for the squared
        error, the mean distance for the absolute one.
        """
        if not self._is_scaled:
            return 1.0
        raw = self._responses.outputs(values[self._owner])
        _, slope, _ = self._by_output(raw)
        errors = raw - self._target.view_as(raw)
        return max(self._noise * float((slope * errors).mean()), 1e-12)

    def curvature(self, values: Tensor) -> Halves:
        width = values.shape[1]
        if not len(self._owner):
            zeros = torch.zeros_like(values)
            return Halves(zeros[:, 0], zeros, values.new_zeros(self._n, 0, width))
        is_one = self._n == 1
        at = values.expand(len(self._owner), -1) if is_one else values[self._owner]
        raw, jacobian = self._responses.jacobian(at)
        # hessian = root rootᵀ, so that JᵀHJ = (rootᵀJ)ᵀ(rootᵀJ).
        loss, gradient, root = self._by_output(raw)
        if raw.shape[1] == 1:
            slopes, halves = gradient * jacobian[:, 0], root[:, 0] * jacobian[:, 0]
        else:
            slopes = (gradient.unsqueeze(1) @ jacobian).squeeze(1)
            halves = (root.mT @ jacobian).flatten(1)
        if is_one:
            return Halves(
                loss.sum(0, keepdim=True), slopes.sum(0, keepdim=True), halves.view(1, -1, width)
            )
        zeros = torch.zeros_like(values)
        halves = torch.cat([halves, halves.new_zeros(1, halves.shape[1])])[self._place]
        return Halves(
            zeros[:, 0].index_add(0, self._owner, loss),
            zeros.index_add(0, self._owner, slopes),
            halves.view(self._n, -1, width),
        )

    def _by_output(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses `(M,)`, slopes `(M, K)` by the outputs, roots `(M, K, K)` of the curvatures.

        All are over the noise; one root stands for all where they are alike.
        """
        if type(self._loss) is not MSE or raw.shape[1] > 1:
            loss, slope, hessian = self._by_autograd(raw)
            return loss / self._noise, slope / self._noise, _root(hessian / self._noise)
        error = raw - self._target.view_as(raw)
        twice, root = self._of_squares
        slope = twice * error
        return (0.5 * error * slope).squeeze(1), slope, root

    @cached_property
    def _of_squares(self) -> tuple[Tensor, Tensor]:
        """The curvatures `(M, 1)` of squared errors and their roots `(M, 1, 1)`; one if alike."""
        twice = torch.full((1, 1), 2 / self._noise, dtype=torch.float64)
        if self._weight is not None:
            twice = twice * self._weight[:, None]
        return twice, twice.sqrt().unsqueeze(2)

    @torch.enable_grad()
    def _by_autograd(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses `(M,)`, slopes `(M, K)` and curvatures `(M, K, K)` of any loss.

        The loss gives a weighted mean L; the derivative of `L Σ w` by a weight w is that event's
        own loss.
        """
        raw = raw.detach().requires_grad_(True)
        weight = self._weights(raw).requires_grad_(True)
        total = self._loss(raw, self._target, weight) * weight.sum()
        slope, each = torch.autograd.grad(total, [raw, weight], create_graph=True)
        rows = []
        for k in range(raw.shape[1]):
            row = torch.zeros_like(raw)
            if slope.requires_grad:
                (row,) = torch.autograd.grad(slope[:, k].sum(), raw, retain_graph=True)
            rows.append(row)
        hessian, slope = torch.stack(rows, 1), slope.detach()
        if self._is_scaled:
            # Far from its target an absolute error, or Huber's, has no curvature: that of the
            # parabola which touches it at this error and its mirror image stands in, as in
            # iteratively reweighted least squares. Near the target the noise bounds it.
            errors = raw.detach() - self._target.view_as(raw)
            parabola = (slope * errors.sign()) / errors.abs().clamp_min(self._noise)
            hessian = torch.maximum(hessian, torch.diag_embed(parabola))
        return (each * weight).detach(), slope, hessian

    def _weights(self, raw: Tensor) -> Tensor:
        if self._weight is None:
            return raw.new_ones(len(raw))
        return self._weight.clone()


def is_scaled(loss: Loss) -> bool:
    """Whether a loss is a log-likelihood but for a scale: one of numbers, or a sum of such."""
    if isinstance(loss, Sum):
        return all(isinstance(part, NumberLoss) for part in loss.parts)
    return isinstance(loss, NumberLoss)


def padded_places(owner: Tensor, n: int) -> Tensor:
    """`(n, L)` int64: the events of each row; M where a row has fewer.

    Example:
        >>> padded_places(torch.tensor([1, 0, 1]), 2)
        tensor([[1, 3],
                [0, 2]])
    """
    of = owner.numpy()
    order = np.argsort(of, kind="stable")
    counts = np.bincount(of, minlength=n)
    starts = np.cumsum(counts) - counts
    places = np.full((n, int(counts.max(initial=0))), len(of))
    places[of[order], np.arange(len(of)) - starts[of[order]]] = order
    return torch.from_numpy(places)


def _root(hessian: Tensor) -> Tensor:
    """`(M, K, K)`: roots of symmetric matrices, what is negative in them left out."""
    if hessian.shape[-1] == 1:
        return hessian.clamp_min(0).sqrt()
    values, vectors = torch.linalg.eigh(hessian)
    root: Tensor = vectors * values.clamp_min(0).sqrt().unsqueeze(1)
    return root
