"""The loss and the metrics of a spec that names none, by the kind of its target."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tabcf.contracts.target import TargetKind
from tabcf.spec.records import Component, Spec, Target

__all__ = ["DEFAULT_LOSS", "default_metrics", "default_split", "possible_kinds"]

DEFAULT_LOSS: Mapping[TargetKind, str] = {
    "regression": "mse",
    "rating": "mse",
    "binary": "bce",
    "classes": "cross_entropy",
    "implicit": "softmax",
}
_DEFAULT_METRICS: Mapping[TargetKind, tuple[Any, ...]] = {
    "regression": ("rmse", "mae"),
    "rating": ("rmse", "mae"),
    "binary": ("auc", "log_loss", "accuracy"),
    "classes": ("accuracy", "log_loss"),
    "implicit": ({"ndcg": 10}, {"recall": 10}),
}


def default_metrics(spec: Spec, kind: TargetKind) -> tuple[Any, ...]:
    """The metrics of a spec that names none, as YAML has them; of lists too with two stages."""
    found = _DEFAULT_METRICS[kind]
    if spec.retrieve is not None and kind != "implicit":
        return (*found, *_DEFAULT_METRICS["implicit"])
    return found


def default_split(target: Target, columns: Collection[str]) -> Component:
    """The split of a spec that names none; `columns` are the events'.

    What people will do is asked for, so what they did later is what to test on.
    """
    by_time = target.implicit is not None and "timestamp" in columns
    return Component.model_validate("time" if by_time else "random")


def possible_kinds(target: Target) -> frozenset[TargetKind]:
    """The kinds of target that a spec leaves open; the data decide between them."""
    if target.implicit is not None:
        return frozenset({"implicit"})
    if target.levels is not None:
        return frozenset({"rating"})
    if target.columns is not None:
        return frozenset({"regression"})
    return frozenset({"regression", "binary", "classes"})
