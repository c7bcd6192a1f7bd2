"""The built-in losses and their options."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from tabcf.contracts.definitions import LossDefinition
from tabcf.contracts.options import NoOptions, Options
from tabcf.contracts.target import TargetInfo, TargetKind

__all__ = ["LOSSES"]

_NUMBERS: frozenset[TargetKind] = frozenset({"regression", "rating"})


class HuberOptions(Options):
    """Squared near zero, straight beyond."""

    shorthand: ClassVar[str | None] = "delta"

    delta: float = Field(default=1.0, gt=0)
    """Where it turns straight, in units of the encoded target."""


class CrossEntropyOptions(Options):
    """One probability a class, or a level of a rating."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of a class's probability that is spread over all classes."""


class SoftmaxOptions(Options):
    """One probability an item of the catalogue."""

    reduction: Literal["interaction", "user"] = "interaction"
    """Whether each event counts the same, or each user."""


def _mse(target: TargetInfo, options: NoOptions) -> Any:
    from tabcf.losses import MSE

    return MSE(target)


def _mae(target: TargetInfo, options: NoOptions) -> Any:
    from tabcf.losses import MAE

    return MAE(target)


def _huber(target: TargetInfo, options: HuberOptions) -> Any:
    from tabcf.losses import Huber

    return Huber(target, delta=options.delta)


def _bce(target: TargetInfo, options: NoOptions) -> Any:
    from tabcf.losses import BCE

    return BCE(target)


def _cross_entropy(target: TargetInfo, options: CrossEntropyOptions) -> Any:
    from tabcf.losses import CrossEntropy

    return CrossEntropy(target, label_smoothing=options.label_smoothing)


def _softmax(target: TargetInfo, options: SoftmaxOptions) -> Any:
    from tabcf.losses import Softmax

    return Softmax(target, reduction=options.reduction)


LOSSES = (
    LossDefinition(
        name="mse",
        options=NoOptions,
        summary="Mean squared error; large errors count most.",
        targets=_NUMBERS,
        build=_mse,
    ),
    LossDefinition(
        name="mae",
        options=NoOptions,
        summary="Mean absolute error; predicts a median.",
        targets=_NUMBERS,
        build=_mae,
    ),
    LossDefinition(
        name="huber",
        options=HuberOptions,
        summary="Squared error near zero, absolute error beyond delta.",
        targets=_NUMBERS,
        build=_huber,
    ),
    LossDefinition(
        name="bce",
        options=NoOptions,
        summary="Binary cross-entropy of one logit.",
        targets=frozenset({"binary"}),
        build=_bce,
    ),
    LossDefinition(
        name="cross_entropy",
        options=CrossEntropyOptions,
        summary="Cross-entropy over classes; over a rating's levels it predicts the expectation.",
        targets=frozenset({"classes", "binary", "rating"}),
        build=_cross_entropy,
    ),
    LossDefinition(
        name="softmax",
        options=SoftmaxOptions,
        summary="Cross-entropy of a user's items over the whole catalogue.",
        targets=frozenset({"implicit"}),
        build=_softmax,
        form="catalogue",
    ),
)
