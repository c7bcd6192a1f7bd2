"""The loss and the metrics of a spec that names none, by the kind of its target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabcf.contracts.target import TargetKind
from tabcf.spec.records import Target

__all__ = ["DEFAULT_LOSS", "DEFAULT_METRICS", "possible_kinds"]

DEFAULT_LOSS: Mapping[TargetKind, str] = {
    "regression": "mse",
    "rating": "mse",
    "binary": "bce",
    "classes": "cross_entropy",
    "implicit": "softmax",
}
DEFAULT_METRICS: Mapping[TargetKind, tuple[Any, ...]] = {
    "regression": ("rmse", "mae"),
    "rating": ("rmse", "mae"),
    "binary": ("auc", "log_loss", "accuracy"),
    "classes": ("accuracy", "log_loss"),
    "implicit": ({"ndcg": 10}, {"recall": 10}),
}


def possible_kinds(target: Target) -> frozenset[TargetKind]:
    """The kinds of target that a spec leaves open; the data decide between them."""
    if target.implicit is not None:
        return frozenset({"implicit"})
    if target.levels is not None:
        return frozenset({"rating"})
    if target.columns is not None:
        return frozenset({"regression"})
    return frozenset({"regression", "binary", "classes"})
