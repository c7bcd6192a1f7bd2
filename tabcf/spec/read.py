"""From a YAML file or a mapping to a checked spec, or to every problem that it has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.check import check
from tabcf.spec.components import Place, components
from tabcf.spec.document import MOST_BYTES, Document, parse_document
from tabcf.spec.overrides import apply_overrides
from tabcf.spec.places import Places, Problem, problem_lines
from tabcf.spec.plain import plain_values
from tabcf.spec.records import Spec
from tabcf.spec.shape import validated
from tabcf.spec.wording import describe

__all__ = ["SpecDocument", "read_spec"]


@dataclass(frozen=True, slots=True)
class SpecDocument:
    """A checked spec and where it came from.

    Attributes:
        spec: The spec. Paths in it are as written: relative to `folder`.
        tree: The plain values as given, overrides applied.
        folder: The spec file's folder; None for a spec from Python.
        name: The file's name without its ending, `spec` for one from Python.
        places: Where each value was written.
    """

    spec: Spec
    tree: Mapping[str, Any]
    folder: Path | None
    name: str
    places: Places


def read_spec(
    source: str | Path | Mapping[str, Any],
    registry: Registry,
    *,
    overrides: Sequence[str] = (),
    columns: Mapping[str, Collection[str]] | None = None,
) -> SpecDocument:
    """Read and check a spec.

    Args:
        source: A YAML file, or its content as a mapping.
        registry: The components that the spec can name.
        overrides: Changes such as `"train.epochs=3"`, with values in YAML.
        columns: Column names of tables that are known already, by `"event"` or an entity's
            name; what the spec says of other tables is not compared with them.

    Returns:
        The spec, its plain values and where each was written.

    Raises:
        SpecError: Everything that is wrong with it, a line each, from the top of the file.
    """
    document, folder, label = _load(source)
    tree, applied, lines = apply_overrides(document.tree, overrides, registry)
    places = Places(label, document.values, document.keys, applied)
    if not isinstance(tree, Mapping):
        where = f"{label}: " if label else ""
        keys = "tabcf, target and model"
        raise SpecError([f"{where}expected a mapping with the keys {keys}, got {describe(tree)}"])
    problems = [
        Problem(path, f"given twice, first on line {first.line}", path, mark=second)
        for path, first, second in document.repeated
    ]
    spec, shape_problems = validated(Spec, tree)
    problems += shape_problems
    for place in components(tree):
        problems += _component_problems(place, registry)
    broken = {problem.path[:1] for problem in shape_problems}
    problems += check(tree, spec, registry, broken=broken, tables=columns)
    lines = problem_lines(problems, places) + lines
    if lines or spec is None:
        raise SpecError(lines)
    return SpecDocument(spec, tree, folder, Path(label).stem if label else "spec", places)


def _load(source: str | Path | Mapping[str, Any]) -> tuple[Document, Path | None, str | None]:
    if isinstance(source, Mapping):
        return Document(plain_values(source)), None, None
    path, label = Path(source), str(source)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise SpecError([f"{label}: no such file"]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SpecError([f"{label}: cannot be read: {reason}"]) from None
    if len(content) > MOST_BYTES:
        raise SpecError([f"{label}: expected at most {MOST_BYTES:,} bytes; is it a spec?"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError([f"{label}: expected UTF-8 text; line {line} is not"]) from None
    return parse_document(text, label), path.parent, label


def _component_problems(place: Place, registry: Registry) -> Iterator[Problem]:
    """An unknown name, or what is wrong with the options."""
    if place.name not in registry.names(place.kind):
        at = (*place.path, place.name) if place.below == (place.name,) else place.path
        message = registry.unknown_name(place.kind, place.name)
        yield Problem(at, message, place.path, at_key=bool(place.below))
        return
    record = registry.get(place.kind, place.name).options
    path = (*place.path, *place.below)
    options = {} if place.options is None else place.options
    if not isinstance(options, Mapping) and record.shorthand is None:
        known = ", ".join(field.alias or name for name, field in record.model_fields.items())
        wanted = f"{place.name} takes no options"
        if known:
            wanted = f"expected a mapping of {place.name}'s options ({known})"
        yield Problem(path, f"{wanted}, got {describe(options)}", place.path)
        return
    _, problems = validated(record, options, path=path, shown=place.path)
    yield from problems
