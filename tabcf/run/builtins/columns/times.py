"""Columns derived from dates: a part of one, a part of the day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, ConfigDict, Field

from tabcf.contracts.definitions import ColumnDefinition
from tabcf.contracts.options import Options
from tabcf.contracts.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TIMES"]


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone '{name}'; such as UTC or Europe/Paris") from None
    return name


def _is_in_day(edges: tuple[float, ...]) -> tuple[float, ...]:
    if any(edge <= last for last, edge in zip((0.0, *edges), (*edges, 24.0), strict=True)):
        raise ValueError(f"expected hours between 0 and 24, rising, got {list(edges)}")
    return edges


_Zone = Annotated[str, AfterValidator(_is_zone)]


class DatePartOptions(Options):
    """A part of a date as a category."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str = Field(alias="from")
    """The column of dates: ISO text, a date type, or seconds since 1970."""
    part: Literal["hour", "weekday", "day", "month", "quarter", "year", "is_weekend"]
    """Which part; weekday 0 is Monday."""
    timezone: _Zone = "UTC"
    """The zone that the part is read in, such as `Europe/Paris`."""


class HourBinsOptions(Options):
    """A part of the day as a category."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str = Field(alias="from")
    """The column of dates: ISO text, a date type, or seconds since 1970."""
    edges: Annotated[tuple[float, ...], Field(min_length=1), AfterValidator(_is_in_day)] = (
        6,
        12,
        18,
    )
    """Where one part of the day ends and the next begins: hours between 0 and 24, rising; 6.5 is
    half past six. The first part begins at midnight."""
    timezone: _Zone = "UTC"
    """The zone whose clock counts, such as `Europe/Paris`."""


def _from(name: str, options: Any) -> tuple[str, ...]:
    return (options.from_,)


def _date_part(tables: Tables, options: DatePartOptions, state: Any) -> pd.Series[Any]:
    from tabcf.data.dates import date_part

    return date_part(tables.column(options.from_), options.part, timezone=options.timezone)


def _hour_bins(tables: Tables, options: HourBinsOptions, state: Any) -> pd.Series[Any]:
    from tabcf.data.derive.times import hour_bins

    return hour_bins(tables.column(options.from_), options.edges, timezone=options.timezone)


TIMES = (
    ColumnDefinition(
        name="date_part",
        options=DatePartOptions,
        summary="A part of a date as a category.",
        example="weekday: {date_part: {from: timestamp, part: weekday}}",
        output="category",
        sources=_from,
        apply=_date_part,
    ),
    ColumnDefinition(
        name="hour_bins",
        options=HourBinsOptions,
        summary="A part of the day, such as 6 to 12 o'clock.",
        example="daypart: {hour_bins: {from: timestamp, edges: [6, 12, 18]}}",
        output="category",
        sources=_from,
        apply=_hour_bins,
    ),
)
