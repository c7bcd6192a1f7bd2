"""What every loss has: a width, a weighted mean over a batch, and a way back to predictions.

Dimension letters: B rows, I items, T target columns, K classes or levels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tabcf.contracts.definitions import BatchForm
from tabcf.errors import TrainingError

__all__ = ["Loss", "check_shapes", "weighted_mean"]


class Loss(nn.Module):
    """The base of all losses.

    A subclass sets `d_out`, the width of the model's output, and writes `forward` and `decode`.
    It may own parameters; they are trained with the model's.
    """

    d_out: int
    form: BatchForm = "pointwise"

    def __init__(self, *, d_out: int) -> None:
        super().__init__()
        self.d_out = d_out

    def forward(self, raw: Any, target: Any, weight: Tensor | None = None) -> Tensor:
        """The mean loss of a batch, `sum(weight * loss) / sum(weight)`.

        Args:
            raw: `(B, d_out)` outputs of the model; for other forms than pointwise what that form
                reads.
            target: The encoded target, `(B,)` or `(B, T)`; for a sampled loss a `Sampled`, for
                a catalogue or factored one each row's positives as a `Bag` of item columns.
            weight: `(B,)`, not negative; all rows count the same without it.

        Returns:
            A scalar; 0 where no row has any weight.
        """
        raise NotImplementedError

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """Predictions in the target's own units.

        Args:
            raw: `(..., d_out)`, with any leading dimensions: `(B, d_out)` for events,
                `(B, I, d_out)` for users against items.

        Returns:
            Some of `value` `(...)` or `(..., T)`, `probability` `(...)` of the second label,
            `probabilities` `(..., K)` and `score` `(...)`.
        """
        raise NotImplementedError


def weighted_mean(loss: Tensor, weight: Tensor | None = None) -> Tensor:
    """`sum(weight * loss) / sum(weight)`; 0 where all weights are 0.

    Example:
        >>> weighted_mean(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 1.0]))
        tensor(2.)
    """
    if weight is None:
        return loss.mean()
    # The smallest normal number in place of 0 makes the quotient 0 and its gradient finite.
    total = weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)
    return (weight * loss).sum() / total


def check_shapes(
    raw: Tensor, target: Tensor, weight: Tensor | None, *, d_out: int, d_target: int
) -> None:
    """Raise unless raw is `(B, d_out)` and target and weight have B rows.

    Left to broadcasting, `(B, 1)` against `(B,)` would compare every row with every other.
    """
    n = len(raw)
    expected = (n,) if d_target == 1 else (n, d_target)
    if raw.shape != (n, d_out) or target.shape != expected:
        raise TrainingError(
            f"expected an output of shape (B, {d_out}) and a target of shape "
            f"{'(B,)' if d_target == 1 else f'(B, {d_target})'}, got {tuple(raw.shape)} and "
            f"{tuple(target.shape)}"
        )
    if weight is not None and weight.shape != (n,):
        raise TrainingError(f"expected weights of shape ({n},), got {tuple(weight.shape)}")
