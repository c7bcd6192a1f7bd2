"""From scores to ranked lists of items, and to the ranks of some.

Dimension letters: B users, I items, K places of a list.
"""

from __future__ import annotations

from math import inf

import numpy as np
import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError

__all__ = ["rank_items", "rank_relevant"]


def rank_items(scores: Tensor, seen: Bag | None, k: int, generator: Generator) -> Tensor:
    """The k items with the highest scores of each user, best first.

    Items of equal score are in random order, and each has the same chance of a place: the item
    columns are permuted before the selection, so that whatever order that leaves ties in says
    nothing of the items. One permutation serves all users of a call. An item whose score is
    -inf or NaN is never listed.

    Args:
        scores: `(B, I)` floats; left as they are.
        seen: B rows of item columns to leave out, or None.
        k: Length of each list.
        generator: Where the order of ties comes from.

    Returns:
        `(B, k)` int64 item columns; -1 in the last places where fewer than k items remain.

    Raises:
        DataError: k is not positive, or `seen` has another number of rows.

    Example:
        >>> seen = Bag(torch.tensor([2]), torch.tensor([0]))
        >>> rank_items(torch.tensor([[0.1, 0.3, 0.9]]), seen, 3, torch.Generator())
        tensor([[ 1,  0, -1]])
    """
    n_users, n_items = scores.shape
    if k < 1:
        raise DataError(f"k: expected a positive number, got {k}")
    item_at = torch.randperm(n_items, generator=generator, device=generator.device)
    item_at = item_at.to(scores.device)
    permuted = scores.index_select(1, item_at)
    # NaN would be the largest of all.
    torch.nan_to_num(permuted, nan=-inf, posinf=inf, neginf=-inf, out=permuted)
    if seen is not None:
        place_of = torch.empty_like(item_at)
        place_of[item_at] = torch.arange(n_items, device=scores.device)
        _check_users("seen", seen, n_users)
        permuted[seen.row_of_value, place_of[seen.values.long()]] = -inf
    best, places = permuted.topk(min(k, n_items), dim=1)
    items = item_at[places].masked_fill(best == -inf, -1)
    return torch.nn.functional.pad(items, (0, max(k - n_items, 0)), value=-1)


def rank_relevant(scores: Tensor, seen: Bag | None, relevant: Bag) -> tuple[Bag, Tensor]:
    """Where each user's relevant items stand among all that they have not seen.

    The item of the highest score has rank 1, and items of equal score share the mean of their
    ranks. An item without a score, -inf or NaN, stands behind all that have one.

    Args:
        scores: `(B, I)` floats; left as they are.
        seen: B rows of item columns to leave out, or None.
        relevant: B rows of item columns, none of them seen.

    Returns:
        The ranks, float64, as `relevant` has the items; and how many items each user's ranks are
        among, `(B,)` int64.

    Raises:
        DataError: `seen` or `relevant` has another number of rows, or a relevant item was seen.

    Example:
        >>> scores = torch.tensor([[0.4, 0.3, 0.9, 0.3]])
        >>> seen = Bag(torch.tensor([2]), torch.tensor([0]))
        >>> relevant = Bag(torch.tensor([0, 3]), torch.tensor([0]))
        >>> ranks, n_candidates = rank_relevant(scores, seen, relevant)
        >>> ranks.values, n_candidates
        (tensor([1.0000, 2.5000], dtype=torch.float64), tensor([3]))
    """
    n_users, n_items = scores.shape
    lowest = torch.finfo(scores.dtype).min
    left = torch.nan_to_num(scores, nan=lowest, posinf=inf, neginf=lowest)
    if seen is not None:
        _check_users("seen", seen, n_users)
        left[seen.row_of_value, seen.values.long()] = -inf
    _check_users("relevant", relevant, n_users)
    rows, items = relevant.row_of_value, relevant.values.long()
    found = left[rows, items]
    if (found == -inf).any():
        raise DataError("relevant: expected items that were not seen, got some that were")
    # numpy, which does not keep where each number came from, sorts several times faster.
    rising = torch.from_numpy(np.sort(left.cpu().numpy(), axis=1))
    # One row a user, as long as the longest: place j of row b is item j of user b.
    place = torch.arange(len(items), device=rows.device) - relevant.offsets[rows]
    padded = rising.new_zeros(n_users, int(relevant.lengths.max()) if n_users else 0)
    padded[rows, place] = found.to(padded.device)
    n_lower = torch.searchsorted(rising, padded)[rows, place]
    n_up_to = torch.searchsorted(rising, padded, right=True)[rows, place]
    # Of 4 items with scores 1, 2, 2, 3 the twos have 1 below and 3 up to them: rank 4 - 3 / 2.
    ranks = n_items - (n_lower + n_up_to - 1).double() / 2
    n_seen = torch.searchsorted(rising, rising.new_full((n_users, 1), -inf), right=True)[:, 0]
    return Bag(ranks, relevant.offsets), n_items - n_seen


def _check_users(name: str, items: Bag, n_users: int) -> None:
    if len(items.offsets) != n_users:
        raise DataError(
            f"{name}: expected the items of {n_users} users, got those of {len(items.offsets)}"
        )
