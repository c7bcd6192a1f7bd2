"""Which components there are, by kind and name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tabcf.contracts.definitions import (
    ColumnDefinition,
    CommandDefinition,
    Definition,
    EngineDefinition,
    FitDefinition,
    LossDefinition,
    MetricDefinition,
    ModelDefinition,
    RerankerDefinition,
    SamplerDefinition,
    ScheduleDefinition,
    SelectorDefinition,
    SplitDefinition,
    TrackerDefinition,
    UnknownDefinition,
)
from tabcf.contracts.options import Options
from tabcf.errors import PluginError, SpecError
from tabcf.plugin.shipped import SHIPPED

if TYPE_CHECKING:
    from tabcf.plugin.finding import Plugin

__all__ = ["KINDS", "EntityPart", "Part", "Registered", "Registry", "Resolved", "parse_options"]

KINDS: Mapping[str, type[Definition]] = {
    "model": ModelDefinition,
    "loss": LossDefinition,
    "metric": MetricDefinition,
    "column": ColumnDefinition,
    "fit": FitDefinition,
    "split": SplitDefinition,
    "sampler": SamplerDefinition,
    "schedule": ScheduleDefinition,
    "engine": EngineDefinition,
    "reranker": RerankerDefinition,
    "tracker": TrackerDefinition,
    "selector": SelectorDefinition,
    "unknown": UnknownDefinition,
}

_NOUNS: Mapping[str, str] = {
    "column": "kind of column",
    "fit": "way to fit",
    "reranker": "re-ranker",
    "unknown": "policy for unknown values",
}


class Registered(NamedTuple):
    """A definition, or a YAML plugin's part, and where it came from."""

    definition: Definition | Part
    origin: str


class Part(NamedTuple):
    """A named piece of a YAML plugin: another component with its options.

    Attributes:
        plugin: The plugin's name, in which references of the part are looked up first.
        name: The component that it stands for.
        options: That component's options as they were written.
        folder: Where files that the options name are.
    """

    plugin: str
    name: str
    options: Mapping[str, Any]
    folder: Path | None


class EntityPart(NamedTuple):
    """An entity of a YAML plugin: plain values, as a spec's `entities` has them."""

    plugin: str
    values: Mapping[str, Any]


class Resolved(NamedTuple):
    """A definition with the options that a spec gives it.

    `part` is the full name of the YAML plugin's part that gives the options, empty where a spec
    gives them itself; `scope` is that plugin and `folder` its folder.
    """

    definition: Any
    options: Any
    scope: str = ""
    folder: Path | None = None
    part: str = ""


class Registry:
    """The components of one composition; filled once, then only read.

    A built-in component has one name, `mse`. A plugin's has its full name, `nightlife/daypart`,
    and the bare one, `daypart`, as long as no other plugin has it too.
    """

    def __init__(self) -> None:
        self._by_kind: dict[str, dict[str, Registered]] = {kind: {} for kind in KINDS}
        self._entities: dict[str, tuple[EntityPart, str]] = {}
        self._commands: dict[str, tuple[CommandDefinition, str, str]] = {}
        self._set_aside: dict[str, str] = {}
        self._added: dict[str, list[str]] = {}
        self.plugins: dict[str, Plugin] = {}

    def copy(self) -> Registry:
        """A registry with the same content, to be filled further."""
        copied = Registry()
        copied._by_kind = {kind: dict(known) for kind, known in self._by_kind.items()}
        copied._entities, copied._commands = dict(self._entities), dict(self._commands)
        copied._added = {plugin: list(parts) for plugin, parts in self._added.items()}
        copied._set_aside, copied.plugins = dict(self._set_aside), dict(self.plugins)
        return copied

    def add(
        self,
        definitions: Iterable[Definition | CommandDefinition],
        *,
        origin: str,
        plugin: str = "",
    ) -> None:
        """Register definitions, all or none.

        A name of a built-in component, and a full name that is taken, are errors that name both
        origins.
        """
        definitions = list(definitions)
        added: dict[str, dict[str, Registered]] = {kind: {} for kind in KINDS}
        commands = dict(self._commands)
        for definition in definitions:
            if isinstance(definition, CommandDefinition):
                if definition.name in commands:
                    other = commands[definition.name][2]
                    raise PluginError(_clash("command", definition.name, other, origin))
                commands[definition.name] = (definition, plugin, origin)
                continue
            kind = _kind_of(definition)
            self._check_free(kind, definition.name, plugin, origin, added[kind])
            full = f"{plugin}/{definition.name}" if plugin else definition.name
            added[kind][full] = Registered(definition, origin)
        own = self._added.setdefault(plugin, [])
        own += [f"{kind} {_part_of(name)}" for kind in KINDS for name in sorted(added[kind])]
        own += [f"command {name}" for name in commands if name not in self._commands]
        for kind, found in added.items():
            self._by_kind[kind].update(found)
        self._commands = commands

    def add_parts(
        self,
        plugin: str,
        *,
        origin: str,
        parts: Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]],
        entities: Mapping[str, Mapping[str, Any]],
        folder: Path | None,
    ) -> None:
        """Register a YAML plugin's parts, all or none: by kind and name, a component each.

        A column of one of its entities is a part named `device.brand`, which only the entity's
        values name.
        """
        added: dict[str, dict[str, Registered]] = {kind: {} for kind in parts}
        for kind, named in parts.items():
            for name, (component, options) in named.items():
                self._check_free(kind, name, plugin, origin, added[kind])
                part = Part(plugin, component, options, folder)
                added[kind][f"{plugin}/{name}"] = Registered(part, origin)
        own = self._added.setdefault(plugin, [])
        for kind in filter(added.__contains__, KINDS):
            names = [name for name in sorted(added[kind]) if not _is_of_entity(name)]
            own += [f"{kind} {_part_of(name)}" for name in names]
        own += [f"entity {name}" for name in sorted(entities)]
        for kind, found in added.items():
            self._by_kind[kind].update(found)
        for name, values in entities.items():
            self._entities[f"{plugin}/{name}"] = (EntityPart(plugin, values), origin)

    def _check_free(
        self,
        kind: str,
        name: str,
        plugin: str,
        origin: str,
        added: Mapping[str, Registered],
    ) -> None:
        full = f"{plugin}/{name}" if plugin else name
        for taken in (full, name):
            for known in (self._by_kind[kind], added):
                if taken in known:
                    raise PluginError(_clash(kind, taken, known[taken].origin, origin))

    def set_aside(self, plugin: str, error: str) -> None:
        """Remember a plugin that could not be used; it is named where a name is missing."""
        self._set_aside[plugin] = error

    @property
    def broken(self) -> Mapping[str, str]:
        """Plugins that could not be used, and why."""
        return dict(self._set_aside)

    def added_by(self, plugin: str) -> tuple[str, ...]:
        """What a plugin adds, such as `column daypart`; columns before losses, as kinds go."""
        return tuple(self._added.get(plugin, ()))

    @property
    def commands(self) -> Mapping[str, CommandDefinition]:
        """Every registered command by its name."""
        return {name: command for name, (command, *_) in sorted(self._commands.items())}

    @property
    def entities(self) -> Mapping[str, EntityPart]:
        """Every entity of a YAML plugin by its full name."""
        return {name: part for name, (part, _) in sorted(self._entities.items())}

    def names(self, kind: str) -> list[str]:
        """All names of a kind, sorted: a plugin's bare where that is unambiguous, else full."""
        bare: dict[str, list[str]] = {}
        for full in self.full_names(kind):
            bare.setdefault(full.rpartition("/")[2], []).append(full)
        shown = ([name] if len(fulls) == 1 else fulls for name, fulls in bare.items())
        return sorted(name for names in shown for name in names)

    def full_names(self, kind: str) -> list[str]:
        """All names of a kind, sorted, a plugin's with its own."""
        return sorted(name for name in self._by_kind[kind] if not _is_of_entity(name))

    def names_where(self, kind: str, fits: Callable[[Any], bool]) -> list[str]:
        """The names of a kind whose definition fits; a YAML plugin's part that is wrong is none."""
        found = []
        for name in self.names(kind):
            try:
                definition = self.get(kind, name)
            except (SpecError, ValueError):
                continue
            if fits(definition):
                found.append(name)
        return found

    def circle(self, kind: str, name: str, scope: str = "") -> str | None:
        """The parts that stand for one another in a circle, such as `a/b -> a/c -> a/b`."""
        seen: list[str] = []
        while len(found := self._matches(kind, name, scope)) == 1:
            if found[0] in seen:
                return " -> ".join([*seen[seen.index(found[0]) :], found[0]])
            seen += found
            part = self._by_kind[kind][found[0]].definition
            if not isinstance(part, Part):
                break
            name, scope = part.name, part.plugin
        return None

    def __iter__(self) -> Iterator[tuple[str, Registered]]:
        for kind, known in self._by_kind.items():
            for name in sorted(known):
                yield kind, known[name]

    def has(self, kind: str, name: str, scope: str = "") -> bool:
        """Whether a name can be used, in full or bare."""
        return len(self._matches(kind, name, scope)) == 1

    def full_name(self, kind: str, name: str, scope: str = "") -> str:
        """A name as it is registered; raises `SpecError` where there is none, or several."""
        found = self._matches(kind, name, scope)
        if len(found) == 1:
            return found[0]
        raise SpecError([self.unknown_name(kind, name)])

    def get(self, kind: str, name: str) -> Any:
        """The definition; raises `SpecError` with the nearest name where there is none."""
        definition = self._by_kind[kind][self.full_name(kind, name)].definition
        if isinstance(definition, Part):
            return self._resolve(kind, definition.name, definition.options, definition.plugin)[0]
        return definition

    def part(self, kind: str, name: str) -> Part | None:
        """The YAML plugin's part of that name, None for a component of another origin."""
        found = self._by_kind[kind][self.full_name(kind, name)].definition
        return found if isinstance(found, Part) else None

    def origin(self, kind: str, name: str) -> str:
        """Which distribution registered it."""
        return self._by_kind[kind][self.full_name(kind, name)].origin

    def unknown_name(self, kind: str, name: str) -> str:
        """The message for a name that is not registered, or that several plugins have."""
        noun = _NOUNS.get(kind, kind)
        found = self._matches(kind, name)
        if len(found) > 1:
            origins = " and ".join(self._by_kind[kind][full].origin for full in found)
            return f"{noun} '{name}' is of several plugins, {origins}; write {' or '.join(found)}"
        shipped = SHIPPED.get((kind, name))
        if shipped is not None and not self._set_aside:
            return f"{noun} '{name}' is of a plugin that is not installed; pip install '{shipped}'"
        known = dict.fromkeys([*self.names(kind), *self.full_names(kind)])
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        broken = "".join(f"; {error}" for error in self._set_aside.values())
        return f"no {noun} named '{name}'{hint} known: {', '.join(self.names(kind))}{broken}"

    def resolve(self, kind: str, component: Any) -> Resolved:
        """A component's definition and its validated options record.

        `component` is a `tabcf.spec.records.Component` that has passed the spec's checks. A
        plugin's part comes as the component that it stands for.
        """
        return self.resolve_in("", kind, component)

    def resolve_in(self, scope: str, kind: str, component: Any) -> Resolved:
        """The same for a component that stands in a YAML plugin, whose own names come first."""
        return self._resolve(kind, component.name, component.options, scope)

    def _resolve(
        self,
        kind: str,
        name: str,
        options: Mapping[str, Any],
        scope: str,
        seen: tuple[str, ...] = (),
    ) -> Resolved:
        full = self.full_name(kind, name, scope)
        found = self._by_kind[kind][full].definition
        if isinstance(found, Part):
            if full in seen:
                circle = " -> ".join([*seen[seen.index(full) :], full])
                raise SpecError([f"stands for itself: {circle}"])
            if options:
                raise ValueError(f"{full} takes no options; the plugin has set them")
            inner = self._resolve(kind, found.name, found.options, found.plugin, (*seen, full))
            if inner.part:
                return inner
            return inner._replace(scope=found.plugin, folder=found.folder, part=full)
        given = parse_options(found.options, options)
        if isinstance(found, LossDefinition) and found.compose is not None:
            found = found.compose(lambda other: self._resolve(kind, other, {}, scope, seen), given)
        return Resolved(found, given)

    def _matches(self, kind: str, name: str, scope: str = "") -> list[str]:
        """The full names that a name may mean: one of the scope, itself, or bare ones."""
        known = self._by_kind[kind]
        for full in (f"{scope}/{name}" if scope else name, name):
            if full in known:
                return [full]
        if "/" in name:
            return []
        return sorted(full for full in known if full.endswith(f"/{name}"))


def _is_of_entity(name: str) -> bool:
    """Whether a full name is that of a column of a YAML plugin's entity: `nightlife/device.brand`.

    Other parts and kinds have no dot behind the slash.
    """
    plugin, slash, part = name.partition("/")
    return bool(plugin and slash) and "." in part


def _part_of(name: str) -> str:
    return name.partition("/")[2] or name


def parse_options(record: type[Options], given: Mapping[str, Any]) -> Options:
    """Validate options; a lone value (under the empty key) fills the record's shorthand field."""
    if "" in given:
        if record.shorthand is None:
            raise ValueError(f"expected a mapping of options, got {given['']!r}")
        return record.model_validate(given[""])
    return record.model_validate(dict(given))


def _clash(kind: str, name: str, first: str, second: str) -> str:
    return f"{kind} '{name}' is registered by both {first} and {second}; remove one of them"


def _kind_of(definition: Definition) -> str:
    for kind, record in KINDS.items():
        if isinstance(definition, record):
            return kind
    raise PluginError(f"{definition!r} is no definition; expected one of: {', '.join(KINDS)}")
