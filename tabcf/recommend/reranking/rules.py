"""Orders by rules on what a list holds: caps on groups' shares, and a price on popularity.

Dimension letters: B users, N items, K places, G groups.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["group_caps", "popularity_penalty"]


def group_caps(scores: Tensor, groups: Tensor, most: Tensor, *, k: int) -> Tensor:
    """The first k items that leave no group with more places than it may have.

    Args:
        scores: `(B, N)`, falling; -inf where a list is short.
        groups: `(B, N, G)` booleans; an item may be in several groups, or in none.
        most: `(G,)` int64: places that a group may have.
        k: K.

    Returns:
        `(B, K)` int64 places of the given items, in their order; -1 where too few fit.

    Example:
        >>> groups = torch.tensor([[[True], [True], [False]]])
        >>> group_caps(torch.tensor([[3.0, 2.0, 1.0]]), groups, torch.tensor([1]), k=2)
        tensor([[0, 2]])
    """
    n_users, n = scores.shape
    counts = torch.zeros(n_users, groups.shape[2], dtype=torch.int64)
    n_kept = torch.zeros(n_users, dtype=torch.int64)
    # One column more than there are places takes what is not kept.
    kept = torch.full((n_users, k + 1), -1)
    for place in range(n):
        own = groups[:, place]
        fits = (~own | (counts < most)).all(1) & (scores[:, place] > -torch.inf) & (n_kept < k)
        counts += own & fits.unsqueeze(1)
        kept.scatter_(1, torch.where(fits, n_kept, k).unsqueeze(1), place)
        n_kept += fits
    return kept[:, :k]


def popularity_penalty(scores: Tensor, popularity: Tensor, *, strength: float) -> Tensor:
    """`score - strength · log(popularity)`, in the score's own units.

    Args:
        scores: `(B, N)`.
        popularity: `(B, N)`: training events; an item without any counts as if it had one.
        strength: What a factor of e more events costs.

    Example:
        >>> popularity_penalty(torch.tensor([[2.0, 1.5]]), torch.tensor([[100, 1]]), strength=0.2)
        tensor([[1.0790, 1.5000]], dtype=torch.float64)
    """
    return scores.double() - strength * popularity.clamp_min(1).double().log()
