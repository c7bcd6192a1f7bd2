"""Conditions on a table's rows, such as `year >= 1990 and genres has Comedy`; parsed, never run."""

from __future__ import annotations

import re
from typing import NamedTuple

from tabcf.errors import DataError

__all__ = ["Condition", "columns_of", "parse_conditions"]

_SIGNS = (">=", "<=", "==", "!=", ">", "<")
_AND = re.compile(r"\s+and\s+")
_CONDITION = re.compile(
    r"\s*(?P<column>.+?)\s*(?:(?P<sign>>=|<=|==|!=|>|<)|\b(?P<has>has)\b)\s*(?P<value>.+?)\s*"
)


class Condition(NamedTuple):
    """One comparison of a column with a value; `sign` is `has` for one of several values."""

    column: str
    sign: str
    value: str


def parse_conditions(text: str, *, where: str = "where") -> list[Condition]:
    """The comparisons that are joined by `and`.

    Raises:
        DataError: One of them is none; `where` is what it is called.

    Example:
        >>> [tuple(found) for found in parse_conditions("year < 1990 and genres has War")]
        [('year', '<', '1990'), ('genres', 'has', 'War')]
    """
    return [_parsed(part, where) for part in _AND.split(text)]


def columns_of(text: str, *, where: str = "where") -> list[str]:
    """The columns that conditions compare."""
    return [condition.column for condition in parse_conditions(text, where=where)]


def _parsed(text: str, where: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise DataError(
            f"{where}: expected such as 'year >= 1990' or 'genres has Comedy', got {text!r}; "
            f"signs: {' '.join(_SIGNS)} has"
        )
    value = match["value"].strip("'\"")
    return Condition(match["column"], match["sign"] or "has", value)
