"""Which plugins a run needs, with versions and content hashes, and whether they are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tabcf.errors import PluginError, RunError, SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.components import COMPONENTS
from tabcf.spec.plugins import add_plugin_file
from tabcf.spec.records import Component, Spec

__all__ = ["add_files", "check_lock", "copy_files", "lock_plugins"]

_FOLDER = "plugins"


def lock_plugins(spec: Spec, registry: Registry, parts: Iterable[str]) -> dict[str, Any]:
    """What a run needs of plugins, by the plugin's name.

    Args:
        spec: The run's spec.
        registry: What it was fitted with.
        parts: The keys of plugins' columns that only serve to make others.
    """
    used: dict[str, list[str]] = {}
    hidden = [("column", Component.model_validate(_part_name(key))) for key in parts]
    for kind, component in [*_components(spec), *hidden]:
        for inner, full in _needed(kind, component, registry, ""):
            plugin, slash, name = full.rpartition("/")
            if slash and f"{inner} {name}" not in used.setdefault(plugin, []):
                used[plugin].append(f"{inner} {name}")
    return {
        name: {
            "origin": registry.plugins[name].origin,
            "distribution": registry.plugins[name].distribution,
            "version": registry.plugins[name].version,
            "sha256": registry.plugins[name].content_hash(),
            "install": registry.plugins[name].install_line,
            "needs": sorted(needs),
        }
        for name, needs in sorted(used.items())
    }


def copy_files(lock: Mapping[str, Any], registry: Registry, folder: Path) -> None:
    """Copy YAML plugins that are files into a run's folder: it is then complete."""
    for name, entry in lock.items():
        path = registry.plugins[name].path
        if entry["origin"] == "file" and path is not None:
            (folder / _FOLDER).mkdir(exist_ok=True)
            (folder / _FOLDER / f"{name}.yaml").write_bytes(path.read_bytes())


def add_files(lock: Mapping[str, Any], registry: Registry, folder: Path) -> None:
    """Register the YAML plugins that a run's folder has.

    Raises:
        RunError: One of them cannot be used, such as when its name is taken by now.
    """
    for name, entry in lock.items():
        if entry["origin"] == "file":
            path = folder / _FOLDER / f"{name}.yaml"
            try:
                add_plugin_file(registry, path)
            except (SpecError, PluginError) as error:
                raise RunError(str(error)) from None


def check_lock(
    lock: Mapping[str, Any], registry: Registry, *, where: str, allow_changed: bool = False
) -> None:
    """Raise if a plugin that a run needs is missing, broken or another than it was.

    Raises:
        RunError: Says which, and how to get it.
    """
    for name, entry in lock.items():
        label = f"{entry['distribution']} {entry['version']}".strip()
        what = f"the {' and the '.join(entry['needs'])} of the plugin {label}"
        if name in registry.broken:
            raise RunError(
                f"{where}: needs {what}, and the one that is installed is broken: "
                f"{registry.broken[name]}"
            )
        if name not in registry.plugins:
            raise RunError(f"{where}: needs {what}; {entry['install']}")
        now = registry.plugins[name]
        for need in entry["needs"]:
            kind, _, part = need.partition(" ")
            if not registry.has(kind, f"{name}/{part}"):
                raise RunError(
                    f"{where}: needs {what}, and {now.label} has no {need}; {entry['install']}"
                )
        changed = now.content_hash() != entry["sha256"]
        if (changed or now.version != entry["version"]) and not allow_changed:
            found = f"{now.label} is here" if now.label != label else "its content has changed"
            raise RunError(
                f"{where}: was fitted with {label}, and {found}; {entry['install']}, or load it "
                "all the same with allow_changed_plugins=True (--allow-changed-plugins)"
            )


def _part_name(key: str) -> str:
    """The full name of a part by its column's key: an entity's name may stand before it."""
    plugin, _, name = key.partition("/")
    return f"{plugin.rpartition('.')[2]}/{name}"


def _components(spec: Spec) -> Iterator[tuple[str, Component]]:
    """Every component of a spec that a saved run needs, with its kind.

    Who was told of the fit, how items were drawn for it, and who took its steps, is of no use
    afterwards.
    """
    for kind, pattern in COMPONENTS:
        if kind in ("tracker", "sampler", "engine"):
            continue
        for value in _values(spec, pattern):
            if isinstance(value, Component):
                yield kind, value


def _values(value: Any, pattern: tuple[str, ...]) -> Iterator[Any]:
    if not pattern:
        yield value
    elif pattern[0] not in ("*", "#"):
        yield from _values(getattr(value, pattern[0], None), pattern[1:])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _values(item, pattern[1:])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _values(item, pattern[1:])


def _needed(
    kind: str, component: Component, registry: Registry, scope: str
) -> Iterator[tuple[str, str]]:
    """The full names that a component comes to: itself, and what it stands for or is made of."""
    full = registry.full_name(kind, component.name, scope)
    yield kind, full
    part = registry.part(kind, full)
    if part is not None:
        inner = Component(name=part.name, options=part.options)
        yield from _needed(kind, inner, registry, part.plugin)
        return
    options = registry.resolve_in(scope, kind, component).options
    for name in getattr(options, "losses", ()) if kind == "loss" else ():
        yield from _needed(kind, Component.model_validate(name), registry, scope)
