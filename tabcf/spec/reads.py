"""Which of the events' columns a spec reads, so that a wide file costs no more than these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tabcf.contracts.definitions import SplitDefinition
from tabcf.contracts.tables import EVENT
from tabcf.plugin.registry import Registry
from tabcf.spec.conditions import columns_of
from tabcf.spec.records import Spec, Target
from tabcf.spec.references import spec_columns

__all__ = ["event_columns", "split_columns"]

# By which events are split where nothing is said, and which a run keeps for their order.
_TIME = "timestamp"


def event_columns(spec: Spec, registry: Registry) -> frozenset[str] | None:
    """The columns that the spec reads of its events, be they there or not.

    Entities' own tables are read as they are: lists may be held to any attribute.

    Args:
        spec: A checked spec.
        registry: The components that it names.

    Returns:
        Their names; None where it may read any: with `columns: auto`, and a plugin's split that
        does not say what it reads.
    """
    if spec.columns == "auto" or (spec.columns is None and not spec.entities):
        return None
    found = {_TIME, *_of_target(spec.target)}
    if spec.retrieve is not None and spec.retrieve.target is not None:
        found.update(_of_target(spec.retrieve.target))
    for train in (spec.train, None if spec.retrieve is None else spec.retrieve.train):
        if train is not None and train.time_decay is not None:
            found.add(train.time_decay.at)
    found.update(entity.id for entity in spec.entities.values())
    for column in spec_columns(spec, registry):
        found.update(name for table, name in column.raw if table == EVENT)
    if spec.split is not None:
        split: SplitDefinition
        split, options, *_ = registry.resolve("split", spec.split)
        if split.reads is None:
            return None
        found.update(split_columns(spec, split, options))
    return frozenset(found)


def split_columns(spec: Spec, split: SplitDefinition, options: Any) -> tuple[str, ...]:
    """What a split says that it reads beside the spec's roles."""
    roles = spec.entities.keys() | {"target"}
    named = () if split.reads is None else split.reads(options)
    return tuple(name for name in named if name not in roles)


def _of_target(target: Target) -> Iterator[str]:
    if target.column is not None:
        yield target.column
    yield from target.columns or ()
    if target.implicit is not None:
        if target.implicit.weight is not None:
            yield target.implicit.weight
        if target.implicit.positive is not None:
            yield from columns_of(target.implicit.positive, where="target.implicit.positive")
