"""Losses of an event's item among sampled others.

Dimension letters: B events, N sampled items of each.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tabcf.contracts.inputs import Sampled
from tabcf.contracts.target import TargetInfo
from tabcf.errors import TrainingError
from tabcf.losses.loss import Loss, weighted_mean

__all__ = ["BPR", "SampledBCE", "SampledLoss", "SampledSoftmax"]


class SampledLoss(Loss):
    """The base of losses of one item that was chosen and N that were drawn.

    Shape:
        raw: `(B, 1 + N)`, the event's own item in column 0.
        target: a `Sampled` of the same shape.
        decode: `(..., 1)` to `score` `(...)`.
    """

    form = "sampled"

    def __init__(self, target: TargetInfo) -> None:
        super().__init__(d_out=1)

    def forward(self, raw: Tensor, target: Sampled, weight: Tensor | None = None) -> Tensor:
        """The mean over events."""
        if raw.ndim != 2 or raw.shape[1] < 2 or target.is_valid.shape != raw[:, 1:].shape:
            raise TrainingError(
                f"expected outputs of shape (B, 1 + N) and marks of shape (B, N), got "
                f"{tuple(raw.shape)} and {tuple(target.is_valid.shape)}"
            )
        return weighted_mean(self.compare(raw[:, :1], raw[:, 1:], target), weight)

    def compare(self, chosen: Tensor, others: Tensor, target: Sampled) -> Tensor:
        """`(B,)` losses of chosen items `(B, 1)` against sampled ones `(B, N)`."""
        raise NotImplementedError

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """The output itself: its order is all that is learnt."""
        return {"score": raw.squeeze(-1)}


class BPR(SampledLoss):
    """-log of the chance that the chosen item beats a sampled one (Rendle et al., 2009).

    Example:
        >>> marks = torch.ones(1, 1, dtype=torch.bool)
        >>> loss = BPR(TargetInfo("implicit"))
        >>> loss(torch.tensor([[2.0, 2.0]]), Sampled(marks))  # log(2)
        tensor(0.6931)
    """

    def compare(self, chosen: Tensor, others: Tensor, target: Sampled) -> Tensor:
        return _valid_mean(functional.softplus(others - chosen), target.is_valid)


class SampledBCE(SampledLoss):
    """Binary cross-entropy: the chosen item is a one, the mean of the sampled ones a zero.

    Example:
        >>> marks = torch.ones(1, 2, dtype=torch.bool)
        >>> loss = SampledBCE(TargetInfo("implicit"))
        >>> loss(torch.zeros(1, 3), Sampled(marks))  # 2 log(2)
        tensor(1.3863)
    """

    def compare(self, chosen: Tensor, others: Tensor, target: Sampled) -> Tensor:
        zeros = _valid_mean(functional.softplus(others), target.is_valid)
        return functional.softplus(-chosen).squeeze(1) + zeros


class SampledSoftmax(SampledLoss):
    """Cross-entropy of the chosen item among itself and the sampled ones.

    Each output is lowered by the log of how likely its item was to be sampled (Bengio and
    Senécal, 2008), so that what is learnt is the softmax over the whole catalogue, however the
    items are sampled.

    Example:
        >>> marks = torch.ones(1, 3, dtype=torch.bool)
        >>> loss = SampledSoftmax(TargetInfo("implicit"))
        >>> loss(torch.zeros(1, 4), Sampled(marks))  # log(4)
        tensor(1.3863)
    """

    def compare(self, chosen: Tensor, others: Tensor, target: Sampled) -> Tensor:
        raw = torch.cat([chosen, others], 1)
        if target.log_q is not None:
            raw = raw - target.log_q
        is_left_out = functional.pad(~target.is_valid, (1, 0))
        # A huge negative number in place of -inf keeps gradients finite.
        raw = raw.masked_fill(is_left_out, torch.finfo(raw.dtype).min / 2)
        return raw.logsumexp(1) - raw[:, 0]


def _valid_mean(loss: Tensor, is_valid: Tensor) -> Tensor:
    """`(B,)`: the mean over the sampled items that count; 0 where none does."""
    counts = is_valid.sum(1).clamp_min(1)
    result: Tensor = (loss * is_valid).sum(1) / counts
    return result
