"""What has to hold across a spec's fields, as far as it shows without the data.

Each check is a function that yields a path and a message; a check whose fields did not parse is
left out, since it could only repeat what has been said.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tabcf.contracts.definitions import MetricDefinition, RerankerDefinition
from tabcf.contracts.tables import EVENT
from tabcf.plugin.registry import Registry
from tabcf.spec.columns import column_clashes, missing_columns, missing_metric_columns
from tabcf.spec.defaults import possible_kinds
from tabcf.spec.marks import KeyPath
from tabcf.spec.places import Problem
from tabcf.spec.records import Spec
from tabcf.spec.references import column_problems
from tabcf.spec.stage_rules import ROLES, STAGE_RULES, Draft, Rule, Said, kind_in_words, listed
from tabcf.spec.stages import first_stage, first_stage_columns, stage_problems

__all__ = ["check"]

# What the first stage shares with the spec's own model, and what it is checked against.
_BESIDE_RETRIEVE = frozenset(
    {"target", "entities", "columns", "model", "metrics", "split", "train"}
)


def check(
    tree: Mapping[str, Any],
    spec: Spec | None,
    registry: Registry,
    *,
    broken: Collection[KeyPath] = (),
    tables: Mapping[str, Collection[str]] | None = None,
) -> list[Problem]:
    """Every problem between fields.

    Args:
        tree: The spec's plain values.
        spec: What they became; None if that failed.
        registry: The components that a spec can name.
        broken: One-step paths of the fields that failed.
        tables: Column names of the tables that are known: `"event"`, or an entity's name.
    """
    failed = {str(path[0]) for path in broken if path}
    if spec is None:
        kept = {k: v for k, v in tree.items() if k in Spec.model_fields and k not in failed}
        stand_ins = {"tabcf": 1, "target": {"column": "-"}, "model": "-"}
        failed |= stand_ins.keys() - kept.keys()
        spec = Spec.model_validate(stand_ins | kept)
    draft = Draft(spec, registry, tables or {}, *column_problems(spec, registry))
    said: list[tuple[KeyPath, str]] = []
    for rule, fields in (*STAGE_RULES, *_RULES):
        if not failed & set(fields):
            said += rule(draft)
    if spec.retrieve is not None and not failed & _BESIDE_RETRIEVE:
        said += stage_problems(spec, registry, draft.columns)
        if spec.entities.keys() >= ROLES:
            said += _of_first_stage(draft)
    return [Problem(path, message, path) for path, message in said]


def _of_first_stage(draft: Draft) -> Said:
    """What does not go together within the first stage, at the place where `retrieve` has it."""
    spec = first_stage(draft.spec, draft.registry, draft.columns)
    chosen = first_stage_columns(draft.spec, draft.registry, draft.columns)
    columns = tuple(column for column in draft.columns if column.key in chosen)
    own = Draft(spec, draft.registry, draft.tables, columns, ())
    for rule, _ in STAGE_RULES:
        for path, message in rule(own):
            is_column = path[0] in ("columns", "entities")
            yield ("retrieve", *(("columns",) if is_column else path)), message


def _metric_target(draft: Draft) -> Said:
    kinds = possible_kinds(draft.spec.target)
    for position, component in enumerate(draft.spec.metrics or ()):
        metric: MetricDefinition | None = draft.definition("metric", component)
        if metric is not None and not metric.targets & kinds:
            others = draft.names("metric", lambda other: bool(other.targets & kinds))
            yield (
                ("metrics", position),
                (
                    f"{metric.name} measures {listed(metric.targets)} targets, and this one is "
                    f"{kind_in_words(draft.spec.target)}; metrics that fit: {others}"
                ),
            )


def _metric_needs(draft: Draft) -> Said:
    for position, component in enumerate(draft.spec.metrics or ()):
        metric: MetricDefinition | None = draft.definition("metric", component)
        if metric is not None and metric.is_ranking and not draft.spec.entities.keys() >= ROLES:
            yield (
                ("metrics", position),
                (f"{metric.name} ranks items for users; it needs the entities user and item"),
            )


def _metric_columns(draft: Draft) -> Said:
    metrics = [
        (("metrics", position), resolved)
        for position, component in enumerate(draft.spec.metrics or ())
        if (resolved := draft.resolved("metric", component)) is not None
    ]
    yield from missing_metric_columns(draft.spec, metrics, draft.tables)


def _rerank(draft: Draft) -> Said:
    """Lists need users and items, and whoever gives propensities has the last word."""
    given = draft.spec.rerank
    if given is None:
        return
    chain = given if isinstance(given, tuple) else (given,)
    paths: list[KeyPath] = [("rerank",)]
    if isinstance(given, tuple):
        paths = [("rerank", position) for position in range(len(given))]
    found = []
    for path, component in zip(paths, chain, strict=True):
        reranker: RerankerDefinition | None = draft.definition("reranker", component)
        if reranker is None:
            continue
        if not draft.spec.entities.keys() >= ROLES:
            yield path, f"{reranker.name} orders lists; it needs the entities user and item"
        if reranker.explores and path != paths[-1]:
            yield (
                path,
                (
                    f"{reranker.name} says how likely each item was to come to its place, which "
                    "another re-ranker behind it would change; name it last"
                ),
            )
        if (resolved := draft.resolved("reranker", component)) is not None:
            found.append((path, resolved))
    yield from missing_metric_columns(draft.spec, found, draft.tables)


def _pair_columns(draft: Draft) -> Said:
    """A column made from the item's and other columns differs from item to item."""
    ranking = [
        component.name
        for component in draft.spec.metrics or ()
        if getattr(draft.definition("metric", component), "is_ranking", False)
    ]
    if draft.spec.target.implicit is not None and draft.spec.metrics is None:
        ranking = ["the default of an implicit target"]
    by_whom = f"a metric ({listed(ranking)})" if draft.spec.retrieve is None else "`retrieve`"
    for column in draft.columns:
        is_pair = column.table == EVENT and "item" in column.tables
        if is_pair and (ranking or draft.spec.retrieve is not None):
            yield (
                column.path,
                (
                    f"`{column.key}` is made from the item's columns among others, and lists are "
                    f"asked for by {by_whom}, for which each item would need its own; such a "
                    "column goes with metrics of predictions"
                ),
            )


def _duplicates(draft: Draft) -> Said:
    if draft.spec.duplicates != "keep" and not draft.spec.entities.keys() >= ROLES:
        yield (
            ("duplicates",),
            (
                f"{draft.spec.duplicates} is about events of one user with one item; "
                "it needs the entities user and item"
            ),
        )


def _entity_tables(draft: Draft) -> Said:
    for name, entity in draft.spec.entities.items():
        if entity.table is None and entity.columns:
            yield (
                ("entities", name, "columns"),
                (
                    "these columns are read from the entity's table; give `table`, or move them to "
                    "the top-level `columns` if they stand in the events"
                ),
            )
        if entity.table is None and entity.label is not None:
            yield ("entities", name, "label"), "is a column of the entity's table; give `table`"


def _auto(draft: Draft) -> Said:
    if draft.spec.columns == "auto" and draft.spec.entities:
        yield (
            ("columns",),
            (
                "auto is for a plain table, and this spec has entities; name the events' columns, "
                "or leave `columns` out if there are none"
            ),
        )


def _columns(draft: Draft) -> Said:
    yield from column_clashes(draft.spec, draft.columns)
    yield from draft.refused
    yield from missing_columns(draft.spec, draft.columns, draft.tables)


_RULES: tuple[tuple[Rule, tuple[str, ...]], ...] = (
    (_metric_target, ("metrics", "target")),
    (_metric_needs, ("metrics", "entities")),
    (_metric_columns, ("metrics", "entities")),
    (_rerank, ("rerank", "entities")),
    (_pair_columns, ("columns", "entities", "metrics", "target")),
    (_duplicates, ("duplicates", "entities")),
    (_entity_tables, ("entities",)),
    (_auto, ("columns", "entities")),
    (_columns, ("columns", "entities", "target")),
)
