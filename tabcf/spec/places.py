"""Where a spec's values were written, and how a problem with one is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tabcf.spec.marks import KeyPath, Mark

__all__ = ["Places", "Problem", "as_text", "problem_lines"]


class Problem(NamedTuple):
    """Something wrong with the value (or the key) at a path, or at a mark of its own.

    `shown` is the path as messages have it: without the component's name, as in
    `model.layers[1]`.
    """

    path: KeyPath
    message: str
    shown: KeyPath
    at_key: bool = False
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """A file's marks, and the `--set` texts that stand above the file.

    Attributes:
        name: What messages call the file; None for a spec from Python.
        values: Place of each value.
        keys: Place of each mapping's key.
        overrides: The text of each override, by the path that it sets.
    """

    name: str | None = None
    values: Mapping[KeyPath, Mark] = field(default_factory=dict)
    keys: Mapping[KeyPath, Mark] = field(default_factory=dict)
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    def override(self, path: KeyPath) -> KeyPath | None:
        """The path of the override that set the value at `path`, if one did."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.overrides:
                return path[:length]
        return None

    def mark(self, path: KeyPath, *, at_key: bool = False) -> Mark | None:
        """The mark of a value, or of the nearest value around it."""
        if at_key and path in self.keys:
            return self.keys[path]
        for length in range(len(path), -1, -1):
            if path[:length] in self.values:
                return self.values[path[:length]]
        return None

    def origin(self, path: KeyPath) -> str:
        """Where a given value comes from: `movies.yaml:12`, `--set` or `given`."""
        if self.override(path) is not None:
            return "--set"
        mark = self.mark(path)
        return f"{self.name}:{mark.line}" if self.name and mark else "given"


def as_text(path: KeyPath) -> str:
    """A path as it is written: `model.layers[1]`.

    Example:
        >>> as_text(("model", "layers", 1))
        'model.layers[1]'
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def problem_lines(problems: Iterable[Problem], places: Places) -> list[str]:
    """One line a problem: those of the file from top to bottom, then those of overrides."""
    order = list(places.overrides)
    lines: dict[str, tuple[int, int, int]] = {}
    for problem in problems:
        shown = as_text(problem.shown)
        said = f"{shown}: {problem.message}" if shown else problem.message
        override = places.override(problem.path) if problem.mark is None else None
        mark = problem.mark or places.mark(problem.path, at_key=problem.at_key)
        if override is not None:
            text = places.overrides[override]
            if text.partition("=")[0].strip() == as_text(problem.path):
                said = problem.message
            line, rank = f"--set {text}: {said}", (1, order.index(override), 0)
        elif places.name is not None and mark is not None:
            line = f"{places.name}:{mark.line}:{mark.column}: {said}"
            rank = (0, mark.line, mark.column)
        else:
            line = f"{places.name}: {said}" if places.name is not None else said
            rank = (2, 0, 0)
        lines.setdefault(line, rank)
    return sorted(lines, key=lambda line: lines[line])
