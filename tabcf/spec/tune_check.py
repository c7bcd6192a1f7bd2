"""Whether what `tune.space` names is there, and whether each end of a range could be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.check import check
from tabcf.spec.components import components
from tabcf.spec.marks import KeyPath
from tabcf.spec.options import component_problems
from tabcf.spec.overrides import apply_overrides, path_of
from tabcf.spec.places import Problem, as_text
from tabcf.spec.records import Spec
from tabcf.spec.shape import validated
from tabcf.spec.tune import TUNED, Range, domain_ends, override
from tabcf.spec.wording import describe, did_you_mean

__all__ = ["is_whole_number", "tune_problems"]

_AT: KeyPath = ("tune", "space")


def tune_problems(tree: Mapping[str, Any], spec: Spec, registry: Registry) -> list[Problem]:
    """What is wrong with the values that are to be tried, by trying the ends of each.

    Args:
        tree: The spec's plain values, which are right in all else.
        spec: What they became.
        registry: The components that it can name.
    """
    if spec.tune is None or spec.tune.space is None:
        return []
    found = []
    paths: dict[str, KeyPath] = {}
    for text, domain in spec.tune.space.items():
        message = _path_problem(text, paths)
        if message is None:
            messages = _problems(tree, text, domain, registry)
            message = next(messages, None)
        if message is not None:
            found.append(Problem((*_AT, text), message, (*_AT, text), at_key=True))
    return found


def is_whole_number(tree: Mapping[str, Any], text: str, low: int, registry: Registry) -> bool:
    """Whether the value at a path takes integers alone."""
    return _try(tree, text, low + 0.5, registry) is not None


def _path_problem(text: str, paths: dict[str, KeyPath]) -> str | None:
    """What is wrong with a path in itself or beside the others, which it then joins."""
    try:
        path = path_of(text)
    except SpecError:
        return f"expected a path such as train.learning_rate, got {describe(text)}"
    if path[0] not in TUNED:
        hint = did_you_mean(str(path[0]), TUNED) or ";"
        return (
            f"{path[0]} decides on the rows or on what is measured, or is unknown{hint} "
            f"what can be tried: {', '.join(TUNED)}"
        )
    if path[0] == "entities" and (len(path) < 4 or path[2] != "columns"):
        return "of entities only their columns can be tried"
    for other, known in paths.items():
        if path[: len(known)] == known or known[: len(path)] == path:
            return f"lies within {other} or around it; a value is tried in one place"
    paths[text] = path
    return None


def _problems(
    tree: Mapping[str, Any], text: str, domain: Range | tuple[Any, ...], registry: Registry
) -> Iterator[str]:
    for value in domain_ends(domain):
        message = _try(tree, text, value, registry)
        if message is not None:
            yield f"cannot be {describe(value)}: {message}"


def _try(tree: Mapping[str, Any], text: str, value: Any, registry: Registry) -> str | None:
    """What would be wrong with the spec if it had a value at a path."""
    try:
        changed, applied, lines = apply_overrides(tree, [override(text, value)], registry)
    except SpecError as error:
        return error.problems[0]
    if lines:
        return lines[0].partition(": ")[2]
    path = path_of(text)
    for gone in applied:
        if gone != path:
            return f"{as_text(path[: len(gone) + 1])} is not what the spec has at {as_text(gone)}"
    spec, problems = validated(Spec, changed)
    for place in components(changed):
        problems += component_problems(place, registry)
    if spec is not None and not problems:
        problems += check(changed, spec, registry)
    if not problems:
        return None
    first = problems[0]
    shown = as_text(first.shown)
    return f"{shown}: {first.message}" if shown else first.message
