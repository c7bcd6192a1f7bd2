"""YAML text to plain values, with the place of each; a stranger's file can do no harm.

It reads the parser's events one by one and never recurses. Aliases stand for the value they
repeat; tags other than YAML's own few, merge keys and second documents are refused, and so is
what grows or nests beyond any spec.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tabcf.errors import SpecError
from tabcf.spec.marks import KeyPath, Mark, Marks, Nodes, mark_of
from tabcf.spec.scalars import Scalar, read_scalar

__all__ = ["MOST_BYTES", "Document", "parse_document", "read_document"]

MOST_BYTES = 1_000_000
# A read reserves all that it asks for, and hardly a spec is longer.
_FIRST_BYTES = 1 << 14
_MOST_DEPTH = 30
_MOST_NODES = 50_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG_PREFIX = "tag:yaml.org,2002:"
_COLLECTION_TAGS: Mapping[str, type] = {f"{_TAG_PREFIX}map": dict, f"{_TAG_PREFIX}seq": list}
_SCALAR_TAGS: Mapping[str, tuple[type, ...]] = {
    f"{_TAG_PREFIX}str": (str,),
    f"{_TAG_PREFIX}int": (int,),
    f"{_TAG_PREFIX}float": (float, int),
    f"{_TAG_PREFIX}bool": (bool,),
    f"{_TAG_PREFIX}null": (type(None),),
}
# What YAML 1.2 allows in a stream, the byte order mark at its start taken off already.
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True, slots=True)
class Document:
    """A text's values, and where each value and each mapping's key stands.

    What an alias repeats has no marks of its own below the alias. `repeated` lists each key
    that a mapping holds twice, with both places; the first value counts.
    """

    tree: Any
    values: Mapping[KeyPath, Mark] = field(default_factory=dict)
    keys: Mapping[KeyPath, Mark] = field(default_factory=dict)
    repeated: tuple[tuple[KeyPath, Mark, Mark], ...] = ()


class _Anchored(NamedTuple):
    """A value that aliases repeat: its number of nodes, and how deep it nests."""

    value: Any
    n_nodes: int
    height: int


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    number: int
    anchor: str | None
    first_node: int
    height: int = 1
    key: str | None = None
    key_mark: Any = None
    is_repeated: bool = False


def read_document(path: Path, name: str) -> Document:
    """Read the one YAML document of a file; messages call it `name`.

    Raises:
        SpecError: It cannot be read, or `parse_document` refuses it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_FIRST_BYTES)
            if len(content) == _FIRST_BYTES:
                content += file.read(MOST_BYTES + 1 - _FIRST_BYTES)
    except FileNotFoundError:
        raise SpecError([f"{name}: no such file"]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SpecError([f"{name}: cannot be read: {reason}"]) from None
    if len(content) > MOST_BYTES:
        raise SpecError([f"{name}: expected at most {MOST_BYTES:,} bytes; is it a spec?"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError([f"{name}: expected UTF-8 text; line {line} is not"]) from None
    return parse_document(text, name)


def parse_document(text: str, name: str) -> Document:
    """Read one YAML document.

    Args:
        text: The document, at most a megabyte.
        name: What messages call it, such as a file's path.

    Raises:
        SpecError: It is no YAML, too large, too deep, or has what no spec needs.

    Example:
        >>> parse_document("train: {learning_rate: 2e-2}", "a.yaml").tree
        {'train': {'learning_rate': 0.02}}
    """
    if len(text) > MOST_BYTES:
        raise SpecError([f"{name}: expected at most {MOST_BYTES:,} bytes; is it a spec?"])
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        raise SpecError(
            [f"{name}:{line}:{column}: not valid YAML: the character U+{ord(bad[0]):04X}"]
        )
    try:
        loader = _LOADER(text)
        try:
            return _Composer(name).compose(loader.get_event)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise SpecError([_message(error, text, name)]) from None
    except yaml.YAMLError as error:
        raise SpecError([f"{name}: not valid YAML: {' '.join(str(error).split())}"]) from None


def _message(error: yaml.MarkedYAMLError, text: str, name: str) -> str:
    """What the parser cannot read, in one line."""
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    reason = error.problem or error.context or "it cannot be parsed"
    if "nesting depth" in reason:  # libyaml's own limit, met before ours is
        return f"{where}: expected at most {_MOST_DEPTH} levels of nesting"
    if error.problem and error.context:
        reason += f" {error.context}"
        if error.context_mark and mark and error.context_mark.line != mark.line:
            reason += f" that starts on line {error.context_mark.line + 1}"
    reason += _hint(reason, _character(text, mark.line, mark.column) if mark else "")
    return f"{where}: not valid YAML: {' '.join(reason.split())}"


def _character(text: str, line: int, column: int) -> str:
    lines = text.split("\n")
    return lines[line][column : column + 1] if line < len(lines) else ""


def _hint(reason: str, character: str) -> str:
    if character == "\t":
        return "; indent with spaces, not with a tab"
    if "cannot start any token" in reason:
        return f"; quote a text that starts with {character}"
    if "mapping values are not allowed" in reason:
        return "; quote a text that holds a colon and a space"
    return ""


class _Composer:
    """Builds values from events; the stack of open collections is a list, not Python's own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored] = {}
        self._n_nodes = 0
        self._has_document = False
        self._nodes = Nodes()
        self._repeated: list[tuple[int, str, Any]] = []
        self._root: Any = None

    def compose(self, next_event: Callable[[], Any]) -> Document:
        on_event: Mapping[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._on_scalar,
            yaml.MappingStartEvent: self._on_start,
            yaml.SequenceStartEvent: self._on_start,
            yaml.MappingEndEvent: self._on_end,
            yaml.SequenceEndEvent: self._on_end,
            yaml.AliasEvent: self._on_alias,
            yaml.DocumentStartEvent: self._on_document,
        }
        while (event := next_event()) is not None:
            on_this = on_event.get(type(event))
            if on_this is not None:
                on_this(event)
        values, keys = (Marks(self._nodes, of_keys=of_keys) for of_keys in (False, True))
        repeated = [((*self._nodes.path(n), key), mark_of(mark)) for n, key, mark in self._repeated]
        return Document(
            self._root, values, keys, tuple((path, keys[path], mark) for path, mark in repeated)
        )

    def _on_document(self, event: Any) -> None:
        if self._has_document:
            raise self._error(
                event.start_mark, "expected one document, and here starts a second one"
            )
        self._has_document = True

    def _on_scalar(self, event: Any) -> None:
        mark, text = event.start_mark, event.value
        is_plain = not event.style
        if event.tag is not None:
            self._check_tag(event.tag, mark, _SCALAR_TAGS)
        top = self._stack[-1] if self._stack else None
        if top is not None and top.key is None and type(top.value) is dict:
            self._on_key(text, mark, is_plain=is_plain)
            if event.anchor is not None:
                self._anchors[event.anchor] = _Anchored(text, 1, 0)
            return
        value: Scalar = read_scalar(text) if is_plain else text
        if event.tag is not None:
            value = text if event.tag == "!" else self._as_tagged(event.tag, text, mark)
        self._n_nodes += 1
        if self._n_nodes > _MOST_NODES:
            self._count(0, 0, mark)
        self._put(value, mark)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, 1, 0)

    def _on_start(self, event: Any) -> None:
        mark = event.start_mark
        if self._expects_key():
            raise self._error(mark, "expected a name as the key, got a collection")
        value: dict[str, Any] | list[Any]
        value = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.tag is not None and event.tag != "!":
            self._check_tag(event.tag, mark, _COLLECTION_TAGS)
            if _COLLECTION_TAGS[event.tag] is not type(value):
                raise self._error(mark, f"the tag {_short(event.tag)} does not fit the value")
        first_node = self._n_nodes
        self._count(1, 1, mark)
        number = self._put(value, mark)
        self._stack.append(_Open(value, number, event.anchor, first_node))
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)

    def _on_end(self, event: Any) -> None:
        closed = self._stack.pop()
        if self._stack:
            self._stack[-1].height = max(self._stack[-1].height, closed.height + 1)
        if closed.anchor is not None:
            n_nodes = self._n_nodes - closed.first_node
            self._anchors[closed.anchor] = _Anchored(closed.value, n_nodes, closed.height)

    def _on_alias(self, event: Any) -> None:
        anchor, mark = str(event.anchor), event.start_mark
        if any(collection.anchor == anchor for collection in self._stack):
            raise self._error(mark, f"*{anchor} stands inside the value that it repeats")
        if anchor not in self._anchors:
            raise self._error(mark, f"*{anchor} repeats &{anchor}, which is not above it")
        repeated = self._anchors[anchor]
        if self._expects_key():
            if not isinstance(repeated.value, str):
                raise self._error(mark, f"expected a name as the key, got *{anchor}")
            self._on_key(repeated.value, mark, is_plain=False)
            return
        self._count(repeated.n_nodes, repeated.height, mark)
        self._put(repeated.value, mark)
        if self._stack:
            self._stack[-1].height = max(self._stack[-1].height, repeated.height + 1)

    def _expects_key(self) -> bool:
        if not self._stack:
            return False
        top = self._stack[-1]
        return top.key is None and type(top.value) is dict

    def _on_key(self, text: str, mark: Any, *, is_plain: bool) -> None:
        """Keys are text as written: the key `10` is "10", `true` is "true"."""
        if is_plain and text == "<<":
            raise self._error(mark, "merge keys (<<) are not supported; repeat the keys here")
        if not text:
            raise self._error(mark, "expected a name as the key, got nothing")
        top = self._stack[-1]
        top.key, top.key_mark = text, mark
        top.is_repeated = text in top.value
        if top.is_repeated:
            self._repeated.append((top.number, text, mark))

    def _put(self, value: Any, mark: Any) -> int:
        """Place a value where the innermost open collection takes its next one."""
        nodes = self._nodes.nodes
        if not self._stack:
            self._root = value
            nodes.append((-1, None, None, mark))
            return 0
        top = self._stack[-1]
        if type(top.value) is list:
            nodes.append((top.number, len(top.value), None, mark))
            top.value.append(value)
        elif type(top.value) is dict and top.key is not None:
            if top.is_repeated:
                nodes.append((top.number, top.key, None, None))
            else:
                nodes.append((top.number, top.key, top.key_mark, mark))
                top.value[top.key] = value
            top.key = None
        return len(nodes) - 1

    def _count(self, n_nodes: int, height: int, mark: Any) -> None:
        self._n_nodes += n_nodes
        if self._n_nodes > _MOST_NODES:
            raise self._error(
                mark, f"expected at most {_MOST_NODES:,} values, what aliases repeat included"
            )
        if len(self._stack) + height > _MOST_DEPTH:
            raise self._error(mark, f"expected at most {_MOST_DEPTH} levels of nesting")

    def _check_tag(self, tag: str | None, mark: Any, known: Mapping[str, Any]) -> None:
        if tag is not None and tag != "!" and tag not in known:
            raise self._error(mark, f"the tag {_short(tag)} is not allowed; write plain values")

    def _as_tagged(self, tag: str, text: str, mark: Any) -> Scalar:
        expected = _SCALAR_TAGS[tag]
        value: Scalar = text if expected == (str,) else read_scalar(text)
        if type(value) not in expected:
            raise self._error(mark, f"the tag {_short(tag)} does not fit the value {text!r}")
        return float(value) if tag.endswith(":float") and value is not None else value

    def _error(self, mark: Any, message: str) -> SpecError:
        line, column = mark_of(mark)
        return SpecError([f"{self._name}:{line}:{column}: {message}"])


def _short(tag: str) -> str:
    """A tag as people write it, at most one short line of it."""
    short = f"!!{tag.removeprefix(_TAG_PREFIX)}" if tag.startswith(_TAG_PREFIX) else tag
    return short if len(short) <= 60 else f"{short[:57]}..."
