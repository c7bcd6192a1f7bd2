"""Which tables are spread over the processes by rows, and putting them together again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tabcf.nn.rows import RowTable, empty_rows
from tabcf.training.optimiser import Piece
from tabcf.training.scale_out.exchange import Spread, own_rows
from tabcf.training.scale_out.group import Group, gone_noticed

__all__ = ["Shards"]


class Shards:
    """The tables of a model that are spread by rows, each process having an equal part.

    From its making on this process' tables hold its own rows alone, until `put_together`.

    Args:
        group: The processes.
        tables: What is spread.
    """

    def __init__(self, group: Group, tables: Sequence[RowTable]) -> None:
        self.tables = tuple(tables)
        self._group = group
        self._spreads = [Spread(group, len(table)) for table in tables]
        for table, spread in self._both():
            own = empty_rows(spread.own.stop - spread.own.start, table.shape[1])
            table.data = own.copy_(table.data[spread.own])
            table.holder = spread

    def pieces(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Parts of whole tables as parts of what this process has of them."""
        spreads = {id(table): spread for table, spread in self._both()}
        found = []
        for piece in pieces:
            spread = spreads.get(id(piece.parameter))
            if spread is None or piece.rows is None:
                found.append(piece)
                continue
            start, stop = (
                min(max(at, spread.own.start), spread.own.stop) - spread.own.start
                for at in (piece.rows.start, piece.rows.stop)
            )
            found.append(replace(piece, rows=slice(start, stop)))
        return found

    def names(self, model: nn.Module) -> Mapping[str, int]:
        """The tables' names in a model, with the number of rows of the whole."""
        n_rows = {id(table): spread.n_rows for table, spread in self._both()}
        return {name: n_rows[id(p)] for name, p in model.named_parameters() if id(p) in n_rows}

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let the first process have whole tables for the block; all processes call it."""
        own = [(table, spread, table.data) for table, spread in self._both()]
        self.put_together()
        try:
            yield
        finally:
            for table, spread, data in own:
                table.data, table.holder = data, spread

    @torch.no_grad()
    def put_together(self) -> None:
        """Let the first process have whole tables; what the others have is of no use any more."""
        for table, spread in self._both():
            table.data = self._gathered(table.data, spread.n_rows)
            table.holder = None

    def _gathered(self, own: Tensor, n_rows: int) -> Tensor:
        """The whole table in the first process; in the others its own rows."""
        with gone_noticed():
            if self._group.rank:
                if len(own):
                    dist.send(own, dst=0)
                return own
            whole = empty_rows(n_rows, own.shape[1])
            whole[: len(own)] = own
            for rank in range(1, self._group.size):
                rows = own_rows(n_rows, rank, self._group.size)
                if rows.stop > rows.start:
                    dist.recv(whole[rows], src=rank)
            return whole

    def _both(self) -> Iterator[tuple[RowTable, Spread]]:
        return zip(self.tables, self._spreads, strict=True)
