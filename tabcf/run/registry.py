"""The registry of one composition: built-ins, installed plugins, and plugins given in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabcf.errors import PluginError, SpecError
from tabcf.plugin.loading import installed_plugins, register
from tabcf.plugin.registry import Registry
from tabcf.run.builtins import builtin_registry

__all__ = ["compose_registry", "require_installed"]


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


def require_installed(names: Sequence[str]) -> None:
    """Raise unless each plugin that a spec lists is installed, by its own or its package's name.

    Raises:
        SpecError: One is not; names those that are.
    """
    if not names:
        return
    found = installed_plugins()
    known = {plugin.name for plugin in found} | {plugin.distribution for plugin in found}
    missing = [name for name in names if name not in known]
    if missing:
        installed = ", ".join(sorted(plugin.name for plugin in found)) or "none"
        raise SpecError(
            [
                f"plugins: no installed plugin named '{name}'; installed: {installed}"
                for name in missing
            ]
        )
