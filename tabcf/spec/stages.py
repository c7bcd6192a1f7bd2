"""The first of two stages as a spec of its own, and whether one stage can follow the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tabcf.contracts.definitions import MetricDefinition, ModelDefinition
from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.defaults import default_metrics, possible_kinds
from tabcf.spec.marks import KeyPath
from tabcf.spec.records import Component, Retrieve, Spec, Target
from tabcf.spec.references import SpecColumn
from tabcf.spec.wording import did_you_mean

__all__ = ["first_stage", "first_stage_columns", "stage_problems"]

_ROLES = ("user", "item")


def first_stage(spec: Spec, registry: Registry, columns: Iterable[SpecColumn]) -> Spec:
    """What `retrieve` declares as a whole spec, over the same data, split and seed.

    Its metrics are recall among as many items as it finds, then the spec's own metrics of lists.

    Args:
        spec: A spec with `retrieve`, whose split is not left to the target's default.
        registry: The components that it names.
        columns: The spec's columns.
    """
    retrieve = _retrieve(spec)
    columns = tuple(columns)
    chosen = set(first_stage_columns(spec, registry, columns))
    needed = {*_ROLES, *chosen}
    for column in columns:
        if column.key in chosen:
            needed |= {column.table, *column.tables}
    top = spec.columns if isinstance(spec.columns, Mapping) else {}
    shared = ("model", "loss", "negatives", "unknown", "train")
    own = {
        "target": retrieve.target or spec.target,
        "entities": {
            name: entity.model_copy(
                update={
                    "columns": {k: v for k, v in entity.columns.items() if f"{name}.{k}" in chosen}
                }
            )
            for name, entity in spec.entities.items()
            if name in needed
        },
        "columns": {name: column for name, column in top.items() if name in chosen},
        "metrics": tuple(_metrics(spec, registry)),
        "retrieve": None,
        "rerank": None,
        "track": (),
    }
    return spec.model_copy(update={name: getattr(retrieve, name) for name in shared} | own)


def first_stage_columns(
    spec: Spec, registry: Registry, columns: Iterable[SpecColumn]
) -> tuple[str, ...]:
    """Which columns and further entities' ids the first stage receives."""
    retrieve = _retrieve(spec)
    if retrieve.columns is not None:
        return retrieve.columns
    model = _model(registry, retrieve.model)
    if model is None or model.solve is not None:
        return ()
    return tuple(c.key for c in columns if c.is_input and c.table in _ROLES)


def stage_problems(
    spec: Spec, registry: Registry, columns: Iterable[SpecColumn]
) -> Iterator[tuple[KeyPath, str]]:
    """The path and the reason of whatever keeps two stages from following one another."""
    retrieve = _retrieve(spec)
    missing = [name for name in _ROLES if name not in spec.entities]
    if missing:
        yield (
            ("retrieve",),
            (
                "finds items for users, so it needs the entities user and item; missing: "
                f"{', '.join(missing)}"
            ),
        )
    yield from _column_problems(spec, tuple(columns))
    yield from _order_problems(registry, ("model",), spec.model, ("target",), spec.target)
    at = ("retrieve", "model")
    yield from _order_problems(
        registry, at, retrieve.model, ("retrieve", "target"), retrieve.target
    )
    if retrieve.train.refit != spec.train.refit:
        yield (
            ("retrieve", "train", "refit"),
            (
                "both stages are fitted on the same rows, and the spec's own train.refit is "
                f"{str(spec.train.refit).lower()}; leave it out here"
            ),
        )
    for name, k in _lengths(spec, registry):
        if k > retrieve.n:
            yield (
                ("retrieve", "n"),
                f"finds {retrieve.n} items, and the metric {name} looks at {k}; find more",
            )


def _retrieve(spec: Spec) -> Retrieve:
    assert spec.retrieve is not None
    return spec.retrieve


def _model(registry: Registry, component: Component) -> ModelDefinition | None:
    """A model's definition; None where it is unknown or wrong, which is said elsewhere."""
    try:
        found: ModelDefinition = registry.get("model", component.name)
    except (SpecError, ValueError):
        return None
    return found


def _column_problems(spec: Spec, columns: tuple[SpecColumn, ...]) -> Iterator[tuple[KeyPath, str]]:
    """Names that are no columns, and columns without those that they are made from."""
    chosen = _retrieve(spec).columns
    if chosen is None:
        return
    by_key = {column.key: column for column in columns}
    declared = [column.key for column in columns if column.is_input]
    known = [*declared, *(name for name in spec.entities if name not in _ROLES)]
    for position, name in enumerate(chosen):
        path = ("retrieve", "columns", position)
        if name in _ROLES:
            yield path, f"the ids of {name} are always there; name further columns only"
        elif name not in known:
            hint = did_you_mean(name, known) or ";"
            yield (
                path,
                f"the spec has no column '{name}'{hint} known: {', '.join(known) or 'none'}",
            )
        elif name in by_key:
            for read in _made_from(by_key[name], by_key):
                if read not in chosen:
                    yield path, f"`{name}` is made from `{read}`; name that too"


def _made_from(column: SpecColumn, by_key: Mapping[str, SpecColumn]) -> Iterator[str]:
    """The declared columns that a column reads, be it through a plugin's own ones."""
    for key in column.reads.values():
        if by_key[key].is_input:
            yield key
        else:
            yield from _made_from(by_key[key], by_key)


def _order_problems(
    registry: Registry, at: KeyPath, component: Component, below: KeyPath, target: Target | None
) -> Iterator[tuple[KeyPath, str]]:
    """Why a stage puts items into no order."""
    model = _model(registry, component)
    if model is not None and not model.orders_items:
        others = registry.names_where("model", lambda other: other.orders_items)
        yield (
            at,
            (
                f"all items are alike to {model.name}, so that it gives them no order; models that "
                f"do: {', '.join(others)}"
            ),
        )
    if target is not None and len(target.columns or ()) > 1:
        yield (
            (*below, "columns"),
            (
                "several numbers give items no order, and lists come from two stages; predict one "
                "column"
            ),
        )


def _metrics(spec: Spec, registry: Registry) -> Iterator[Component]:
    """Recall of what is found, then the spec's metrics of lists that suit the first stage."""
    retrieve = _retrieve(spec)
    kinds = possible_kinds(retrieve.target or spec.target)
    recall = Component(name="recall", options={"k": retrieve.n})
    yield recall
    for component, metric in _list_metrics(spec, registry):
        given = registry.resolve("metric", component)
        is_recall = given == registry.resolve("metric", recall)
        if metric.targets & kinds and not is_recall:
            yield component


def _lengths(spec: Spec, registry: Registry) -> Iterator[tuple[str, int]]:
    """The metrics of lists, and how long a list each looks at."""
    for component, metric in _list_metrics(spec, registry):
        k = getattr(registry.resolve("metric", component).options, "k", None)
        if k is not None:
            yield metric.name, k


def _list_metrics(spec: Spec, registry: Registry) -> Iterator[tuple[Component, MetricDefinition]]:
    """The spec's metrics of lists, or the default ones; those that are wrong are left out."""
    given = spec.metrics
    if given is None:
        given = tuple(map(Component.model_validate, default_metrics(spec, "implicit")))
    for component in given:
        try:
            metric: MetricDefinition = registry.resolve("metric", component).definition
        except (SpecError, ValueError):
            continue
        if metric.is_ranking:
            yield component, metric
