"""What ratings on levels say of a score, by an ordered probit's cut-points.

Dimension letters: M events, K levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tabcf.losses.loss import Loss
from tabcf.nn.probit import level_probabilities

__all__ = ["LossOfScore"]


class LossOfScore(Loss):
    """A loss of log probabilities of levels, as one of the score that they come from.

    Args:
        loss: Of `(M, K)` log probabilities.
        cuts: `(K - 1,)`: where the levels of a latent number part, the score and noise of N(0, 1).
    """

    def __init__(self, loss: Loss, cuts: Tensor) -> None:
        super().__init__(d_out=1)
        self._loss = loss
        self._cuts = cuts

    def forward(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of scores `(M, 1)`."""
        found: Tensor = self._loss(self._log_probabilities(raw), target, weight)
        return found

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """What the loss makes of the levels' probabilities."""
        return self._loss.decode(self._log_probabilities(raw))

    def _log_probabilities(self, raw: Tensor) -> Tensor:
        chances = level_probabilities(self._cuts.to(raw) - raw)
        return chances.clamp_min(torch.finfo(raw.dtype).tiny).log()
