"""Questions about items that people are divided over, by the levels' order.

Dimension letters: I items, K levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tabcf.contracts.selector import Answers, PastAnswers

__all__ = ["Contested", "dispersion"]


def dispersion(counts: np.ndarray) -> np.ndarray:
    """Ordinal dispersion of ratings (Leik, 1966): 0 if all agree, 1 with a half at either end.

    `2 / (K - 1) · Σ_k min(F_k, 1 - F_k)` over the cumulative shares F of the first K - 1 levels.
    Entropy does not know that 1 and 5 are farther apart than 4 and 5.

    Args:
        counts: `(I, K)` how often each level was given, in their order; 0 for a row of zeros.

    Returns:
        `(I,)`.

    Example:
        >>> dispersion(np.array([[2, 0, 2], [0, 2, 2], [0, 4, 0]])).tolist()
        [1.0, 0.5, 0.0]
    """
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    below = shares.cumsum(1)[:, :-1]
    spread: np.ndarray = 2 * np.minimum(below, 1 - below).clip(0).sum(1) / (counts.shape[1] - 1)
    return np.where(counts.sum(1) > 0, spread, 0.0)


class Contested:
    """Asks about items in the order of log popularity times dispersion."""

    def __init__(self, past: PastAnswers) -> None:
        levels = np.array(past.target.levels)
        level = np.abs(past.value[:, None] - levels).argmin(1)
        cells = past.item * len(levels) + level
        counts = np.bincount(cells, minlength=len(past.items) * len(levels))
        counts = counts.reshape(-1, len(levels))
        n_users = counts.sum(1)
        score = np.log2(n_users.clip(1)) * dispersion(counts)
        self._items = [past.items[place] for place in np.lexsort([-n_users, -score])]

    def select(self, k: int, asked: Sequence[Any], answers: Answers) -> list[Any]:
        """The next k that were not asked about."""
        done = set(asked)
        return [item for item in self._items if item not in done][:k]
