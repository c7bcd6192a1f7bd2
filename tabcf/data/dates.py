"""Dates given as ISO text, as a date type or as seconds since 1970, and their parts."""

from __future__ import annotations

from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd

from tabcf.errors import DataError

__all__ = ["DatePart", "date_part", "dates"]

DatePart = Literal["hour", "weekday", "day", "month", "quarter", "year", "is_weekend"]


def dates(series: pd.Series[Any], *, timezone: str = "UTC") -> pd.Series[Any]:
    """Dates in a time zone, NaT where missing; numbers are seconds since 1970, UTC.

    Raises:
        DataError: A value is no date, or there is no such zone.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise DataError(
            f"column '{series.name}': no time zone '{timezone}'; such as UTC or Europe/Paris"
        ) from None
    try:
        if pd.api.types.is_numeric_dtype(series.dtype):
            found = pd.to_datetime(series, unit="s", utc=True)
        else:
            found = pd.to_datetime(series, utc=True, format="ISO8601")
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"column '{series.name}': expected dates as ISO text such as 2024-05-31T18:00 or as "
            f"seconds since 1970; {str(error).splitlines()[0]}"
        ) from None
    return found.dt.tz_convert(zone)


def date_part(series: pd.Series[Any], part: DatePart, *, timezone: str = "UTC") -> pd.Series[Any]:
    """One part of each date as a whole number, missing where the date is; Monday is weekday 0."""
    found = dates(series, timezone=timezone).dt
    values: pd.Series[Any]
    if part == "is_weekend":
        values = (found.day_of_week >= 5).astype("Int64").where(series.notna())
    else:
        attribute = "day_of_week" if part == "weekday" else part
        values = getattr(found, attribute).astype("Int64")
    return values
