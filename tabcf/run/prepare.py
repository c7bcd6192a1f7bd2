"""From a spec to split, cleaned and encoded data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabcf.contracts.options import ModelOptions
from tabcf.contracts.table import Table
from tabcf.contracts.tables import EVENT
from tabcf.contracts.target import TargetInfo
from tabcf.data.encoder import Encoder
from tabcf.data.entities import EntityPlan
from tabcf.data.events import is_positive, merge_duplicates
from tabcf.data.infer import ColumnGuess, guess_columns
from tabcf.data.parts import TRAIN
from tabcf.data.plans import ColumnPlan
from tabcf.data.sources import OnRows, Source, read_source, source_of_frame
from tabcf.data.sql import read_query
from tabcf.data.targets import encode_target, fit_target, scaled
from tabcf.data.weights import decayed_weights, event_weights
from tabcf.errors import DataError, SpecError
from tabcf.plugin.registry import Registry
from tabcf.recommend.trained import History, Past
from tabcf.run.builtins.splits import PART_COLUMN, FilesOptions
from tabcf.run.events import Encoded, Events
from tabcf.spec.columns import missing_metric_columns
from tabcf.spec.defaults import default_split
from tabcf.spec.places import as_text
from tabcf.spec.reads import event_columns, split_columns
from tabcf.spec.records import Component, Rows, Spec
from tabcf.spec.references import spec_columns
from tabcf.spec.stages import first_stage
from tabcf.training.weights import propensity_weights, user_weights, weighted

__all__ = [
    "Encoded",
    "Events",
    "check_metric_columns",
    "column_plans",
    "encode_rows",
    "encode_split",
    "entity_tables",
    "first_stage_of",
    "is_scaled",
    "load_events",
    "past_of",
    "read_rows",
    "split_again",
    "split_parts",
    "target_of",
    "training_rows",
    "weighted_events",
    "weighted_rows",
]


def load_events(
    spec: Spec,
    registry: Registry,
    *,
    data: Any = None,
    folder: Path | None = None,
    on_rows: OnRows | None = None,
) -> Events:
    """Read, clean, check and split a spec's events; `on_rows` is told by the way of what is read.

    Raises:
        DataError: Something about the data; says in which file and where.
        SpecError: A column kind, an option or a metric that does not fit the data.
    """
    if spec.train.memory is not None:
        from tabcf.run.streamed import load_streamed  # which is made of the functions here

        return load_streamed(spec, registry, data=data, folder=folder, on_rows=on_rows)
    columns = event_columns(spec, registry)
    source = _read_events(spec, data, folder, columns, on_rows)
    entities = entity_tables(spec, folder)
    check_metric_columns(spec, registry, entities["item"][1] if "item" in entities else None)
    source = _with_files(spec, registry, source, folder, columns)
    source.require([entity.id for entity in spec.entities.values()])
    has_pair = {"user", "item"} <= set(spec.entities)
    if has_pair:
        pair = spec.entities["user"].id, spec.entities["item"].id
        source = merge_duplicates(source, pair, rule=spec.duplicates, target=spec.target.column)
    positive = is_positive(source, spec.target.implicit.positive if spec.target.implicit else None)
    target = target_of(spec, registry, source)
    guesses: tuple[ColumnGuess, ...] = ()
    if _is_auto(spec):
        guesses = tuple(guess_columns(source, leave_out=(*target.columns, PART_COLUMN)))
    plans = column_plans(spec, registry, guesses, folder=folder)
    source.require([name for plan in plans for table, name in plan.raw if table == EVENT])
    part = split_parts(spec, registry, source)
    return Events(source, part, positive, target, plans, guesses, entities)


def split_again(spec: Spec, registry: Registry, events: Events) -> Events:
    """The same events, split as another spec of the same data says."""
    return replace(events, part=split_parts(spec, registry, events.source))


def _read_events(
    spec: Spec,
    data: Any,
    folder: Path | None,
    columns: frozenset[str] | None,
    on_rows: OnRows | None,
) -> Source:
    if data is not None and not isinstance(data, (str, Path)):
        return source_of_frame(data)
    if data is not None:
        return read_source(str(data), columns=columns, on_rows=on_rows)
    if spec.data is None:
        raise SpecError(["data: is required: a file, a glob, or a frame given from Python"])
    return read_rows(spec.data, folder, where="data", columns=columns, on_rows=on_rows)


def entity_tables(spec: Spec, folder: Path | None) -> dict[str, tuple[EntityPlan, Source | None]]:
    """Each entity with its own table, if it has one."""
    return {
        name: (
            EntityPlan(name, entity.id, entity.label),
            None
            if entity.table is None
            else read_rows(entity.table, folder, where=f"entities.{name}.table"),
        )
        for name, entity in spec.entities.items()
    }


def read_rows(
    rows: Rows,
    folder: Path | None,
    *,
    where: str,
    columns: frozenset[str] | None = None,
    on_rows: OnRows | None = None,
) -> Source:
    """Rows from where a spec says; paths are relative to the folder.

    Of files only some columns are read, if these are given; what a query gives is its author's say.
    """
    if rows.sql is not None:
        told = None if on_rows is None else lambda n_rows: on_rows(n_rows, 0.0)
        return read_query(rows.sql.url, rows.sql.query, where=where, on_rows=told)
    assert rows.path is not None
    return read_source(rows.path, folder=folder, where=where, columns=columns, on_rows=on_rows)


def check_metric_columns(spec: Spec, registry: Registry, items: Source | None) -> None:
    """Raise for a metric or re-ranker that would miss its column only after training."""
    readers = [
        (("metrics", position), registry.resolve("metric", component))
        for position, component in enumerate(spec.metrics or ())
    ]
    given = spec.rerank if isinstance(spec.rerank, tuple) else (spec.rerank,)
    readers += [
        (("rerank", position), registry.resolve("reranker", component))
        for position, component in enumerate(given)
        if component is not None
    ]
    tables = {} if items is None else {"item": list(items.frame.columns)}
    missing = list(missing_metric_columns(spec, readers, tables))
    if missing:
        raise SpecError([f"{as_text(path)}: {message}" for path, message in missing])


def _with_files(
    spec: Spec,
    registry: Registry,
    source: Source,
    folder: Path | None,
    columns: frozenset[str] | None,
) -> Source:
    """With `split: files`, all parts' rows, told apart by a column."""
    options = None if spec.split is None else registry.resolve("split", spec.split).options
    if not isinstance(options, FilesOptions):
        return source
    frames = [source.frame.assign(**{PART_COLUMN: "train"})]
    for part, path in (("valid", options.valid), ("test", options.test)):
        if path is not None:
            where = f"split.files.{part}"
            found = read_source(path, folder=folder, where=where, columns=columns)
            found.require(list(source.frame.columns))
            frames.append(found.frame[source.frame.columns].assign(**{PART_COLUMN: part}))
    return source.with_rows(pd.concat(frames, ignore_index=True))


def _is_auto(spec: Spec) -> bool:
    return spec.columns == "auto" or (spec.columns is None and not spec.entities)


def target_of(spec: Spec, registry: Registry, source: Source) -> TargetInfo:
    """What the target is, from these rows."""
    target = spec.target
    if target.implicit is not None:
        return TargetInfo("implicit")
    as_classes = False
    if spec.loss is not None:
        takes = registry.resolve("loss", spec.loss).definition.targets
        as_classes = "regression" not in takes and bool(takes & {"binary", "classes"})
    return fit_target(
        source,
        column=target.column,
        columns=target.columns or (),
        levels=target.levels or (),
        as_classes=as_classes,
    )


def column_plans(
    spec: Spec,
    registry: Registry,
    guesses: tuple[ColumnGuess, ...] = (),
    *,
    folder: Path | None = None,
) -> tuple[ColumnPlan, ...]:
    """The model's columns in the order of the spec, then those that only serve to make them."""
    plans = [
        ColumnPlan(
            column.key,
            column.name,
            column.table,
            column.definition,
            column.options,
            raw=column.raw,
            reads=column.reads,
            tables=column.tables,
            is_input=column.is_input,
            folder=column.folder or folder,
        )
        for column in spec_columns(spec, registry)
    ]
    for guess in guesses:
        if guess.kind is not None:
            resolved = registry.resolve("column", Component.model_validate(guess.kind))
            options = resolved.options.named(guess.name)
            raw = ((EVENT, guess.name),)
            plans.append(
                ColumnPlan(guess.name, guess.name, EVENT, resolved.definition, options, raw=raw)
            )
    return tuple(plans)


def split_parts(spec: Spec, registry: Registry, source: Source) -> np.ndarray:
    """`(N,)` int8: which part each row is of.

    Raises:
        DataError: No row is left to train on.
    """
    component = spec.split or default_split(spec.target, source.frame.columns)
    split = registry.resolve("split", component)
    roles = {name: entity.id for name, entity in spec.entities.items() if name in ("user", "item")}
    if spec.target.column is not None:
        roles["target"] = spec.target.column
    named = split_columns(spec, split.definition, split.options)
    Source(source.frame, "split", all_columns=source.all_columns).require(named)
    rng = np.random.default_rng(spec.seed)
    part = split.definition.assign(source.frame, roles, split.options, rng)
    if not (part == TRAIN).any():
        raise DataError(f"split.{component.name}: no row is left to train on")
    return np.asarray(part)


def first_stage_of(spec: Spec, registry: Registry, events: Events) -> tuple[Spec, Events]:
    """The first stage's own spec, and the same rows in the same parts as it sees them."""
    split = spec.split or default_split(spec.target, events.source.frame.columns)
    columns = spec_columns(spec, registry)
    first = first_stage(spec.model_copy(update={"split": split}), registry, columns)
    keys = {column.key for column in spec_columns(first, registry)}
    implicit = first.target.implicit
    own = replace(
        events,
        is_positive=is_positive(events.source, implicit.positive if implicit else None),
        target=target_of(first, registry, events.source),
        plans=tuple(plan for plan in events.plans if plan.key in keys),
        entities={name: events.entities[name] for name in first.entities},
    )
    return first, own


def encode_split(
    spec: Spec,
    registry: Registry,
    events: Events,
    *parts: int,
    on_rows: OnRows | None = None,
) -> Encoded:
    """Fit the encoder on some parts' rows and encode them; `on_rows` is told of it by the way."""
    if events.spool is not None:
        from tabcf.run.streamed import encode_streamed  # which is made of the functions here

        return encode_streamed(spec, registry, events, *parts, on_rows=on_rows)
    learnable = events.learnable(*parts)
    n = len(learnable.frame)

    def told(share: float) -> None:
        # To encode the rows takes about as long as to learn from them.
        if on_rows is not None:
            on_rows(int(share / 2 * n), share / 2)

    encoder = Encoder.fit(learnable, events.plans, entities=events.entities, on_share=told)
    target = events.target
    if is_scaled(spec, registry, target):
        target = scaled(target, learnable)
    train = training_rows(spec, encoder, target, learnable)
    has_pair = {"user", "item"} <= set(spec.entities)
    past = past_of(encoder, train, events.rows(*parts)) if has_pair else None
    if on_rows is not None:
        on_rows(n, 1.0)
    return Encoded(encoder, target, train, past, parts)


def training_rows(spec: Spec, encoder: Encoder, target: TargetInfo, learnable: Source) -> Table:
    """The training rows as numbers, with the weights that the spec gives them."""
    train = encode_rows(encoder, target, learnable, is_training=True)
    return weighted_rows(spec, weighted_events(spec, train, learnable), [learnable])


def weighted_rows(spec: Spec, train: Table, sources: Iterable[Source]) -> Table:
    """The training rows with what the spec's `train` makes of their weights.

    Args:
        spec: The spec.
        train: The rows.
        sources: The same rows as they were read, in one part or in several.
    """
    by_user, by_item = spec.train.user_weights, spec.train.item_propensity
    by_age = spec.train.time_decay
    if by_user is not None:
        train = weighted(train, user_weights(train, power=by_user.power, cap=by_user.cap))
    if by_item is not None:
        train = weighted(train, propensity_weights(train, power=by_item.power, clip=by_item.clip))
    if by_age is not None:
        decayed = decayed_weights(sources, by_age.at, half_life=by_age.half_life, unit=by_age.unit)
        train = weighted(train, decayed)
    return train


def weighted_events(spec: Spec, table: Table, source: Source) -> Table:
    """The table with what the spec's column of weights says that each event counts."""
    if spec.target.implicit is None or spec.target.implicit.weight is None:
        return table
    return replace(table, weight=event_weights(source, spec.target.implicit.weight))


def past_of(encoder: Encoder, train: Table, seen: Source) -> Past:
    """What users had: the training rows, and all events, of which those are the learnable ones."""
    n_users = len(encoder.entities["user"])
    positive = History.of_pairs(train.rows["user"].numpy(), train.rows["item"].numpy(), n_users)
    if len(train) == len(seen.frame):
        return Past(positive, positive)
    rows = encoder.encode_ids(seen)
    return Past(positive, History.of_pairs(rows["user"], rows["item"], n_users))


def encode_rows(
    encoder: Encoder, target: TargetInfo, source: Source, *, is_training: bool = False
) -> Table:
    """Events with their target as numbers; `is_training` says that they are the training rows."""
    table = encoder.encode(source, is_training=is_training)
    return replace(table, target=encode_target(target, source))


def is_scaled(spec: Spec, registry: Registry, target: TargetInfo) -> bool:
    """Whether numbers are standardised: unless the model holds its output to a range of its own."""
    if target.kind not in ("regression", "rating"):
        return False
    options = registry.resolve("model", spec.model).options
    return not isinstance(options, ModelOptions) or options.y_range is None
