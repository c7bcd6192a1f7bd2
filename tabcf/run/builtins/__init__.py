"""What the package itself registers, through the same records as a plugin."""

from __future__ import annotations

from tabcf.plugin.registry import Registry
from tabcf.run.builtins.columns import COLUMNS
from tabcf.run.builtins.losses import LOSSES
from tabcf.run.builtins.metrics import METRICS
from tabcf.run.builtins.models import MODELS
from tabcf.run.builtins.schedules import SCHEDULES, UNKNOWN
from tabcf.run.builtins.splits import SPLITS

__all__ = ["builtin_registry"]


def builtin_registry() -> Registry:
    """A new registry with everything that comes with tabcf."""
    registry = Registry()
    for definitions in (COLUMNS, LOSSES, METRICS, MODELS, SCHEDULES, SPLITS, UNKNOWN):
        registry.add(definitions, origin="tabcf")
    return registry
