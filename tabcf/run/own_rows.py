"""The way from a spec to encoded data where each of several processes has rows of its own.

Every process reads some row groups and writes their columns to disk. The first one gets the others'
columns as well, on its disk: it splits all events, measures, and writes the run with them. What is
learnt of columns is the same in all processes: ids and categories are put together, counts added
up, and numbers' means and medians found by the first one. Then each process encodes its own
training rows, and has only these in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import Table
from tabcf.data.disk_table import DiskTable
from tabcf.data.parts import GIVEN, TEST, TRAIN, VALID
from tabcf.data.plans import ColumnPlan
from tabcf.data.shares import Piece, Share
from tabcf.data.sources import OnRows, Source
from tabcf.data.spool import Spool, spooled
from tabcf.data.streamed_encoder import fit_streamed
from tabcf.errors import DataError
from tabcf.plugin.registry import Registry
from tabcf.run.block_events import InBlocks, check_blocks, counted
from tabcf.run.events import Encoded, Events, Own
from tabcf.run.prepare import encode_rows
from tabcf.run.streamed import block_past, scaled_over
from tabcf.spec.records import Spec
from tabcf.training.scale_out.seam import Ranks

__all__ = ["OwnEvents", "check_own", "encode_own", "load_own"]

_WHAT = "train.shard.data"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEvents(Events):
    """Events of which each process has some; those of the base are all in the first process.

    Attributes:
        own: This process' events.
        pieces: Who has which rows.
        ranks: The processes.
        totals: Number of positive events of each part in all processes.
    """

    own: Events
    pieces: Sequence[Piece]
    ranks: Ranks
    totals: Mapping[int, int]

    @classmethod
    def of(
        cls, base: Events, own: Events, *, pieces: Sequence[Piece], ranks: Ranks, totals: Any
    ) -> OwnEvents:
        shown = {field.name: getattr(base, field.name) for field in fields(Events)}
        return cls(**shown, own=own, pieces=pieces, ranks=ranks, totals=totals)

    def count(self, part: int) -> int:
        """Number of positive events of a part in all processes."""
        return self.totals[part]


def check_own(spec: Spec, registry: Registry, folder: Path | None = None) -> tuple[ColumnPlan, ...]:
    """The columns of a spec whose rows can be learnt from by whoever has them.

    Raises:
        SpecError: What the spec asks for needs all rows at once; says everything that does.
    """
    return check_blocks(spec, registry, folder, what=_WHAT, further=_problems(spec, registry))


def load_own(
    spec: Spec,
    registry: Registry,
    ranks: Ranks,
    *,
    data: Any = None,
    folder: Path | None = None,
    on_rows: OnRows | None = None,
) -> OwnEvents:
    """Read this process' events to its disk, and split them; all processes call it.

    Raises:
        DataError: Something about the data; says where. Or the processes see other files.
        SpecError: What the spec asks for needs all rows at once; says everything that does.
    """
    asked = InBlocks.of(spec, registry, check_own(spec, registry, folder), folder)
    share = Share(ranks.rank, ranks.size)
    own = _spooled(share, asked.batches(data, share.batches, share.cut), on_rows)
    if any(pieces != share.pieces for pieces in ranks.all(share.pieces)):
        raise DataError(
            f"{_WHAT}: expected the same data in all processes, and they see files of other rows; "
            "give a path that all of them have"
        )
    owners = [piece.rank for piece in share.pieces]
    collected = ranks.collected(own.parts(share.own), owners)
    whole = asked.split(spooled(collected)) if ranks.rank == 0 else None
    target, totals = ranks.first(partial(_shared, whole))
    part, is_positive = ranks.dealt(None if whole is None else _dealt(whole, share.pieces, ranks))
    mine = Events(own.source(), part, is_positive, target, asked.plans, (), asked.entities, own)
    return OwnEvents.of(whole or mine, mine, pieces=share.pieces, ranks=ranks, totals=totals)


def encode_own(
    spec: Spec, registry: Registry, events: OwnEvents, *parts: int, on_rows: OnRows | None = None
) -> Encoded:
    """Fit the encoder on some parts' rows of all processes, and encode this one's."""
    ranks, own = events.ranks, events.own.spool
    assert own is not None
    assert events.spool is not None
    chosen = events.own.are_learnable(*parts)
    n = int(np.count_nonzero(chosen))
    lengths = ranks.all(n)
    if not all(lengths):
        raise DataError(
            f"{_WHAT}: expected training rows for each process, and the split leaves process "
            f"{lengths.index(0)} of {len(lengths)} none; take fewer processes, or write the data "
            "in smaller row groups"
        )
    blocks = partial(own.blocks, chosen)
    of_all = partial(events.spool.blocks, events.are_learnable(*parts))
    encoder = fit_streamed(
        blocks, events.plans, entities=events.entities, together=ranks, whole=of_all
    )
    target = ranks.first(lambda: scaled_over(spec, registry, events.target, of_all))
    written = DiskTable()
    for block in counted(blocks(), on_rows, n):
        written.append(encode_rows(encoder, target, block, is_training=True))
    table = _in_memory(written.opened(encoder.tables))
    owners = [piece.rank for piece in events.pieces]
    mine = [piece.n for piece in events.pieces if piece.rank == ranks.rank]
    collected = ranks.collected(_parts(table, chosen, mine), owners)
    train, past = table, None
    if ranks.rank == 0:
        of_others = DiskTable()
        for part in collected:
            of_others.append(part)
        train = of_others.opened(encoder.tables)
        past = block_past(spec, encoder, train, events, *parts)
        assert train.release is not None
        train.release()
    return Encoded(encoder, target, train, past, parts, Own(table, lengths, ranks.rank))


def _problems(spec: Spec, registry: Registry) -> Iterator[str]:
    """What of a spec looks at other rows than those of a batch."""
    for name in ("user_weights", "item_propensity", "time_decay"):
        if getattr(spec.train, name) is not None:
            yield f"train.{name} weighs all rows at once"
    if spec.loss is not None:
        form = registry.resolve("loss", spec.loss).definition.form
    else:
        form = "sampled" if spec.target.implicit is not None else "pointwise"
    if form != "pointwise":
        yield (
            f"expected a loss of single events, such as mse or bce, and "
            f"{'the default' if spec.loss is None else spec.loss.name} looks at users' other items"
        )


def _spooled(share: Share, batches: Iterator[Source], on_rows: OnRows | None) -> Spool:
    try:
        return spooled(counted(batches, on_rows))
    except DataError as error:
        n = sum(piece.n for piece in share.pieces)
        if not n or any(share.own):
            raise
        raise DataError(f"{_WHAT}: {n:,} rows are too few to be divided") from error


def _shared(whole: Events | None) -> tuple[Any, dict[int, int]]:
    """What all processes know of the events in the first one."""
    assert whole is not None
    return whole.target, {part: whole.count(part) for part in (TRAIN, VALID, TEST, GIVEN)}


def _dealt(
    whole: Events, pieces: Sequence[Piece], ranks: Ranks
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Part and whether it counts of each process' rows."""
    stops = np.cumsum([piece.n for piece in pieces])
    found = []
    for rank in range(ranks.size):
        rows = [
            slice(stop - piece.n, stop)
            for piece, stop in zip(pieces, stops, strict=True)
            if piece.rank == rank
        ]
        found.append(
            (
                np.concatenate([whole.part[own] for own in rows]),
                np.concatenate([whole.is_positive[own] for own in rows]),
            )
        )
    return found


def _in_memory(table: Table) -> Table:
    """A table on disk as one in memory."""

    def read(column: Tensor) -> Tensor:
        found = column.clone()
        if table.release is not None:
            table.release()
        return found

    return replace(
        table,
        rows={name: read(rows) for name, rows in table.rows.items()},
        events=Inputs(read(table.events.x_cat), read(table.events.x_cont)),
        target=None if table.target is None else read(table.target),
        release=None,
    )


def _parts(table: Table, chosen: np.ndarray, lengths: Sequence[int]) -> Iterator[Table]:
    """The rows of a table by the pieces of `lengths` events that they are of."""
    start = event = 0
    for n in lengths:
        stop = start + int(np.count_nonzero(chosen[event : event + n]))
        rows = torch.arange(start, stop)
        # Copies, since a view is sent with all that it is a view of.
        yield Table(
            {name: own[rows] for name, own in table.rows.items()},
            Inputs(table.events.x_cat[rows], table.events.x_cont[rows]),
            {},
            None if table.target is None else table.target[rows],
        )
        start, event = stop, event + n
