"""Whether a spec's columns can stand side by side: one meaning a name, no target among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.document import KeyPath
from tabcf.spec.records import Component, Spec

__all__ = ["column_clashes"]


def column_clashes(spec: Spec, registry: Registry) -> Iterator[tuple[KeyPath, str]]:
    """The path and the reason of each column that cannot be.

    The events hold the target and the entities' ids; neither is a column for the model, under
    its own name or another. All columns' names are one namespace, in which an entity's name
    stands for its ids: `widths` and `weight_decay` go by it.
    """
    targets = {spec.target.column, *(spec.target.columns or ())} - {None}
    ids = {entity.id: name for name, entity in spec.entities.items()}
    for name, entity in spec.entities.items():
        if entity.id in targets:
            yield ("entities", name, "id"), f"'{entity.id}' is the target"
    seen: dict[str, str] = {}
    for table, path, column, component in _columns(spec):
        where = "columns" if table is None else f"entities.{table}.columns"
        if column in spec.entities:
            yield path, f"'{column}' is the entity's own name; give the column another one"
        elif column in seen:
            yield path, (
                f"'{column}' is in {seen[column]} as well; a name can be used once: give one of "
                "them another name, with `from: " + column + "`"
            )
        seen.setdefault(column, where)
        if table is None:
            for source in _sources(column, component, registry):
                if source in targets:
                    yield path, f"'{source}' is the target; a model must not see what it predicts"
                elif source in ids:
                    yield path, (
                        f"'{source}' is the id of {ids[source]}, which the model receives already"
                    )
        elif spec.entities[table].id in _sources(column, component, registry):
            yield path, (
                f"'{spec.entities[table].id}' is the id of {table}, which the model receives "
                "already"
            )


def _columns(spec: Spec) -> Iterator[tuple[str | None, KeyPath, str, Component]]:
    for name, entity in spec.entities.items():
        for column, component in entity.columns.items():
            yield name, ("entities", name, "columns", column), column, component
    if isinstance(spec.columns, Mapping):
        for column, component in spec.columns.items():
            yield None, ("columns", column), column, component


def _sources(column: str, component: Component, registry: Registry) -> tuple[str, ...]:
    """What a column reads; nothing where its kind or options are wrong."""
    try:
        definition, options = registry.resolve("column", component)
    except (SpecError, ValueError):
        return ()
    sources: tuple[str, ...] = definition.sources(column, options)
    return sources
