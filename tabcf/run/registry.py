"""The registry of one composition: built-ins, installed plugins, and plugins given in Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tabcf.errors import PluginError, SpecError
from tabcf.plugin.loading import (
    Plugin,
    given_plugin,
    installed_plugins,
    load,
    module_plugin,
    register,
)
from tabcf.plugin.registry import Registry
from tabcf.run.builtins import builtin_registry
from tabcf.spec.yaml_plugin import add_yaml_plugin, read_yaml_plugin

__all__ = ["compose_registry"]

_WITHOUT = "no:"


def compose_registry(plugins: Sequence[Any] = ()) -> Registry:
    """All components that a spec may name.

    An installed plugin that cannot be imported or registered is left out, so that runs that do
    not need it go on; one given here raises.

    Args:
        plugins: Modules or objects with hooks, or names of modules, beside what is installed;
            `"no:NAME"` leaves an installed plugin out, `"no:*"` all of them.

    Raises:
        PluginError: A given plugin cannot be registered, or two plugins define one name.
    """
    registry = builtin_registry()
    names = [plugin for plugin in plugins if isinstance(plugin, str)]
    without = [name.removeprefix(_WITHOUT) for name in names if name.startswith(_WITHOUT)]
    for plugin, error in _installed(registry, without):
        if error is not None:
            registry.set_aside(plugin.name, error)
    for value in plugins:
        if isinstance(value, str):
            if not value.startswith(_WITHOUT):
                _add(registry, module_plugin(value))
        else:
            _add(registry, given_plugin(value))
    return registry


def _installed(registry: Registry, without: Sequence[str]) -> Iterator[tuple[Plugin, str | None]]:
    """Add what is installed; of each plugin why it cannot be used, None where it can."""
    found = installed_plugins(without=without)
    by_name: dict[str, list[Plugin]] = {}
    for plugin in found:
        by_name.setdefault(plugin.name, []).append(plugin)
    for plugin in found:
        rivals = by_name[plugin.name]
        if len(rivals) > 1:
            labels = " and ".join(rival.label for rival in rivals)
            yield plugin, f"plugin '{plugin.name}' is of two packages, {labels}; remove one of them"
            continue
        try:
            _add(registry, plugin)
        except (PluginError, SpecError) as error:
            yield plugin, str(error)
        else:
            yield plugin, None


def _add(registry: Registry, plugin: Plugin) -> None:
    if plugin.path is not None:
        read = read_yaml_plugin(plugin)
        if read.file.name != plugin.name:
            raise PluginError(
                f"{plugin.path}: the plugin is called '{read.file.name}', and {plugin.label} "
                f"installs it as '{plugin.name}'; give both one name"
            )
        add_yaml_plugin(registry, read)
    else:
        register(registry, plugin, load(plugin))
    registry.plugins[plugin.name] = plugin
