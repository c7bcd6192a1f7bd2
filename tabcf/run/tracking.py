"""The trackers of one fit, told together; each is the spec's and may be a plugin's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tabcf.contracts.definitions import ModelDefinition
from tabcf.contracts.options import Options
from tabcf.contracts.tracker import Tracker
from tabcf.errors import TabcfError, TrainingError
from tabcf.plugin.registry import Registry
from tabcf.run.prepare import Events, first_stage_of
from tabcf.run.results import FitReport
from tabcf.run.unknown import default_policy
from tabcf.spec.components import kind_at
from tabcf.spec.defaults import DEFAULT_LOSS, default_metrics, default_split
from tabcf.spec.marks import KeyPath
from tabcf.spec.places import as_text
from tabcf.spec.records import Component, Retrieve, Spec
from tabcf.spec.references import spec_columns
from tabcf.spec.stages import first_stage_columns
from tabcf.training.loop import EpochReport

__all__ = ["Tracking", "parameters", "tracked"]


# What a first stage has of its own; all else is the spec's.
_OF_FIRST_STAGE = frozenset(Retrieve.model_fields) - {"n", "columns"}


@contextmanager
def tracked(spec: Spec, registry: Registry, events: Events, name: str) -> Iterator[Tracking]:
    """A fit's trackers, told of its start, and that it was aborted if the block is left early.

    Args:
        spec: Its `track` says which.
        registry: Where they are registered.
        events: What decides on loss, metrics and split where the spec does not.
        name: The run's name.

    Raises:
        TrainingError: A tracker failed; names it and where it comes from.
    """
    tracking = Tracking(spec, registry)
    try:
        tracking.start(name, parameters(spec, registry, events))
        yield tracking
    except BaseException as error:
        tracking.abort(error)
        raise


class Tracking:
    """What a fit tells its trackers.

    Raises:
        TrainingError: A tracker failed; names it and where it comes from.
    """

    def __init__(self, spec: Spec, registry: Registry) -> None:
        self._trackers: list[tuple[str, Tracker]] = []
        self._open: list[tuple[str, Tracker]] = []
        for component in spec.track:
            definition, options, *_ = registry.resolve("tracker", component)
            origin = registry.origin("tracker", component.name)
            by = "" if origin == "tabcf" else f" of the plugin {origin}"
            name = f"{component.name}{by}"
            tracker = _told(name, partial(definition.build, options))
            self._trackers.append((name, tracker))

    def start(self, name: str, values: Mapping[str, Any]) -> None:
        """A fit begins."""
        for who, tracker in self._trackers:
            self._open.append((who, tracker))
            _told(who, partial(tracker.start, name, values))

    def epoch(self, report: EpochReport) -> None:
        """An epoch ended."""
        metrics = {
            "train_loss": report.train_loss,
            "learning_rate": report.learning_rate,
            **{f"valid.{name}": value for name, value in report.validation.items()},
        }
        for who, tracker in self._trackers:
            _told(who, partial(tracker.epoch, report.epoch, metrics))

    def finish(self, report: FitReport, folder: Path | None) -> None:
        """The fit ended and, with a folder, is saved there."""
        metrics = {f"valid.{name}": value for name, value in report.valid.items()}
        metrics |= {f"test.{name}": value for name, value in report.test.items()}
        metrics |= {f"retrieve.test.{name}": v for name, v in report.first_stage.items()}
        while self._open:
            who, tracker = self._open[0]
            _told(who, partial(tracker.finish, metrics, folder))
            del self._open[0]

    def abort(self, error: BaseException) -> None:
        """The fit failed; what a tracker raises now is a note on that failure, not another one."""
        reason = str(error) or type(error).__name__
        while self._open:
            who, tracker = self._open.pop(0)
            try:
                _told(who, partial(tracker.abort, reason))
            except TabcfError as second:
                error.add_note(str(second))


def parameters(spec: Spec, registry: Registry, events: Events) -> dict[str, Any]:
    """Every value that a fit goes by, by its path as `--set` writes it; plain, without None.

    Defaults are among them: those of components' options, and the components that target, data
    and model decide on where the spec names none.
    """
    model: ModelDefinition = registry.get("model", spec.model.name)
    kind = events.target.kind
    given: dict[str, Any] = {
        "metrics": tuple(map(Component.model_validate, default_metrics(spec, kind)))
        if spec.metrics is None
        else spec.metrics,
        "split": spec.split or default_split(spec.target, events.source.frame.columns),
    }
    if model.solve is None:
        given["loss"] = spec.loss or Component.model_validate(DEFAULT_LOSS[kind])
        has_attributes = any(p.is_input and p.table in ("user", "item") for p in events.plans)
        given["unknown"] = spec.unknown or default_policy(
            spec, registry, has_attributes=has_attributes
        )
        if registry.resolve("loss", given["loss"]).definition.form == "sampled":
            given["negatives"] = spec.negatives or Component.model_validate("uniform")
    if spec.retrieve is None:
        return dict(_flat(spec.model_copy(update=given), (), registry))
    own_spec, own_events = first_stage_of(spec, registry, events)
    first = parameters(own_spec, registry, own_events)
    columns = first_stage_columns(spec, registry, spec_columns(spec, registry))
    own = {"n": spec.retrieve.n, "columns": list(columns)}
    own |= {path: v for path, v in first.items() if path.split(".")[0] in _OF_FIRST_STAGE}
    flat = dict(_flat(spec.model_copy(update=given | {"retrieve": None}), (), registry))
    return flat | {f"retrieve.{path}": value for path, value in own.items()}


def _told(name: str, call: Callable[[], Any]) -> Any:
    """What a tracker's function returns; its failure is a message that names the tracker."""
    try:
        return call()
    except TabcfError:
        raise
    except Exception as error:
        raise TrainingError(
            f"track: the tracker {name} failed: {type(error).__name__}: {error}"
        ) from error


def _flat(value: Any, path: KeyPath, registry: Registry) -> Iterator[tuple[str, Any]]:
    """Every value below a path; a component is its name, and its options below that."""
    if isinstance(value, Component):
        yield as_text(path), value.name
        kind = kind_at(path)
        options = value.options if kind is None else registry.resolve(kind, value).options
        yield from _flat(options, (*path, value.name), registry)
    elif isinstance(value, Options):
        for name, field in type(value).model_fields.items():
            yield from _flat(getattr(value, name), (*path, field.alias or name), registry)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, (*path, str(name)), registry)
    elif isinstance(value, (list, tuple)) and any(isinstance(v, Component) for v in value):
        for position, item in enumerate(value):
            yield from _flat(item, (*path, position), registry)
    elif value is not None:
        yield as_text(path), list(value) if isinstance(value, tuple) else value
