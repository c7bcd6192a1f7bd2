"""Metrics of ranked lists beyond hits: how much of the catalogue they show, and what kind of items.

All take `lists` `(U, K)` int64, the item column at each place of a user's list, -1 where a short
list is empty. `coverage_at_k` and `gini_at_k` say something of all lists together, a scalar; the
others give one value per user, NaN where an empty list says nothing.

Dimension letters: U users, K places, I items, A attributes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError

__all__ = [
    "calibration_kl",
    "coverage_at_k",
    "diversity_at_k",
    "gini_at_k",
    "novelty_at_k",
    "popularity_at_k",
    "serendipity_at_k",
]


def coverage_at_k(lists: Tensor, n_items: int) -> Tensor:
    """Share of the catalogue that is in at least one list (Herlocker et al., 2004).

    Args:
        lists: `(U, K)`.
        n_items: Size of the catalogue, at least 1.

    Returns:
        A float64 scalar in [0, 1]; 0 without lists.

    Example:
        >>> coverage_at_k(torch.tensor([[0, 1], [0, -1]]), 4)
        tensor(0.5000, dtype=torch.float64)
    """
    return (_exposure(lists, n_items) > 0).to(torch.float64).mean()


def gini_at_k(lists: Tensor, n_items: int) -> Tensor:
    """How unequally the places of all lists are spread over the items of the catalogue.

    sum_r (2 r - I - 1) x_r / (I sum_r x_r), with items in ascending order of x, the number of
    lists that each is in (Shani and Gunawardana, 2011): 0 when all items are listed equally
    often, (I - 1) / I when every place has the same item.

    Args:
        lists: `(U, K)`.
        n_items: Size of the catalogue, at least 1; items that are never listed count.

    Returns:
        A float64 scalar in [0, 1); NaN without lists.

    Example:
        >>> gini_at_k(torch.tensor([[0, 1], [0, -1]]), 4)  # exposures 0, 0, 1, 2
        tensor(0.5833, dtype=torch.float64)
    """
    exposure = _exposure(lists, n_items).sort().values.to(torch.float64)
    rank = torch.arange(1, n_items + 1, dtype=torch.float64, device=exposure.device)
    return ((2 * rank - n_items - 1) * exposure).sum() / (n_items * exposure.sum())


def popularity_at_k(lists: Tensor, counts: Tensor) -> Tensor:
    """Mean training count of the listed items; its mean over users is ARP (Yin et al., 2012).

    Args:
        lists: `(U, K)`.
        counts: `(I,)`, each item's users in training.

    Returns:
        `(U,)` float64.

    Example:
        >>> popularity_at_k(torch.tensor([[0, 1], [2, -1]]), torch.tensor([10, 4, 1]))
        tensor([7., 1.], dtype=torch.float64)
    """
    return _mean_of_listed(lists, counts.to(torch.float64))


def novelty_at_k(lists: Tensor, counts: Tensor, n_users: int) -> Tensor:
    """Mean -log2 of the share of users who had the item (Zhou et al., 2010), in bits.

    An item that nobody had would be infinitely novel; it counts as if one user had had it.

    Args:
        lists: `(U, K)`.
        counts: `(I,)`, each item's users in training.
        n_users: Users in training, at least any of `counts`.

    Returns:
        `(U,)` float64, from 0 to log2(n_users).

    Example:
        >>> novelty_at_k(torch.tensor([[0, 1], [2, -1]]), torch.tensor([8, 2, 0]), 8)
        tensor([1., 3.], dtype=torch.float64)
    """
    _check(lists, len(counts))
    if n_users < 1 or int(counts.max()) > n_users:
        raise DataError(
            f"n_users: expected at least the users of any item, {int(counts.max())}, got {n_users}"
        )
    share = counts.clamp(min=1).to(torch.float64) / n_users
    return _mean_of_listed(lists, -share.log2())


def diversity_at_k(lists: Tensor, vectors: Tensor) -> Tensor:
    """Mean over the pairs of a list of 1 - cosine (Smyth and McClave, 2001).

    An item without attributes, a vector of zeros, is like no other: its cosines are 0.

    Args:
        lists: `(U, K)`.
        vectors: `(I, A)`, such as multi-hot genres.

    Returns:
        `(U,)` float64 in [0, 2], in [0, 1] for vectors without negative numbers; NaN for lists of
        fewer than two items.

    Example:
        >>> genres = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> diversity_at_k(torch.tensor([[0, 1, 2], [0, 2, -1]]), genres)  # (1 + 0 + 1) / 3
        tensor([0.6667, 0.0000], dtype=torch.float64)
    """
    _check(lists, len(vectors))
    directions = torch.nn.functional.normalize(vectors.to(torch.float64), dim=1)
    # The cosines of all pairs at once: |a + b + c|² = |a|² + |b|² + |c|² + 2 (ab + ac + bc).
    own = _sum_of_listed(lists, directions.square().sum(1, keepdim=True))[:, 0]
    of_pairs = (_sum_of_listed(lists, directions).square().sum(1) - own) / 2
    n_listed = (lists >= 0).sum(1)
    n_pairs = n_listed * (n_listed - 1) / 2
    return _nan_where(n_pairs == 0, 1 - of_pairs / n_pairs).clamp(min=0)


def serendipity_at_k(lists: Tensor, hits: Tensor, obvious: Tensor) -> Tensor:
    """Share of the K places with a hit that an obvious recommender would not have listed.

    |(R - P) ∩ relevant| / K, with the list R and what a primitive recommender lists, P (Ge,
    Delgado-Battenfeld and Jannach, 2010, after Murakami et al., 2008): what that one lists too is
    expected, and what is relevant among the others is serendipitous. The metric `serendipity`
    takes for P the most popular items that the user has not had. Over all K places, so that
    precision@k is the upper bound.

    Args:
        lists: `(U, K)`.
        hits: `(U, K)` booleans, whether the item at each place is relevant.
        obvious: `(U, K')`, what the primitive recommender lists for the same users.

    Returns:
        `(U,)` float64 in [0, 1].

    Example:
        >>> lists, hits = torch.tensor([[4, 7, 9, 2]]), torch.tensor([[True, True, False, True]])
        >>> serendipity_at_k(lists, hits, torch.tensor([[4, 5, 6, 8]]))
        tensor([0.5000], dtype=torch.float64)
    """
    _check(lists, None)
    if hits.shape != lists.shape or obvious.ndim != 2 or len(obvious) != len(lists):
        raise DataError(
            "expected hits of the lists' shape and as many obvious lists, got lists, hits and "
            f"obvious lists of {tuple(lists.shape)}, {tuple(hits.shape)} and {tuple(obvious.shape)}"
        )
    is_hit = hits.bool() & (lists >= 0)
    # Place by place: a comparison of all with all would take K times the memory.
    is_expected = torch.stack([(place[:, None] == obvious).any(1) for place in lists.T], 1)
    return (is_hit & ~is_expected).to(torch.float64).mean(1)


def calibration_kl(
    lists: Tensor, history: Bag, attributes: Tensor, *, alpha: float = 0.01
) -> Tensor:
    """How far a list's attributes are from those of the user's history (Steck, 2018), in nats.

    KL(p || (1 - alpha) q + alpha p): p is the mean distribution of attributes over the history, q
    that over the list; each item spreads a weight of 1 evenly over its own attributes. 0 when
    both are alike. Items without attributes are left out.

    Args:
        lists: `(U, K)`.
        history: The item columns that each user had, U rows.
        attributes: `(I, A)`, such as multi-hot genres; not negative.
        alpha: Weight of p in the list's distribution, which keeps the divergence finite where a
            list lacks an attribute; Steck's 0.01 bounds it by -log(0.01) = 4.6.

    Returns:
        `(U,)` float64; NaN where the history or the list has no attributes.

    Example:
        >>> genres = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> history = Bag(torch.tensor([0, 1, 0, 0]), torch.tensor([0, 2]))
        >>> calibration_kl(torch.tensor([[0, 1], [1, -1]]), history, genres)
        tensor([0.0000, 4.6052], dtype=torch.float64)
    """
    _check(lists, len(attributes))
    if len(history.offsets) != len(lists):
        raise DataError(
            f"history: expected the items of {len(lists)} users, got those of "
            f"{len(history.offsets)}"
        )
    share = attributes.to(torch.float64)
    share = share / share.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    had = embedding_bag(history.values.long(), share, history.offsets.long(), mode="sum")
    listed = _sum_of_listed(lists, share)
    p, q = had / had.sum(1, keepdim=True), listed / listed.sum(1, keepdim=True)
    smoothed = (1 - alpha) * q + alpha * p
    divergence = (torch.xlogy(p, p) - torch.xlogy(p, smoothed)).sum(1)
    is_undefined = (had.sum(1) == 0) | (listed.sum(1) == 0)
    return _nan_where(is_undefined, divergence).clamp(min=0)


def _exposure(lists: Tensor, n_items: int) -> Tensor:
    """`(I,)`: how many places have each item."""
    _check(lists, n_items)
    return torch.bincount(lists[lists >= 0], minlength=n_items)


def _mean_of_listed(lists: Tensor, values: Tensor) -> Tensor:
    _check(lists, len(values))
    n_listed = (lists >= 0).sum(1)
    return _sum_of_listed(lists, values[:, None])[:, 0] / n_listed


def _sum_of_listed(lists: Tensor, values: Tensor) -> Tensor:
    """`(U, A)`: the sum over each list of its items' rows of `values` `(I, A)`."""
    n_items = len(values)
    # An empty place reads a row of zeros behind the last item.
    padded = torch.cat([values, values.new_zeros(1, values.shape[1])])
    return embedding_bag(lists % (n_items + 1), padded, mode="sum")


def _nan_where(condition: Tensor, values: Tensor) -> Tensor:
    return values.masked_fill(condition, float("nan"))


def _check(lists: Tensor, n_items: int | None) -> None:
    if lists.ndim != 2 or not lists.shape[1]:
        raise DataError(
            f"expected lists of shape (U, K) with at least one place, got {tuple(lists.shape)}"
        )
    if n_items is None:
        return
    if n_items < 1:
        raise DataError(f"expected a catalogue of at least one item, got {n_items}")
    if lists.numel() and (int(lists.min()) < -1 or int(lists.max()) >= n_items):
        raise DataError(
            f"expected item columns from 0 to {n_items - 1}, or -1 for an empty place, got "
            f"{int(lists.min())} to {int(lists.max())}"
        )
