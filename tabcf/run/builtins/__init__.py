"""What the package itself registers, through the same hooks as a plugin."""

from __future__ import annotations

from collections.abc import Iterable

from tabcf.contracts.definitions import (
    ColumnDefinition,
    EngineDefinition,
    LossDefinition,
    MetricDefinition,
    ModelDefinition,
    RerankerDefinition,
    SelectorDefinition,
    TrackerDefinition,
)
from tabcf.plugin.hooks import hookimpl
from tabcf.plugin.loading import register
from tabcf.plugin.registry import Registry
from tabcf.run.builtins.columns import COLUMNS
from tabcf.run.builtins.engines import ENGINES
from tabcf.run.builtins.fits import FITS
from tabcf.run.builtins.losses import LOSSES
from tabcf.run.builtins.metrics import METRICS
from tabcf.run.builtins.models import MODELS
from tabcf.run.builtins.rerankers import RERANKERS
from tabcf.run.builtins.samplers import SAMPLERS
from tabcf.run.builtins.schedules import SCHEDULES, UNKNOWN
from tabcf.run.builtins.selectors import SELECTORS
from tabcf.run.builtins.solved import SOLVED
from tabcf.run.builtins.splits import SPLITS
from tabcf.run.builtins.trackers import TRACKERS

__all__ = ["builtin_registry"]


class _Builtins:
    """The built-in plugin."""

    @hookimpl
    def tabcf_columns(self) -> Iterable[ColumnDefinition]:
        return COLUMNS

    @hookimpl
    def tabcf_losses(self) -> Iterable[LossDefinition]:
        return LOSSES

    @hookimpl
    def tabcf_metrics(self) -> Iterable[MetricDefinition]:
        return METRICS

    @hookimpl
    def tabcf_models(self) -> Iterable[ModelDefinition]:
        return (*MODELS, *SOLVED)

    @hookimpl
    def tabcf_trackers(self) -> Iterable[TrackerDefinition]:
        return TRACKERS

    @hookimpl
    def tabcf_engines(self) -> Iterable[EngineDefinition]:
        return ENGINES

    @hookimpl
    def tabcf_rerankers(self) -> Iterable[RerankerDefinition]:
        return RERANKERS

    @hookimpl
    def tabcf_selectors(self) -> Iterable[SelectorDefinition]:
        return SELECTORS


def builtin_registry() -> Registry:
    """A new registry with everything that comes with tabcf, and no plugin."""
    registry = Registry()
    register(registry, None, _Builtins())
    # These kinds have no hook: no plugin has needed one.
    for definitions in (FITS, SAMPLERS, SCHEDULES, SPLITS, UNKNOWN):
        registry.add(definitions, origin="tabcf")
    return registry
