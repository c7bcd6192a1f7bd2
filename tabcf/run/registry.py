"""The registry of one composition: built-ins, installed plugins, and plugins given in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabcf.errors import PluginError
from tabcf.plugin.loading import installed_plugins, register
from tabcf.plugin.registry import Registry
from tabcf.run.builtins import builtin_registry

__all__ = ["compose_registry"]


def compose_registry(plugins: Sequence[Any] = ()) -> Registry:
    """All components that a spec may name.

    An installed plugin that cannot be imported or registered is left out, so that runs that do
    not need it go on; one given in Python raises.

    Args:
        plugins: Modules or objects with hooks, beside those that are installed.

    Raises:
        PluginError: A given plugin cannot be registered, or two plugins define one name.
    """
    registry = builtin_registry()
    for found in installed_plugins():
        if found.error is not None:
            registry.set_aside(found.distribution, found.error)
            continue
        try:
            register(registry, [(f"{found.distribution} {found.version}", found.plugin)])
        except PluginError as error:
            registry.set_aside(found.distribution, str(error))
    for plugin in plugins:
        name = getattr(plugin, "__name__", type(plugin).__name__)
        register(registry, [(name, plugin)])
    return registry
