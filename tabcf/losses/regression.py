"""Losses of numbers and ratings, one or several columns at once.

Dimension letters: B rows, T target columns.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError
from tabcf.losses.loss import Loss, check_shapes, weighted_mean

__all__ = ["MAE", "MSE", "Huber", "NumberLoss"]


class NumberLoss(Loss):
    """The base of losses that compare each output with an encoded number.

    Several target columns count the same: a row's loss is the mean over its columns. The
    prediction is `raw * scale + center`; it is not cut to a rating's levels.

    Shape:
        raw: `(B, T)`; target: `(B,)` for one column, `(B, T)` for several.
        decode: `value` `(...)` for one column, `(..., T)` for several.
    """

    _center: Tensor
    _scale: Tensor

    def __init__(self, target: TargetInfo) -> None:
        super().__init__(d_out=len(target.center))
        # They come from the target, which is saved on its own.
        self.register_buffer("_center", torch.tensor(target.center), persistent=False)
        self.register_buffer("_scale", torch.tensor(target.scale), persistent=False)

    def forward(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The mean over rows and columns."""
        check_shapes(raw, target, weight, d_out=self.d_out, d_target=self.d_out)
        output = raw.view_as(target)
        if weight is None:
            return self.mean(output, target)
        loss = self.compare(output, target)
        return weighted_mean(loss if loss.ndim == 1 else loss.mean(1), weight)

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """The output in the target's units."""
        value = raw * self._scale + self._center
        return {"value": value.squeeze(-1) if self.d_out == 1 else value}

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of each number, in the shape of both; all that a subclass has to write."""
        raise NotImplementedError

    def mean(self, output: Tensor, target: Tensor) -> Tensor:
        """Their mean; overridden where one operation does both."""
        return self.compare(output, target).mean()


class MSE(NumberLoss):
    """Mean squared error; its best constant is the mean.

    Example:
        >>> loss = MSE(TargetInfo("regression", ("y",), center=(3.0,), scale=(2.0,)))
        >>> loss(torch.tensor([[1.0], [0.0]]), torch.tensor([0.0, 0.0]))
        tensor(0.5000)
        >>> loss.decode(torch.tensor([[1.0], [0.0]]))["value"]
        tensor([5., 3.])
    """

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(output, target, reduction="none")

    def mean(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(output, target)


class MAE(NumberLoss):
    """Mean absolute error; its best constant is the median.

    Example:
        >>> loss = MAE(TargetInfo("regression", ("y",)))
        >>> loss(torch.tensor([[1.0], [-2.0]]), torch.tensor([0.0, 0.0]))
        tensor(1.5000)
    """

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.l1_loss(output, target, reduction="none")

    def mean(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.l1_loss(output, target)


class Huber(NumberLoss):
    """Half the squared error up to delta, `delta * (|error| - delta / 2)` beyond (Huber, 1964).

    Args:
        target: What is predicted.
        delta: Where it turns straight, in units of the encoded target: of its standard deviation
            where the target is standardised.

    Example:
        >>> loss = Huber(TargetInfo("regression", ("y",)), delta=1.0)
        >>> loss(torch.tensor([[0.5], [3.0]]), torch.tensor([0.0, 0.0]))
        tensor(1.3125)
    """

    def __init__(self, target: TargetInfo, *, delta: float = 1.0) -> None:
        super().__init__(target)
        if not delta > 0:
            raise SpecError([f"loss.huber.delta: expected a positive number, got {delta}"])
        self.delta = delta

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.huber_loss(output, target, reduction="none", delta=self.delta)

    def mean(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.huber_loss(output, target, delta=self.delta)
