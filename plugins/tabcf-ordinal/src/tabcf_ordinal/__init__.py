"""Ordered levels for tabcf: a loss, a metric, a kind of column and a selector of questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from tabcf.contracts.definitions import (
    ColumnDefinition,
    LossDefinition,
    MetricDefinition,
    SelectorDefinition,
)
from tabcf.contracts.options import NoOptions, Options
from tabcf.contracts.selector import PastAnswers
from tabcf.contracts.tables import Tables
from tabcf.contracts.target import TargetInfo
from tabcf.plugin.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from tabcf_ordinal.loss import OrderedLogit
    from tabcf_ordinal.selector import Contested

__all__ = [
    "CONTESTED",
    "ORDERED",
    "ORDERED_LOGIT",
    "RPS",
    "OrderedLogitOptions",
    "OrderedOptions",
    "tabcf_columns",
    "tabcf_losses",
    "tabcf_metrics",
    "tabcf_selectors",
]


class OrderedLogitOptions(Options):
    """Cumulative logit with trained cut-points."""

    shorthand: ClassVar[str | None] = "predict"

    predict: Literal["mean", "median", "mode"] = "mean"
    """What a prediction is: the expectation over the levels, the best for RMSE; the median level,
    the best for MAE; or the likeliest level. The last two are levels, so that many items of a
    ranked list tie."""


def _build(target: TargetInfo, options: OrderedLogitOptions) -> OrderedLogit:
    from tabcf_ordinal.loss import OrderedLogit

    return OrderedLogit(target, predict=options.predict)


ORDERED_LOGIT = LossDefinition(
    name="ordered_logit",
    options=OrderedLogitOptions,
    summary="Ordered levels of a rating, parted by trained cut-points.",
    example="{ordered_logit: {predict: median}}",
    targets=frozenset({"rating"}),
    build=_build,
)


class OrderedOptions(Options):
    """A text whose values have an order, as a number."""

    from_: str = Field(alias="from")
    """The column of texts."""
    order: tuple[str, ...] = Field(min_length=2)
    """Its values from the lowest to the highest; others count as missing."""

    @field_validator("order")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"expected each value once, got {list(value)}")
        return value


def _ordered(tables: Tables, options: OrderedOptions, state: None) -> pd.Series[Any]:
    place = {value: number for number, value in enumerate(options.order)}
    return tables.column(options.from_).map(place).astype("Float64")


def _rps(target: TargetInfo, options: NoOptions) -> Callable[..., Any]:
    from tabcf_ordinal.metric import ranked_probability_score

    def compute(prediction: Any, truth: Any) -> Any:
        return ranked_probability_score(prediction["probabilities"], truth, target.levels)

    return compute


def _contested(past: PastAnswers, options: NoOptions) -> Contested:
    from tabcf_ordinal.selector import Contested

    return Contested(past)


ORDERED = ColumnDefinition(
    name="ordered",
    options=OrderedOptions,
    summary="The place of a value in a given order, as a number.",
    example="size: {ordered: {from: size, order: [small, medium, large]}}",
    output="number",
    sources=lambda name, options: (options.from_,),
    apply=_ordered,
)
RPS = MetricDefinition(
    name="rps",
    options=NoOptions,
    summary="Ranked probability score: how far probabilities of levels are from the truth.",
    example="rps",
    targets=frozenset({"rating"}),
    build=_rps,
    reads="probabilities",
)
CONTESTED = SelectorDefinition(
    name="contested",
    options=NoOptions,
    summary="Log popularity times how far apart an item's ratings are.",
    example="contested",
    targets=frozenset({"rating"}),
    build=_contested,
)


@hookimpl
def tabcf_columns() -> Sequence[ColumnDefinition]:
    """The one kind of column."""
    return [ORDERED]


@hookimpl
def tabcf_losses() -> Sequence[LossDefinition]:
    """The one loss."""
    return [ORDERED_LOGIT]


@hookimpl
def tabcf_metrics() -> Sequence[MetricDefinition]:
    """The one metric."""
    return [RPS]


@hookimpl
def tabcf_selectors() -> Sequence[SelectorDefinition]:
    """The one selector."""
    return [CONTESTED]
