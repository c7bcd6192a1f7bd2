"""The built-in schedules of the learning rate, and policies for unknown values."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from tabcf.contracts.definitions import ScheduleDefinition, UnknownDefinition
from tabcf.contracts.options import NoOptions, Options

__all__ = ["SCHEDULES", "UNKNOWN", "MaskedOptions", "MeanOptions"]

_Share = Annotated[float, Field(ge=0, lt=1)]


class OneCycleOptions(Options):
    """Up to the peak and down again."""

    warmup: _Share = 0.25
    """Share of the training in which the rate rises."""
    start_divisor: float = Field(default=25.0, gt=0)
    """The first rate is the peak over this."""
    end_divisor: float = Field(default=1e5, gt=0)
    """The last rate is the peak over this."""


class CosineOptions(Options):
    """Down by a half cosine."""

    warmup: _Share = 0.0
    """Share of the training in which the rate rises."""
    end_factor: float = Field(default=0.0, ge=0)
    """The last rate is the peak times this."""


class MeanOptions(Options):
    """An unknown id stands at the average."""

    strength: float = Field(default=10.0, ge=0)
    """A row with n training events counts n / (n + strength) in the average."""


class MaskedOptions(Options):
    """An unknown id has a vector of its own, trained by hiding ids."""

    shorthand: ClassVar[str | None] = "rate"

    rate: _Share = 0.02
    """Share of each entity's ids hidden in training; without entities, of every column's values."""
    user: _Share | None = None
    """Another share for users."""
    item: _Share | None = None
    """Another share for items."""

    def rate_of(self, entity: str) -> float:
        """The share of an entity's ids."""
        own = {"user": self.user, "item": self.item}.get(entity)
        return self.rate if own is None else own


def _one_cycle(options: OneCycleOptions) -> Any:
    from tabcf.training.schedules import one_cycle

    return one_cycle(**options.model_dump())


def _cosine(options: CosineOptions) -> Any:
    from tabcf.training.schedules import cosine

    return cosine(**options.model_dump())


def _constant(options: NoOptions) -> Any:
    from tabcf.training.schedules import constant

    return constant()


SCHEDULES = (
    ScheduleDefinition(
        name="one_cycle",
        example="{one_cycle: {warmup: 0.25}}",
        options=OneCycleOptions,
        summary="Up to the peak and down again by cosines, momentum against it, as in fastai.",
        build=_one_cycle,
    ),
    ScheduleDefinition(
        name="cosine",
        example="{cosine: {warmup: 0.1}}",
        options=CosineOptions,
        summary="An optional warm-up, then down by a half cosine.",
        build=_cosine,
    ),
    ScheduleDefinition(
        name="constant", options=NoOptions, summary="The rate as given.", build=_constant
    ),
)

UNKNOWN = (
    UnknownDefinition(
        name="mean",
        example="{mean: {strength: 10}}",
        options=MeanOptions,
        summary="The count-weighted mean vector and bias, written after the fit.",
    ),
    UnknownDefinition(
        name="masked",
        example="{masked: {rate: 0.02, item: 0.1}}",
        options=MaskedOptions,
        summary="A vector trained by hiding a share of ids, so that attributes speak for the rest.",
    ),
)
