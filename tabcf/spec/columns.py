"""Whether a spec's columns are there and can stand side by side: one meaning a name, no target."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from tabcf.contracts.options import FromColumn
from tabcf.contracts.tables import EVENT
from tabcf.plugin.registry import Resolved
from tabcf.spec.marks import KeyPath
from tabcf.spec.records import Spec
from tabcf.spec.references import SpecColumn
from tabcf.spec.wording import did_you_mean

__all__ = ["column_clashes", "missing_columns", "missing_metric_columns"]


def column_clashes(spec: Spec, columns: Iterable[SpecColumn]) -> Iterator[tuple[KeyPath, str]]:
    """The path and the reason of each column that cannot be.

    The events hold the target and the entities' ids; neither is a column for the model, under
    its own name or another, and nothing may be made from the target. All columns' names are one
    namespace, in which an entity's name stands for its ids: `widths` and `weight_decay` go by it.
    """
    targets = {spec.target.column, *(spec.target.columns or ())} - {None}
    ids = {entity.id: name for name, entity in spec.entities.items()}
    for name, entity in spec.entities.items():
        if name == EVENT:
            yield ("entities", name), f"'{EVENT}' means the events; give the entity another name"
        if entity.id in targets:
            yield ("entities", name, "id"), f"'{entity.id}' is the target; it cannot be an id too"
    seen: dict[str, str] = {}
    for table, path, column in _names(spec):
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
    for column_read in columns:
        for table_read, source in column_read.raw:
            if table_read == EVENT and source in targets:
                yield (
                    column_read.path,
                    f"'{source}' is the target; a model must not see what it predicts",
                )
            elif isinstance(column_read.options, FromColumn) and source == _id(
                spec, ids, table_read, source
            ):
                whose = ids[source] if table_read == EVENT else table_read
                yield (
                    column_read.path,
                    f"'{source}' is the id of {whose}, which the model receives already",
                )


def missing_columns(
    spec: Spec, columns: Iterable[SpecColumn], tables: Mapping[str, Collection[str]]
) -> Iterator[tuple[KeyPath, str]]:
    """The path of each column name that a known table does not have.

    Args:
        spec: The spec.
        columns: The spec's columns; says what each reads.
        tables: The tables' columns: `"event"` for the events, else an entity's name. A table
            that is not here is not checked.
    """
    for path, table, column in _references(spec, columns):
        if table in tables and column not in tables[table]:
            yield path, _no_column(column, table, tables[table])


def missing_metric_columns(
    spec: Spec,
    metrics: Iterable[tuple[KeyPath, Resolved]],
    tables: Mapping[str, Collection[str]],
) -> Iterator[tuple[KeyPath, str]]:
    """The path of each metric or re-ranker that reads a column that the items' table has not.

    Args:
        spec: The spec.
        metrics: Its metrics, or re-rankers, with their options, and where they stand.
        tables: As for `missing_columns`; only `"item"` is looked at.
    """
    item = spec.entities.get("item")
    if item is None:
        return  # a metric that needs items says so itself
    for path, (definition, options, *_) in metrics:
        for column in definition.item_columns(options) if definition.item_columns else ():
            if item.table is None:
                yield (
                    path,
                    (
                        f"{definition.name} reads '{column}' from the items' table, and item has "
                        "none; give `entities.item.table`"
                    ),
                )
            elif "item" in tables and column not in tables["item"]:
                yield path, f"{definition.name}: {_no_column(column, 'item', tables['item'])}"


def _no_column(column: str, table: str, known: Collection[str]) -> str:
    hint = did_you_mean(column, sorted(known)) or ";"
    where = "the events" if table == EVENT else f"the table of {table}"
    return f"no column '{column}' in {where}{hint} known: {', '.join(sorted(known))}"


def _id(spec: Spec, ids: Mapping[str, str], table: str, source: str) -> str | None:
    """The id column that a table's column of that name is, if it is one."""
    if table == EVENT:
        return source if source in ids else None
    return spec.entities[table].id


def _references(spec: Spec, columns: Iterable[SpecColumn]) -> Iterator[tuple[KeyPath, str, str]]:
    """Each column that the spec names: where it does so, in which table, and the name."""
    if spec.target.column is not None:
        yield ("target", "column"), EVENT, spec.target.column
    for position, column in enumerate(spec.target.columns or ()):
        yield ("target", "columns", position), EVENT, column
    if spec.target.implicit is not None and spec.target.implicit.weight is not None:
        yield ("target", "implicit", "weight"), EVENT, spec.target.implicit.weight
    for name, entity in spec.entities.items():
        yield ("entities", name, "id"), EVENT, entity.id
        if entity.table is not None:
            yield ("entities", name, "id"), name, entity.id
        if entity.label is not None:
            yield ("entities", name, "label"), name, entity.label
    for column_read in columns:
        for table, source in column_read.raw:
            yield column_read.path, table, source


def _names(spec: Spec) -> Iterator[tuple[str | None, KeyPath, str]]:
    for name, entity in spec.entities.items():
        for column in entity.columns:
            yield name, ("entities", name, "columns", column), column
    if isinstance(spec.columns, Mapping):
        for column in spec.columns:
            yield None, ("columns", column), column
