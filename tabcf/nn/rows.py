"""Tables of which a step uses few rows, and how those are read.

An optimiser that updates only the rows of a batch has to know them, and has to bring them up to
date before they are read. So rows are read by `lookup`, and a `RowTable` tells its keeper of them.

Dimension letters: R rows, D width.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Holder", "Keeper", "RowTable", "empty_rows", "is_kept", "lookup"]


class Keeper(Protocol):
    """Keeps a table's rows up to date; an optimiser has one for each of its tables."""

    def bring_up(self, index: Tensor) -> None:
        """Bring these rows up to date, in place, before they are read."""


class Holder(Protocol):
    """Knows where the rows of a table are of which this process has only some."""

    def fetch(self, index: Tensor, own: Callable[[Tensor], Tensor]) -> Tensor:
        """Rows by their numbers in the whole table, `(*index.shape, D)`.

        Args:
            index: Which ones.
            own: Reads rows that are here, by their numbers here: `(N,)` in, `(N, D)` out.
        """


class RowTable(nn.Parameter):
    """`(R, D)`: a parameter whose rows are read by `lookup` alone while it has a keeper.

    Without a keeper it is a parameter like any other, with a dense gradient. With one its gradient
    is sparse, with a row for each that was looked up. The table does not keep its keeper alive: as
    soon as the optimiser is gone it is a plain parameter again. A copy has no keeper.

    Of a table with a `holder` this is only a part, and the holder finds the rest.

    Example:
        >>> table = RowTable(torch.zeros(5, 2))
        >>> lookup(torch.tensor([1, 4, 1]), table).sum().backward()
        >>> table.grad.sum(1)
        tensor([0., 4., 0., 0., 2.])
    """

    holder: Holder | None = None
    _keeper: weakref.ref[Keeper] | None = None

    @property
    def keeper(self) -> Keeper | None:
        """Who is told of rows that are read."""
        return None if self._keeper is None else self._keeper()

    def keep(self, keeper: Keeper | None) -> None:
        """Have rows kept by this one from now on, or by nobody."""
        self._keeper = None if keeper is None else weakref.ref(keeper)


def empty_rows(n_rows: int, width: int) -> Tensor:
    """`(n_rows, width)` float32 that holds anything.

    numpy asks for huge pages, with which rows of a large table are picked faster than with torch's.
    """
    return torch.from_numpy(np.empty((n_rows, width), np.float32))


def is_kept(table: Tensor) -> bool:
    """Whether rows have to be read by `lookup`, since somebody keeps or holds them."""
    return isinstance(table, RowTable) and not (table.keeper is None and table.holder is None)


def lookup(index: Tensor, table: Tensor) -> Tensor:
    """Rows of a table: `index.shape` in, `(*index.shape, D)` out.

    Args:
        index: int32 or int64.
        table: A `RowTable`, or any other `(R, D)`, whose gradient is dense.
    """
    if isinstance(table, RowTable) and table.holder is not None:
        return table.holder.fetch(index, lambda rows: _read(rows, table))
    return _read(index, table)


def _read(index: Tensor, table: Tensor) -> Tensor:
    """Rows that are here."""
    keeper = table.keeper if isinstance(table, RowTable) else None
    if keeper is None:
        return F.embedding(index, table)
    keeper.bring_up(index)
    # Only 64-bit indices have sparse gradients.
    return F.embedding(index.to(torch.int64), table, sparse=True)
