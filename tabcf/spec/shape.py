"""Plain values against one record: what pydantic found, in words, and what it let pass.

Pydantic reads `"3"` and `true` as numbers where one is wanted; a spec has to say what it means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from tabcf.contracts.options import Options
from tabcf.spec.marks import KeyPath
from tabcf.spec.places import Problem
from tabcf.spec.wording import describe, did_you_mean, expectation, nodes_at

__all__ = ["record_schema", "validated"]

RecordT = TypeVar("RecordT", bound=Options)

# Errors that the record's own schema says better than pydantic's text.
_SAID_BY_SCHEMA = (
    "_type",
    "_parsing",
    "_from_float",
    "_error",
    "greater_than",
    "less_than",
    "too_short",
    "too_long",
    "finite_number",
    "enum",
)
_SAID_BY_ITSELF = ("value_error", "assertion_error")


class _Found(NamedTuple):
    """One of pydantic's errors: where in the given value, and how far its union went."""

    path: KeyPath
    kind: str
    message: str
    ends_in_union: bool
    value: Any


@lru_cache(maxsize=256)
def record_schema(record: type[Options]) -> Mapping[str, Any]:
    """A record's JSON Schema; empty where one of its types has none."""
    try:
        return record.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return {}


def validated(
    record: type[RecordT], given: Any, *, path: KeyPath = (), shown: KeyPath = ()
) -> tuple[RecordT | None, list[Problem]]:
    """A record made of plain values, or every problem with them.

    Args:
        record: The record.
        given: Plain values, or the record's shorthand.
        path: Where `given` stands in the spec.
        shown: The same as messages show it.
    """
    parsed = None
    found: list[_Found] = []
    try:
        parsed = record.model_validate(given)
        if not _is_converted(parsed, given):
            return parsed, []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        found = [_found(given, detail) for detail in details]
    schema = record_schema(record)
    messages = dict(_messages(given, found, schema))
    for place, value in _conversions(given, schema):
        messages.setdefault(place, [_expected(schema, place, value)])
    problems = [
        Problem((*path, *place), message, (*shown, *_shown(place, message)), _is_at_key(message))
        for place, said in messages.items()
        for message in said
    ]
    return (None, problems) if problems else (parsed, [])


def _found(given: Any, detail: Any) -> _Found:
    """Follow pydantic's path through the given values; what is not there names a union's branch.

    For `columns: {age: {}}` the path `("columns", "dict[str,Component]", "age")` becomes
    `("columns", "age")`; below a shorthand's bare value there is nothing to follow.
    """
    path: list[str | int] = []
    value, kind = given, str(detail["type"])
    location: Sequence[str | int] = detail["loc"]
    ends_in_union = False
    for position, step in enumerate(location):
        is_last = position == len(location) - 1
        if _holds(value, step):
            path.append(step)
            value, ends_in_union = value[step], False
        elif isinstance(value, Mapping) and kind == "missing" and is_last:
            path.append(step)
        elif isinstance(value, list) and kind == "missing":
            kind = "too_short"
        else:
            ends_in_union = step != "[key]"
    message = str(detail["msg"])
    if kind in _SAID_BY_ITSELF:
        message = str(detail["ctx"]["error"])
    return _Found(tuple(path), kind, message, ends_in_union, value)


def _holds(value: Any, step: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, Mapping) and step in value


def _messages(
    given: Any, found: Iterable[_Found], schema: Mapping[str, Any]
) -> Iterator[tuple[KeyPath, list[str]]]:
    """One list of messages a path; where a union's branch fits best, only that branch's."""
    at: dict[KeyPath, list[_Found]] = {}
    for error in found:
        at.setdefault(error.path, []).append(error)
    for path, errors in at.items():
        is_deeper = any(len(p) > len(path) and p[: len(path)] == path for p in at)
        errors = [e for e in errors if not (e.ends_in_union and is_deeper)]
        own = list(dict.fromkeys(_own_message(e, schema) for e in errors))
        own = [message for message in own if message]
        if own:
            yield path, own
        elif errors:
            yield path, [_expected(schema, path, errors[0].value, errors[0].message)]


def _own_message(error: _Found, schema: Mapping[str, Any]) -> str:
    """The message of an error that has one of its own; empty for a mere wrong value."""
    if error.kind in _SAID_BY_ITSELF:
        return error.message
    if error.kind == "missing":
        return "is required"
    if error.kind == "extra_forbidden":
        return _unknown_key(str(error.path[-1]), nodes_at(schema, error.path[:-1]))
    if any(part in error.kind for part in _SAID_BY_SCHEMA):
        return ""
    return f"{error.message.replace('Input should be', 'expected')}, got {describe(error.value)}"


def _unknown_key(key: str, nodes: Iterable[Mapping[str, Any]]) -> str:
    known = [name for node in nodes for name in node.get("properties", {})]
    if not known:
        return f"unknown key '{key}'; there are no options"
    hint = did_you_mean(key, known) or ";"
    return f"unknown key '{key}'{hint} known: {', '.join(known)}"


def _expected(
    schema: Mapping[str, Any], path: KeyPath, value: Any, otherwise: str = "another value"
) -> str:
    nodes = nodes_at(schema, path)
    wanted = expectation(nodes) or otherwise.removeprefix("Input should be ")
    hint = ""
    if isinstance(value, str):
        choices = [c for n in nodes for c in (*n.get("enum", ()), n.get("const"))]
        hint = did_you_mean(value, [c for c in choices if isinstance(c, str)])
    return f"expected {wanted}, got {describe(value)}{hint}"


def _is_at_key(message: str) -> bool:
    return message.startswith("unknown key ")


def _shown(path: KeyPath, message: str) -> KeyPath:
    """An unknown key belongs to what holds it."""
    return path[:-1] if _is_at_key(message) else path


def _is_converted(parsed: Any, given: Any) -> bool:
    """Whether a given word, number or truth value became another kind of value."""
    if isinstance(given, (str, bool, int, float)):
        if not isinstance(parsed, (str, bool, int, float)):
            return False
        return _family(parsed) is not _family(given)
    if isinstance(given, Mapping):
        if isinstance(parsed, BaseModel):
            names = _field_names(type(parsed))
            pairs = [(names[key], item) for key, item in given.items() if key in names]
            return any(_is_converted(getattr(parsed, name), item) for name, item in pairs)
        if isinstance(parsed, Mapping):
            return any(_is_converted(parsed.get(key), item) for key, item in given.items())
    if isinstance(given, list) and isinstance(parsed, (list, tuple)):
        return any(_is_converted(p, g) for p, g in zip(parsed, given, strict=False))
    return False


@lru_cache(maxsize=256)
def _field_names(record: type[BaseModel]) -> Mapping[str, str]:
    """A record's fields by the keys that a spec gives them."""
    return {field.alias or name: name for name, field in record.model_fields.items()}


def _family(value: object) -> type:
    if isinstance(value, (str, bool)):
        return bool if isinstance(value, bool) else str
    return float


def _conversions(given: Any, schema: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    """The words, numbers and truth values where the schema wants another kind, by their paths."""
    stack: list[tuple[KeyPath, Any]] = [((), given)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, Mapping):
            stack += [((*path, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            stack += [((*path, position), item) for position, item in enumerate(value)]
        elif isinstance(value, (str, bool, int, float)):
            nodes = nodes_at(schema, path)
            if nodes and not any(_takes(node, value) for node in nodes):
                yield path, value


def _takes(node: Mapping[str, Any], value: str | bool | int | float) -> bool:
    if "const" in node or "enum" in node:
        choices = [*node.get("enum", ()), *([node["const"]] if "const" in node else ())]
        return any(_family(choice) is _family(value) for choice in choices)
    if "type" not in node:
        return True
    kinds = {str: {"string"}, bool: {"boolean"}, float: {"integer", "number"}}
    return node["type"] in kinds[_family(value)]
