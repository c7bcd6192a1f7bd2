"""From scores to ranked lists of items.

Dimension letters: B users, I items, K places of a list.
"""

from __future__ import annotations

from math import inf

import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError

__all__ = ["rank_items"]


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
        if len(seen.offsets) != n_users:
            raise DataError(
                f"seen: expected the items of {n_users} users, got those of {len(seen.offsets)}"
            )
        permuted[seen.row_of_value, place_of[seen.values.long()]] = -inf
    best, places = permuted.topk(min(k, n_items), dim=1)
    items = item_at[places].masked_fill(best == -inf, -1)
    return torch.nn.functional.pad(items, (0, max(k - n_items, 0)), value=-1)
