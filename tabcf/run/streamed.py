"""The way from a spec to encoded data within a memory budget: through disk, in blocks of rows.

The events are read once and their columns written to disk. From there they come in blocks, as often
as they are needed: to be split, for vocabularies and scales, and to be encoded. What the model
learns is what it would learn in memory with the rows shuffled alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tabcf.contracts.table import Table
from tabcf.contracts.target import TargetInfo
from tabcf.data.disk import DiskArray
from tabcf.data.disk_table import DiskTable, with_weight
from tabcf.data.encoder import Encoder
from tabcf.data.pairs import row_blocks
from tabcf.data.plans import ColumnPlan
from tabcf.data.sources import OnRows, Source, read_batches
from tabcf.data.spool import spooled
from tabcf.data.streamed_encoder import Blocks, fit_streamed
from tabcf.data.targets import scaled_by
from tabcf.data.values import numbers
from tabcf.plugin.registry import Registry
from tabcf.recommend.trained import History, Past
from tabcf.run.block_events import InBlocks, check_blocks, counted
from tabcf.run.budget import Budget
from tabcf.run.prepare import (
    Encoded,
    Events,
    encode_rows,
    is_scaled,
    weighted_events,
    weighted_rows,
)
from tabcf.spec.records import Spec

__all__ = ["block_past", "check_streamed", "encode_streamed", "load_streamed", "scaled_over"]

_WHAT = "train.memory"


def load_streamed(
    spec: Spec,
    registry: Registry,
    *,
    data: Any = None,
    folder: Path | None = None,
    on_rows: OnRows | None = None,
) -> Events:
    """Write a spec's events to disk, and split them; `on_rows` is told of it by the way.

    Raises:
        DataError: Something about the data; says in which file and where.
        SpecError: What the spec asks for needs all rows in memory; says everything that does.
    """
    asked = InBlocks.of(spec, registry, check_streamed(spec, registry, folder), folder)
    assert spec.train.memory is not None
    budget = Budget(spec.train.memory)
    spool = spooled(counted(asked.batches(data, read_batches), on_rows, budget=budget))
    budget.releases(spool.release)
    budget.check_rows(len(spool))
    events = replace(asked.split(spool), budget=budget)
    budget.check()
    return events


def check_streamed(spec: Spec, registry: Registry, folder: Path | None) -> tuple[ColumnPlan, ...]:
    """The columns of a spec whose rows go through memory in blocks.

    Raises:
        SpecError: What the spec asks for needs all rows in memory; says everything that does.
    """
    return check_blocks(spec, registry, folder, what=_WHAT)


def encode_streamed(
    spec: Spec, registry: Registry, events: Events, *parts: int, on_rows: OnRows | None = None
) -> Encoded:
    """Fit the encoder on some parts' rows and write them, encoded, to disk."""
    spool, budget = events.spool, events.budget
    assert spool is not None
    assert budget is not None
    budget.begin("by encoding")
    chosen = events.are_learnable(*parts)
    blocks, n = partial(spool.blocks, chosen), int(np.count_nonzero(chosen))
    encoder = fit_streamed(blocks, events.plans, entities=events.entities)
    target = scaled_over(spec, registry, events.target, blocks)
    written = DiskTable()
    for block in counted(blocks(), on_rows, n, budget=budget):
        table = encode_rows(encoder, target, block, is_training=True)
        written.append(weighted_events(spec, table, block))
    train = written.opened(encoder.tables)
    weighed = weighted_rows(spec, train, blocks())
    if weighed.weight is not None and weighed is not train:
        train = with_weight(train, weighed.weight)
    past = block_past(spec, encoder, train, events, *parts)
    assert train.release is not None
    train.release()
    budget.check()
    return Encoded(encoder, target, train, past, parts)


def block_past(
    spec: Spec, encoder: Encoder, train: Table, events: Events, *parts: int
) -> Past | None:
    """What users had: the training rows, and all events on disk that those are of."""
    assert events.spool is not None
    if not {"user", "item"} <= set(spec.entities):
        return None
    positive = seen = _history(encoder, _pairs_of(train), len(train))
    if not events.is_positive.all():
        of_parts = events.are_of(*parts)
        pairs = (_ids(encoder, block) for block in events.spool.blocks(of_parts))
        seen = _history(encoder, pairs, int(np.count_nonzero(of_parts)))
    return Past(positive, seen)


def scaled_over(spec: Spec, registry: Registry, target: TargetInfo, blocks: Blocks) -> TargetInfo:
    """The target standardised over the blocks, if it is at all."""
    if not is_scaled(spec, registry, target):
        return target
    columns = [DiskArray() for _ in target.columns]
    for block in blocks():
        for name, column in zip(target.columns, columns, strict=True):
            column.append(numbers(block.frame[name], block))
    found = scaled_by(target, [column.opened() for column in columns])
    for column in columns:
        column.release()
    return found


Pairs = tuple[np.ndarray, np.ndarray]
"""User rows and item rows of some events."""


def _history(encoder: Encoder, pairs: Iterable[Pairs], n: int) -> History:
    sizes = (len(encoder.entities[name]) for name in ("user", "item"))
    n_users, n_items = sizes
    return History.of_parts(pairs, n, n_users=n_users, n_items=n_items)


def _pairs_of(table: Table) -> Iterator[Pairs]:
    for places in row_blocks(table):
        yield table.rows["user"][places].numpy(), table.rows["item"][places].numpy()


def _ids(encoder: Encoder, block: Source) -> Pairs:
    rows = encoder.encode_ids(block)
    return rows["user"], rows["item"]
