"""A component that stands by itself, such as the value of an option, in no spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.components import Place, name_and_options
from tabcf.spec.document import parse_document
from tabcf.spec.options import component_problems
from tabcf.spec.places import as_text
from tabcf.spec.plain import plain_values
from tabcf.spec.records import Component
from tabcf.spec.wording import describe

__all__ = ["component_alone"]


def component_alone(
    kind: str, given: str | Mapping[str, Any], registry: Registry, *, where: str
) -> Component:
    """A component of a kind, with every problem of its name and options said.

    Args:
        kind: Which of the registry's kinds it is.
        given: Its name, a mapping of its name to its options, or YAML of either, such as
            `{tree: {depth: 4}}`.
        registry: The components that can be named.
        where: What messages call it.

    Raises:
        SpecError: It is no component, no such name is known, or an option is wrong.
    """
    tree = parse_document(given, where).tree if isinstance(given, str) else plain_values(given)
    found = name_and_options(tree)
    if found is None:
        expected = "expected one name, or a mapping of one name to its options"
        raise SpecError([f"{where}: {expected}, got {describe(tree)}"])
    place = Place(kind, (where,), *found)
    problems = [f"{as_text(p.path)}: {p.message}" for p in component_problems(place, registry)]
    if problems:
        raise SpecError(problems)
    return Component.model_validate(tree)
