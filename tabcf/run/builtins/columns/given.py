"""Columns as they are given: categories, numbers and sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tabcf.contracts.definitions import ColumnDefinition
from tabcf.contracts.options import FromColumn, Options
from tabcf.contracts.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GIVEN"]


class SetOptions(FromColumn):
    """A column that holds several values a row."""

    separator: str = Field(default="|", min_length=1)
    """What stands between two values of a text; lists need none."""


def _own(name: str, options: Any) -> tuple[str, ...]:
    return (options.from_ or name,)


def _as_given(tables: Tables, options: FromColumn, state: Any) -> pd.Series[Any]:
    assert options.from_ is not None
    return tables.column(options.from_)


def _column(
    output: Literal["category", "number", "set"],
    options: type[Options],
    summary: str,
    *,
    example: str,
) -> ColumnDefinition:
    return ColumnDefinition(
        name=output,
        options=options,
        summary=summary,
        example=example,
        output=output,
        sources=_own,
        apply=_as_given,
    )


GIVEN = (
    _column(
        "category",
        FromColumn,
        "One value of many, each with a trained vector.",
        example="city: {category: {from: home_town}}",
    ),
    _column(
        "number", FromColumn, "A number, standardised on training rows.", example="age: number"
    ),
    _column(
        "set",
        SetOptions,
        "Several values a row, such as genres.",
        example='genres: {set: {separator: "|"}}',
    ),
)
