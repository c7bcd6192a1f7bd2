"""Metrics of lists among a few drawn items, as many papers report them; one value per user.

A relevant item stands among n other items that were drawn for it in place of the whole catalogue.
That is cheap where scores are dear, and biased: it says little of the top of whole lists, and may
put models into another order than the same metric without a sample does (Krichene and Rendle, 2020,
"On sampled metrics for item recommendation"). Here it saves nothing, since the ranks in the whole
catalogue are known: it serves to compare with what others have published.

Dimension letters: U users, R relevant items of all users, K places.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError

__all__ = ["sampled_ndcg_at_k", "sampled_recall_at_k"]


def sampled_recall_at_k(ranks: Bag, n_candidates: Tensor, *, k: int, n: int) -> Tensor:
    """Share of a user's relevant items that are among the first k of 1 + n items.

    It is the mean over all draws, so that no chance is in it: how many of the n are better than the
    relevant item is hypergeometrically distributed. Drawn are candidates that are not relevant
    themselves, none of them twice, and all where there are no more than n. Of items of equal score
    half stand above.

    Args:
        ranks: Ranks of the relevant items in the whole catalogue, as `rank_relevant` gives them.
        n_candidates: `(U,)` how many items these ranks are among.
        k: Places of the list.
        n: How many items are drawn.

    Returns:
        `(U,)` float64 in [0, 1]; NaN for a user without relevant items or with no others.

    Example:
        >>> ranks = Bag(torch.tensor([2.0]), torch.tensor([0]))  # one of two others is better
        >>> sampled_recall_at_k(ranks, torch.tensor([3]), k=1, n=1)
        tensor([0.5000], dtype=torch.float64)
    """
    gains = torch.ones(_positive("k", k), dtype=torch.float64)
    return _mean_gain(ranks, n_candidates, gains, n)


def sampled_ndcg_at_k(ranks: Bag, n_candidates: Tensor, *, k: int, n: int) -> Tensor:
    """The same with a gain of 1 / log2(place + 1) within the first k places.

    Example:
        >>> ranks = Bag(torch.tensor([2.0]), torch.tensor([0]))
        >>> sampled_ndcg_at_k(ranks, torch.tensor([3]), k=2, n=1)  # (1 + 1 / log2(3)) / 2
        tensor([0.8155], dtype=torch.float64)
    """
    places = torch.arange(1, _positive("k", k) + 1, dtype=torch.float64)
    return _mean_gain(ranks, n_candidates, 1 / (places + 1).log2(), n)


def _mean_gain(ranks: Bag, n_candidates: Tensor, gains: Tensor, n: int) -> Tensor:
    """`(U,)` mean over a user's relevant items of the expected gain; `gains` `(K,)` by place."""
    if n_candidates.shape != ranks.offsets.shape:
        raise DataError(
            f"expected ranks and candidates of the same users, got those of {len(ranks.offsets)} "
            f"and {len(n_candidates)}"
        )
    n_drawn = _positive("n", n)
    rows = ranks.row_of_value
    n_others = (n_candidates - ranks.lengths)[rows].double()
    n_above = _others_above(ranks)
    low, high = n_above.floor(), n_above.ceil()
    gained = _expected(low, n_others, n_drawn, gains) + _expected(high, n_others, n_drawn, gains)
    gained = gained / 2
    sums = torch.zeros(len(n_candidates), dtype=torch.float64).index_add_(0, rows, gained)
    is_empty = (ranks.lengths == 0) | (n_candidates == ranks.lengths)
    return (sums / ranks.lengths).masked_fill(is_empty, float("nan"))


def _others_above(ranks: Bag) -> Tensor:
    """`(R,)`: how many items that are not relevant stand above each relevant one, ties by half."""
    rows, values = ranks.row_of_value, ranks.values.double()
    order = torch.argsort(values, stable=True)
    order = order[torch.argsort(rows[order], stable=True)]
    # The relevant items above: the place among a user's own, equal ranks sharing its mean.
    place = torch.arange(len(values), device=values.device) - ranks.offsets[rows]
    pairs = torch.stack([rows[order].double(), values[order]], 1)
    _, group = torch.unique_consecutive(pairs, dim=0, return_inverse=True)
    n_groups = int(group.max()) + 1 if len(group) else 0
    sums = torch.zeros(n_groups, dtype=torch.float64).index_add_(0, group, place.double())
    counts = torch.bincount(group, minlength=n_groups)
    above = torch.empty_like(values)
    above[order] = (sums / counts)[group]
    return values - 1 - above


def _expected(n_above: Tensor, n_others: Tensor, n_drawn: int, gains: Tensor) -> Tensor:
    """`(R,)` expected gain where `n_above` of `n_others` items are better and some are drawn."""
    drawn = n_others.clamp_max(n_drawn)[:, None]
    above, others = n_above[:, None], n_others[:, None]
    better = torch.arange(len(gains), dtype=torch.float64)[None]  # drawn ones that are better
    is_possible = (better <= above) & (better <= drawn) & (drawn - better <= others - above)
    chance = (
        _log_choose(above, better)
        + _log_choose(others - above, drawn - better)
        - _log_choose(others, drawn)
    )
    return (chance.exp().masked_fill(~is_possible, 0.0) * gains).sum(1)


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    """Logarithm of the binomial coefficient; anything where k is not within 0 to n."""
    k = torch.minimum(k.clamp_min(0), n)
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise DataError(f"{name}: expected a positive number, got {value}")
    return value
