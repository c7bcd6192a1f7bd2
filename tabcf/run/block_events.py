"""Events that come in blocks of rows, not all at once: what goes with that, and their split."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from tabcf.contracts.definitions import ModelDefinition
from tabcf.contracts.tables import EVENT
from tabcf.contracts.target import TargetInfo
from tabcf.data.conditions import matching
from tabcf.data.entities import EntityPlan
from tabcf.data.plans import ColumnPlan
from tabcf.data.sources import OnRows, Source, source_of_frame
from tabcf.data.spool import Spool
from tabcf.data.sql import query_batches
from tabcf.data.streamed_encoder import why_not_streamed
from tabcf.errors import DataError, SpecError
from tabcf.plugin.registry import Registry
from tabcf.run.budget import Budget
from tabcf.run.builtins.splits import PART_COLUMN, FilesOptions
from tabcf.run.prepare import (
    Events,
    check_metric_columns,
    column_plans,
    entity_tables,
    split_parts,
    target_of,
)
from tabcf.spec.reads import event_columns
from tabcf.spec.records import Rows, Spec

__all__ = ["InBlocks", "Reader", "check_blocks", "counted"]

Columns = frozenset[str] | None
"""Those that are read of files; None for all."""

# Rows of a frame that are written at a time.
_BLOCK = 1 << 17


class Reader(Protocol):
    """Reads files some rows at a time, as `read_batches` does."""

    def __call__(
        self,
        source: str,
        *,
        folder: Path | None = None,
        where: str = "data",
        columns: Collection[str] | None = None,
    ) -> Iterator[Source]: ...


@dataclass(frozen=True, slots=True)
class InBlocks:
    """What of a spec its events are read and split by.

    Attributes:
        spec: The spec.
        registry: The components that it names.
        plans: The model's columns.
        entities: Each entity with its own table.
        folder: What paths start from.
    """

    spec: Spec
    registry: Registry
    plans: tuple[ColumnPlan, ...]
    entities: Mapping[str, tuple[EntityPlan, Source | None]]
    folder: Path | None

    @classmethod
    def of(
        cls,
        spec: Spec,
        registry: Registry,
        plans: tuple[ColumnPlan, ...],
        folder: Path | None,
    ) -> InBlocks:
        """Find it, of columns that `check_blocks` gave.

        Raises:
            DataError: An entity's table cannot be read.
            SpecError: A metric reads a column that is not there.
        """
        entities = entity_tables(spec, folder)
        items = entities["item"][1] if "item" in entities else None
        check_metric_columns(spec, registry, items)
        return cls(spec, registry, plans, entities, folder)

    def batches(
        self, data: Any, read: Reader, cut: Callable[[Iterator[Source]], Iterator[Source]] = iter
    ) -> Iterator[Source]:
        """The events; with `split: files` those of each part, told apart by a column.

        Args:
            data: A frame or a path in place of the spec's data.
            read: Reads files.
            cut: Chooses among the rows of a frame or a query.
        """
        spec, folder = self.spec, self.folder
        columns = event_columns(spec, self.registry)
        options = None if spec.split is None else self.registry.resolve("split", spec.split).options
        files = {}
        if isinstance(options, FilesOptions):
            files = {"valid": options.valid, "test": options.test}
        for batch in _own_batches(spec, data, folder, columns, read, cut):
            yield _with_part(batch, "train") if files else batch
        for part, path in files.items():
            if path is not None:
                where = f"split.files.{part}"
                for batch in read(path, folder=folder, where=where, columns=columns):
                    yield _with_part(batch, part)

    def split(self, spool: Spool) -> Events:
        """Events that are on disk, in the parts of the split.

        Raises:
            DataError: Something about the data; says where.
        """
        spec, registry = self.spec, self.registry
        source = spool.source()
        source.require([entity.id for entity in spec.entities.values()])
        source.require([name for plan in self.plans for table, name in plan.raw if table == EVENT])
        part = split_parts(spec, registry, source)
        spool.release()
        positive = _positive(spec, spool)
        target = _target(spec, registry, spool)
        return Events(source, part, positive, target, self.plans, (), self.entities, spool)


def check_blocks(
    spec: Spec,
    registry: Registry,
    folder: Path | None = None,
    *,
    what: str,
    further: Iterable[str] = (),
) -> tuple[ColumnPlan, ...]:
    """The model's columns, all of which can be learnt from blocks of rows.

    Args:
        spec: The spec.
        registry: The components that it names.
        folder: What paths start from.
        what: The option that has rows in blocks.
        further: What else does not go with it.

    Raises:
        SpecError: As `InBlocks.of` does.
    """
    plans = () if spec.columns == "auto" else column_plans(spec, registry, folder=folder)
    problems = [*_problems(spec, registry, plans), *further]
    if problems:
        raise SpecError([f"{what}: {problem}; leave {what} out" for problem in problems])
    return plans


def counted(
    batches: Iterator[Source],
    on_rows: OnRows | None,
    n: int | None = None,
    *,
    budget: Budget | None = None,
) -> Iterator[Source]:
    """The batches; `on_rows` is told of each, and of the share of n rows if that is known."""
    n_rows = 0
    for batch in batches:
        yield batch
        if budget is not None:
            budget.look()
        n_rows += len(batch.frame)
        if on_rows is not None:
            on_rows(n_rows, 0.0 if n is None else n_rows / n)


def _problems(spec: Spec, registry: Registry, plans: Collection[ColumnPlan]) -> Iterator[str]:
    """What of a spec needs all rows at once."""
    if spec.columns == "auto" or (spec.columns is None and not spec.entities):
        yield "`columns: auto` looks at all rows at once; name the columns"
    yield from why_not_streamed(tuple(plans))
    if spec.duplicates != "keep":
        yield f"`duplicates: {spec.duplicates}` compares all rows with one another"
    if spec.retrieve is not None:
        yield "two stages share the rows; fit the first one on its own"
    model: ModelDefinition = registry.resolve("model", spec.model).definition
    if model.solve is not None or spec.fit is not None:
        name = spec.model.name if spec.fit is None else f"fit: {spec.fit.name}"
        yield f"{name} is solved from all rows at once"


def _with_part(batch: Source, part: str) -> Source:
    return batch.with_rows(batch.frame.assign(**{PART_COLUMN: part}))


def _own_batches(
    spec: Spec,
    data: Any,
    folder: Path | None,
    columns: Columns,
    read: Reader,
    cut: Callable[[Iterator[Source]], Iterator[Source]],
) -> Iterator[Source]:
    if data is not None and not isinstance(data, (str, Path)):
        yield from cut(_frame_batches(source_of_frame(data).frame, columns))
        return
    rows = Rows(path=str(data)) if data is not None else spec.data
    if rows is None:
        raise SpecError(["data: is required: a file, a glob, or a frame given from Python"])
    if rows.sql is not None:
        yield from cut(query_batches(rows.sql.url, rows.sql.query, where="data"))
    elif data is not None:
        yield from read(str(data), columns=columns)
    else:
        assert rows.path is not None
        yield from read(rows.path, folder=folder, columns=columns)


def _frame_batches(frame: pd.DataFrame, columns: Columns) -> Iterator[Source]:
    kept = [name for name in frame.columns if columns is None or name in columns]
    for start in range(0, len(frame), _BLOCK):
        block = frame[kept].iloc[start : start + _BLOCK].reset_index(drop=True)
        yield Source(block, "data", all_columns=tuple(map(str, frame.columns)))


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
