"""The rows of a table for which conditions such as `year >= 1990` hold."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.sources import Source
from tabcf.data.values import numbers, sets
from tabcf.errors import DataError
from tabcf.spec.conditions import Condition, parse_conditions

__all__ = ["matching"]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


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
    for condition in parse_conditions(text, where=where):
        source.require([condition.column])
        holds &= _holds(source, condition, where, separator)
    return holds


def _holds(source: Source, condition: Condition, where: str, separator: str) -> np.ndarray:
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
