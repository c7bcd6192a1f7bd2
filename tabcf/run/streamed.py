"""The way from a spec to encoded data within a memory budget: through disk, in blocks of rows.

The events are read once and their columns written to disk. From there they come in blocks, as often
as they are needed: to be split, for vocabularies and scales, and to be encoded. What the model
learns is what it would learn in memory with the rows shuffled alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabcf.contracts.definitions import ModelDefinition
from tabcf.contracts.table import Table
from tabcf.contracts.tables import EVENT
from tabcf.contracts.target import TargetInfo
from tabcf.data.conditions import matching
from tabcf.data.disk import DiskArray
from tabcf.data.disk_table import DiskTable, with_weight
from tabcf.data.encoder import Encoder
from tabcf.data.pairs import row_blocks
from tabcf.data.plans import ColumnPlan
from tabcf.data.sources import OnRows, Source, read_batches, source_of_frame
from tabcf.data.spool import Spool, spooled
from tabcf.data.sql import query_batches
from tabcf.data.streamed_encoder import Blocks, fit_streamed, why_not_streamed
from tabcf.data.targets import scaled_by
from tabcf.data.values import numbers
from tabcf.errors import DataError, SpecError
from tabcf.plugin.registry import Registry
from tabcf.recommend.trained import History, Past
from tabcf.run.budget import Budget
from tabcf.run.builtins.splits import PART_COLUMN, FilesOptions
from tabcf.run.prepare import (
    Encoded,
    Events,
    check_metric_columns,
    column_plans,
    encode_rows,
    entity_tables,
    is_scaled,
    split_parts,
    target_of,
    weighted_events,
    weighted_rows,
)
from tabcf.spec.reads import event_columns
from tabcf.spec.records import Rows, Spec

__all__ = ["check_streamed", "encode_streamed", "load_streamed"]

Columns = frozenset[str] | None
"""Those that are read of files; None for all."""

# Rows of a frame that are written at a time.
_BLOCK = 1 << 17
_HINT = "leave train.memory out"


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
    plans = check_streamed(spec, registry, folder)
    assert spec.train.memory is not None
    budget = Budget(spec.train.memory)
    entities = entity_tables(spec, folder)
    check_metric_columns(spec, registry, entities["item"][1] if "item" in entities else None)
    batches = _batches(spec, registry, data, folder, event_columns(spec, registry))
    spool = spooled(_told(batches, on_rows, budget))
    budget.releases(spool.release)
    budget.check_rows(len(spool))
    source = spool.source()
    source.require([entity.id for entity in spec.entities.values()])
    source.require([name for plan in plans for table, name in plan.raw if table == EVENT])
    part = split_parts(spec, registry, source)
    spool.release()
    positive = _positive(spec, spool)
    target = _target(spec, registry, spool)
    budget.check()
    return Events(source, part, positive, target, plans, (), entities, spool, budget)


def check_streamed(spec: Spec, registry: Registry, folder: Path | None) -> tuple[ColumnPlan, ...]:
    """The columns of a spec whose rows go through memory in blocks.

    Raises:
        SpecError: What the spec asks for needs all rows in memory; says everything that does.
    """
    plans = () if spec.columns == "auto" else column_plans(spec, registry, folder=folder)
    problems = list(_problems(spec, registry, plans))
    if problems:
        raise SpecError([f"{problem}; {_HINT}" for problem in problems])
    return plans


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
    target = _scaled(spec, registry, events.target, blocks)
    written = DiskTable()
    for block in _told(blocks(), on_rows, budget, n):
        table = encode_rows(encoder, target, block, is_training=True)
        written.append(weighted_events(spec, table, block))
    train = written.opened(encoder.tables)
    weighed = weighted_rows(spec, train, blocks())
    if weighed.weight is not None and weighed is not train:
        train = with_weight(train, weighed.weight)
    past = None
    if {"user", "item"} <= set(spec.entities):
        positive = seen = _history(encoder, _pairs_of(train), len(train))
        if not events.is_positive.all():
            of_parts = events.are_of(*parts)
            pairs = (_ids(encoder, block) for block in spool.blocks(of_parts))
            seen = _history(encoder, pairs, int(np.count_nonzero(of_parts)))
        past = Past(positive, seen)
    assert train.release is not None
    train.release()
    budget.check()
    return Encoded(encoder, target, train, past, parts)


def _problems(spec: Spec, registry: Registry, plans: Collection[ColumnPlan]) -> Iterator[str]:
    """What of a spec needs all rows in memory."""
    what = "train.memory: "
    if spec.columns == "auto" or (spec.columns is None and not spec.entities):
        yield f"{what}`columns: auto` looks at all rows at once; name the columns"
    for reason in why_not_streamed(tuple(plans)):
        yield f"{what}{reason}"
    if spec.duplicates != "keep":
        yield f"{what}`duplicates: {spec.duplicates}` compares all rows with one another"
    if spec.retrieve is not None:
        yield f"{what}two stages share the rows; fit the first one on its own"
    model: ModelDefinition = registry.resolve("model", spec.model).definition
    if model.solve is not None or spec.fit is not None:
        name = spec.model.name if spec.fit is None else f"fit: {spec.fit.name}"
        yield f"{what}{name} is solved from all rows at once"


def _batches(
    spec: Spec, registry: Registry, data: Any, folder: Path | None, columns: Columns
) -> Iterator[Source]:
    """All events; with `split: files` those of each part, told apart by a column."""
    options = None if spec.split is None else registry.resolve("split", spec.split).options
    files = {}
    if isinstance(options, FilesOptions):
        files = {"valid": options.valid, "test": options.test}
    for batch in _own_batches(spec, data, folder, columns):
        yield _with_part(batch, "train") if files else batch
    for part, path in files.items():
        if path is not None:
            where = f"split.files.{part}"
            for batch in read_batches(path, folder=folder, where=where, columns=columns):
                yield _with_part(batch, part)


def _told(
    batches: Iterator[Source], on_rows: OnRows | None, budget: Budget, n: int | None = None
) -> Iterator[Source]:
    """The batches; `on_rows` is told of each, and of the share of n rows if that is known."""
    n_rows = 0
    for batch in batches:
        yield batch
        budget.look()
        n_rows += len(batch.frame)
        if on_rows is not None:
            on_rows(n_rows, 0.0 if n is None else n_rows / n)


def _with_part(batch: Source, part: str) -> Source:
    return batch.with_rows(batch.frame.assign(**{PART_COLUMN: part}))


def _own_batches(spec: Spec, data: Any, folder: Path | None, columns: Columns) -> Iterator[Source]:
    if data is not None and not isinstance(data, (str, Path)):
        frame = source_of_frame(data).frame
        kept = [name for name in frame.columns if columns is None or name in columns]
        for start in range(0, len(frame), _BLOCK):
            block = frame[kept].iloc[start : start + _BLOCK].reset_index(drop=True)
            yield Source(block, "data", all_columns=tuple(map(str, frame.columns)))
        return
    rows = Rows(path=str(data)) if data is not None else spec.data
    if rows is None:
        raise SpecError(["data: is required: a file, a glob, or a frame given from Python"])
    if rows.sql is not None:
        yield from query_batches(rows.sql.url, rows.sql.query, where="data")
    elif data is not None:
        yield from read_batches(str(data), columns=columns)
    else:
        assert rows.path is not None
        yield from read_batches(rows.path, folder=folder, columns=columns)


def _positive(spec: Spec, spool: Spool) -> np.ndarray:
    """`(N,)` booleans: which events count."""
    implicit = spec.target.implicit
    if implicit is None or implicit.positive is None:
        return np.ones(len(spool), dtype=bool)
    where = "target.implicit.positive"
    found = np.concatenate(
        [matching(block, implicit.positive, where=where) for block in spool.blocks()]
    )
    if not found.any():
        raise DataError(f"{where}: no event of {spool.name} fulfils {implicit.positive!r}")
    return found


def _target(spec: Spec, registry: Registry, spool: Spool) -> TargetInfo:
    """What the target is; each block's values are checked where they are encoded."""
    first = next(spool.blocks())
    column = spec.target.column
    if column is not None and column in spool.texts:
        return target_of(spec, registry, spool.distinct(column))
    found = target_of(spec, registry, first)
    if found.kind not in ("binary", "classes") or column is None:
        return found
    values = pd.unique(np.concatenate([pd.unique(b.frame[column]) for b in spool.blocks()]))
    return target_of(spec, registry, Source(pd.DataFrame({column: values}), spool.name))


def _scaled(spec: Spec, registry: Registry, target: TargetInfo, blocks: Blocks) -> TargetInfo:
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
