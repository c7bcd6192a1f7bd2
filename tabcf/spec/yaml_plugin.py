"""A YAML plugin: columns, entities and losses under names, in the spec's own grammar.

It is data: reading one imports nothing and runs nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from glob import has_magic
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, field_validator

from tabcf.contracts.options import Options
from tabcf.errors import PluginError, SpecError
from tabcf.plugin.finding import Plugin
from tabcf.plugin.registry import Registry
from tabcf.spec.components import Place, components
from tabcf.spec.document import read_document
from tabcf.spec.options import component_problems
from tabcf.spec.places import Places, Problem, problem_lines
from tabcf.spec.records import Component, Entity
from tabcf.spec.shape import validated
from tabcf.spec.wording import describe

__all__ = ["PluginFile", "YamlPlugin", "add_yaml_plugin", "check_yaml_plugin", "read_yaml_plugin"]

_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class PluginFile(Options):
    """What a YAML plugin's file holds."""

    tabcf_plugin: Literal[1]
    """Version of this grammar."""
    name: str
    """What the names of its parts start with: `nightlife/daypart`."""
    version: str = ""
    """Its own version; a package's version stands above it."""
    requires: str | None = None
    """The version of tabcf that it needs, such as `tabcf>=0.1`."""
    summary: str = ""
    """One line on what it is for."""
    columns: Mapping[str, Component] = Field(default_factory=dict)
    """Columns by name, as in a spec's `columns`."""
    entities: Mapping[str, Entity] = Field(default_factory=dict)
    """Entities by name, as in a spec's `entities`; their tables lie in the plugin's folder."""
    losses: Mapping[str, Component] = Field(default_factory=dict)
    """Losses by name, as a spec's `loss`."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"expected lower-case letters, digits, - and _, got {value!r}")
        return value

    @field_validator("columns", "entities", "losses")
    @classmethod
    def _plain_names(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in value:
            if "/" in name or "." in name:
                raise ValueError(f"expected a name without / and ., got {name!r}")
        return value

    @field_validator("version", mode="before")
    @classmethod
    def _quoted(cls, value: Any) -> Any:
        """YAML reads `1.10` as the number 1.1, which is another version."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise ValueError(f"expected text, got the number {value}; quote it, as in '{value}'")
        return value


@dataclass(frozen=True, slots=True)
class YamlPlugin:
    """A YAML plugin that has been read.

    Attributes:
        plugin: Where it comes from, with the file's own name and version.
        file: What the file says.
        tree: The same as plain values.
        places: Where each value was written.
    """

    plugin: Plugin
    file: PluginFile
    tree: Mapping[str, Any]
    places: Places

    @property
    def folder(self) -> Path:
        """Where files that it names are."""
        assert self.plugin.path is not None
        return self.plugin.path.parent


def read_yaml_plugin(plugin: Plugin, *, label: str | None = None) -> YamlPlugin:
    """Read a plugin's file; its parts' options are left to `check_yaml_plugin`.

    Args:
        plugin: A plugin with a path.
        label: What messages call the file; its path by default.

    Raises:
        SpecError: It cannot be read, or is no plugin; every problem with its place.
        PluginError: It needs another version of tabcf.
    """
    assert plugin.path is not None
    label = label or str(plugin.path)
    document = read_document(plugin.path, label)
    places = Places(label, document.values, document.keys)
    if not isinstance(document.tree, Mapping) or "tabcf_plugin" not in document.tree:
        what = describe(document.tree)
        raise SpecError(
            [f"{label}: expected a plugin, which starts with tabcf_plugin: 1, got {what}"]
        )
    file, problems = validated(PluginFile, document.tree)
    problems += [
        Problem(path, f"given twice, first on line {first.line}", path, mark=second)
        for path, first, second in document.repeated
    ]
    for name, table in _tables(document.tree):
        own = _path(table)
        if own is None or _leads_out(own, plugin.path.parent):
            path = ("entities", name, "table")
            problems.append(Problem(path, f"{_OUTSIDE}, got {table!r}", path))
    if problems or file is None:
        raise SpecError(problem_lines(problems, places))
    if file.requires is not None:
        try:
            _check_version(file.requires)
        except PluginError as error:
            raise PluginError(f"{label}: requires: {error}") from None
    found = replace(
        plugin,
        name=file.name,
        distribution=plugin.distribution or file.name,
        version=plugin.version or file.version,
    )
    return YamlPlugin(found, file, document.tree, places)


def add_yaml_plugin(registry: Registry, read: YamlPlugin) -> None:
    """Register a plugin's parts under their full names.

    Raises:
        PluginError: A name is taken.
    """
    file = read.file
    columns = {name: (c.name, c.options) for name, c in file.columns.items()}
    for entity_name, entity in file.entities.items():
        for name, component in entity.columns.items():
            columns[f"{entity_name}.{name}"] = (component.name, component.options)
    registry.add_parts(
        file.name,
        origin=read.plugin.label,
        parts={
            "column": columns,
            "loss": {name: (c.name, c.options) for name, c in file.losses.items()},
        },
        entities={
            name: _entity(f"{file.name}/{name}", values, read.folder)
            for name, values in (read.tree.get("entities") or {}).items()
        },
        folder=read.folder,
    )


def check_yaml_plugin(registry: Registry, read: YamlPlugin) -> list[str]:
    """Every problem with a registered plugin's parts, a line each."""
    problems: list[Problem] = []
    as_spec: dict[str, Any] = {
        "columns": read.tree.get("columns") or {},
        "entities": read.tree.get("entities") or {},
    }
    for place in components(as_spec):
        problems += component_problems(place, registry, scope=read.file.name)
    for place in _losses(read.tree.get("losses") or {}):
        problems += component_problems(place, registry, scope=read.file.name)
    return problem_lines(problems, read.places)


def _losses(losses: Mapping[str, Any]) -> Iterator[Place]:
    for place in components({"metrics": list(losses.values())}):
        name = list(losses)[int(place.path[1])]
        yield place._replace(kind="loss", path=("losses", name))


def _entity(name: str, values: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """An entity's values for a spec: the table's whole path, columns that are parts by name."""
    found = dict(values)
    table = _path(values.get("table"))
    if table is not None and not table.startswith("builtin:"):
        found["table"] = str(folder.absolute() / table)
    if values.get("columns"):
        found["columns"] = {column: f"{name}.{column}" for column in values["columns"]}
    return found


_OUTSIDE = "expected a file in the plugin's folder or below it"


def _tables(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    entities = tree.get("entities")
    if isinstance(entities, Mapping):
        for name, values in entities.items():
            if isinstance(values, Mapping) and values.get("table") is not None:
                yield name, values["table"]


def _path(table: Any) -> str | None:
    """The path of a table, written either way; None for what is no path."""
    found = table.get("path") if isinstance(table, Mapping) else table
    return found if isinstance(found, str) else None


def _leads_out(path: str, folder: Path) -> bool:
    """Whether a path leaves the folder, by its text or by a symbolic link, or may name several."""
    if path.startswith("builtin:"):
        return False
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or ":" in path or path.startswith("~"):
        return True
    found = folder / path
    if has_magic(path) or found.is_dir():
        return True
    steps = (found, *found.parents)[: len(found.parts) - len(folder.parts)]
    if not any(step.is_symlink() for step in steps):
        return False
    return not found.resolve().is_relative_to(folder.resolve())


@lru_cache
def _check_version(requirement: str) -> None:
    """Raise unless this tabcf is of a version that a requirement such as `tabcf>=0.1` allows.

    Only the release's numbers are compared, so that a preview of a version will do.
    """
    from tabcf import __version__

    if not _REQUIREMENT.fullmatch(requirement):
        raise PluginError(f"expected such as tabcf>=0.1, got {requirement!r}")
    ours = _release(__version__)
    for comparison, version in _CLAUSE.findall(requirement):
        theirs = _release(version)
        width = max(len(ours), len(theirs))
        left, right = ((*found, *[0] * (width - len(found))) for found in (ours, theirs))
        if not _COMPARE[comparison](left, right):
            raise PluginError(
                f"needs {requirement}, and this is tabcf {__version__}; pip install '{requirement}'"
            )


_CLAUSE = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d{1,9}(?:\.\d{1,9})*)")
_REQUIREMENT = re.compile(rf"tabcf\s*(?:{_CLAUSE.pattern}(?:\s*,\s*{_CLAUSE.pattern})*)?\s*")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def _release(version: str) -> tuple[int, ...]:
    """The numbers that a version starts with: `(0, 2)` of `0.2.dev1`."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in numbers[0].split(".")) if numbers else ()
