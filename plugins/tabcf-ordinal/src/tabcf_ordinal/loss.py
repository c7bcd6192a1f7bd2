"""The cumulative logit model of ordered levels, as a loss that owns its cut-points.

Dimension letters: B rows, K levels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError, TrainingError
from tabcf.losses import Loss, weighted_mean

__all__ = ["OrderedLogit"]

# Keeps the probability of a level that no row has above zero, so that its logarithm is finite.
_LEAST_GAP = 1e-6


class OrderedLogit(Loss):
    """Proportional odds (McCullagh, 1980): `P(level <= k) = sigmoid(cut_k - output)`.

    The model gives one number, and K - 1 trained cut-points part the line into the K levels. They
    are the first one and softplus steps from each to the next, so that they stay in order, and
    start where an output of 0 gives each level the same probability.

    Args:
        target: What is predicted; a rating.
        predict: What the `value` is: the expectation over the levels, the median level, or the
            likeliest one, of several the lowest.

    Shape:
        raw: `(B, 1)`; target: `(B,)` encoded ratings, each taken to the level nearest to it.
        decode: `(..., 1)` to `value` `(...)` and `probabilities` `(..., K)`.

    Example:
        >>> target = TargetInfo("rating", ("y",), levels=(1, 2, 4), center=(2.0,), scale=(1.1,))
        >>> loss = OrderedLogit(target)
        >>> loss.cut_points
        tensor([-0.6931,  0.6931], grad_fn=<CumsumBackward0>)
        >>> loss.decode(torch.zeros(1, 1))["value"]  # (1 + 2 + 4) / 3
        tensor([2.3333], grad_fn=<MvBackward0>)
    """

    _levels: Tensor
    _bounds: Tensor
    _center: Tensor
    _scale: Tensor

    def __init__(
        self, target: TargetInfo, *, predict: Literal["mean", "median", "mode"] = "mean"
    ) -> None:
        super().__init__(d_out=1)
        if target.kind != "rating" or len(target.levels) < 2:
            got = f"{target.kind} with {len(target.levels)}"
            raise SpecError(
                [f"loss.ordered_logit: expected a rating with at least two levels, got {got}"]
            )
        if predict not in ("mean", "median", "mode"):
            raise SpecError(
                [f"loss.ordered_logit.predict: expected mean, median or mode, got '{predict}'"]
            )
        # A standardised target has levels on both sides of 0; this one comes as it is.
        is_plain = target.center == (0.0,) and target.scale == (1.0,)
        if is_plain and not target.levels[0] < 0 < target.levels[-1]:
            raise SpecError(
                [
                    "loss.ordered_logit: cut-points need an output without bounds; leave out the "
                    "model's y_range"
                ]
            )
        self.predict = predict
        levels = torch.tensor(target.levels, dtype=torch.float64)
        self.register_buffer("_levels", levels.float(), persistent=False)
        self.register_buffer("_bounds", ((levels[1:] + levels[:-1]) / 2).float(), persistent=False)
        self.register_buffer("_center", torch.tensor(target.center), persistent=False)
        self.register_buffer("_scale", torch.tensor(target.scale), persistent=False)
        n = len(levels)
        cuts = (torch.arange(1, n, dtype=torch.float64) / n).logit()
        steps = (cuts.diff() - _LEAST_GAP).expm1().log()  # the inverse of softplus
        self.first = nn.Parameter(cuts[:1].float())
        self.steps = nn.Parameter(steps.float())

    @property
    def cut_points(self) -> Tensor:
        """`(K - 1,)`: where the output makes the levels up to k as likely as those above."""
        return torch.cat([self.first, self._gaps]).cumsum(0)

    def forward(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The mean over rows of -log of the true level's probability."""
        n = len(raw)
        if raw.shape != (n, 1) or target.shape != (n,):
            raise TrainingError(
                "expected an output of shape (B, 1) and a target of shape (B,), got "
                f"{tuple(raw.shape)} and {tuple(target.shape)}"
            )
        level = torch.bucketize(target * self._scale + self._center, self._bounds)
        loss = -self._log_probabilities(raw).gather(1, level.unsqueeze(1)).squeeze(1)
        return weighted_mean(loss, weight)

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """The probability of each level, and the mean, median or mode of the levels."""
        probabilities = self._log_probabilities(raw).exp()
        if self.predict == "mean":
            value = probabilities @ self._levels
        elif self.predict == "median":
            value = self._levels[torch.bucketize(raw.squeeze(-1), self.cut_points)]
        else:
            value = self._levels[probabilities.argmax(-1)]
        return {"value": value, "probabilities": probabilities}

    @property
    def _gaps(self) -> Tensor:
        """`(K - 2,)`: from each cut-point to the next."""
        return functional.softplus(self.steps) + _LEAST_GAP

    def _log_probabilities(self, raw: Tensor) -> Tensor:
        """`(..., K)` from `(..., 1)`, without a difference of two numbers near 0 or 1.

        For a level between the cuts l < u, s being the sigmoid and x the output,
        `s(u - x) - s(l - x) = s(u - x) · s(x - l) · (1 - exp(l - u))`; at either end one factor
        is left.
        """
        cuts = self.cut_points
        below = functional.pad(functional.logsigmoid(cuts - raw), (0, 1))
        above = functional.pad(functional.logsigmoid(raw - cuts), (1, 0))
        width = functional.pad((-torch.expm1(-self._gaps)).log(), (1, 1))
        return below + above + width
