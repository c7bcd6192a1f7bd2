"""From a plugin that was found to a registry that has what it defines."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import pluggy

from tabcf.errors import PluginError
from tabcf.plugin.finding import Plugin
from tabcf.plugin.hooks import HOOKS, PROJECT, Hooks
from tabcf.plugin.registry import Registry

__all__ = ["load", "register"]


def load(plugin: Plugin) -> Any:
    """Import what a plugin names.

    Raises:
        PluginError: It cannot be imported.
    """
    if plugin.value is not None:
        return plugin.value
    module, _, attributes = plugin.target.partition(":")
    try:
        value = importlib.import_module(module)
        for attribute in filter(None, attributes.split(".")):
            value = getattr(value, attribute)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"plugin {plugin.label} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return value


def register(registry: Registry, plugin: Plugin | None, value: Any) -> None:
    """Add all that a module or object with hooks defines, or nothing; None is tabcf itself.

    Raises:
        PluginError: A hook is misspelt or has another signature, returns something that is no
            definition, fails, or defines a name that is taken.
    """
    name, label = (plugin.name, plugin.label) if plugin is not None else ("", PROJECT)
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    try:
        manager.register(value, name=label)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        first = str(error).splitlines()[0]
        raise PluginError(f"plugin {label}: {first}; hooks: {', '.join(HOOKS)}") from None
    definitions = [item for hook in HOOKS for item in _called(manager, hook, label)]
    registry.add(definitions, origin=label, plugin=name)


def _called(manager: pluggy.PluginManager, hook: str, label: str) -> Iterable[Any]:
    try:
        return [item for result in getattr(manager.hook, hook)() for item in result]
    except Exception as error:
        raise PluginError(
            f"plugin {label}: {hook} failed: {type(error).__name__}: {error}"
        ) from error
