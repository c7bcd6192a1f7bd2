"""The plugins that a spec lists, and those whose parts it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tabcf.errors import PluginError, SpecError
from tabcf.plugin.finding import Plugin
from tabcf.plugin.registry import Registry
from tabcf.spec.components import components
from tabcf.spec.places import Problem
from tabcf.spec.wording import did_you_mean
from tabcf.spec.yaml_plugin import add_yaml_plugin, check_yaml_plugin, read_yaml_plugin

__all__ = ["add_plugin_file", "check_used_plugins", "with_entities", "with_spec_plugins"]


def with_spec_plugins(
    tree: Any, registry: Registry, folder: Path | None, label: str | None
) -> Registry:
    """A registry that has the files under `plugins:` too.

    Raises:
        SpecError: A listed plugin is not installed, broken, or a file that cannot be used.
    """
    listed = tree.get("plugins") if isinstance(tree, Mapping) else None
    if not isinstance(listed, list):
        return registry
    registry = registry.copy()
    problems: list[str] = []
    for name in filter(lambda item: isinstance(item, str), listed):
        try:
            if _is_file(name):
                add_plugin_file(registry, (folder or Path()) / name, label=_beside(name, label))
            else:
                problems += _not_installed(name, registry)
        except SpecError as error:
            problems += error.problems
        except PluginError as error:
            problems.append(str(error))
    if problems:
        raise SpecError(problems)
    return registry


def add_plugin_file(registry: Registry, path: Path, *, label: str | None = None) -> None:
    """Register a YAML plugin's file.

    Raises:
        SpecError: The file is no plugin; every problem with its place.
        PluginError: One of its names is taken.
    """
    read = read_yaml_plugin(Plugin("", "file", "", "", path=path), label=label)
    name = read.file.name
    if name in registry.plugins:
        other = registry.plugins[name]
        where = f"the file {other.path}" if other.origin == "file" else other.label
        raise PluginError(f"plugin '{name}' is both {where} and the file {path}; rename one")
    add_yaml_plugin(registry, read)
    registry.plugins[name] = read.plugin
    problems = check_yaml_plugin(registry, read)
    if problems:
        raise SpecError(problems)


def check_used_plugins(tree: Mapping[str, Any], registry: Registry) -> None:
    """Raise if an installed YAML plugin whose parts a spec names has mistakes of its own."""
    problems: list[str] = []
    for name in sorted(set(_used(tree, registry))):
        plugin = registry.plugins.get(name)
        if plugin is not None and plugin.path is not None and plugin.origin == "installed":
            problems += check_yaml_plugin(registry, read_yaml_plugin(plugin))
    if problems:
        raise SpecError(problems)


def with_entities(
    tree: Mapping[str, Any], registry: Registry
) -> tuple[Mapping[str, Any], list[Problem]]:
    """Plain values in which `device: nightlife/device` is that entity itself."""
    entities = tree.get("entities")
    if not isinstance(entities, Mapping):
        return tree, []
    problems: list[Problem] = []
    found = dict(entities)
    for name, value in entities.items():
        if isinstance(value, str):
            full = _entity_name(value, registry)
            if full is None:
                path = ("entities", name)
                problems.append(Problem(path, _unknown_entity(value, registry), path))
                found[name] = {"id": value}
            else:
                found[name] = registry.entities[full].values
    return {**tree, "entities": found}, problems


def _used(tree: Mapping[str, Any], registry: Registry) -> Iterator[str]:
    for place in components(tree):
        if registry.has(place.kind, place.name):
            part = registry.part(place.kind, place.name)
            if part is not None:
                yield part.plugin
    entities = tree.get("entities")
    if isinstance(entities, Mapping):
        for value in entities.values():
            full = _entity_name(value, registry) if isinstance(value, str) else None
            if full is not None:
                yield registry.entities[full].plugin


def _entity_name(name: str, registry: Registry) -> str | None:
    known = registry.entities
    if name in known:
        return name
    found = [full for full in known if full.endswith(f"/{name}")]
    return found[0] if len(found) == 1 else None


def _unknown_entity(name: str, registry: Registry) -> str:
    known = sorted(registry.entities)
    found = [full for full in known if full.endswith(f"/{name}")]
    if len(found) > 1:
        return f"entity '{name}' is of several plugins; write {' or '.join(found)}"
    if not known:
        return f"expected a mapping with the key id; no plugin has an entity '{name}'"
    bare = [full.rpartition("/")[2] for full in known]
    hint = did_you_mean(name, [*known, *bare]) or ";"
    return f"no plugin has an entity '{name}'{hint} known: {', '.join(known)}"


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name


def _beside(name: str, label: str | None) -> str:
    """A plugin's file as messages call it: as the spec's own file is called."""
    return str(Path(label).parent / name) if label else name


def _not_installed(name: str, registry: Registry) -> list[str]:
    distributions = {plugin.distribution for plugin in registry.plugins.values()}
    if name in registry.plugins or name in distributions:
        return []
    if name in registry.broken:
        return [f"plugins: {registry.broken[name]}"]
    known = sorted(registry.plugins)
    hint = did_you_mean(name, known) or ";"
    return [
        f"plugins: no installed plugin named '{name}'{hint} "
        f"installed: {', '.join(known) or 'none'}; pip install it, or name a file such as "
        f"./{name}.yaml"
    ]
