"""The base of every record that a person writes in YAML."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["NoOptions", "Options"]


class Options(BaseModel):
    """A frozen record whose unknown keys are errors.

    `shorthand` names the field that a bare value fills: with `shorthand = "fold"`,
    `{official: u1}` means `{official: {fold: u1}}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shorthand: ClassVar[str | None] = None


class NoOptions(Options):
    """A component that takes no options."""
