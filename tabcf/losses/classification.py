"""Losses of classes: a binary target, several classes, or a rating's levels taken as classes.

Dimension letters: B rows, K classes or levels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError
from tabcf.losses.loss import Loss, check_shapes, weighted_mean

__all__ = ["BCE", "CrossEntropy"]


class BCE(Loss):
    """Binary cross-entropy of one logit; the target may be a probability.

    Shape:
        raw: `(B, 1)`; target: `(B,)` in [0, 1].
        decode: `probability` `(...)` of the second label.

    Example:
        >>> loss = BCE(TargetInfo("binary", ("y",), labels=("no", "yes")))
        >>> loss.decode(torch.zeros(2, 1))["probability"]
        tensor([0.5000, 0.5000])
    """

    def __init__(self, target: TargetInfo) -> None:
        super().__init__(d_out=1)

    def forward(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The mean over rows of -log of the true label's probability."""
        check_shapes(raw, target, weight, d_out=1, d_target=1)
        loss = functional.binary_cross_entropy_with_logits(
            raw.squeeze(1), target.to(raw.dtype), reduction="none"
        )
        return weighted_mean(loss, weight)

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """The second label's probability."""
        return {"probability": raw.squeeze(-1).sigmoid()}


class CrossEntropy(Loss):
    """Cross-entropy over classes, both labels of a binary target, or the levels of a rating.

    A rating's prediction is the expectation over its levels, the median level or the likeliest.

    Args:
        target: What is predicted; its labels or its levels are the K classes.
        label_smoothing: Share of each row's probability that is spread evenly over all K classes,
            in [0, 1) (Szegedy et al., 2016).
        predict: What a rating's `value` is: the expectation over the levels, the median level, or
            the likeliest one, of several the lowest.

    Shape:
        raw: `(B, K)`; target: `(B,)`: int64 class, the second label's probability, or the encoded
            rating, which is taken to the level nearest to it.
        decode: `probabilities` `(..., K)`; `probability` `(...)` for a binary target; `value`
            `(...)` and `probabilities` for a rating.

    Example:
        >>> loss = CrossEntropy(TargetInfo("rating", ("stars",), levels=(1.0, 2.0, 3.0)))
        >>> loss.decode(torch.zeros(2, 3))["value"]
        tensor([2., 2.])
    """

    _levels: Tensor
    _bounds: Tensor
    _center: Tensor
    _scale: Tensor

    def __init__(
        self,
        target: TargetInfo,
        *,
        label_smoothing: float = 0.0,
        predict: Literal["mean", "median", "mode"] = "mean",
    ) -> None:
        classes = target.levels if target.kind == "rating" else target.labels
        super().__init__(d_out=len(classes))
        if len(classes) < 2:
            what = "levels" if target.kind == "rating" else "labels"
            problem = f"expected a target with at least two {what}, got {len(classes)}"
            raise SpecError([f"loss.cross_entropy: {problem}"])
        if not 0 <= label_smoothing < 1:
            problem = f"expected a number in [0, 1), got {label_smoothing}"
            raise SpecError([f"loss.cross_entropy.label_smoothing: {problem}"])
        if predict not in ("mean", "median", "mode"):
            problem = f"expected mean, median or mode, got '{predict}'"
            raise SpecError([f"loss.cross_entropy.predict: {problem}"])
        if predict != "mean" and target.kind != "rating":
            problem = f"is of a rating's levels, and the target is {target.kind}; leave it out"
            raise SpecError([f"loss.cross_entropy.predict: {problem}"])
        self.kind = target.kind
        self.predict = predict
        self.label_smoothing = label_smoothing
        levels = torch.tensor(target.levels, dtype=torch.float64)
        # Levels 1, 2, 4 have the bounds 1.5 and 3: 1.9 is nearest to level number 1.
        self.register_buffer("_bounds", ((levels[1:] + levels[:-1]) / 2).float(), persistent=False)
        self.register_buffer("_levels", levels.float(), persistent=False)
        self.register_buffer("_center", torch.tensor(target.center), persistent=False)
        self.register_buffer("_scale", torch.tensor(target.scale), persistent=False)

    def forward(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The mean over rows of -log of the true class's probability."""
        check_shapes(raw, target, weight, d_out=self.d_out, d_target=1)
        loss = functional.cross_entropy(
            raw, self._classes(target, raw), reduction="none", label_smoothing=self.label_smoothing
        )
        return weighted_mean(loss, weight)

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """Probabilities, and a rating's expectation, median or mode."""
        probabilities = raw.softmax(-1)
        if self.kind == "rating":
            levels = self._levels.to(raw.dtype)
            if self.predict == "mean":
                value = probabilities @ levels
            elif self.predict == "median":
                value = levels[(probabilities.cumsum(-1)[..., :-1] < 0.5).sum(-1)]
            else:
                value = levels[probabilities.argmax(-1)]
            return {"value": value, "probabilities": probabilities}
        if self.kind == "binary":
            return {"probability": probabilities[..., 1]}
        return {"probabilities": probabilities}

    def _classes(self, target: Tensor, raw: Tensor) -> Tensor:
        """`(B,)` class numbers, or `(B, 2)` probabilities for a binary target."""
        if self.kind == "rating":
            return torch.bucketize(target * self._scale + self._center, self._bounds)
        if self.kind == "binary":
            positive = target.to(raw.dtype)
            return torch.stack([1 - positive, positive], 1)
        return target
