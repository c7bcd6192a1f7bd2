"""Every value that a spec comes to, and where each one was said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tabcf.contracts.options import Options
from tabcf.contracts.target import TargetKind
from tabcf.plugin.registry import Registry
from tabcf.spec.components import kind_at, name_and_options
from tabcf.spec.defaults import DEFAULT_LOSS, default_metrics, default_split, possible_kinds
from tabcf.spec.marks import KeyPath
from tabcf.spec.places import as_text
from tabcf.spec.read import SpecDocument
from tabcf.spec.records import Component, Spec, Target
from tabcf.spec.references import spec_columns
from tabcf.spec.stages import first_stage_columns
from tabcf.spec.wording import flow

__all__ = ["Explained", "explain"]


class Explained(NamedTuple):
    """An effective value: its path (fit for `--set`), what it is, and where it comes from.

    `origin` is a file and line, `--set`, `given` (from Python), or `default`. `value` is plain:
    a text, a number, a truth value, None, or a list or an empty mapping of them.
    """

    path: str
    value: Any
    origin: str


def explain(document: SpecDocument, registry: Registry) -> list[Explained]:
    """Every effective value of a spec in the grammar's order, its components' options included.

    Where the data decide on a default, its value lists what they decide between.
    """
    explainer = _Explainer(document, registry)
    rows = explainer.rows(document.spec, document.tree, (), ())
    spec = document.spec
    defaults = {
        "loss": _default_loss(spec.target),
        "metrics": _default_metrics(spec),
        "split": _default_split(spec),
    }
    if spec.retrieve is not None:
        columns = first_stage_columns(spec, registry, spec_columns(spec, registry))
        defaults |= {
            "retrieve.target": "the spec's target",
            "retrieve.loss": _default_loss(spec.retrieve.target or spec.target),
            "retrieve.columns": list(columns),
        }
    return [
        row._replace(value=defaults[row.path])
        if row.path in defaults and row.value is None
        else row
        for row in rows
    ]


def _kinds(target: Target) -> list[TargetKind]:
    """The kinds of target that the data decide between, in the order of the defaults."""
    return [kind for kind in DEFAULT_LOSS if kind in possible_kinds(target)]


def _default_loss(target: Target) -> Any:
    """The loss by default, or those that the data decide between."""
    losses = [DEFAULT_LOSS[kind] for kind in _kinds(target)]
    return losses[0] if len(losses) == 1 else f"by the target's values: {', '.join(losses)}"


def _default_split(spec: Spec) -> str:
    if spec.target.implicit is None:
        return default_split(spec.target, ()).name
    return "time where the events have a column timestamp, else random"


def _default_metrics(spec: Spec) -> Any:
    metrics = [flow(list(default_metrics(spec, kind))) for kind in _kinds(spec.target)]
    return metrics[0] if len(metrics) == 1 else f"by the target's values: {', '.join(metrics)}"


class _Explainer:
    """Walks what was checked side by side with what was written.

    `path` is what a row shows; `written` is where that stands in the tree, None if nowhere.
    """

    def __init__(self, document: SpecDocument, registry: Registry) -> None:
        self._places = document.places
        self._registry = registry

    def rows(
        self, value: Any, given: Any, path: KeyPath, written: KeyPath | None
    ) -> Iterator[Explained]:
        if isinstance(value, Component):
            yield from self._component_rows(value, given, path, written)
        elif isinstance(value, Options):
            yield from self._record_rows(value, given, path, written)
        elif isinstance(value, Mapping) and value:
            for key, item in value.items():
                yield from self._below(item, given, key, path, written, alone=len(value) == 1)
        elif isinstance(value, (list, tuple)) and any(isinstance(v, Component) for v in value):
            for position, item in enumerate(value):
                given_item = given[position] if isinstance(given, list) else None
                place = None if written is None else (*written, position)
                yield from self.rows(item, given_item, (*path, position), place)
        else:
            yield Explained(as_text(path), _plain(value), self._origin(written))

    def _record_rows(
        self, record: Options, given: Any, path: KeyPath, written: KeyPath | None
    ) -> Iterator[Explained]:
        for name, field in type(record).model_fields.items():
            value, key = getattr(record, name), field.alias or name
            yield from self._below(
                value, given, key, path, written, alone=name == type(record).shorthand
            )

    def _below(
        self,
        value: Any,
        given: Any,
        key: str,
        path: KeyPath,
        written: KeyPath | None,
        *,
        alone: bool,
    ) -> Iterator[Explained]:
        """A key's rows; a bare value in the place of the mapping is the key that it fills."""
        below = (*path, key)
        if written is None or given is None:
            yield from self.rows(value, None, below, None)
        elif not isinstance(given, Mapping):
            yield from self.rows(value, given, below, written if alone else None)
        elif key in given:
            yield from self.rows(value, given[key], below, (*written, key))
        else:
            yield from self.rows(value, None, below, None)

    def _component_rows(
        self, component: Component, given: Any, path: KeyPath, written: KeyPath | None
    ) -> Iterator[Explained]:
        yield Explained(as_text(path), component.name, self._origin(written))
        kind = kind_at(path)
        if kind is None:
            return
        options = self._registry.resolve(kind, component).options
        found = name_and_options(given) if written is not None else None
        _, given_options, steps = found if found is not None else ("", None, ())
        place = (*written, *steps) if written is not None and steps else None
        yield from self._record_rows(options, given_options, (*path, component.name), place)

    def _origin(self, written: KeyPath | None) -> str:
        return "default" if written is None else self._places.origin(written)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value
