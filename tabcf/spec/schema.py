"""The whole grammar as JSON Schema, for editors and other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ConfigDict
from pydantic.json_schema import models_json_schema

from tabcf.contracts.options import NoOptions, Options
from tabcf.plugin.registry import KINDS, Registry
from tabcf.spec.components import COMPONENTS
from tabcf.spec.records import Component, Spec
from tabcf.spec.shape import record_schema

__all__ = ["json_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(registry: Registry) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a spec that may use the registry's components.

    Each component is a bare name, or a mapping with one key whose value is that component's
    options, its shorthand, or nothing.
    """
    known = {kind: list(_named(registry, kind)) for kind in KINDS}
    records: list[type[Options]] = [Spec, Component]
    for named in known.values():
        records += [n.options for n in named if n.options not in records]
    by_record, shared = models_json_schema(
        [(record, "validation") for record in records], ref_template="#/$defs/{model}"
    )
    schemas = {
        record: _resolved(by_record[(record, "validation")], shared["$defs"]) for record in records
    }
    definitions: dict[str, Any] = dict(shared["$defs"])
    spec = schemas[Spec]
    component = by_record[(Component, "validation")]
    for kind, pattern in COMPONENTS:
        _point(spec, pattern, definitions, old=component["$ref"], new=_reference(kind))
    for kind in KINDS:
        definitions[f"{kind}_component"] = {
            "title": kind.capitalize(),
            "description": f"A {kind}: its name, or a mapping of its name to its options.",
            "oneOf": _forms(known[kind], schemas, by_record) or [{"not": {}}],
        }
    entities = [{"type": "string", "enum": _entity_names(registry)}] if registry.entities else []
    if entities:
        held = spec["properties"]["entities"]["additionalProperties"]
        spec["properties"]["entities"]["additionalProperties"] = {"anyOf": [held, *entities]}
    schema = {"$schema": _DIALECT, **spec, "$defs": definitions}
    schema["$defs"] = {name: definitions[name] for name in sorted(_reachable(schema))}
    return schema


class _Named(NamedTuple):
    """A name that a spec can use, in full or bare, and what may stand below it."""

    name: str
    options: type[Options]
    summary: str


class _AnyOptions(Options):
    """Options of a type that JSON Schema cannot express."""

    model_config = ConfigDict(extra="allow")


def _named(registry: Registry, kind: str) -> Iterator[_Named]:
    for name in sorted({*registry.names(kind), *registry.full_names(kind)}):
        part = registry.part(kind, name)
        if part is not None:
            yield _Named(name, NoOptions, f"{part.name}, as {registry.origin(kind, name)} sets it.")
            continue
        definition = registry.get(kind, name)
        record = definition.options if record_schema(definition.options) else _AnyOptions
        yield _Named(name, record, definition.summary)


def _entity_names(registry: Registry) -> list[str]:
    return sorted({*registry.entities, *(name.rpartition("/")[2] for name in registry.entities)})


def _reference(kind: str) -> str:
    return f"#/$defs/{kind}_component"


def _resolved(schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = definitions[schema["$ref"].rpartition("/")[2]]
    return found


def _forms(
    known: list[_Named],
    schemas: Mapping[type[Options], dict[str, Any]],
    by_record: Mapping[Any, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """A bare name of those whose options all have defaults; then a one-key mapping of each."""
    bare = [definition.name for definition in known if not _required(schemas[definition.options])]
    forms: list[dict[str, Any]] = [{"enum": bare}] if bare else []
    for definition in known:
        options = by_record[(definition.options, "validation")]
        if definition.name in bare:
            options = {"anyOf": [{"type": "null"}, options]}
        forms.append(
            {
                "type": "object",
                "description": definition.summary,
                "properties": {definition.name: options},
                "required": [definition.name],
                "additionalProperties": False,
            }
        )
    return forms


def _required(schema: Mapping[str, Any]) -> list[str]:
    """The options without a default; a record with a shorthand is the last of its two forms."""
    form = schema["anyOf"][-1] if "anyOf" in schema else schema
    return list(form.get("required", ()))


def _point(
    schema: dict[str, Any],
    pattern: tuple[str, ...],
    definitions: Mapping[str, Any],
    *,
    old: str,
    new: str,
) -> None:
    """Replace the reference to `Component` where a pattern of the grammar leads.

    Defaults that are records go: they show how a record is held, not how it is written.
    """
    default = schema.get("default")
    if isinstance(default, Mapping):
        if set(default) == {"name", "options"}:
            schema["default"] = default["name"]
        else:
            del schema["default"]
    if "$ref" in schema and pattern:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    for form in schema.get("anyOf", ()):
        _point(form, pattern, definitions, old=old, new=new)
    if not pattern:
        if schema.get("$ref") == old:
            schema["$ref"] = new
        return
    if pattern[0] == "*":
        below = [schema.get("additionalProperties"), schema.get("items")]
    elif pattern[0] == "#":
        below = [schema.get("items")]
    else:
        below = [schema.get("properties", {}).get(pattern[0])]
    for child in below:
        if isinstance(child, dict):
            _point(child, pattern[1:], definitions, old=old, new=new)


def _reachable(schema: Mapping[str, Any]) -> set[str]:
    """The definitions that the schema's references lead to."""
    definitions = schema["$defs"]
    found: set[str] = set()
    stack: list[Any] = [value for key, value in schema.items() if key != "$defs"]
    while stack:
        node = stack.pop()
        if isinstance(node, Mapping):
            reference = node.get("$ref")
            if isinstance(reference, str):
                name = reference.rpartition("/")[2]
                if name not in found:
                    found.add(name)
                    stack.append(definitions[name])
            stack += node.values()
        elif isinstance(node, list):
            stack += node
    return found
