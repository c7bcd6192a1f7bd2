"""How good what is predicted of users is, on answers that were kept from it.

Dimension letters: n users, c cases, I items, P numbers of a row, K places of a list.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from tabcf.metrics.lists import ndcg_at_k
from tabcf.recommend.onboarding.outputs import Outputs

__all__ = ["Errors", "Lists", "Quality"]

_K = 10
_AT_ONCE = 1024
# Numbers of products that are held at a time: 64 MB.
_BUDGET = 1 << 23


class Quality(Protocol):
    """Of c users, each with a row: higher is better."""

    def __call__(self, users: Tensor, rows: Tensor) -> Tensor:
        """`(c,)` float64, of users `(c,)` with rows `(c, P)`."""


class Errors:
    """Minus the root of the mean squared error of each user's held ratings.

    The errors are straight lines in the row, and their squares a parabola that is kept: no rating
    is looked at twice.

    Args:
        outputs: Of the items.
        users, items: `(M,)` whose each held rating is, and of which item.
        ratings: `(M,)` float64.
        n: How many users.
    """

    def __init__(
        self, outputs: Outputs, users: Tensor, items: Tensor, ratings: Tensor, n: int
    ) -> None:
        width = outputs.value_slope.shape[1]
        off = ratings - outputs.value[items]
        counts = torch.bincount(users, minlength=n).clamp_min(1).double()
        self._square = off.new_zeros(n).index_add(0, users, off**2) / counts
        slope = outputs.value_slope
        linear, quadratic = off.new_zeros(n, width), off.new_zeros(n, width**2)
        for part in torch.arange(len(users)).split(max(_BUDGET // width**2, 1)):
            own, across = users[part], slope[items[part]]
            linear.index_add_(0, own, off[part, None] * across)
            products = (across.unsqueeze(2) * across.unsqueeze(1)).flatten(1)
            quadratic.index_add_(0, own, products)
        self._linear = linear / counts[:, None]
        self._quadratic = quadratic.view(n, width, width) / counts[:, None, None]

    def __call__(self, users: Tensor, rows: Tensor) -> Tensor:
        bent = (self._quadratic[users] @ rows.unsqueeze(2)).squeeze(2)
        square = self._square[users] + ((bent - 2 * self._linear[users]) * rows).sum(1)
        return -square.clamp_min(0).sqrt()


class Lists:
    """NDCG@10 of lists without the items that a user could have answered about.

    Args:
        outputs: Of the items.
        is_held: `(n, I)`: what should be on the list.
        is_left_out: `(n, I)`: what cannot be.
    """

    def __init__(self, outputs: Outputs, is_held: Tensor, is_left_out: Tensor) -> None:
        self._rest, self._slope = outputs.value.float(), outputs.value_slope.float()
        self._is_held, self._is_left_out = is_held, is_left_out
        self._n_held = is_held.sum(1)

    def __call__(self, users: Tensor, rows: Tensor) -> Tensor:
        k = min(_K, len(self._rest))
        found = rows.new_zeros(len(users))
        for few in torch.arange(len(users)).split(_AT_ONCE):
            own = users[few]
            scores = self._rest + rows[few].float() @ self._slope.T
            scores.masked_fill_(self._is_left_out[own], -torch.inf)
            hits = self._is_held[own].gather(1, scores.topk(k, dim=1).indices)
            found[few] = ndcg_at_k(hits, self._n_held[own]).double()
        return found.nan_to_num()
