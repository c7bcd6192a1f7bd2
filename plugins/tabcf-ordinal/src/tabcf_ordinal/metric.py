"""How good probabilities of ordered levels are.

Dimension letters: N rows, K levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["ranked_probability_score"]


def ranked_probability_score(
    probabilities: Tensor, truth: Tensor, levels: Sequence[float]
) -> Tensor:
    """The mean squared distance of cumulative probabilities (Epstein, 1969).

    `Σ_k (P(level ≤ k) - [truth ≤ k])²` over k = 1 .. K - 1; 0 is best. Unlike the log loss it
    knows that four stars are nearer to five than one star is.

    Args:
        probabilities: `(N, K)`.
        truth: `(N,)` levels in their own units; the nearest one counts.
        levels: The K levels, rising.

    Example:
        >>> halves = torch.tensor([[0.0, 0.5, 0.5]])
        >>> ranked_probability_score(halves, torch.tensor([3.0]), [1, 2, 3])
        tensor(0.2500)
    """
    bounds = torch.tensor(levels, dtype=truth.dtype)
    reached = truth[:, None] <= (bounds[:-1] + bounds[1:])[None] / 2
    return (probabilities.cumsum(1)[:, :-1] - reached.to(probabilities.dtype)).pow(2).sum(1).mean()
