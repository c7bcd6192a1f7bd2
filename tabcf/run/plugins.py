"""Whether plugins are right: their files, their hooks, and the examples they give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tabcf.contracts.definitions import Definition
from tabcf.errors import PluginError, SpecError
from tabcf.plugin.finding import Plugin
from tabcf.plugin.registry import Registry
from tabcf.run.registry import PluginStatus, survey_plugins
from tabcf.spec.components import components
from tabcf.spec.document import parse_document
from tabcf.spec.options import component_problems
from tabcf.spec.plugins import add_plugin_file
from tabcf.spec.wording import did_you_mean
from tabcf.spec.yaml_plugin import check_yaml_plugin, read_yaml_plugin

__all__ = ["checked", "find_plugin", "plugin_problems"]


def plugin_problems(
    plugin: str | Path, plugins: Sequence[Any] = (), *, commands: Any = None
) -> list[str]:
    """Everything that is wrong with a plugin, a line each.

    Args:
        plugin: A YAML plugin's file, or the name of an installed plugin or of its package.
        plugins: What `fit` takes as `plugins`.
        commands: An object with the command line's own commands.

    Raises:
        PluginError: There is no such plugin.
    """
    if isinstance(plugin, Path) or plugin.endswith((".yaml", ".yml")):
        try:
            # The same plugin may be installed, as it is while somebody writes it.
            name = read_yaml_plugin(Plugin("", "file", "", "", path=Path(plugin))).file.name
            registry, _ = survey_plugins([*plugins, f"no:{name}"])
            add_plugin_file(registry, Path(plugin))
        except SpecError as error:
            return list(error.problems)
        except PluginError as error:
            return [str(error)]
        return []
    registry, statuses = survey_plugins(plugins, commands=commands)
    status = find_plugin(plugin, statuses)
    if status.error is not None:
        return status.error.splitlines()
    if not status.adds:
        return [
            f"plugin {status.plugin.label}: adds nothing; a hook is marked with "
            "tabcf.plugin.hooks.hookimpl and returns a list"
        ]
    return list(_problems(status.plugin, registry))


def find_plugin(name: str, statuses: Sequence[PluginStatus]) -> PluginStatus:
    """The plugin of that name, or of the package of that name.

    Raises:
        PluginError: There is none; names those that there are.
    """
    for status in statuses:
        if name in (status.plugin.name, status.plugin.distribution):
            return status
    known = [status.plugin.name for status in statuses]
    hint = did_you_mean(name, known) or ";"
    raise PluginError(
        f"no installed plugin named '{name}'{hint} installed: {', '.join(known) or 'none'}"
    )


def checked(status: PluginStatus, registry: Registry) -> PluginStatus:
    """The status of a plugin with what is wrong within it as its error."""
    if status.error is not None:
        return status
    problems = list(_problems(status.plugin, registry))
    return replace(status, error="\n".join(problems)) if problems else status


def _problems(plugin: Plugin, registry: Registry) -> Iterator[str]:
    if plugin.path is not None:
        yield from check_yaml_plugin(registry, read_yaml_plugin(plugin))
        return
    for kind, registered in registry:
        definition = registered.definition
        if registered.origin == plugin.label and isinstance(definition, Definition):
            for message in _example_problems(kind, definition, registry):
                yield f"plugin {plugin.label}: example of the {kind} {definition.name}: {message}"


def _example_problems(kind: str, definition: Definition, registry: Registry) -> Iterator[str]:
    """What is wrong with a definition's own example, if it gives one."""
    if not definition.example:
        return
    try:
        tree = parse_document(definition.example, "example").tree
    except SpecError as error:
        yield from error.problems
        return
    as_spec = {"columns": tree} if kind == "column" else {"metrics": [tree]}
    places = [place._replace(kind=kind) for place in components(as_spec)]
    if not places:
        yield "expected a component"
    for place in places:
        yield from (problem.message for problem in component_problems(place, registry))
