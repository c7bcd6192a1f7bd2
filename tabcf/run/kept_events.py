"""The training events in a run's folder: those of the spec's columns, with rows and what counts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tabcf.data.sources import Source
from tabcf.recommend.trained import History, Past, TrainingEvents
from tabcf.spec.conditions import columns_of

if TYPE_CHECKING:
    from tabcf.run.run import Run

__all__ = ["kept_columns", "read_events", "read_past", "time_column", "write_events"]

_ROW, _POSITIVE = "tabcf:row of ", "tabcf:is positive"


def write_events(run: Run, path: Path) -> None:
    """The training events, block by block; only where there are several they are written apart."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    kept: list[str] = []
    try:
        for events in run.trained.event_blocks():
            kept = kept or kept_columns(run, events.source.frame.columns)
            frame = events.source.frame[kept].copy(deep=False)
            for name, rows in run.trained.encoder.encode_ids(events.source).items():
                frame[f"{_ROW}{name}"] = rows
            frame[_POSITIVE] = events.is_positive
            if run.trained.read_blocks is None:
                frame.to_parquet(path, index=False)
                return
            table = pa.Table.from_pandas(frame, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()


def kept_columns(run: Run, there: Collection[str]) -> list[str]:
    """Those of the events' columns that the spec reads."""
    spec, encoder = run.spec, run.trained.encoder
    kept = [entity.plan.id for entity in encoder.entities.values()]
    kept += [*run.trained.target.columns, *encoder.event_sources]
    implicit = spec.target.implicit
    if implicit is not None:
        kept += [implicit.weight] if implicit.weight else []
        kept += columns_of(implicit.positive) if implicit.positive else []
    options = None if spec.split is None else run.registry.resolve("split", spec.split).options
    kept += [time_column(run), getattr(options, "by", None) or ""]
    decay = run.spec.train.time_decay
    kept += [] if decay is None else [decay.at]
    return [column for column in dict.fromkeys(kept) if column in there]


def time_column(run: Run) -> str:
    """The column that says when an event was, where the events have it."""
    split = run.spec.split
    options = None if split is None else run.registry.resolve("split", split).options
    return str(getattr(options, "column", "timestamp"))


def read_events(path: Path) -> TrainingEvents:
    """The training events that were kept."""
    frame = pd.read_parquet(path)
    is_positive = frame.pop(_POSITIVE).to_numpy()
    frame = frame[[name for name in frame.columns if not name.startswith(_ROW)]]
    return TrainingEvents(Source(frame, path.name), is_positive)


def read_past(path: Path, n_users: int) -> Past:
    """What each of n users had, by the rows that were kept."""
    pairs = pd.read_parquet(path, columns=[f"{_ROW}user", f"{_ROW}item", _POSITIVE])
    positive, seen = (
        History.of_pairs(
            chosen[f"{_ROW}user"].to_numpy(), chosen[f"{_ROW}item"].to_numpy(), n_users
        )
        for chosen in (pairs[pairs[_POSITIVE]], pairs)
    )
    return Past(positive, seen)
