"""Losses of a user's items among all items of the catalogue.

Dimension letters: B users, I items, P positives of all B users together.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError, TrainingError
from tabcf.losses.loss import Loss, weighted_mean

__all__ = ["Softmax"]


class Softmax(Loss):
    """Multinomial negative log-likelihood: one probability an item, over the whole catalogue.

    The loss of a positive is `logsumexp(raw of its user) - raw of the item`, as in Mult-VAE
    (Liang et al., 2018). Users without positives do not count.

    Args:
        target: What is predicted; implicit.
        reduction: `interaction`: the mean over all positives of the batch, so that a user with
            many counts for more. `user`: the mean over users of the mean over their positives.

    Shape:
        raw: `(B, I)`; target: a `Bag` of B rows of item columns, with weights or without; an item
            that a row holds twice counts twice. weight: `(B,)`.
        decode: `(..., 1)` to `score` `(...)`.

    Example:
        >>> positives = Bag(torch.tensor([0, 1, 1]), torch.tensor([0, 2]))
        >>> loss = Softmax(TargetInfo("implicit"))
        >>> loss(torch.zeros(2, 4), positives)  # log(4)
        tensor(1.3863)
    """

    form = "catalogue"

    def __init__(
        self, target: TargetInfo, *, reduction: Literal["interaction", "user"] = "interaction"
    ) -> None:
        super().__init__(d_out=1)
        if reduction not in ("interaction", "user"):
            raise SpecError(
                [f"loss.softmax.reduction: expected interaction or user, got '{reduction}'"]
            )
        self.reduction = reduction

    def forward(self, raw: Tensor, target: Bag, weight: Tensor | None = None) -> Tensor:
        """The mean over positives, or over users, of -log of a positive's probability."""
        n_users, n_items = _shape(raw, target)
        user = target.row_of_value
        # P gathered numbers in place of a (B, I) multi-hot.
        log_p = raw.log_softmax(1).reshape(-1)
        loss = -log_p.index_select(0, user * n_items + target.values)
        each = _positive_weights(raw, target, user, weight if self._by_interaction else None)
        if self._by_interaction:
            return weighted_mean(loss, each)
        total = raw.new_zeros(n_users).index_add(0, user, each)
        summed = raw.new_zeros(n_users).index_add(0, user, each * loss)
        mean = summed / total.clamp_min(torch.finfo(raw.dtype).tiny)
        counts = (total > 0).to(raw.dtype)
        return weighted_mean(mean, counts if weight is None else counts * weight)

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """The output itself: its order is that of the probabilities."""
        return {"score": raw.squeeze(-1)}

    @property
    def _by_interaction(self) -> bool:
        return self.reduction == "interaction"


def _shape(raw: Tensor, positives: Bag) -> tuple[int, int]:
    """Users and items; a bag of another number of rows is refused."""
    if raw.ndim != 2 or len(positives.offsets) != len(raw):
        raise TrainingError(
            "expected outputs of shape (B, I) and the positives of B users, got "
            f"{tuple(raw.shape)} and those of {len(positives.offsets)}"
        )
    return raw.shape[0], raw.shape[1]


def _positive_weights(raw: Tensor, positives: Bag, user: Tensor, weight: Tensor | None) -> Tensor:
    """`(P,)`: a positive's own weight times its user's."""
    each = raw.new_ones(len(user)) if positives.weights is None else positives.weights
    return each if weight is None else each * weight.index_select(0, user)
