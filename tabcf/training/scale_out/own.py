"""Batches of rows that lie in several processes, each of which has some and draws from these.

Dimension letters: N training rows of all processes, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.table import Table
from tabcf.data.batches import Batch, gather, masked, select
from tabcf.data.order import Chunks, shuffled
from tabcf.training.objectives import PointwiseObjective
from tabcf.training.scale_out.parts import Part

__all__ = ["OwnRows", "sizes"]

# Rows gathered at a time.
_BLOCK = 1 << 16
_SEEDS = 1 << 40


def sizes(lengths: Sequence[int], n_steps: int) -> list[list[int]]:
    """How many of each process' rows each of an epoch's S steps takes, `[process][step]`.

    A process takes as many each step, or one more, and so do all of them together: whose one more
    it is goes around.

    Example:
        >>> sizes([7, 4], 3)
        [[3, 2, 2], [1, 2, 1]]
    """
    found, start = [], 0
    for n in lengths:
        each, over = divmod(n, n_steps)
        found.append([each + ((step - start) % n_steps < over) for step in range(n_steps)])
        start += over
    return found


class OwnRows(PointwiseObjective):
    """The mean loss of batches to which each process brings rows of its own.

    An epoch has as many steps as one over all rows. Each process shuffles its rows, and spreads
    them evenly over the steps; so each row comes once, and batches are of one size, or one less.
    What is drawn from `rng` is the same in all processes: seeds of their own generators.

    Args:
        table: This process' training rows, without weights.
        lengths: How many rows each process has, none of them 0.
        rank: This process' number.
        batch_size: Rows that all bring to a step together.
        masking: As for `PointwiseObjective`.
        l2: As there.
        chunks: As there, of each process' rows.
    """

    def __init__(
        self,
        table: Table,
        model: nn.Module,
        loss: nn.Module,
        *,
        lengths: Sequence[int],
        rank: int,
        batch_size: int,
        masking: Sequence[float] = (),
        l2: float = 0.0,
        chunks: Chunks | None = None,
    ) -> None:
        assert table.weight is None  # whose sums would have to be told
        super().__init__(
            table,
            model,
            loss,
            batch_size=batch_size,
            masking=masking,
            l2=l2,
            chunks=chunks,
        )
        self._lengths, self._rank = lengths, rank

    @property
    def n_steps(self) -> int:
        return -(-sum(self._lengths) // self.batch_size)

    def epoch(self, rng: Generator) -> Iterator[Any]:
        seed = int(torch.randint(_SEEDS, (1,), generator=rng))
        own = Generator().manual_seed(seed + self._rank)
        order = torch.cat([part.positions for part in shuffled(self.table, 1, own, self.chunks)])
        by_rank = sizes(self._lengths, self.n_steps)
        totals = [sum(of_step) for of_step in zip(*by_rank, strict=True)]
        return self._parts(order, by_rank[self._rank], totals, own)

    def _parts(
        self, order: Tensor, mine: Sequence[int], totals: Sequence[int], rng: Generator
    ) -> Iterator[Part]:
        """The steps' parts, some gathered at a time; `order` has a row's place for each of mine."""
        together = max(_BLOCK // max(max(mine), 1), 1)
        done = 0
        for first in range(0, len(mine), together):
            counts = mine[first : first + together]
            block = self._gathered(order[done : done + sum(counts)], rng)
            done += sum(counts)
            start = 0
            for n, total in zip(counts, totals[first : first + together], strict=True):
                # One row stands in for none.
                batch = _rows(block, start, n) if n else self._gathered(order[:1], rng)
                yield Part(batch, n / total, not n)
                start += n

    def _gathered(self, positions: Tensor, rng: Generator) -> Batch:
        assert self.table.target is not None
        inputs = masked(gather(self.table, positions), self.masking, rng)
        return Batch(inputs, self.table.target[positions], None)


def _rows(batch: Batch, start: int, n: int) -> Batch:
    """Rows of a batch that follow one another."""
    rows = torch.arange(start, start + n)
    return Batch(select(batch.inputs, rows), batch.target[start : start + n], None)
