"""Whether a component's name is known and its options are right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tabcf.contracts.definitions import LossDefinition
from tabcf.errors import PluginError, SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.components import Place
from tabcf.spec.places import Problem
from tabcf.spec.records import Component
from tabcf.spec.shape import validated
from tabcf.spec.wording import describe

__all__ = ["component_problems"]


def component_problems(place: Place, registry: Registry, *, scope: str = "") -> Iterator[Problem]:
    """An unknown name, or what is wrong with the options.

    Args:
        place: The component as it was written.
        registry: The components that can be named.
        scope: The YAML plugin that the component stands in, whose own names come first.
    """
    if not registry.has(place.kind, place.name, scope):
        at = (*place.path, place.name) if place.below == (place.name,) else place.path
        message = registry.unknown_name(place.kind, place.name)
        yield Problem(at, message, place.path, at_key=bool(place.below))
        return
    name = registry.full_name(place.kind, place.name, scope)
    path = (*place.path, *place.below)
    options = {} if place.options is None else place.options
    if registry.part(place.kind, name) is not None:
        if options:
            message = f"{name} takes no options, the plugin has set them; got {describe(options)}"
            first = tuple(options)[:1] if isinstance(options, Mapping) else ()
            yield Problem((*path, *first), message, place.path, at_key=bool(first))
        circle = registry.circle(place.kind, name)
        if circle is not None:
            yield Problem(path, f"stands for itself: {circle}", place.path)
        return
    definition = registry.get(place.kind, name)
    record = definition.options
    if not isinstance(options, Mapping) and record.shorthand is None:
        known = ", ".join(field.alias or name for name, field in record.model_fields.items())
        wanted = f"{place.name} takes no options"
        if known:
            wanted = f"expected a mapping of {place.name}'s options ({known})"
        yield Problem(path, f"{wanted}, got {describe(options)}", place.path)
        return
    _, problems = validated(record, options, path=path, shown=place.path)
    yield from problems
    if not problems and isinstance(definition, LossDefinition) and definition.compose is not None:
        given = options if isinstance(options, Mapping) else {"": options}
        try:
            registry.resolve_in(scope, place.kind, Component(name=name, options=given))
        except (SpecError, PluginError, ValueError) as error:
            yield Problem(path, str(error), place.path)
