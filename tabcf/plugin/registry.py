"""Which components there are, by kind and name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tabcf.contracts.definitions import (
    ColumnDefinition,
    CommandDefinition,
    Definition,
    LossDefinition,
    MetricDefinition,
    ModelDefinition,
    ScheduleDefinition,
    SplitDefinition,
    TrackerDefinition,
    UnknownDefinition,
)
from tabcf.contracts.options import Options
from tabcf.errors import PluginError, SpecError

__all__ = ["KINDS", "Registered", "Registry", "Resolved", "parse_options"]

KINDS: Mapping[str, type[Definition]] = {
    "model": ModelDefinition,
    "loss": LossDefinition,
    "metric": MetricDefinition,
    "column": ColumnDefinition,
    "split": SplitDefinition,
    "schedule": ScheduleDefinition,
    "tracker": TrackerDefinition,
    "unknown": UnknownDefinition,
}

_NOUNS: Mapping[str, str] = {
    "column": "kind of column",
    "unknown": "policy for unknown values",
}


class Registered(NamedTuple):
    """A definition and the distribution that it came from."""

    definition: Definition
    origin: str


class Resolved(NamedTuple):
    """A definition with the options that a spec gives it."""

    definition: Any
    options: Any


class Registry:
    """The components of one composition; filled once, then only read."""

    def __init__(self) -> None:
        self._by_kind: dict[str, dict[str, Registered]] = {kind: {} for kind in KINDS}
        self._set_aside: dict[str, str] = {}
        self._commands: dict[str, tuple[CommandDefinition, str]] = {}

    def add_commands(self, commands: Iterable[CommandDefinition], *, origin: str) -> None:
        """Register commands; a name that is taken is an error that names both origins."""
        for command in commands:
            if command.name in self._commands:
                raise PluginError(
                    f"command '{command.name}' is registered by both "
                    f"{self._commands[command.name][1]} and {origin}; remove one of them"
                )
            self._commands[command.name] = (command, origin)

    @property
    def commands(self) -> Mapping[str, CommandDefinition]:
        """Every registered command by its name."""
        return {name: command for name, (command, _) in sorted(self._commands.items())}

    def add(self, definitions: Iterable[Definition], *, origin: str) -> None:
        """Register definitions; two of one kind and name are an error that names both origins."""
        for definition in definitions:
            known = self._by_kind[_kind_of(definition)]
            if definition.name in known:
                raise PluginError(
                    f"{_kind_of(definition)} '{definition.name}' is registered by both "
                    f"{known[definition.name].origin} and {origin}; remove one of them"
                )
            known[definition.name] = Registered(definition, origin)

    def set_aside(self, plugin: str, error: str) -> None:
        """Remember a plugin that could not be used; it is named where a name is missing."""
        self._set_aside[plugin] = error

    def names(self, kind: str) -> list[str]:
        """All names of a kind, sorted."""
        return sorted(self._by_kind[kind])

    def __iter__(self) -> Iterator[tuple[str, Registered]]:
        for kind, known in self._by_kind.items():
            for name in sorted(known):
                yield kind, known[name]

    def get(self, kind: str, name: str) -> Any:
        """The definition; raises `SpecError` with the nearest name where there is none."""
        if name in self._by_kind[kind]:
            return self._by_kind[kind][name].definition
        raise SpecError([self.unknown_name(kind, name)])

    def origin(self, kind: str, name: str) -> str:
        """Which distribution registered it."""
        return self._by_kind[kind][name].origin

    def unknown_name(self, kind: str, name: str) -> str:
        """The message for a name that is not registered."""
        near = difflib.get_close_matches(name, self.names(kind), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        noun = _NOUNS.get(kind, kind)
        broken = "".join(f"; plugin {p} is broken: {e}" for p, e in self._set_aside.items())
        return f"no {noun} named '{name}'{hint} known: {', '.join(self.names(kind))}{broken}"

    def resolve(self, kind: str, component: Any) -> Resolved:
        """A component's definition and its validated options record.

        `component` is a `tabcf.spec.records.Component` that has passed the spec's checks.
        """
        definition = self.get(kind, component.name)
        return Resolved(definition, parse_options(definition.options, component.options))


def parse_options(record: type[Options], given: Mapping[str, Any]) -> Options:
    """Validate options; a lone value (under the empty key) fills the record's shorthand field."""
    if "" in given:
        if record.shorthand is None:
            raise ValueError(f"expected a mapping of options, got {given['']!r}")
        return record.model_validate(given[""])
    return record.model_validate(dict(given))


def _kind_of(definition: Definition) -> str:
    for kind, record in KINDS.items():
        if isinstance(definition, record):
            return kind
    raise PluginError(f"{definition!r} is no definition; expected one of: {', '.join(KINDS)}")
