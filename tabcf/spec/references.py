"""What each column reads, on which side it stands therefore, and whether that can be.

A column's `from` names a column of its own table, another declared column, `user.age` for
another table's, `user` for an entity's ids, or `nightlife/age_band` for a plugin's. Within a
plugin, the plugin's own columns come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabcf.contracts.definitions import ColumnDefinition
from tabcf.contracts.options import FromColumn
from tabcf.contracts.tables import EVENT
from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry, Resolved
from tabcf.spec.marks import KeyPath
from tabcf.spec.records import Component, Spec

__all__ = ["SpecColumn", "column_problems", "spec_columns"]


@dataclass(frozen=True, slots=True)
class SpecColumn:
    """A declared column, or a plugin's that a declared one is made from.

    Attributes:
        key: Its name in the model: `cohort`, `user.age`; of a plugin's `nightlife/age_band`, or
            `user.nightlife/age_band` where it serves a column of an entity.
        name: Its name where it is declared.
        path: Where the spec declares it, or the column that it serves.
        table: `"event"`, or the entity whose column it is.
        definition: Its kind.
        options: The kind's options.
        raw: Pairs of a table and the column that it reads there itself.
        reads: Keys of the columns that it reads, by its reference to each.
        tables: All tables that it comes from, through other columns or on its own.
        is_input: Whether it is declared, and so the model's.
        folder: Where look-up files are; None for the spec's own folder.
    """

    key: str
    name: str
    path: KeyPath
    table: str
    definition: ColumnDefinition
    options: Any
    raw: tuple[tuple[str, str], ...]
    reads: Mapping[str, str] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()
    is_input: bool = True
    folder: Path | None = None


def spec_columns(spec: Spec, registry: Registry) -> tuple[SpecColumn, ...]:
    """The spec's columns in its order, then those of plugins that they are made from.

    Raises:
        SpecError: A kind or an option is wrong; a reference leads nowhere, in a circle, or to
            another side.
    """
    columns, problems = _walk(spec, registry, is_checked=True)
    if problems:
        raise SpecError([f"{'.'.join(map(str, path))}: {message}" for path, message in problems])
    return columns


def column_problems(
    spec: Spec, registry: Registry
) -> tuple[tuple[SpecColumn, ...], list[tuple[KeyPath, str]]]:
    """The columns whose references can be followed, and what is wrong with the others.

    Columns whose kind or options are wrong are left out.
    """
    return _walk(spec, registry, is_checked=False)


def _walk(
    spec: Spec, registry: Registry, *, is_checked: bool
) -> tuple[tuple[SpecColumn, ...], list[tuple[KeyPath, str]]]:
    walk = _Walk(spec, registry)
    problems = []
    for key, (table, path, name, component) in walk.declared.items():
        try:
            walk.column(key, name, table, path, component)
        except _Refused as refused:
            problems.append((path, refused.message))
        except (SpecError, ValueError):
            if is_checked:
                raise
            continue  # said where its kind and options are checked
    ordered = [walk.done[key] for key in walk.declared if key in walk.done]
    ordered += [column for key, column in walk.done.items() if key not in walk.declared]
    return tuple(ordered), problems


class _Refused(Exception):
    """A column that cannot be made."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class _Walk:
    """Follows references from column to column, each once."""

    def __init__(self, spec: Spec, registry: Registry) -> None:
        self._spec = spec
        self._registry = registry
        self.declared = dict(_declared(spec))
        self.done: dict[str, SpecColumn] = {}
        self._open: list[str] = []

    def column(
        self,
        key: str,
        name: str,
        table: str | None,
        path: KeyPath,
        component: Component,
        *,
        is_input: bool = True,
    ) -> SpecColumn:
        """A column and, before it, those that it reads; `table` is None unless it is fixed."""
        if key in self.done:
            return self.done[key]
        if key in self._open:
            circle = " -> ".join([*self._open[self._open.index(key) :], key])
            raise _Refused(f"is made from itself: {circle}")
        self._open.append(key)
        try:
            resolved = self._registry.resolve("column", component)
            found = self._made(key, name, table, path, resolved, is_input=is_input)
        finally:
            self._open.pop()
        self.done[key] = found
        return found

    def _made(
        self,
        key: str,
        name: str,
        table: str | None,
        path: KeyPath,
        resolved: Resolved,
        *,
        is_input: bool,
    ) -> SpecColumn:
        options = resolved.options
        own_name = _bare(resolved.part) if resolved.part else name
        if isinstance(options, FromColumn):
            options = options.named(own_name)
        raw: list[tuple[str, str]] = []
        reads: dict[str, str] = {}
        direct: set[str] = set()
        beyond: set[str] = set()
        for reference in resolved.definition.sources(own_name, options):
            other = self._other(reference, key, table, path, resolved)
            if other is not None:
                if other.definition.own is not None:
                    raise _Refused(
                        f"cannot be made from '{reference}', a {other.definition.name}: of a "
                        "training row that holds what the row is to tell"
                    )
                reads[reference] = other.key
                direct.add(other.table)
                beyond |= other.tables
            elif reference in self._spec.entities:
                direct.add(reference)
            else:
                raw.append(self._raw(reference, table))
                direct.add(raw[-1][0])
        own = table or (next(iter(direct)) if len(direct) == 1 else EVENT)
        outside = sorted(direct - {own})
        if table is not None and outside:
            whose = "the event" if outside[0] == EVENT else outside[0]
            raise _Refused(
                f"is a column of {table} and cannot be made from what belongs to {whose}; "
                "declare it in the top-level `columns`"
            )
        return SpecColumn(
            key,
            name,
            path,
            own,
            resolved.definition,
            options,
            tuple(raw),
            reads,
            frozenset(direct | beyond),
            is_input,
            resolved.folder,
        )

    def _other(
        self, reference: str, key: str, table: str | None, path: KeyPath, resolved: Resolved
    ) -> SpecColumn | None:
        """The column that a reference names, unless it names a table's own column.

        What a column names like itself is the table's column.
        """
        within = f"{resolved.scope}/{reference}"
        if resolved.scope and within != resolved.part and self._registry.has("column", within):
            return self._part(within, path, table)
        plugin, slash, _ = reference.partition("/")
        if slash and plugin in self._registry.plugins:
            return self._part(reference, path, table)
        if resolved.scope and "." not in resolved.part:
            return None
        entity = reference.rpartition(".")[0]
        if entity in self._spec.entities:
            other = reference
        else:
            other = f"{table}.{reference}" if table is not None else reference
        if other == key or other not in self.declared:
            return None
        its_table, its_path, its_name, component = self.declared[other]
        return self.column(other, its_name, its_table, its_path, component)

    def _part(self, name: str, path: KeyPath, table: str | None) -> SpecColumn:
        """A plugin's column that another one reads; in an entity it is that entity's too."""
        if not self._registry.has("column", name) or not self._registry.part("column", name):
            raise _Refused(self._registry.unknown_name("column", name))
        for key, (its_table, its_path, its_name, component) in self.declared.items():
            if its_table == table and self._is_part(component, name):
                return self.column(key, its_name, table, its_path, component)
        key = name if table is None else f"{table}.{name}"
        component = Component.model_validate(name)
        return self.column(key, _bare(name), table, path, component, is_input=False)

    def _is_part(self, component: Component, name: str) -> bool:
        """Whether a declared column is that part and nothing else."""
        if component.options or not self._registry.has("column", component.name):
            return False
        return self._registry.full_name("column", component.name) == name

    def _raw(self, reference: str, table: str | None) -> tuple[str, str]:
        entity, _, name = reference.rpartition(".")
        if entity in self._spec.entities:
            return entity, name
        return (table or EVENT), reference


def _bare(part: str) -> str:
    """A part's name without its plugin's and its entity's: `brand` of `nightlife/device.brand`."""
    return part.rpartition("/")[2].rpartition(".")[2]


def _declared(spec: Spec) -> Iterator[tuple[str, tuple[str | None, KeyPath, str, Component]]]:
    for entity_name, entity in spec.entities.items():
        for name, component in entity.columns.items():
            path = ("entities", entity_name, "columns", name)
            yield f"{entity_name}.{name}", (entity_name, path, name, component)
    if isinstance(spec.columns, Mapping):
        for name, component in spec.columns.items():
            yield name, (None, ("columns", name), name, component)
