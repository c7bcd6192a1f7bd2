"""In what order an epoch goes through the training rows.

Rows in memory are shuffled all together. Rows on disk cannot be, as each would be a read of its
own: they are shuffled by chunks of rows that lie together. Some chunks, drawn at random, make a
window; its rows are shuffled together, and then come the next ones. Both ways each row comes once
an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import Table

__all__ = ["Chunks", "Part", "shuffled"]

# Rows gathered at a time: large enough that a batch of 64 costs only a slice, small enough that
# 100 gathered columns stay below 100 MB.
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Chunks:
    """How rows are shuffled by chunks.

    Attributes:
        size: Rows of a chunk, made up to whole batches.
        together: Chunks whose rows are shuffled together.
    """

    size: int = 1 << 12
    together: int = 64


class Part(NamedTuple):
    """Rows that come one behind the other in an epoch: `positions` of a table's, `(n,)`."""

    table: Table
    positions: Tensor


def shuffled(
    table: Table, batch_size: int, rng: Generator, chunks: Chunks | None = None
) -> Iterator[Part]:
    """All rows of a table in a new order, each once, in parts of whole batches.

    Args:
        table: The rows. Of rows on disk a window at a time is read, which then is the parts' table.
        batch_size: Only the last part may end with a smaller batch.
        rng: Draws the order, a window's just before its rows are given.
        chunks: How rows are shuffled; None for all together.

    Example:
        >>> from tabcf.contracts.inputs import Inputs
        >>> table = Table({}, Inputs(torch.zeros(5, 0), torch.zeros(5, 0)))
        >>> parts = shuffled(table, 2, Generator().manual_seed(1), Chunks(2, 1))
        >>> [part.positions.tolist() for part in parts]
        [[2, 3], [0, 1], [4]]
    """
    n_rows = max(_BLOCK // batch_size, 1) * batch_size
    if chunks is None:
        for positions in torch.randperm(len(table), generator=rng).split(n_rows):
            yield Part(table, positions)
        return
    size = -(-chunks.size // batch_size) * batch_size
    n_chunks = -(-len(table) // size)
    n_windows = -(-n_chunks // chunks.together)
    over: Part | None = None
    # As many chunks a window, or one less.
    windows = torch.randperm(n_chunks, generator=rng).tensor_split(max(n_windows, 1))
    for window in windows if n_chunks else ():
        n = len(window) * size
        if n_chunks - 1 in window:
            n -= n_chunks * size - len(table)
        # Half as wide as usual, and three times as fast.
        order = torch.randperm(n, generator=rng, dtype=torch.int32)
        starts = (window * size).tolist()
        if table.release is None:
            of_window, positions = table, _rows_of(starts, size, len(table))[order]
        else:
            of_window, positions = _read(table, starts, size), order
        if n_over := n % batch_size:  # of the window that has the last rows
            over = Part(of_window, positions[n - n_over :])
            positions = positions[: n - n_over]
        for block in positions.split(n_rows) if len(positions) else ():
            yield Part(of_window, block)
    if over is not None:
        yield over


def _rows_of(starts: Sequence[int], size: int, n: int) -> Tensor:
    """The numbers of the rows of some chunks."""
    return torch.cat([torch.arange(start, min(start + size, n)) for start in starts])


def _read(table: Table, starts: Sequence[int], size: int) -> Table:
    """The rows of some chunks, from disk into memory."""

    def read(column: Tensor) -> Tensor:
        found = torch.cat([column[start : start + size] for start in starts])
        if table.release is not None:
            table.release()
        return found

    return Table(
        {name: read(rows) for name, rows in table.rows.items()},
        Inputs(read(table.events.x_cat), read(table.events.x_cont)),
        table.entities,
        None if table.target is None else read(table.target),
        None if table.weight is None else read(table.weight),
    )
