"""The trackers of one fit, told together; each is the spec's and may be a plugin's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tabcf.contracts.options import Options
from tabcf.contracts.tracker import Tracker
from tabcf.errors import TabcfError, TrainingError
from tabcf.plugin.registry import Registry
from tabcf.run.results import FitReport
from tabcf.spec.records import Component, Spec
from tabcf.training.loop import EpochReport

__all__ = ["Tracking"]


class Tracking:
    """What a fit tells its trackers.

    Raises:
        TrainingError: A tracker failed; names it and where it comes from.
    """

    def __init__(self, spec: Spec, registry: Registry) -> None:
        self._spec = spec
        self._trackers: list[tuple[str, Tracker]] = []
        for component in spec.track:
            definition, options, *_ = registry.resolve("tracker", component)
            origin = registry.origin("tracker", component.name)
            by = "" if origin == "tabcf" else f" of the plugin {origin}"
            name = f"{component.name}{by}"
            tracker = _told(name, partial(definition.build, options))
            self._trackers.append((name, tracker))

    def start(self, name: str) -> None:
        """A fit begins."""
        parameters = dict(_flat(self._spec, ""))
        self._tell(lambda tracker: tracker.start(name, parameters))

    def epoch(self, report: EpochReport) -> None:
        """An epoch ended."""
        metrics = {
            "train_loss": report.train_loss,
            "learning_rate": report.learning_rate,
            **{f"valid.{name}": value for name, value in report.validation.items()},
        }
        self._tell(lambda tracker: tracker.epoch(report.epoch, metrics))

    def finish(self, report: FitReport, folder: Path | None) -> None:
        """The fit ended and, with a folder, is saved there."""
        metrics = {f"valid.{name}": value for name, value in report.valid.items()}
        metrics |= {f"test.{name}": value for name, value in report.test.items()}
        self._tell(lambda tracker: tracker.finish(metrics, folder))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for name, tracker in self._trackers:
            _told(name, partial(what, tracker))


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


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value of a spec by its path, as `--set` writes it."""
    if isinstance(value, Component):
        yield path, value.name
        yield from _flat(dict(value.options), f"{path}.{value.name}")
    elif isinstance(value, Options):
        for name in type(value).model_fields:
            yield from _flat(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if name else path)
    elif isinstance(value, (list, tuple)) and any(isinstance(v, Component) for v in value):
        for position, item in enumerate(value):
            yield from _flat(item, f"{path}[{position}]")
    elif value is not None and path:
        yield path, list(value) if isinstance(value, tuple) else value
