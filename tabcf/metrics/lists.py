"""Metrics of ranked lists, one value per user.

All take `hits` `(U, K)`, whether the item at each place of a user's list is relevant, and
`n_relevant` `(U,)`, how many relevant items the user has in the whole catalogue. An empty place
in a short list is no hit. A user without relevant items has no value: NaN.

Dimension letters: U users, K places.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tabcf.errors import DataError

__all__ = [
    "hit_rate_at_k",
    "map_at_k",
    "mrr_at_k",
    "ndcg_at_k",
    "precision_at_k",
    "recall_at_k",
]


def ndcg_at_k(hits: Tensor, n_relevant: Tensor) -> Tensor:
    """Discounted gain over that of an ideal list (Järvelin and Kekäläinen, 2002).

    A hit at place r gains 1 / log2(r + 1); the ideal list has its min(K, n_relevant) hits first.

    Example:
        >>> ndcg_at_k(torch.tensor([[True, False, True]]), torch.tensor([2]))
        tensor([0.9197], dtype=torch.float64)
    """
    gains = _checked(hits, n_relevant)
    k = gains.shape[1]
    discount = 1 / torch.arange(2, k + 2, dtype=torch.float64, device=gains.device).log2()
    ideal = torch.cat([discount.new_zeros(1), discount.cumsum(0)])
    return _where_defined((gains * discount).sum(1) / ideal[n_relevant.clamp(max=k)], n_relevant)


def recall_at_k(hits: Tensor, n_relevant: Tensor) -> Tensor:
    """Share of the relevant items that the list holds.

    Example:
        >>> recall_at_k(torch.tensor([[True, False, True]]), torch.tensor([4]))
        tensor([0.5000], dtype=torch.float64)
    """
    return _where_defined(_checked(hits, n_relevant).sum(1) / n_relevant, n_relevant)


def precision_at_k(hits: Tensor, n_relevant: Tensor) -> Tensor:
    """Share of the K places that hold a relevant item.

    Example:
        >>> precision_at_k(torch.tensor([[True, False, True, False]]), torch.tensor([4]))
        tensor([0.5000], dtype=torch.float64)
    """
    return _where_defined(_checked(hits, n_relevant).mean(1), n_relevant)


def hit_rate_at_k(hits: Tensor, n_relevant: Tensor) -> Tensor:
    """1 where the list holds a relevant item, else 0.

    Example:
        >>> hit_rate_at_k(torch.tensor([[False, True], [False, False]]), torch.tensor([4, 1]))
        tensor([1., 0.], dtype=torch.float64)
    """
    return _where_defined(_checked(hits, n_relevant).amax(1), n_relevant)


def mrr_at_k(hits: Tensor, n_relevant: Tensor) -> Tensor:
    """1 / r with the first hit at place r, 0 without a hit.

    Example:
        >>> mrr_at_k(torch.tensor([[False, True, True]]), torch.tensor([4]))
        tensor([0.5000], dtype=torch.float64)
    """
    gains = _checked(hits, n_relevant)
    return _where_defined((gains / _places(gains)).amax(1), n_relevant)


def map_at_k(hits: Tensor, n_relevant: Tensor) -> Tensor:
    """Precision at each hit's place, summed, over min(K, n_relevant): 1 for an ideal list.

    Example:
        >>> map_at_k(torch.tensor([[True, False, True]]), torch.tensor([2]))  # (1 + 2/3) / 2
        tensor([0.8333], dtype=torch.float64)
    """
    gains = _checked(hits, n_relevant)
    precision = gains.cumsum(1) / _places(gains)
    best = n_relevant.clamp(max=gains.shape[1])
    return _where_defined((precision * gains).sum(1) / best, n_relevant)


def _places(gains: Tensor) -> Tensor:
    return torch.arange(1, gains.shape[1] + 1, dtype=torch.float64, device=gains.device)


def _checked(hits: Tensor, n_relevant: Tensor) -> Tensor:
    """The hits as 0 and 1."""
    if hits.ndim != 2 or not hits.shape[1] or n_relevant.shape != hits.shape[:1]:
        raise DataError(
            "expected hits of shape (U, K) with at least one place and counts of shape (U,), got "
            f"{tuple(hits.shape)} and {tuple(n_relevant.shape)}"
        )
    return hits.to(torch.float64)


def _where_defined(value: Tensor, n_relevant: Tensor) -> Tensor:
    return value.masked_fill(n_relevant <= 0, float("nan"))
