"""Metrics of whole rankings, one value per user.

All take `ranks`, a bag of U rows with the ranks of each user's relevant items among the user's
candidates, from 1 for the best, items of equal score sharing the mean of their ranks; and
`n_candidates` `(U,)`, how many candidates there are. `rank_relevant` gives both. Nothing is cut off
at some length of list.

Dimension letters: U users.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError

__all__ = ["list_auc"]


def list_auc(ranks: Bag, n_candidates: Tensor) -> Tensor:
    """Share of the pairs of a relevant item and another one that are in the right order.

    Equal scores count half, so that it is 0.5 where nothing is told apart. The area under the
    user's ROC curve (Mann and Whitney, 1947); its mean over users is what BPR approximates (Rendle
    et al., 2009).

    Returns:
        `(U,)` float64 in [0, 1]; NaN for a user without relevant items or with no others.

    Example:
        >>> ranks = Bag(torch.tensor([1.0, 2.5]), torch.tensor([0]))  # scores 0.4 | 0.3, 0.3
        >>> list_auc(ranks, torch.tensor([3]))  # (1 + 0.5) / 2
        tensor([0.7500], dtype=torch.float64)
    """
    if n_candidates.shape != ranks.offsets.shape:
        raise DataError(
            f"expected ranks and candidates of the same users, got those of {len(ranks.offsets)} "
            f"and {len(n_candidates)}"
        )
    n_relevant = ranks.lengths
    n_others = n_candidates - n_relevant
    sums = torch.zeros(len(n_relevant), dtype=torch.float64, device=ranks.values.device)
    sums.index_add_(0, ranks.row_of_value, ranks.values.to(torch.float64))
    # The least sum is that of the relevant items at ranks 1, 2, ...; each wrong pair adds 1.
    n_wrong = sums - n_relevant * (n_relevant + 1) / 2
    n_pairs = n_relevant * n_others
    return (1 - n_wrong / n_pairs).masked_fill(n_pairs == 0, float("nan"))
