"""What re-rankers a spec, a caller or a command line names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.reranking.chain import Reranking, Step
from tabcf.spec.components import Place, name_and_options
from tabcf.spec.marks import KeyPath
from tabcf.spec.options import component_problems
from tabcf.spec.places import as_text
from tabcf.spec.plain import plain_values
from tabcf.spec.records import Component
from tabcf.spec.wording import describe, flow

__all__ = ["policy_name", "resolve_reranking"]


def resolve_reranking(
    registry: Registry, given: Any, *, fold_in: Callable[[], FoldIn | None]
) -> Reranking | None:
    """Re-rankers as a spec writes them under `rerank`: one or a list, names or mappings.

    Args:
        registry: The components that can be named.
        given: Such as `"mmr"`, `{"calibrated": {"of": "genres"}}` or a list of them; None for none.
        fold_in: Gives what finds a user's row, None for a model without such rows.

    Raises:
        SpecError: A name is unknown or an option is wrong; all that is, at once.
        DataError: Another re-ranker stands behind one that explores.
    """
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    components, problems = [], []
    for position, value in enumerate(listed):
        if value is None:
            continue
        path: KeyPath = ("rerank", position) if isinstance(given, (list, tuple)) else ("rerank",)
        plain = _plain(value)
        found = name_and_options(plain)
        if found is None:
            wanted = "expected a name, or a mapping of a name to its options"
            problems.append(f"{as_text(path)}: {wanted}, got {describe(plain)}")
            continue
        wrong = [*component_problems(Place("reranker", path, *found), registry)]
        problems += [f"{as_text(problem.shown)}: {problem.message}" for problem in wrong]
        if not wrong:
            components.append(Component.model_validate(plain))
    if problems:
        raise SpecError(problems)
    if not components:
        return None
    return Reranking(tuple(_step(registry, component) for component in components), fold_in)


def policy_name(given: Any) -> str:
    """What re-rankers are called in a table: as they were written, on one line.

    Example:
        >>> policy_name([{"popularity_penalty": 0.2}, "mmr"])
        'popularity_penalty: 0.2, mmr'
    """
    listed = given if isinstance(given, (list, tuple)) else [given]
    texts = [flow(_as_written(value)) for value in listed]
    return ", ".join(text[1:-1] if text.startswith("{") else text for text in texts)


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return value.model_dump()
    return plain_values(value) if isinstance(value, Mapping) else value


def _as_written(value: Any) -> Any:
    if not isinstance(value, Component):
        return _plain(value)
    options = value.options.get("", dict(value.options))
    return {value.name: plain_values(options)} if options != {} else value.name


def _step(registry: Registry, component: Component) -> Step:
    definition, options, *_ = registry.resolve("reranker", component)
    seed = options.seed if definition.explores else None
    return Step(definition.name, definition.build(options), options.n, definition.explores, seed)
