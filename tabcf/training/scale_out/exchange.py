"""Rows of tables that lie in several processes: who asks for which, and gets them.

Every process asks the one that has a row, which reads it and sends it; gradients go the way back.
So a row is read and updated in one place alone, and a step sends as much as it looks up. (DTensor's
own embedding has every process look all rows up and sums over all processes.)

Dimension letters: R rows of the whole table, N looked up here, M asked for by all, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from tabcf.training.scale_out.group import Group, gone_noticed

__all__ = ["Spread", "own_rows"]


def own_rows(n_rows: int, rank: int, size: int) -> slice:
    """Which rows of a table are one process': equal parts in order, as DTensor's `Shard(0)` has it.

    Example:
        >>> own_rows(10, 0, 4), own_rows(10, 3, 4)
        (slice(0, 3, None), slice(9, 10, None))
    """
    each = -(-n_rows // size)
    start = min(rank * each, n_rows)
    return slice(start, min(start + each, n_rows))


class Spread:
    """The holder of a table's rows, part of which each process has.

    Args:
        group: The processes.
        n_rows: Of the whole table.
    """

    def __init__(self, group: Group, n_rows: int) -> None:
        self.n_rows = n_rows
        self.own = own_rows(n_rows, group.rank, group.size)
        self._group = group
        stops = [own_rows(n_rows, rank, group.size).stop for rank in range(group.size)]
        self._stops = torch.tensor(stops)

    def fetch(self, index: Tensor, own: Callable[[Tensor], Tensor]) -> Tensor:
        """Rows by their numbers in the whole table, `(*index.shape, D)`; all processes call it."""
        # Sorted, rows of one process stand together: the first ones are those of the first.
        wanted, places = torch.unique(index.to(torch.int64), return_inverse=True)
        ends = torch.searchsorted(wanted, self._stops)
        asked = ends.diff(prepend=ends.new_zeros(1))
        asking = torch.empty_like(asked)
        with gone_noticed():
            dist.all_to_all_single(asking, asked, group=self._group.rows)
            n_asked, n_asking = asked.tolist(), asking.tolist()
            rows = wanted.new_empty(sum(n_asking))
            dist.all_to_all_single(rows, wanted, n_asking, n_asked, group=self._group.rows)
        sent = own(rows - self.own.start)
        found: Tensor = _Sent.apply(  # type: ignore[no-untyped-call]  # torch gives it no types
            sent, n_asking, n_asked, self._group
        )
        return F.embedding(places, found)


class _Sent(torch.autograd.Function):
    """`(M, D)` rows that others asked for to `(N, D)` that were asked for here.

    A process' loss is scaled so that the mean of all processes' gradients is the gradient, as DDP
    takes it; here gradients meet in a sum, so each is taken over their number.
    """

    @staticmethod
    def forward(
        ctx: Any, sent: Tensor, n_asking: list[int], n_asked: list[int], group: Group
    ) -> Tensor:
        ctx.counts, ctx.group = (n_asking, n_asked), group
        found = sent.new_empty(sum(n_asked), *sent.shape[1:])
        with gone_noticed():
            dist.all_to_all_single(found, sent.contiguous(), n_asked, n_asking, group=group.rows)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        n_asking, n_asked = ctx.counts
        gradient = gradients[0] / ctx.group.size
        back = gradient.new_empty(sum(n_asking), *gradient.shape[1:])
        with gone_noticed():
            dist.all_to_all_single(
                back, gradient.contiguous(), n_asking, n_asked, group=ctx.group.rows
            )
        return back, None, None, None
