"""What single events say of a row: ratings, classes, yes or no.

Dimension letters: n rows that are sought, M events, L events of the row that has most,
K outputs of the model, P numbers of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.losses.loss import Loss
from tabcf.recommend.fold_in.slots import Slots
from tabcf.recommend.fold_in.solver import Curvature

__all__ = ["Pointwise", "padded_places"]


class Pointwise:
    """Losses of single events: ratings, classes, yes or no.

    Args:
        slots: The model.
        loss: A pointwise loss; its value is minus a log-likelihood times `noise`.
        inputs: M events.
        target: Their encoded target.
        weight: `(M,)` or None.
        owner: `(M,)` int64: which of the n rows an event is of.
        n: How many rows.
        noise: What the loss is divided by: twice the variance for squared errors, 1 where the
            loss is a log-likelihood itself.
    """

    def __init__(
        self,
        slots: Slots,
        loss: Loss,
        inputs: Inputs,
        target: Tensor,
        weight: Tensor | None,
        owner: Tensor,
        n: int,
        *,
        noise: float = 1.0,
    ) -> None:
        self._slots = slots
        self._loss = loss
        self._inputs = inputs
        self._target = target.double() if target.is_floating_point() else target
        self._weight = weight
        self._owner = owner
        self._n = n
        self._place = padded_places(owner, n)
        self._noise = noise

    def judged(self, values: Tensor, given: Pointwise) -> float:
        raw = self._slots.outputs(values.float()[self._owner], self._inputs)
        return float(self._loss(raw.double(), self._target, self._weight))

    def curvature(self, values: Tensor) -> Curvature:
        m = len(self._owner)
        if not m:
            return Curvature(
                values.new_zeros(self._n),
                torch.zeros_like(values),
                values.new_zeros(self._n, values.shape[1], values.shape[1]),
            )
        raw, jacobian = self._slots.jacobian(values.float()[self._owner], self._inputs)
        loss, gradient, hessian = self._by_output(raw)
        slopes = torch.einsum("mk,mkp->mp", gradient, jacobian)
        # hessian = root rootᵀ, so that JᵀHJ = (rootᵀJ)ᵀ(rootᵀJ).
        halves = torch.einsum("mkj,mkp->mjp", _root(hessian), jacobian).flatten(1)
        padded = torch.cat([halves, halves.new_zeros(1, halves.shape[1])])[self._place]
        padded = padded.view(self._n, -1, values.shape[1])
        zeros = values.new_zeros(self._n)
        return Curvature(
            zeros.index_add(0, self._owner, loss) / self._noise,
            torch.zeros_like(values).index_add(0, self._owner, slopes) / self._noise,
            (padded.transpose(1, 2) @ padded) / self._noise,
        )

    def _by_output(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses `(M,)`, their slopes `(M, K)` and curvatures `(M, K, K)` by the outputs.

        The loss gives a weighted mean L; the derivative of `L Σ w` by a weight w is that event's
        own loss.
        """
        raw = raw.double().requires_grad_(True)
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
        if not hessian.any():
            # An absolute error has no curvature; the slopes' own squares stand in for it.
            hessian = slope.unsqueeze(2) * slope.unsqueeze(1)
        return (each * weight).detach(), slope, hessian

    def _weights(self, raw: Tensor) -> Tensor:
        if self._weight is None:
            return raw.new_ones(len(raw))
        return self._weight.to(raw).clone()


def padded_places(owner: Tensor, n: int) -> Tensor:
    """`(n, L)` int64: the events of each row; M where a row has fewer.

    Example:
        >>> padded_places(torch.tensor([1, 0, 1]), 2)
        tensor([[1, 3],
                [0, 2]])
    """
    order = torch.argsort(owner, stable=True)
    counts = torch.bincount(owner, minlength=n)
    starts = counts.cumsum(0) - counts
    places = torch.full((n, int(counts.max()) if len(owner) else 0), len(owner))
    sorted_owner = owner[order]
    places[sorted_owner, torch.arange(len(owner)) - starts[sorted_owner]] = order
    return places


def _root(hessian: Tensor) -> Tensor:
    """`(M, K, K)`: roots of symmetric matrices, what is negative in them left out."""
    if hessian.shape[-1] == 1:
        return hessian.clamp_min(0).sqrt()
    values, vectors = torch.linalg.eigh(hessian)
    root: Tensor = vectors * values.clamp_min(0).sqrt().unsqueeze(1)
    return root
