"""The registry of one composition: built-ins, installed plugins, and plugins given in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tabcf.errors import PluginError, SpecError
from tabcf.plugin.finding import Plugin, given_plugin, installed_plugins, module_plugin
from tabcf.plugin.loading import load, register
from tabcf.plugin.registry import Registry
from tabcf.run.builtins import builtin_registry
from tabcf.spec.yaml_plugin import add_yaml_plugin, read_yaml_plugin

__all__ = ["PluginStatus", "compose_registry", "survey_plugins"]

_WITHOUT = "no:"


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """A plugin, what it adds, and why it cannot be used, None where it can."""

    plugin: Plugin
    adds: tuple[str, ...]
    error: str | None


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
    return survey_plugins(plugins)[0]


def survey_plugins(
    plugins: Sequence[Any] = (), *, commands: Any = None
) -> tuple[Registry, list[PluginStatus]]:
    """All components, and every plugin that was found: installed ones by name, then given ones.

    Args and errors are those of `compose_registry`; `commands` is an object with the command
    line's own ones, whose names no plugin can have.
    """
    registry = builtin_registry()
    if commands is not None:
        register(registry, None, commands)
    names = [plugin for plugin in plugins if isinstance(plugin, str)]
    without = [name.removeprefix(_WITHOUT) for name in names if name.startswith(_WITHOUT)]
    installed = installed_plugins(without=without)
    statuses = []
    for plugin in installed:
        rivals = [other.label for other in installed if other.name == plugin.name]
        try:
            if len(rivals) > 1:
                two = " and ".join(rivals)
                raise PluginError(
                    f"plugin '{plugin.name}' is of two packages, {two}; remove one of them"
                )
            _add(registry, plugin)
        except (PluginError, SpecError) as error:
            said = str(error)
            if plugin.label not in said:
                said = f"plugin {plugin.label}: {said}"
            registry.set_aside(plugin.name, said)
            statuses.append(PluginStatus(plugin, (), said))
        else:
            statuses.append(PluginStatus(plugin, registry.added_by(plugin.name), None))
    for value in plugins:
        if not isinstance(value, str):
            given = given_plugin(value)
        elif not value.startswith(_WITHOUT):
            given = module_plugin(value)
        else:
            continue
        _add(registry, given)
        statuses.append(PluginStatus(given, registry.added_by(given.name), None))
    return registry, statuses


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
