"""From a YAML file or a mapping to a checked spec, or to every problem that it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.check import check
from tabcf.spec.components import components
from tabcf.spec.document import Document, read_document
from tabcf.spec.options import component_problems
from tabcf.spec.overrides import apply_overrides
from tabcf.spec.places import Places, Problem, problem_lines
from tabcf.spec.plain import plain_values
from tabcf.spec.plugins import check_used_plugins, with_entities, with_spec_plugins
from tabcf.spec.recipe import with_recipes
from tabcf.spec.records import Spec
from tabcf.spec.shape import validated
from tabcf.spec.tune_check import tune_problems
from tabcf.spec.wording import describe

__all__ = ["SpecDocument", "read_spec"]


@dataclass(frozen=True, slots=True)
class SpecDocument:
    """A checked spec and where it came from.

    Attributes:
        spec: The spec. Paths in it are as written: relative to `folder`.
        tree: The plain values as given, overrides applied.
        folder: The spec file's folder; for a spec from Python, the given one.
        name: The file's name without its ending, `spec` for one from Python.
        places: Where each value was written.
        registry: The components that it can name, those of its own plugin files included.
    """

    spec: Spec
    tree: Mapping[str, Any]
    folder: Path | None
    name: str
    places: Places
    registry: Registry


def read_spec(
    source: str | Path | Mapping[str, Any],
    registry: Registry,
    *,
    overrides: Sequence[str] = (),
    columns: Mapping[str, Collection[str]] | None = None,
    folder: Path | None = None,
) -> SpecDocument:
    """Read and check a spec.

    Args:
        source: A YAML file, or its content as a mapping.
        registry: The components that the spec can name.
        overrides: Changes such as `"train.epochs=3"`, with values in YAML.
        columns: Column names of tables that are known already, by `"event"` or an entity's
            name; what the spec says of other tables is not compared with them.
        folder: Where paths in a mapping start from; those in a file start from its folder.

    Returns:
        The spec, its plain values and where each was written.

    Raises:
        SpecError: Everything that is wrong with it, a line each, from the top of the file.
    """
    document, folder, label = _load(source, folder)
    listed, *_ = apply_overrides(document.tree, overrides, registry)
    registry = with_spec_plugins(listed, registry, folder, label)
    tree, applied, lines = apply_overrides(document.tree, overrides, registry)
    places = Places(label, document.values, document.keys, applied)
    if not isinstance(tree, Mapping):
        where = f"{label}: " if label else ""
        keys = "tabcf, target and model"
        raise SpecError([f"{where}expected a mapping with the keys {keys}, got {describe(tree)}"])
    check_used_plugins(tree, registry)
    tree, problems = with_entities(tree, registry)
    problems += [
        Problem(path, f"given twice, first on line {first.line}", path, mark=second)
        for path, first, second in document.repeated
    ]
    spec, shape_problems = validated(Spec, tree)
    problems += shape_problems
    for place in components(tree):
        problems += component_problems(place, registry)
    broken = {problem.path[:1] for problem in shape_problems}
    problems += check(tree, spec, registry, broken=broken, tables=columns)
    if spec is not None and not problems and not lines:
        problems += tune_problems(tree, spec, registry)
    lines = problem_lines(problems, places) + lines
    if lines or spec is None:
        raise SpecError(lines)
    name = Path(label).stem if label else "spec"
    spec = with_recipes(spec, registry)
    return SpecDocument(spec, tree, folder, name, places, registry)


def _load(
    source: str | Path | Mapping[str, Any], folder: Path | None
) -> tuple[Document, Path | None, str | None]:
    if isinstance(source, Mapping):
        return Document(plain_values(source)), folder, None
    path, label = Path(source), str(source)
    return read_document(path, label), path.parent, label
