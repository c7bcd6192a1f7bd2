"""How scores of a newcomer and those they are compared with turn into a loss.

Dimension letters: n newcomers, O rows of the other side (items for a new user, users for a new
item), L of them that one newcomer is compared with.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["Rule", "Shape", "ShareOfUsers", "Shares", "Squares"]


class Shape(NamedTuple):
    """About how curved the losses of n newcomers are whose scores are alike.

    Newcomer j's curvature by the scores is `times[j]` that of the weights `curve` about their mean
    `centre` (none is left out where it is None), and `per_choice` more for each of their choices.

    Shape:
        curve: `(O,)`. centre: `(O,)` or None. times: `(n,)`.
    """

    curve: Tensor
    centre: Tensor | None
    times: Tensor
    per_choice: float = 0.0


class Rule(Protocol):
    """How scores of newcomers with some of the other side turn into losses.

    Takes scores `(..., L)`, what each choice counts `(..., L)` (0 where nothing was chosen), for
    how many of the other side each stands `(..., L)`, and which those are `(..., L)`. Gives losses
    `(...)`, their slopes and curvatures `(..., L)` by the scores, and weights `(..., L)` whose mean
    score the curvature leaves out, None for no such.
    """

    def __call__(
        self, scores: Tensor, chosen: Tensor, share: Tensor, other: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]: ...

    def shape(self, scores: Tensor, chosen: Tensor, share: float, other: Tensor) -> Shape:
        """How curved losses are at one set of scores `(O,)`, with choices `(n, O)`."""


class Shares:
    """A new user: the softmax over the catalogue, as minus the log of the chosen items' shares.

    The curvature of n chosen items with shares p is `n (diag(p) - p pᵀ)`.
    """

    def __call__(
        self, scores: Tensor, chosen: Tensor, share: Tensor, other: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        chosen = chosen.to(scores)
        n_chosen = chosen.sum(-1, keepdim=True)
        logits = scores + share.log()
        p = logits.softmax(-1)
        loss = n_chosen.squeeze(-1) * logits.logsumexp(-1) - (chosen * scores).sum(-1)
        return loss, n_chosen * p - chosen, n_chosen * p, p

    def shape(self, scores: Tensor, chosen: Tensor, share: float, other: Tensor) -> Shape:
        p = scores.softmax(0)
        return Shape(p, p, chosen.sum(1))


class ShareOfUsers:
    """A new item: its share among all items in the eyes of each user.

    Args:
        log_totals: `(O,)`: the log of the sum over all other items of exp(score), by user.
        n_chosen: `(O,)`: how many items each user chose, or what these count.
    """

    def __init__(self, log_totals: Tensor, n_chosen: Tensor) -> None:
        self._log_totals = log_totals
        self._n_chosen = n_chosen

    def __call__(
        self, scores: Tensor, chosen: Tensor, share: Tensor, other: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        chosen = chosen.to(scores)
        above = scores - self._log_totals[other]
        p = above.sigmoid()
        n = (self._n_chosen[other] + chosen) * share
        loss = (n * torch.nn.functional.softplus(above)).sum(-1) - (chosen * above).sum(-1)
        return loss, n * p - chosen, n * p * (1 - p), None

    def shape(self, scores: Tensor, chosen: Tensor, share: float, other: Tensor) -> Shape:
        p = (scores - self._log_totals[other]).sigmoid()
        curve = self._n_chosen[other] * share * p * (1 - p)
        return Shape(curve, None, torch.ones(len(chosen), dtype=curve.dtype))


class Squares:
    """Chosen ones should score 1, and all 0 with a small weight: the loss of the whole matrix."""

    def __init__(self, unobserved_weight: float) -> None:
        self._unobserved = unobserved_weight

    def __call__(
        self, scores: Tensor, chosen: Tensor, share: Tensor, other: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        chosen = chosen.to(scores)
        weight = self._unobserved * share
        loss = (chosen * (1 - scores).pow(2) + weight * scores.pow(2)).sum(-1)
        slope = 2 * (weight * scores - chosen * (1 - scores))
        return loss, slope, 2 * (weight + chosen), None

    def shape(self, scores: Tensor, chosen: Tensor, share: float, other: Tensor) -> Shape:
        curve = torch.full_like(scores, 2 * self._unobserved * share)
        return Shape(curve, None, torch.ones(len(chosen), dtype=curve.dtype), per_choice=2.0)
