"""The loss `ordered_logit` for tabcf: ordered levels whose steps need not be even."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from tabcf.contracts.definitions import LossDefinition
from tabcf.contracts.options import Options
from tabcf.contracts.target import TargetInfo
from tabcf.plugin.hooks import hookimpl

if TYPE_CHECKING:
    from tabcf_ordinal.loss import OrderedLogit

__all__ = ["ORDERED_LOGIT", "OrderedLogitOptions", "tabcf_losses"]


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


@hookimpl
def tabcf_losses() -> Sequence[LossDefinition]:
    """The one loss."""
    return [ORDERED_LOGIT]
