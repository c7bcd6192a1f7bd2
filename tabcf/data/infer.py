"""Typing the columns of a plain table, with the reason for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tabcf.data.sources import Source

__all__ = ["ColumnGuess", "guess_columns"]

# Whole numbers with at most this many values, and text with at most this many, are categories.
_FEW_NUMBERS = 2
_MANY_TEXTS = 0.5


@dataclass(frozen=True, slots=True)
class ColumnGuess:
    """A column's kind (None: left out) and why."""

    name: str
    kind: str | None
    reason: str


def guess_columns(source: Source, *, leave_out: Iterable[str] = ()) -> Iterator[ColumnGuess]:
    """Guess `category` or `number` for each column, or leave it out.

    Numbers are numbers, unless they have only two values; text is a category, unless most of
    its values are different, as in names and free text.
    """
    for name in source.frame.columns:
        if name not in set(leave_out):
            yield _guess(name, source.frame[name])


def _guess(name: str, series: pd.Series[Any]) -> ColumnGuess:
    present = series.dropna()
    n, n_distinct = len(present), int(present.nunique())
    dtype = series.dtype
    if n_distinct == 0:
        return ColumnGuess(name, None, "left out: every value is missing")
    if n_distinct == 1:
        return ColumnGuess(name, None, f"left out: every value is {present.iloc[0]!r}")
    if pd.api.types.is_bool_dtype(dtype):
        return ColumnGuess(name, "category", "true or false")
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return ColumnGuess(name, "number", "dates, as seconds since 1970")
    if pd.api.types.is_numeric_dtype(dtype):
        if n_distinct <= _FEW_NUMBERS:
            return ColumnGuess(name, "category", f"only {n_distinct} different numbers")
        return ColumnGuess(name, "number", f"{n_distinct:,} different numbers")
    if n_distinct > max(_MANY_TEXTS * n, 20):
        share = f"{n_distinct:,} different texts in {n:,} rows"
        return ColumnGuess(name, None, f"left out: {share}, like names or free text")
    return ColumnGuess(name, "category", f"{n_distinct:,} different texts")
