"""Dates given as ISO text, as a date type or as seconds since 1970, and their parts."""

from __future__ import annotations

import re
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from tabcf.errors import DataError

__all__ = ["DatePart", "date_part", "dates"]

# The year 9999, in seconds: beyond it a number is no count of seconds.
_LATEST = 253_402_300_800
_DIGITS = re.compile(r"\d{9,12}(\.\d+)?")

DatePart = Literal["hour", "weekday", "day", "month", "quarter", "year", "is_weekend"]


def dates(series: pd.Series[Any], *, timezone: str = "UTC") -> pd.DatetimeIndex:
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
    if not pd.api.types.is_numeric_dtype(series.dtype):
        series = _read_as_seconds(series)
    try:
        if pd.api.types.is_numeric_dtype(series.dtype):
            found = _since_1970(series.to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            found = pd.DatetimeIndex(pd.to_datetime(series, utc=True, format="ISO8601"))
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"column '{series.name}': expected dates as ISO text such as 2024-05-31T18:00 or as "
            f"seconds since 1970; {str(error).splitlines()[0].partition(' You might')[0]}"
        ) from None
    return found.tz_convert(zone)


def _read_as_seconds(series: pd.Series[Any]) -> pd.Series[Any]:
    """Texts of nine digits and more as numbers: no date is written so, and seconds are."""
    present = series.dropna()
    if pd.api.types.is_datetime64_any_dtype(series.dtype) or not len(present):
        return series
    is_digits = present.map(lambda value: isinstance(value, str) and bool(_DIGITS.fullmatch(value)))
    return pd.to_numeric(series) if is_digits.all() else series


def _since_1970(seconds: np.ndarray) -> pd.DatetimeIndex:
    """Numbers as times to the microsecond; numpy's way, since pandas' costs a row a millisecond."""
    is_missing = np.isnan(seconds)
    if (np.abs(seconds[~is_missing]) > _LATEST).any():
        raise OverflowError("a number is too large; is it in milliseconds?")
    stamps = (np.where(is_missing, 0.0, seconds) * 1e6).astype("datetime64[us]")
    stamps[is_missing] = np.datetime64("NaT")
    return pd.DatetimeIndex(stamps, tz="UTC")


def date_part(series: pd.Series[Any], part: DatePart, *, timezone: str = "UTC") -> pd.Series[Any]:
    """One part of each date as a whole number, missing where the date is; Monday is weekday 0."""
    found = dates(series, timezone=timezone)
    if part == "is_weekend":
        values = np.asarray(found.day_of_week >= 5, dtype=np.int64)
    else:
        values = np.asarray(getattr(found, "day_of_week" if part == "weekday" else part))
    is_missing = np.asarray(found.isna())
    if not is_missing.any():
        return pd.Series(values.astype(np.int64))
    return pd.Series(np.where(is_missing, np.nan, values)).astype("Int64")
