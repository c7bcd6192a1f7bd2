"""Where each value and each key of a YAML text stands, worked out when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

__all__ = ["KeyPath", "Mark", "Marks", "Nodes", "mark_of"]

KeyPath = tuple[str | int, ...]


class Mark(NamedTuple):
    """A place in a text; both count from 1."""

    line: int
    column: int


# The number of the collection around it (-1 for the whole), its key or position there, and
# where key and value stand as the parser says it: None for no key, and for what is not counted.
Node = tuple[int, str | int | None, Any, Any]


class Nodes:
    """All nodes in the order of the text; paths and marks are worked out when they are asked for.

    That takes as long as all the rest, and only a file with a mistake needs it.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    @cached_property
    def marks(self) -> tuple[dict[KeyPath, Mark], dict[KeyPath, Mark]]:
        """The marks of values and of keys by path; what came first counts."""
        values: dict[KeyPath, Mark] = {}
        keys: dict[KeyPath, Mark] = {}
        paths: list[KeyPath] = []
        for parent, step, key, value in self.nodes:
            path: KeyPath = () if step is None else (*paths[parent], step)
            paths.append(path)
            if key is not None:
                keys.setdefault(path, mark_of(key))
            if value is not None:
                values.setdefault(path, mark_of(value))
        return values, keys

    def path(self, number: int) -> KeyPath:
        """The path of the node of that number."""
        parent, step, *_ = self.nodes[number]
        return () if step is None else (*self.path(parent), step)


class Marks(Mapping[KeyPath, Mark]):
    """The marks of values, or of keys."""

    def __init__(self, nodes: Nodes, *, of_keys: bool) -> None:
        self._nodes, self._of_keys = nodes, of_keys

    def __getitem__(self, path: KeyPath) -> Mark:
        return self._nodes.marks[self._of_keys][path]

    def __iter__(self) -> Iterator[KeyPath]:
        return iter(self._nodes.marks[self._of_keys])

    def __len__(self) -> int:
        return len(self._nodes.marks[self._of_keys])


def mark_of(mark: Any) -> Mark:
    """A mark of the parser, which counts from 0."""
    return Mark(mark.line + 1, mark.column + 1)
