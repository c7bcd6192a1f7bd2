"""Which plugins there are: installed, named, or given. Nothing of them is imported."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tabcf.errors import PluginError

__all__ = [
    "ALLOWED",
    "ENTRY_POINTS",
    "Plugin",
    "given_plugin",
    "installed_plugins",
    "module_plugin",
]

ENTRY_POINTS = "tabcf"
ALLOWED = "TABCF_PLUGINS"
_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that was found; its code is not loaded yet.

    Attributes:
        name: What its components' full names start with.
        origin: How it came here: `installed`, a `file` that a spec names, a `module` named on
            the command line, or `given` from Python.
        distribution: The package that has it, its own name for one that is not installed.
        version: The package's version, or that which the file states.
        path: The YAML file, for a plugin that is one.
        target: What is to be imported, such as `tabcf_ordinal`; empty for YAML and given ones.
        value: The module or object with hooks, where it was given.
    """

    name: str
    origin: Literal["installed", "file", "module", "given"]
    distribution: str
    version: str
    path: Path | None = None
    target: str = ""
    value: Any = None

    @property
    def label(self) -> str:
        """What messages call it: the distribution and its version."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def install_line(self) -> str:
        """How somebody gets it who lacks it."""
        if self.origin == "installed":
            return f"pip install '{self.distribution}=={self.version}'"
        return f"give it as load(..., plugins=[...]), or with -p {self.name}"

    def content_hash(self) -> str | None:
        """SHA-256 of the YAML file, or of the files of the package or module.

        None where the plugin was given from Python, or nothing of it can be read.
        """
        if self.path is not None:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        files = list(_files(self.target.partition(":")[0]))
        if not files:
            return None
        digest = hashlib.sha256()
        for name, content in files:
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    def mentions(self, hook: str) -> bool:
        """Whether its code names a hook; what does not cannot implement it. Imports nothing."""
        if self.value is not None:
            return True
        files = _files(self.target.partition(":")[0]) if self.target else ()
        return any(hook.encode() in content for name, content in files if name.endswith(".py"))


def installed_plugins(*, without: Sequence[str] = ()) -> list[Plugin]:
    """Plugins of the entry-point group `tabcf`, sorted by name; nothing of them is imported.

    The environment variable TABCF_PLUGINS, names with commas between them, allows only those.

    Args:
        without: Names of plugins or packages to leave out; `*` leaves out all.
    """
    if "*" in without:
        return []
    allowed = os.environ.get(ALLOWED)
    names = None if allowed is None else {name.strip() for name in allowed.split(",")}
    found = []
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        distribution, version = _name_and_version(entry)
        own = {entry.name, distribution}
        if own & set(without) or (names is not None and not own & names):
            continue
        is_yaml = entry.value.endswith(_YAML)
        found.append(
            Plugin(
                entry.name,
                "installed",
                distribution,
                version,
                path=_resource(entry) if is_yaml else None,
                target="" if is_yaml else entry.value,
            )
        )
    return sorted(found, key=lambda plugin: (plugin.name, plugin.distribution))


def module_plugin(name: str) -> Plugin:
    """The plugin that a module on the path is, as `-p` names it.

    Raises:
        PluginError: There is no such module.
    """
    try:
        is_there = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        is_there = False
    except Exception as error:  # the package around it is imported
        message = f"-p {name}: cannot be imported: {type(error).__name__}: {error}"
        raise PluginError(message) from error
    if not is_there:
        hint = "; a spec lists YAML plugins under `plugins`" if name.endswith(_YAML) else ""
        raise PluginError(f"-p {name}: no module of that name on the path{hint}")
    return Plugin(name, "module", name, "", target=name)


def given_plugin(value: Any) -> Plugin:
    """The plugin that a module or an object with hooks is."""
    name = getattr(value, "__name__", type(value).__name__)
    return Plugin(name, "given", name, "", value=value)


def _name_and_version(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Those of the package that has an entry point.

    They are read from the first lines of its metadata: the parser of mails, which
    `importlib.metadata` uses for each of them, takes ten times as long.
    """
    if entry.dist is None:
        return entry.name, ""
    text = entry.dist.read_text("METADATA") or entry.dist.read_text("PKG-INFO") or ""
    lines = text.partition("\n\n")[0].splitlines()
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    return headers.get("Name", entry.name).strip(), headers.get("Version", "").strip()


def _resource(entry: importlib.metadata.EntryPoint) -> Path | None:
    """The file that `package:plugin.yaml` names, found without importing the package."""
    package, _, name = entry.value.partition(":")
    first, *rest = package.split(".")
    if entry.dist is not None:
        path = Path(str(entry.dist.locate_file("/".join([first, *rest, name]))))
        if path.is_file():
            return path
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, *rest, name)
        if path.is_file():
            return path
    return Path(*package.split("."), name)


def _files(module: str) -> Iterator[tuple[str, bytes]]:
    """The files of a module or of its package, by name; nothing compiled."""
    first = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(first) if first else None
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        paths = [(Path(spec.origin).name, Path(spec.origin))] if spec.origin else []
    else:
        paths = [
            (path.relative_to(folder).as_posix(), path)
            for folder in map(Path, spec.submodule_search_locations)
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        ]
    for name, path in sorted(paths):
        yield name, path.read_bytes()
