"""Single values set from outside the file, as in `--set train.epochs=3`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.components import kind_at, name_and_options
from tabcf.spec.document import parse_document
from tabcf.spec.marks import KeyPath
from tabcf.spec.places import as_text
from tabcf.spec.wording import describe

__all__ = ["apply_overrides", "path_of"]

_PATH = re.compile(r"[^.\[\]=\s]+(?:\.[^.\[\]=\s]+|\[\d{1,4}\])*")
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_SHORTHANDS: Mapping[KeyPath, str] = {
    ("target",): "column",
    ("target", "implicit"): "positive",
    ("train", "weight_decay"): "default",
    ("train", "early_stopping"): "patience",
    ("train", "average"): "start",
    ("train", "user_weights"): "power",
    ("train", "item_propensity"): "power",
    ("train", "time_decay"): "half_life",
}


def apply_overrides(
    tree: Any, overrides: Sequence[str], registry: Registry
) -> tuple[Any, dict[KeyPath, str], list[str]]:
    """Set values in plain values; the given ones stay as they are.

    A path into another component than the one that is there replaces it: `loss.huber.delta=2`
    makes any loss a huber.

    Args:
        tree: A spec's plain values.
        overrides: Texts such as `model.embedding_nn.layers=[50]`; the value is YAML.
        registry: Knows what a component's bare value means.

    Returns:
        The new values, each override's text by the paths that it sets (a component that it
        replaces included), and a line for each override that cannot be applied.
    """
    applied: dict[KeyPath, str] = {}
    problems: list[str] = []
    for text in overrides:
        try:
            path, value = _parsed(text)
            replaced: list[KeyPath] = []
            tree = _with(tree, path, value, (), _Setting(registry, replaced))
        except SpecError as error:
            problems += [f"--set {text}: {problem}" for problem in error.problems]
            continue
        for gone in (*replaced, path):
            applied = {p: t for p, t in applied.items() if p[: len(gone)] != gone}
            applied[gone] = text
    return tree, applied, problems


class _Setting(NamedTuple):
    """What setting one value needs to know, and the components that it replaced."""

    registry: Registry
    replaced: list[KeyPath]


def path_of(text: str) -> KeyPath:
    """The steps of a path as it is written.

    Raises:
        SpecError: It is none.

    Example:
        >>> path_of("model.layers[1]")
        ('model', 'layers', 1)
    """
    if not _PATH.fullmatch(text.strip()):
        raise SpecError([f"expected a path such as train.epochs, got {describe(text)}"])
    return tuple(int(match[1]) if match[1] else match[2] for match in _STEP.finditer(text.strip()))


def _parsed(text: str) -> tuple[KeyPath, Any]:
    left, equals, right = text.partition("=")
    if not equals or not _PATH.fullmatch(left.strip()):
        raise SpecError(["expected PATH=VALUE, such as train.epochs=3"])
    path = path_of(left)
    try:
        document = parse_document(right, "value")
    except SpecError as error:
        message = re.sub(r"^value(:\d+:\d+)?: ", "", error.problems[0])
        message = message.removesuffix(" that starts on line 1")
        raise SpecError([message]) from None
    if document.repeated:
        raise SpecError([f"{as_text(document.repeated[0][0])}: given twice"])
    return path, document.tree


def _with(old: Any, rest: KeyPath, value: Any, path: KeyPath, setting: _Setting) -> Any:
    """A copy of `old`, which stands at `path`, with the value set at `rest` below it."""
    if not rest:
        return value
    step, below = rest[0], rest[1:]
    if isinstance(step, int):
        items = list(old) if isinstance(old, list) else [] if old is None else None
        if items is None or step > len(items):
            what = describe(old) if items is None else f"a list of {len(items)}"
            raise SpecError([f"{as_text(path)} is {what}; it has no position {step}"])
        items[step : step + 1] = [
            _with(items[step] if step < len(items) else None, below, value, (*path, step), setting)
        ]
        return items
    mapping = _as_mapping(old, step, path, setting)
    mapping[step] = _with(mapping.get(step), below, value, (*path, step), setting)
    return mapping


def _as_mapping(old: Any, step: str, path: KeyPath, setting: _Setting) -> dict[str, Any]:
    if kind_at(path) is not None:
        found = name_and_options(old)
        if found is None or found[0] != step:
            setting.replaced.append(path)
            return {}
        return {step: found[1]}
    if isinstance(old, Mapping):
        return dict(old)
    if old is None:
        return {}
    key = _shorthand(path, setting.registry)
    if key is None or isinstance(old, list):
        raise SpecError([f"{as_text(path) or 'the spec'} is {describe(old)}, not a mapping"])
    return {key: old}


def _shorthand(path: KeyPath, registry: Registry) -> str | None:
    """The key that a bare value at `path` is short for."""
    of_a_stage = path[1:] if path[:1] == ("retrieve",) else path
    if of_a_stage in _SHORTHANDS:
        return _SHORTHANDS[of_a_stage]
    kind = kind_at(path[:-1])
    if kind is None or not registry.has(kind, str(path[-1])):
        return None
    record = registry.get(kind, str(path[-1])).options
    if record.shorthand is None:
        return None
    return str(record.model_fields[record.shorthand].alias or record.shorthand)
