"""What the training events count in the loss: of whom, of what, and of when they are."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from tabcf.contracts.options import Options

__all__ = ["ItemPropensity", "TimeDecay", "UserWeights"]


class UserWeights(Options):
    """Keep a few heavy users from ruling the loss."""

    shorthand: ClassVar[str | None] = "power"

    power: float | None = Field(default=None, ge=0, le=1)
    """An event counts 1 / n to this power, n being its user's training events: 0.5 makes a user
    count like the root of n events, 1 makes all users count the same."""
    cap: PositiveInt | None = None
    """A user with more training events counts like one with so many."""

    @model_validator(mode="after")
    def _at_least_one(self) -> UserWeights:
        if self.power is None and self.cap is None:
            raise ValueError("expected power or cap")
        return self


class ItemPropensity(Options):
    """Let events of items that few have seen count more: inverse propensities, clipped."""

    shorthand: ClassVar[str | None] = "power"

    power: float = Field(default=0.5, ge=0, le=1)
    """An item is taken as seen with a probability of its training events over those of the most
    popular item, to this power; an event counts one over that."""
    clip: float = Field(default=10.0, ge=1)
    """The largest weight."""


class TimeDecay(Options):
    """Let newer events count more, for tastes and catalogues that change with time."""

    shorthand: ClassVar[str | None] = "half_life"

    half_life: PositiveFloat
    """An event this much older than the newest training event counts half."""
    at: str = "timestamp"
    """The events' column of times: ISO text, a date type, or seconds since 1970."""
    unit: Literal["second", "minute", "hour", "day"] = "day"
    """What the half-life is counted in."""
