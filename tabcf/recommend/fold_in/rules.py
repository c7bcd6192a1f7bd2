"""How scores of a newcomer and those they are compared with turn into a loss.

Dimension letters: O rows of the other side (items for a new user, users for a new item), L of them
that one newcomer is compared with.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Rule", "ShareOfUsers", "Shares", "Squares"]


class Rule(Protocol):
    """How scores of one newcomer with some of the other side turn into a loss.

    Scores `(L,)`, whether each was chosen `(L,)`, for how many of the other side each stands
    `(L,)`, and which those are `(L,)`. Gives the loss, its slopes and its curvatures `(L,)` by
    the scores, and weights `(L,)` whose mean score the curvature leaves out, None for no such.
    """

    def __call__(
        self, scores: Tensor, is_chosen: Tensor, share: Tensor, other: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]: ...


class Shares:
    """A new user: the softmax over the catalogue, as minus the log of the chosen items' shares.

    The curvature of n chosen items with shares p is `n (diag(p) - p pᵀ)`.
    """

    def __call__(
        self, scores: Tensor, is_chosen: Tensor, share: Tensor, other: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        n_chosen = is_chosen.sum()
        logits = scores + share.log()
        p = logits.softmax(0)
        loss = n_chosen * logits.logsumexp(0) - scores[is_chosen].sum()
        return loss, n_chosen * p - is_chosen.to(p), n_chosen * p, p


class ShareOfUsers:
    """A new item: its share among all items in the eyes of each user.

    Args:
        log_totals: `(O,)`: the log of the sum over all other items of exp(score), by user.
        n_chosen: `(O,)`: how many items each user chose.
    """

    def __init__(self, log_totals: Tensor, n_chosen: Tensor) -> None:
        self._log_totals = log_totals
        self._n_chosen = n_chosen

    def __call__(
        self, scores: Tensor, is_chosen: Tensor, share: Tensor, other: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        above = scores - self._log_totals[other]
        p = above.sigmoid()
        n = (self._n_chosen[other] + is_chosen) * share
        loss = (n * torch.nn.functional.softplus(above)).sum() - above[is_chosen].sum()
        return loss, n * p - is_chosen.to(p), n * p * (1 - p), None


class Squares:
    """Chosen ones should score 1, and all 0 with a small weight: the loss of the whole matrix."""

    def __init__(self, unobserved_weight: float) -> None:
        self._unobserved = unobserved_weight

    def __call__(
        self, scores: Tensor, is_chosen: Tensor, share: Tensor, other: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        chosen = is_chosen.to(scores)
        weight = self._unobserved * share
        loss = (chosen * (1 - scores).pow(2) + weight * scores.pow(2)).sum()
        slope = 2 * (weight * scores - chosen * (1 - scores))
        return loss, slope, 2 * (weight + chosen), None
