"""The base of every record that a person writes in YAML."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, field_validator

__all__ = ["ModelOptions", "NoOptions", "Options"]


class Options(BaseModel):
    """A frozen record whose unknown keys are errors.

    `shorthand` names the field that a bare value fills: with `shorthand = "fold"`,
    `{official: u1}` means `{official: {fold: u1}}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shorthand: ClassVar[str | None] = None


class NoOptions(Options):
    """A component that takes no options."""


class ModelOptions(Options):
    """The base of options of models whose output can be held to a range."""

    y_range: tuple[float, float] | None = None
    """Lowest and highest output, reached by a sigmoid; such as `[0, 5.5]` for 1 to 5 stars, so
    that both ends can be reached. Without it a numeric target is standardised."""

    @field_validator("y_range")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError(f"expected two rising numbers, got {list(value)}")
        return value
