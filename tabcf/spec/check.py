"""What has to hold across a spec's fields, as far as it shows without the data.

Each check is a function that yields a path and a message; a check whose fields did not parse is
left out, since it could only repeat what has been said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tabcf.contracts.definitions import LossDefinition, MetricDefinition, ModelDefinition
from tabcf.contracts.tables import EVENT
from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry, Resolved
from tabcf.spec.columns import column_clashes, missing_columns, missing_metric_columns
from tabcf.spec.defaults import DEFAULT_LOSS, possible_kinds
from tabcf.spec.marks import KeyPath
from tabcf.spec.places import Problem
from tabcf.spec.records import Component, Spec, Target
from tabcf.spec.references import SpecColumn, column_problems

__all__ = ["check"]

Said = Iterator[tuple[KeyPath, str]]

_ROLES = frozenset({"user", "item"})


@dataclass(frozen=True, slots=True)
class _Draft:
    """A spec whose broken fields are replaced by defaults, and how to look components up.

    `columns` are those whose references can be followed, `refused` what is wrong with the others.
    """

    spec: Spec
    registry: Registry
    tables: Mapping[str, Collection[str]]
    columns: tuple[SpecColumn, ...]
    refused: Sequence[tuple[KeyPath, str]]

    def definition(self, kind: str, component: Component | None) -> Any:
        """A component's definition; None if there is none or its name is unknown."""
        if component is None or not self.registry.has(kind, component.name):
            return None
        resolved = self.resolved(kind, component)
        if resolved is not None:
            return resolved.definition
        return self.registry.get(kind, component.name)

    def resolved(self, kind: str, component: Component) -> Resolved | None:
        """The same with its options; None if they are wrong."""
        try:
            return self.registry.resolve(kind, component)
        except (SpecError, ValueError):
            return None

    def loss(self) -> LossDefinition | None:
        """The loss that is trained, by default the implicit target's; none in closed form."""
        model: ModelDefinition | None = self.definition("model", self.spec.model)
        if model is None or model.solve is not None:
            return None
        if self.spec.loss is None and self.spec.target.implicit is not None:
            return cast("LossDefinition", self.registry.get("loss", DEFAULT_LOSS["implicit"]))
        found: LossDefinition | None = self.definition("loss", self.spec.loss)
        return found

    def names(self, kind: str, fits: Callable[[Any], bool]) -> str:
        """The names of a kind's definitions that fit, for a hint."""
        return ", ".join(self.registry.names_where(kind, fits)) or "none"


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
    draft = _Draft(spec, registry, tables or {}, *column_problems(spec, registry))
    problems = []
    for rule, fields in _RULES:
        if not failed & set(fields):
            problems += [Problem(path, message, path) for path, message in rule(draft)]
    return problems


def _model_needs(draft: _Draft) -> Said:
    model: ModelDefinition | None = draft.definition("model", draft.spec.model)
    given = draft.spec.entities.keys()
    if model is not None and not model.needs <= given:
        missing = ", ".join(sorted(model.needs - given, reverse=True))
        others = draft.names("model", lambda other: other.needs <= given)
        yield (
            ("model",),
            (
                f"{model.name} needs the entities {_listed(model.needs)}; missing: {missing}; "
                f"models that do without: {others}"
            ),
        )


def _model_target(draft: _Draft) -> Said:
    model: ModelDefinition | None = draft.definition("model", draft.spec.model)
    kinds = possible_kinds(draft.spec.target)
    if model is not None and not model.targets & kinds:
        others = draft.names("model", lambda other: bool(other.targets & kinds))
        yield (
            ("model",),
            (
                f"{model.name} learns {_listed(model.targets)} targets, and this one is "
                f"{_kind_in_words(draft.spec.target)}; models that fit: {others}"
            ),
        )


def _loss_target(draft: _Draft) -> Said:
    loss: LossDefinition | None = draft.definition("loss", draft.spec.loss)
    kinds = possible_kinds(draft.spec.target)
    if loss is not None and not loss.targets & kinds:
        others = draft.names("loss", lambda other: bool(other.targets & kinds))
        yield (
            ("loss",),
            (
                f"{loss.name} takes {_listed(loss.targets)} targets, and this one is "
                f"{_kind_in_words(draft.spec.target)}; losses that fit: {others}"
            ),
        )


def _metric_target(draft: _Draft) -> Said:
    kinds = possible_kinds(draft.spec.target)
    for position, component in enumerate(draft.spec.metrics or ()):
        metric: MetricDefinition | None = draft.definition("metric", component)
        if metric is not None and not metric.targets & kinds:
            others = draft.names("metric", lambda other: bool(other.targets & kinds))
            yield (
                ("metrics", position),
                (
                    f"{metric.name} measures {_listed(metric.targets)} targets, and this one is "
                    f"{_kind_in_words(draft.spec.target)}; metrics that fit: {others}"
                ),
            )


def _metric_needs(draft: _Draft) -> Said:
    for position, component in enumerate(draft.spec.metrics or ()):
        metric: MetricDefinition | None = draft.definition("metric", component)
        if metric is not None and metric.is_ranking and not draft.spec.entities.keys() >= _ROLES:
            yield (
                ("metrics", position),
                (f"{metric.name} ranks items for users; it needs the entities user and item"),
            )


def _metric_columns(draft: _Draft) -> Said:
    metrics = [
        (("metrics", position), resolved)
        for position, component in enumerate(draft.spec.metrics or ())
        if (resolved := draft.resolved("metric", component)) is not None
    ]
    yield from missing_metric_columns(draft.spec, metrics, draft.tables)


def _closed_form(draft: _Draft) -> Said:
    model: ModelDefinition | None = draft.definition("model", draft.spec.model)
    if model is not None and model.solve is not None and draft.spec.loss is not None:
        yield (
            ("loss",),
            (
                f"{model.name} is solved in closed form, so there is no loss to choose; "
                "leave out `loss`"
            ),
        )


def _catalogue(draft: _Draft) -> Said:
    loss = draft.loss()
    if loss is None or loss.form not in ("catalogue", "factored"):
        return
    if not loss.targets & possible_kinds(draft.spec.target):
        return  # said by the check of loss and target
    of_events = [f"`{column.key}`" for column in draft.columns if column.table == EVENT]
    of_events += [f"the entity {name}" for name in sorted(draft.spec.entities.keys() - _ROLES)]
    if of_events:
        yield (
            ("loss",),
            (
                f"{loss.name} scores a user's whole catalogue at once, and an item that nobody "
                f"chose has no event to take {_listed(of_events)} from; leave that out, or take "
                "columns that belong to a user or an item"
            ),
        )
    for column in draft.columns:
        if column.definition.own is not None:
            yield (
                column.path,
                (
                    f"`{column.key}` holds the very items that {loss.name} asks for, all of a "
                    "user's at once; take a loss of single events, or leave the column out"
                ),
            )


def _negatives(draft: _Draft) -> Said:
    loss = draft.loss()
    if draft.spec.negatives is not None and (loss is None or loss.form != "sampled"):
        sampled = draft.names("loss", lambda other: other.form == "sampled")
        what = "is solved in closed form" if loss is None else f"{loss.name} draws none"
        yield ("negatives",), f"{what}; losses of sampled items: {sampled}"
    if loss is None or loss.form != "sampled":
        return
    if not draft.spec.entities.keys() >= _ROLES:
        yield (
            ("loss",),
            f"{loss.name} draws items for users; it needs the entities user and item",
        )
    for column in draft.columns:
        if column.table == EVENT and "item" in column.tables:
            yield (
                column.path,
                (
                    f"`{column.key}` is made from the item's columns among others, and {loss.name} "
                    "compares an event with items that have none"
                ),
            )


def _pair_columns(draft: _Draft) -> Said:
    """A column made from the item's and other columns differs from item to item."""
    ranking = [
        component.name
        for component in draft.spec.metrics or ()
        if getattr(draft.definition("metric", component), "is_ranking", False)
    ]
    if draft.spec.target.implicit is not None and draft.spec.metrics is None:
        ranking = ["the default of an implicit target"]
    for column in draft.columns:
        if column.table == EVENT and "item" in column.tables and ranking:
            yield (
                column.path,
                (
                    f"`{column.key}` is made from the item's columns among others, and lists are "
                    f"asked for by a metric ({_listed(ranking)}), for which each item would need "
                    "its own; such a column goes with metrics of predictions"
                ),
            )


def _single_output(draft: _Draft) -> Said:
    model: ModelDefinition | None = draft.definition("model", draft.spec.model)
    loss: LossDefinition | None = draft.definition("loss", draft.spec.loss)
    if model is None or not model.is_single_output or model.solve is not None:
        return
    given = draft.spec.entities.keys()
    others = draft.names("model", lambda m: not m.is_single_output and m.needs <= given)
    if loss is not None and loss.form == "pointwise" and "classes" in loss.targets:
        what = "level" if draft.spec.target.levels else "class"
        yield (
            ("loss",),
            (
                f"{loss.name} needs one output a {what}, and {model.name} gives a single number; "
                f"use a model with several outputs ({others}) or another loss"
            ),
        )
    if draft.spec.target.columns is not None and len(draft.spec.target.columns) > 1:
        yield (
            ("model",),
            (
                f"{model.name} gives a single number, and the target has "
                f"{len(draft.spec.target.columns)} columns; models with several outputs: {others}"
            ),
        )


def _early_stopping(draft: _Draft) -> Said:
    if draft.spec.train.early_stopping is None:
        return
    if draft.spec.split is None:
        return
    split = draft.resolved("split", draft.spec.split)
    if split is not None and getattr(split.options, "valid", None) == 0:
        yield (
            ("train", "early_stopping"),
            (
                f"needs a validation part, and the split {split.definition.name} leaves none; "
                "give the split a `valid` share"
            ),
        )


def _duplicates(draft: _Draft) -> Said:
    if draft.spec.duplicates != "keep" and not draft.spec.entities.keys() >= _ROLES:
        yield (
            ("duplicates",),
            (
                f"{draft.spec.duplicates} is about events of one user with one item; "
                "it needs the entities user and item"
            ),
        )


def _entity_tables(draft: _Draft) -> Said:
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


def _auto(draft: _Draft) -> Said:
    if draft.spec.columns == "auto" and draft.spec.entities:
        yield (
            ("columns",),
            (
                "auto is for a plain table, and this spec has entities; name the events' columns, "
                "or leave `columns` out if there are none"
            ),
        )


def _columns(draft: _Draft) -> Said:
    yield from column_clashes(draft.spec, draft.columns)
    yield from draft.refused
    yield from missing_columns(draft.spec, draft.columns, draft.tables)


_RULES: tuple[tuple[Callable[[_Draft], Said], tuple[str, ...]], ...] = (
    (_model_needs, ("model", "entities")),
    (_model_target, ("model", "target")),
    (_loss_target, ("loss", "target")),
    (_metric_target, ("metrics", "target")),
    (_metric_needs, ("metrics", "entities")),
    (_metric_columns, ("metrics", "entities")),
    (_closed_form, ("model", "loss")),
    (_catalogue, ("loss", "model", "target", "columns", "entities")),
    (_negatives, ("negatives", "loss", "model", "columns", "entities", "target")),
    (_pair_columns, ("columns", "entities", "metrics", "target")),
    (_single_output, ("model", "loss", "target", "entities")),
    (_early_stopping, ("train", "split")),
    (_duplicates, ("duplicates", "entities")),
    (_entity_tables, ("entities",)),
    (_auto, ("columns", "entities")),
    (_columns, ("columns", "entities", "target")),
)


def _kind_in_words(target: Target) -> str:
    kinds = sorted(possible_kinds(target))
    return kinds[0] if len(kinds) == 1 else "a column of numbers or classes"


def _listed(names: Collection[str]) -> str:
    """Names in a sentence: user before item, all others by the alphabet."""
    ordered = sorted(names, key=lambda name: (name != "user", name))
    if len(ordered) < 2:
        return "".join(ordered)
    return f"{', '.join(ordered[:-1])} and {ordered[-1]}"
