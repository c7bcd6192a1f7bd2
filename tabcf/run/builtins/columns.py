"""The built-in column kinds: as given, and derived from dates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from tabcf.contracts.definitions import ColumnDefinition
from tabcf.contracts.options import FromColumn, Options
from tabcf.contracts.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS"]


class SetOptions(FromColumn):
    """A column that holds several values a row."""

    separator: str = Field(default="|", min_length=1)
    """What stands between two values of a text; lists need none."""


class DatePartOptions(Options):
    """A part of a date as a category."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str = Field(alias="from")
    """The column of dates: ISO text, a date type, or seconds since 1970."""
    part: Literal["hour", "weekday", "day", "month", "quarter", "year", "is_weekend"]
    """Which part; weekday 0 is Monday."""
    timezone: str = "UTC"
    """The zone that the part is read in, such as `Europe/Paris`."""


def _own(name: str, options: Any) -> tuple[str, ...]:
    return (options.from_ or name,)


def _as_given(tables: Tables, options: FromColumn, state: Any) -> pd.Series[Any]:
    assert options.from_ is not None
    return tables.column(options.from_)


def _column(
    output: Literal["category", "number", "set"], options: type[Options], summary: str
) -> ColumnDefinition:
    return ColumnDefinition(
        name=output,
        options=options,
        summary=summary,
        output=output,
        sources=_own,
        apply=_as_given,
    )


def _date_part(tables: Tables, options: DatePartOptions, state: Any) -> pd.Series[Any]:
    from tabcf.data.dates import date_part

    return date_part(tables.column(options.from_), options.part, timezone=options.timezone)


COLUMNS = (
    _column("category", FromColumn, "One value of many, each with a trained vector."),
    _column("number", FromColumn, "A number, standardised on training rows."),
    _column("set", SetOptions, "Several values a row, such as genres."),
    ColumnDefinition(
        name="date_part",
        options=DatePartOptions,
        summary="A part of a date as a category.",
        output="category",
        sources=lambda name, options: (options.from_,),
        apply=_date_part,
    ),
)
