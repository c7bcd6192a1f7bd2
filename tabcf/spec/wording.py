"""How values and expectations are put into words, for messages and for the reference page.

Expectations come from a record's JSON Schema, so that what is said is what is checked.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["describe", "did_you_mean", "expectation", "flow", "nodes_at", "type_in_words"]

_LONGEST = 60
_COMPONENT = "#/$defs/Component"
_NOUNS = {
    "boolean": "true or false",
    "null": "nothing",
    "object": "mapping",
    "integer": "integer",
    "number": "number",
}


def describe(value: Any) -> str:
    """A value as a message shows it: as YAML would have it, and never longer than a line."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, (list, tuple)):
        text = flow(value)
        return text if len(text) <= _LONGEST else f"a list of {len(value):,}"
    if isinstance(value, str):
        text = value if len(value) <= _LONGEST else f"{value[: _LONGEST - 3]}..."
        return repr(text)
    if isinstance(value, (bool, int, float)):
        return flow(value)
    name = type(value).__name__
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"


def flow(value: Any) -> str:
    """A plain value on one line, in YAML's flow style, without quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}".replace("inf", ".inf").replace("nan", ".nan")
    return str(value)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known name, nothing where none is near."""
    near = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def expectation(nodes: Sequence[Mapping[str, Any]]) -> str:
    """What JSON Schema nodes take, as in `a positive integer or a mapping`; empty if unknown."""
    phrases: list[str] = []
    for node in nodes:
        for phrase in _phrases(node):
            if phrase not in phrases:
                phrases.append(phrase)
    if len(phrases) > 1 and "nothing" in phrases:
        phrases.remove("nothing")
    return " or ".join(phrases)


def type_in_words(nodes: Sequence[Mapping[str, Any]]) -> str:
    """The same for a table: without articles."""
    words = expectation(nodes).replace(" or a ", " or ").replace(" or an ", " or ")
    return words.removeprefix("a ").removeprefix("an ")


def nodes_at(schema: Mapping[str, Any], path: Sequence[str | int]) -> list[Mapping[str, Any]]:
    """The nodes of a record's JSON Schema that a value at `path` may match."""
    definitions = schema.get("$defs", {})
    nodes = list(_alternatives(schema, definitions))
    for step in path:
        below = [child for node in nodes for child in _children(node, step)]
        nodes = [found for child in below for found in _alternatives(child, definitions)]
    return nodes


def _children(node: Mapping[str, Any], step: str | int) -> Iterator[Mapping[str, Any]]:
    if isinstance(step, int):
        first = node.get("prefixItems", ())
        if step < len(first):
            yield first[step]
        elif isinstance(node.get("items"), Mapping):
            yield node["items"]
    elif step in node.get("properties", {}):
        yield node["properties"][step]
    elif isinstance(node.get("additionalProperties"), Mapping):
        yield node["additionalProperties"]


def _alternatives(
    node: Mapping[str, Any], definitions: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    if "$ref" in node and node["$ref"] != _COMPONENT:
        node = definitions[node["$ref"].rpartition("/")[2]]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in node:
            for form in node[key]:
                yield from _alternatives(form, definitions)
            return
    yield node


def _phrases(node: Mapping[str, Any]) -> Iterator[str]:
    if "anyOf" in node:
        for form in node["anyOf"]:
            yield from _phrases(form)
    else:
        phrase = _phrase(node, is_plural=False)
        if phrase:
            yield phrase


def _phrase(node: Mapping[str, Any], *, is_plural: bool) -> str:
    if "$ref" in node:
        noun = "component" if node["$ref"] == _COMPONENT else "mapping"
        return f"{noun}s" if is_plural else f"a {noun}"
    if "const" in node:
        return flow(node["const"])
    if "enum" in node:
        return f"one of {', '.join(flow(choice) for choice in node['enum'])}"
    kind = node.get("type")
    if kind in ("integer", "number"):
        return _number(kind, node, is_plural=is_plural)
    if kind == "array":
        return _list(node, is_plural=is_plural)
    if kind == "string":
        text = "texts" if is_plural else "text"
        return f"non-empty {text}" if node.get("minLength") == 1 else text
    if kind == "object" and isinstance(node.get("additionalProperties"), Mapping):
        values = " or ".join(_plurals(node["additionalProperties"]))
        mapping = "mappings" if is_plural else "a mapping"
        return f"{mapping} of names to {values}" if values else mapping
    noun = _NOUNS.get(str(kind), "")
    if noun in ("", "nothing", "true or false"):
        return noun
    return f"{noun}s" if is_plural else f"a {noun}"


def _number(kind: str, node: Mapping[str, Any], *, is_plural: bool) -> str:
    above, least = node.get("exclusiveMinimum"), node.get("minimum")
    below, most = node.get("exclusiveMaximum"), node.get("maximum")
    noun = f"positive {kind}" if above == 0 else kind
    bounds = []
    if above is not None and above != 0:
        bounds.append(f"above {_bare(above)}")
    if least is not None:
        bounds.append(f"of at least {_bare(least)}")
    if below is not None:
        bounds.append(f"below {_bare(below)}")
    if most is not None:
        bounds.append(f"of at most {_bare(most)}")
    article = "an" if noun == "integer" else "a"
    words = f"{noun}s" if is_plural else f"{article} {noun}"
    return " ".join([words, " and ".join(bounds)]).strip()


def _list(node: Mapping[str, Any], *, is_plural: bool) -> str:
    words = "lists" if is_plural else "a list"
    first = node.get("prefixItems")
    if first:
        kinds = list(dict.fromkeys(" or ".join(_plurals(item)) for item in first))
        return f"{words} of {len(first)} {kinds[0] if len(kinds) == 1 else 'values'}"
    items = " or ".join(_plurals(node["items"])) if node.get("items") else "values"
    least, most = node.get("minItems"), node.get("maxItems")
    if least is not None and least == most:
        return f"{words} of {least} {items}"
    if least is not None:
        return f"{words} of at least {least} {items}"
    return f"{words} of at most {most} {items}" if most is not None else f"{words} of {items}"


def _plurals(node: Mapping[str, Any]) -> list[str]:
    forms = node.get("anyOf", [node])
    return [phrase for form in forms if (phrase := _phrase(form, is_plural=True))]


def _bare(number: float) -> str:
    return f"{number:g}"
