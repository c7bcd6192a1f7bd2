"""The hooks that a plugin may implement; each returns definitions and gets nothing.

They are called once, when a run is composed, never while it trains. A plugin is a module or an
object with some of these functions, marked by `hookimpl`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from tabcf.contracts.definitions import (
    ColumnDefinition,
    CommandDefinition,
    EngineDefinition,
    LossDefinition,
    MetricDefinition,
    ModelDefinition,
    RerankerDefinition,
    SelectorDefinition,
    TrackerDefinition,
)

__all__ = ["HOOKS", "PROJECT", "Hooks", "hookimpl"]

PROJECT = "tabcf"
hookimpl = pluggy.HookimplMarker(PROJECT)
_hookspec = pluggy.HookspecMarker(PROJECT)


class Hooks:
    """Signatures of all hooks; pluggy compares implementations with them."""

    @_hookspec
    def tabcf_columns(self) -> Iterable[ColumnDefinition]:
        """Column kinds, for `columns:`."""
        raise NotImplementedError

    @_hookspec
    def tabcf_losses(self) -> Iterable[LossDefinition]:
        """Losses, for `loss:`."""
        raise NotImplementedError

    @_hookspec
    def tabcf_metrics(self) -> Iterable[MetricDefinition]:
        """Metrics, for `metrics:`."""
        raise NotImplementedError

    @_hookspec
    def tabcf_models(self) -> Iterable[ModelDefinition]:
        """Models, for `model:`."""
        raise NotImplementedError

    @_hookspec
    def tabcf_trackers(self) -> Iterable[TrackerDefinition]:
        """Who is told of a fit, for `track:`."""
        raise NotImplementedError

    @_hookspec
    def tabcf_engines(self) -> Iterable[EngineDefinition]:
        """How steps are taken and whose processes take them, for `train.engine`."""
        raise NotImplementedError

    @_hookspec
    def tabcf_rerankers(self) -> Iterable[RerankerDefinition]:
        """What puts recommended lists into another order, for `rerank:`."""
        raise NotImplementedError

    @_hookspec
    def tabcf_selectors(self) -> Iterable[SelectorDefinition]:
        """Who chooses questions for new users, for `tabcf onboard`."""
        raise NotImplementedError

    @_hookspec
    def tabcf_commands(self) -> Iterable[CommandDefinition]:
        """Commands of `tabcf`."""
        raise NotImplementedError


HOOKS = tuple(name for name in vars(Hooks) if name.startswith(f"{PROJECT}_"))
