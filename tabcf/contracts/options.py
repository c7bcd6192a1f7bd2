"""The base of every record that a person writes in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    field_validator,
    model_validator,
)

__all__ = ["FromColumn", "ModelOptions", "NoOptions", "Options"]


class Options(BaseModel):
    """A frozen record whose unknown keys are errors.

    `shorthand` names the field that a bare value fills: with `shorthand = "fold"`,
    `{official: u1}` means `{official: {fold: u1}}`.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    shorthand: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _from_shorthand(cls, value: Any) -> Any:
        if cls.shorthand is None or value is None or isinstance(value, (Mapping, BaseModel)):
            return value
        return {cls.model_fields[cls.shorthand].alias or cls.shorthand: value}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler, /
    ) -> dict[str, Any]:
        """Either form: the shorthand's value, or the mapping."""
        schema = handler(core_schema)
        if cls.shorthand is not None:
            record = handler.resolve_ref_schema(schema)
            mapping = dict(record)
            key = cls.model_fields[cls.shorthand].alias or cls.shorthand
            value = {k: v for k, v in mapping["properties"][key].items() if k != "default"}
            if "anyOf" in value:
                value["anyOf"] = [form for form in value["anyOf"] if form != {"type": "null"}]
            record.clear()
            record["anyOf"] = [value, mapping]
        return schema


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


class FromColumn(Options):
    """A column as it is given."""

    model_config = ConfigDict(populate_by_name=True)
    shorthand: ClassVar[str | None] = "from_"

    from_: str | None = Field(default=None, alias="from")
    """The column to read; by default the one of the same name."""

    def named(self, name: str) -> Self:
        """The same options, reading the column of that name unless they say which."""
        return self if self.from_ else self.model_copy(update={"from_": name})
