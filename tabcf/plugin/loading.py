"""From installed and given plugins to a registry; a broken plugin is set aside and named."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pluggy

from tabcf.errors import PluginError
from tabcf.plugin.hooks import HOOKS, PROJECT, Hooks
from tabcf.plugin.registry import Registry

__all__ = ["ENTRY_POINTS", "LoadedPlugin", "installed_plugins", "register"]

ENTRY_POINTS = "tabcf"


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A plugin that was found: its distribution, or why it could not be imported."""

    name: str
    distribution: str
    version: str
    plugin: Any = None
    error: str | None = None


def installed_plugins() -> list[LoadedPlugin]:
    """Plugins of the entry-point group `tabcf`, by name; those that fail to import say why."""
    found = []
    for entry in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda e: e.name):
        distribution = entry.dist.name if entry.dist else entry.name
        version = entry.dist.version if entry.dist else "unknown"
        try:
            plugin, error = entry.load(), None
        except Exception as failure:
            plugin, error = None, f"{type(failure).__name__}: {failure}"
        found.append(LoadedPlugin(entry.name, distribution, version, plugin, error))
    return found


def register(registry: Registry, plugins: Sequence[tuple[str, Any]]) -> None:
    """Add what plugins define, under the origin given with each.

    Raises:
        PluginError: A hook is misspelt or has another signature, returns something that is no
            definition, fails, or defines a name that is taken.
    """
    for origin, plugin in plugins:
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)
        try:
            manager.register(plugin, name=origin)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            first = str(error).splitlines()[0]
            raise PluginError(f"plugin {origin}: {first}; hooks: {', '.join(HOOKS)}") from None
        for hook in HOOKS:
            add = registry.add_commands if hook == "tabcf_commands" else registry.add
            for definitions in _called(manager, hook, origin):
                add(definitions, origin=origin)


def _called(manager: pluggy.PluginManager, hook: str, origin: str) -> Iterable[Any]:
    try:
        return [list(result) for result in getattr(manager.hook, hook)()]
    except Exception as error:
        raise PluginError(
            f"plugin {origin}: {hook} failed: {type(error).__name__}: {error}"
        ) from error
