"""The built-in losses and their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator

from tabcf.contracts.definitions import LossDefinition
from tabcf.contracts.options import NoOptions, Options
from tabcf.contracts.target import TargetInfo, TargetKind
from tabcf.errors import SpecError

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
    predict: Literal["mean", "median", "mode"] = "mean"
    """What a rating's prediction is: the expectation over its levels, best for RMSE; the median
    level, best for MAE; or the likeliest level. The last two are levels, so that many items of a
    ranked list tie."""


class ImplicitMSEOptions(Options):
    """Chosen items should score 1, all others 0."""

    unobserved_weight: float = Field(default=0.1, gt=0)
    """Weight of the squares of all scores, beside 1 for what was chosen."""


class SumOptions(Options):
    """Losses of one output, each with a factor."""

    losses: Mapping[str, float] = Field(min_length=1)
    """The factor of each loss, which need not add up to 1. A loss with options of its own goes by
    the name that a YAML plugin gives it. Predictions are decoded by the first one."""

    @model_validator(mode="before")
    @classmethod
    def _from_factors(cls, value: Any) -> Any:
        """`{mse: 0.8, mae: 0.2}` stands for `{losses: {mse: 0.8, mae: 0.2}}`."""
        if isinstance(value, Mapping) and set(value) != {"losses"}:
            return {"losses": value}
        return value

    @field_validator("losses")
    @classmethod
    def _not_negative(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for name, factor in value.items():
            if factor < 0:
                raise ValueError(f"{name}: expected a factor of at least 0, got {factor:g}")
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler, /
    ) -> dict[str, Any]:
        """The factors themselves, as they are written."""
        schema = handler(core_schema)
        record = handler.resolve_ref_schema(schema)
        factors = record["properties"]["losses"]
        record.clear()
        record.update(factors)
        return schema


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

    return CrossEntropy(target, label_smoothing=options.label_smoothing, predict=options.predict)


def _softmax(target: TargetInfo, options: SoftmaxOptions) -> Any:
    from tabcf.losses import Softmax

    return Softmax(target, reduction=options.reduction)


def _bpr(target: TargetInfo, options: NoOptions) -> Any:
    from tabcf.losses import BPR

    return BPR(target)


def _sampled_bce(target: TargetInfo, options: NoOptions) -> Any:
    from tabcf.losses import SampledBCE

    return SampledBCE(target)


def _sampled_softmax(target: TargetInfo, options: NoOptions) -> Any:
    from tabcf.losses import SampledSoftmax

    return SampledSoftmax(target)


def _implicit_mse(target: TargetInfo, options: ImplicitMSEOptions) -> Any:
    from tabcf.losses import ImplicitMSE

    return ImplicitMSE(target, unobserved_weight=options.unobserved_weight)


def _sum(lookup: Callable[[str], Any], options: SumOptions) -> LossDefinition:
    """The sum of the named losses; it takes the targets that all of them take.

    Raises:
        SpecError: They do not go together.
    """
    from tabcf.losses import Sum

    parts = [(factor, lookup(name)) for name, factor in options.losses.items()]
    definitions = [part.definition for _, part in parts]
    forms = {definition.form for definition in definitions}
    is_blend = forms == {"pointwise", "sampled"}
    targets = frozenset.intersection(
        *(d.targets | d.targets_in_sum if is_blend else d.targets for d in definitions)
    )
    if not targets or (len(forms) > 1 and not is_blend):
        takes = "; ".join(f"{d.name}: {', '.join(sorted(d.targets))}" for d in definitions)
        raise SpecError([f"these losses take no target in common ({takes})"])
    return replace(
        _SUM,
        targets=targets,
        form="sampled" if is_blend else forms.pop(),
        build=lambda target, _: Sum(
            target, [(f, part.definition.build(target, part.options)) for f, part in parts]
        ),
    )


def _no_sum(target: TargetInfo, options: Any) -> Any:
    raise AssertionError("a sum is composed before it is built")


_SUM = LossDefinition(
    name="sum",
    options=SumOptions,
    summary="A weighted sum of losses.",
    example="{sum: {mse: 0.8, mae: 0.2}}",
    targets=_NUMBERS | {"binary", "classes", "implicit"},
    build=_no_sum,
    compose=_sum,
)

LOSSES = (
    _SUM,
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
        example="{huber: {delta: 0.5}}",
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
        example="{cross_entropy: {label_smoothing: 0.1}}",
        options=CrossEntropyOptions,
        summary="Cross-entropy over classes; over a rating's levels it predicts the expectation.",
        targets=frozenset({"classes", "binary", "rating"}),
        build=_cross_entropy,
    ),
    LossDefinition(
        name="softmax",
        example="{softmax: {reduction: user}}",
        options=SoftmaxOptions,
        summary="Cross-entropy of a user's items over the whole catalogue.",
        targets=frozenset({"implicit"}),
        build=_softmax,
        form="catalogue",
    ),
    LossDefinition(
        name="bpr",
        options=NoOptions,
        summary="The chosen item should beat sampled ones.",
        targets=frozenset({"implicit"}),
        build=_bpr,
        form="sampled",
        targets_in_sum=frozenset({"rating", "regression"}),
    ),
    LossDefinition(
        name="sampled_bce",
        options=NoOptions,
        summary="The chosen item is a one, sampled ones are zeros.",
        targets=frozenset({"implicit"}),
        build=_sampled_bce,
        form="sampled",
        targets_in_sum=frozenset({"rating", "regression"}),
    ),
    LossDefinition(
        name="sampled_softmax",
        options=NoOptions,
        summary="Cross-entropy among sampled items, corrected for how they are sampled.",
        targets=frozenset({"implicit"}),
        build=_sampled_softmax,
        form="sampled",
        targets_in_sum=frozenset({"rating", "regression"}),
    ),
    LossDefinition(
        name="implicit_mse",
        options=ImplicitMSEOptions,
        summary="Squared error of all pairs, chosen or not, without scoring them all.",
        example="{implicit_mse: {unobserved_weight: 0.1}}",
        targets=frozenset({"implicit"}),
        build=_implicit_mse,
        form="factored",
    ),
)
