"""For tests of plugins: tiny data sets, suites that a component must pass, and a pytest plugin.

A suite is used by subclassing it in a test file:

    class TestTolerant(LossContract):
        definition = TOLERANT
        options = {"delta": 0.5}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tabcf.run.plugins import plugin_problems
    from tabcf.testing.columns import ColumnContract
    from tabcf.testing.data import heavy_group, tiny_ratings, tiny_table
    from tabcf.testing.losses import LossContract
    from tabcf.testing.metrics import MetricContract
    from tabcf.testing.models import ModelContract
    from tabcf.testing.rerankers import RerankerContract

__all__ = [
    "ColumnContract",
    "LossContract",
    "MetricContract",
    "ModelContract",
    "RerankerContract",
    "heavy_group",
    "plugin_problems",
    "tiny_ratings",
    "tiny_table",
]

_HOMES = {
    "ColumnContract": "tabcf.testing.columns",
    "LossContract": "tabcf.testing.losses",
    "MetricContract": "tabcf.testing.metrics",
    "ModelContract": "tabcf.testing.models",
    "RerankerContract": "tabcf.testing.rerankers",
    "heavy_group": "tabcf.testing.data",
    "plugin_problems": "tabcf.run.plugins",
    "tiny_ratings": "tabcf.testing.data",
    "tiny_table": "tabcf.testing.data",
}


def __getattr__(name: str) -> Any:
    """Import a name from its module when it is first used: pytest starts before anybody does."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
