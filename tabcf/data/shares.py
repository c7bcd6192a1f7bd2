"""The rows of files divided among processes, each of which reads its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from tabcf.data.parquet import ROWS, RowGroup
from tabcf.data.source import Source
from tabcf.data.sources import read_batches, row_groups_of

__all__ = ["Piece", "Share", "Together"]

_Value = TypeVar("_Value")
# How many more rows than an equal share a process may have before row groups are cut.
_MOST_OVER = 0.1


class Together(Protocol):
    """What processes tell one another; all of them call the same in the same order.

    Attributes:
        rank: This one's number, from 0.
        size: How many there are.
    """

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def first(self, work: Callable[[], _Value]) -> _Value:
        """What the first process finds."""

    def sum(self, counts: np.ndarray) -> np.ndarray:
        """The sum of what each process has, `(n,)` whole numbers."""

    def all(self, value: _Value) -> Sequence[_Value]:
        """What each process has, in their order."""

    def dealt(self, values: Sequence[_Value] | None) -> _Value:
        """This process' one of what the first one has for each."""

    def collected(self, own: Iterator[_Value], owners: Sequence[int]) -> Iterator[_Value]:
        """In the first process what all have, in the order of their owners; in others nothing.

        The first one has to go through all of it before anything else is told.
        """


class Piece(NamedTuple):
    """Rows that stand together in the data: `n` of them, which process `rank` reads."""

    rank: int
    n: int


class Share:
    """One process' rows of files, an equal part of each.

    Row groups of Parquet are dealt out, each to whoever has the fewest rows by then. Where they are
    too few or too uneven for that, and of other files, every process goes through all rows, and
    keeps its part of each block.

    Args:
        rank: The process' number, from 0.
        size: How many there are.

    Attributes:
        pieces: The rows of all processes in the order of the data, as far as they are read.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.pieces: list[Piece] = []
        self._rank, self._size = rank, size

    def batches(
        self,
        source: str,
        *,
        folder: Path | None = None,
        where: str = "data",
        columns: Collection[str] | None = None,
    ) -> Iterator[Source]:
        """The process' rows of what `read_batches` reads, whose arguments these are."""
        groups = row_groups_of(source, folder=folder, where=where, columns=columns)
        owners = None if groups is None else self._owners(groups)
        if groups is None or owners is None:
            yield from self.cut(read_batches(source, folder=folder, where=where, columns=columns))
            return
        for group, owner in zip(groups, owners, strict=True):
            self._add(owner, group.n)
            if owner == self._rank:
                yield from group.read()

    def cut(self, batches: Iterator[Source]) -> Iterator[Source]:
        """The process' part of each of some blocks of rows."""
        for batch in batches:
            n = len(batch.frame)
            bounds = [n * rank // self._size for rank in range(self._size + 1)]
            for rank in range(self._size):
                self._add(rank, bounds[rank + 1] - bounds[rank])
            own = slice(bounds[self._rank], bounds[self._rank + 1])
            if own.start < own.stop:
                yield batch.with_rows(batch.frame.iloc[own].reset_index(drop=True))

    @property
    def own(self) -> list[int]:
        """How many rows each of the process' pieces has."""
        return [piece.n for piece in self.pieces if piece.rank == self._rank]

    def _owners(self, groups: Sequence[RowGroup]) -> list[int] | None:
        """Who reads each group; None where that would not be fair."""
        owners, loads = [], [0] * self._size
        for group in groups:
            owners.append(min(range(self._size), key=loads.__getitem__))
            loads[owners[-1]] += group.n
        return owners if max(loads) * self._size <= (1 + _MOST_OVER) * sum(loads) else None

    def _add(self, rank: int, n: int) -> None:
        """Note rows, in pieces that are small enough to be sent."""
        for start in range(0, n, ROWS):
            self.pieces.append(Piece(rank, min(ROWS, n - start)))
