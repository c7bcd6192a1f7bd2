"""Which places of a spec hold a component, and of which kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tabcf.spec.marks import KeyPath

__all__ = ["COMPONENTS", "Place", "components", "kind_at", "name_and_options"]

# A star stands for every key or every position, a hash for every position alone.
COMPONENTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("model", ("model",)),
    ("fit", ("fit",)),
    ("loss", ("loss",)),
    ("metric", ("metrics", "*")),
    ("column", ("columns", "*")),
    ("column", ("entities", "*", "columns", "*")),
    ("sampler", ("negatives",)),
    ("split", ("split",)),
    ("unknown", ("unknown",)),
    ("schedule", ("train", "schedule")),
    ("engine", ("train", "engine")),
    ("model", ("retrieve", "model")),
    ("loss", ("retrieve", "loss")),
    ("sampler", ("retrieve", "negatives")),
    ("unknown", ("retrieve", "unknown")),
    ("schedule", ("retrieve", "train", "schedule")),
    ("engine", ("retrieve", "train", "engine")),
    ("tracker", ("track", "*")),
    ("reranker", ("rerank", "#")),
    ("reranker", ("rerank",)),
)


class Place(NamedTuple):
    """A component as it was written.

    Attributes:
        kind: Which of the registry's kinds it is.
        path: Where it stands.
        name: Its name.
        options: A mapping, a lone value, or None where there are none.
        below: What comes between `path` and an option: the name, unless it stands alone.
    """

    kind: str
    path: KeyPath
    name: str
    options: Any
    below: KeyPath


def components(tree: Any) -> Iterator[Place]:
    """Every component of a spec's plain values whose shape is right, in the grammar's order."""
    for kind, pattern in COMPONENTS:
        for path, value in _matches(tree, pattern, ()):
            found = name_and_options(value)
            if found is not None:
                yield Place(kind, path, *found)


def kind_at(path: KeyPath) -> str | None:
    """The kind of component that a path holds, if it holds one."""
    for kind, pattern in COMPONENTS:
        if len(pattern) == len(path) and all(
            want in ("*", step) or (want == "#" and isinstance(step, int))
            for want, step in zip(pattern, path, strict=True)
        ):
            return kind
    return None


def name_and_options(value: Any) -> tuple[str, Any, KeyPath] | None:
    """The name, the options and the steps down to them; None if it is no component."""
    if isinstance(value, str):
        return value, None, ()
    if not isinstance(value, Mapping):
        return None
    if set(value) == {"name", "options"} and isinstance(value["options"], Mapping):
        # As a record is dumped: a shorthand's value stands below an empty key.
        options = value["options"]
        below: KeyPath = ("options",)
        if set(options) == {""}:
            options, below = options[""], ("options", "")
        return (value["name"], options, below) if _is_name(value["name"]) else None
    if len(value) != 1:
        return None
    name, options = next(iter(value.items()))
    return (name, options, (name,)) if _is_name(name) else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _matches(value: Any, pattern: tuple[str, ...], path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if not pattern:
        if value is not None:
            yield path, value
        return
    step, rest = pattern[0], pattern[1:]
    if isinstance(value, Mapping):
        keys = list(value) if step == "*" else [step] if step in value else []
        for key in keys:
            yield from _matches(value[key], rest, (*path, key))
    elif isinstance(value, list) and step in ("*", "#"):
        for position, item in enumerate(value):
            yield from _matches(item, rest, (*path, position))
