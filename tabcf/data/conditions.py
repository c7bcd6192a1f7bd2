"""Conditions on a table's rows, such as `year >= 1990 and genres has Comedy`; parsed, never run."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tabcf.data.sources import Source
from tabcf.data.values import numbers, sets
from tabcf.errors import DataError

__all__ = ["columns_of", "matching"]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_AND = re.compile(r"\s+and\s+")
_CONDITION = re.compile(
    r"\s*(?P<column>.+?)\s*(?:(?P<sign>>=|<=|==|!=|>|<)|\b(?P<has>has)\b)\s*(?P<value>.+?)\s*"
)


class _Condition(NamedTuple):
    """One comparison of a column with a value."""

    column: str
    sign: str
    value: str


def matching(
    source: Source, text: str, *, where: str = "where", separator: str = "|"
) -> np.ndarray:
    """`(N,)` booleans: the rows for which all conditions hold; a missing value fulfils none.

    Args:
        source: The rows.
        text: Comparisons joined by `and`: `year >= 1990`, `title == Casablanca`, or
            `genres has Comedy` for a column of several values.
        where: What messages call the conditions.
        separator: What stands between a text's several values.

    Raises:
        DataError: It is no condition, or the column is missing.

    Example:
        >>> frame = pd.DataFrame({"year": [1942, 1995], "genres": ["Drama|War", "Comedy"]})
        >>> matching(Source(frame, "films"), "year < 1990 and genres has War").tolist()
        [True, False]
    """
    holds = np.ones(len(source.frame), dtype=bool)
    for part in _AND.split(text):
        condition = _parsed(part, where)
        source.require([condition.column])
        holds &= _holds(source, condition, where, separator)
    return holds


def columns_of(text: str, *, where: str = "where") -> list[str]:
    """The columns that conditions compare."""
    return [_parsed(part, where).column for part in _AND.split(text)]


def _parsed(text: str, where: str) -> _Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise DataError(
            f"{where}: expected such as 'year >= 1990' or 'genres has Comedy', got {text!r}; "
            f"signs: {' '.join(_OPERATORS)} has"
        )
    value = match["value"].strip("'\"")
    return _Condition(match["column"], match["sign"] or "has", value)


def _holds(source: Source, condition: _Condition, where: str, separator: str) -> np.ndarray:
    series = source.frame[condition.column]
    holds: np.ndarray
    if condition.sign == "has":
        held, offsets = sets(series, separator=separator)
        hits = np.concatenate([[0], np.cumsum([value == condition.value for value in held])])
        return np.asarray(hits[offsets[1:]] > hits[offsets[:-1]], dtype=bool)
    compare = _OPERATORS[condition.sign]
    is_present = series.notna().to_numpy()
    try:
        number = float(condition.value)
    except ValueError:
        if condition.sign not in ("==", "!="):
            raise DataError(
                f"{where}: {condition.column} {condition.sign} {condition.value}: expected a number"
            ) from None
        holds = compare(series.astype(str).to_numpy(dtype=object), condition.value) & is_present
        return holds
    if not pd.api.types.is_numeric_dtype(series.dtype) and condition.sign in ("==", "!="):
        holds = compare(series.astype(str).to_numpy(dtype=object), condition.value) & is_present
        return holds
    values = numbers(series, source)
    with np.errstate(invalid="ignore"):
        holds = compare(values, number) & ~np.isnan(values)
    return holds
