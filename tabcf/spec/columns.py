"""Whether a spec's columns can stand side by side: one meaning a name, no target among them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.document import KeyPath
from tabcf.spec.records import Component, Spec
from tabcf.spec.wording import did_you_mean

__all__ = ["column_clashes", "missing_columns"]


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
            yield ("entities", name, "id"), f"'{entity.id}' is the target; it cannot be an id too"
    seen: dict[str, str] = {}
    for table, path, column, component in _columns(spec):
        where = "columns" if table is None else f"entities.{table}.columns"
        if column in spec.entities:
            yield path, f"'{column}' is the entity's own name; give the column another one"
        elif column in seen:
            yield (
                path,
                (
                    f"'{column}' is in {seen[column]} as well; a name can be used once: give one "
                    "of them another name, with `from: " + column + "`"
                ),
            )
        seen.setdefault(column, where)
        if table is None:
            for source in _sources(column, component, registry):
                if source in targets:
                    yield path, f"'{source}' is the target; a model must not see what it predicts"
                elif source in ids:
                    yield (
                        path,
                        (
                            f"'{source}' is the id of {ids[source]}, which the model receives "
                            "already"
                        ),
                    )
        elif spec.entities[table].id in _sources(column, component, registry):
            yield (
                path,
                (
                    f"'{spec.entities[table].id}' is the id of {table}, which the model receives "
                    "already"
                ),
            )


def missing_columns(
    spec: Spec, registry: Registry, tables: Mapping[str, Collection[str]]
) -> Iterator[tuple[KeyPath, str]]:
    """The path of each column name that a known table does not have.

    Args:
        spec: The spec.
        registry: Says what each kind of column reads.
        tables: The tables' columns: `"event"` for the events, else an entity's name. A table
            that is not here is not checked.
    """
    for path, table, column in _references(spec, registry):
        if table in tables and column not in tables[table]:
            known = sorted(tables[table])
            hint = did_you_mean(column, known) or ";"
            where = "the events" if table == "event" else f"the table of {table}"
            yield path, f"no column '{column}' in {where}{hint} known: {', '.join(known)}"


def _references(spec: Spec, registry: Registry) -> Iterator[tuple[KeyPath, str, str]]:
    """Each column that the spec names: where it does so, in which table, and the name."""
    if spec.target.column is not None:
        yield ("target", "column"), "event", spec.target.column
    for position, column in enumerate(spec.target.columns or ()):
        yield ("target", "columns", position), "event", column
    if spec.target.implicit is not None and spec.target.implicit.weight is not None:
        yield ("target", "implicit", "weight"), "event", spec.target.implicit.weight
    for name, entity in spec.entities.items():
        yield ("entities", name, "id"), "event", entity.id
        if entity.table is not None:
            yield ("entities", name, "id"), name, entity.id
        if entity.label is not None:
            yield ("entities", name, "label"), name, entity.label
    for own, path, column, component in _columns(spec):
        for source in _sources(column, component, registry):
            table, _, name = source.rpartition(".")
            if table in spec.entities:
                yield path, table, name
            else:
                yield path, own or "event", source


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
