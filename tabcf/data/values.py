"""One column's values in canonical form: ids and categories, numbers, sets.

A category is a whole number or a text. Which of the two a column holds is fixed when it is first
seen; the number 7 and the text "7" are told apart or refused, never matched by accident.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.arrow import listed_texts
from tabcf.data.distinct import CategoryKind, CategoryValues
from tabcf.data.short_texts import ShortTexts
from tabcf.data.sources import Source
from tabcf.errors import DataError

__all__ = [
    "CategoryKind",
    "CategoryValues",
    "category_values",
    "id_values",
    "numbers",
    "read_as",
    "sets",
]

# From this many rows on, text is told apart by Arrow before it becomes Python's.
_MANY = 1024


def category_values(
    series: pd.Series[Any], source: Source, *, kind: CategoryKind | None = None
) -> CategoryValues:
    """Read ids or categories; with `kind`, as a vocabulary of that kind knows them.

    A text file's values are read by `kind`: whole numbers that are written canonically match a
    vocabulary of numbers, everything else there is unknown.
    """
    name = str(series.name)
    found = _category_kind(series, name, source)
    is_missing = _missing(series)
    if kind is None or found == kind or is_missing.all():
        kind = kind or found
        if kind == "str" and len(series) >= _MANY and _is_arrow_text(series):
            return _listed(series, is_missing)
        return CategoryValues(_as_kind(series, is_missing, kind), is_missing, kind)
    if source.is_text:
        return _reread(series, is_missing, kind)
    expected, got = ("whole numbers", "text") if kind == "int" else ("text", "whole numbers")
    first = series[~is_missing].iloc[0]
    hint = f"frame['{name}'].astype({'int' if kind == 'int' else 'str'})"
    raise DataError(
        f"{source.name}: column '{name}': expected {expected} as in training, got {got} such as "
        f"{first!r}; convert with {hint}"
    )


def _missing(series: pd.Series[Any]) -> np.ndarray:
    """`(N,)` booleans; numpy's whole numbers, which requests have, are not asked one by one."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iu":
        return np.zeros(len(series), dtype=bool)
    return series.isna().to_numpy()


def id_values(source: Source, column: str, *, kind: CategoryKind | None = None) -> CategoryValues:
    """A source's own column of ids; but for near numbers they are told apart once for all."""
    if column in source.listed and kind in (None, source.listed[column].kind):
        return source.listed[column]
    found = category_values(source.frame[column], source, kind=kind)
    if kind is None and len(found.listed) >= _MANY and found.is_scattered:
        found = found.listed_once()
    if found.codes is not None:
        source.listed[column] = found
    return found


def read_as(series: pd.Series[Any], source: Source, *, kind: CategoryKind) -> CategoryValues:
    """Values that a vocabulary of that kind is to take in.

    Raises:
        DataError: One is there that cannot be of that kind; says which and where.
    """
    found = category_values(series, source, kind=kind)
    is_lost = found.is_missing & series.notna().to_numpy()
    if is_lost.any():
        first = int(np.argmax(is_lost))
        raise DataError(
            f"{source.name}: column '{series.name}': expected whole numbers as in training; "
            f"{int(is_lost.sum()):,} of {len(series):,} rows have something else, first at "
            f"{source.place(first)}: {series.iloc[first]!r}"
        )
    return found


def _category_kind(series: pd.Series[Any], name: str, source: Source) -> CategoryKind:
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return "str"
    if pd.api.types.is_integer_dtype(dtype):
        return "int"
    if pd.api.types.is_float_dtype(dtype):
        present = series.dropna().to_numpy(dtype=np.float64)
        return "int" if bool(np.all(present == np.floor(present))) else "str"
    if pd.api.types.is_object_dtype(dtype):
        return _object_kind(series, name, source)
    return "str"


def _object_kind(series: pd.Series[Any], name: str, source: Source) -> CategoryKind:
    present = series.dropna()
    is_whole = present.map(lambda v: isinstance(v, (int, np.integer)) and not isinstance(v, bool))
    if is_whole.all() and len(present):
        return "int"
    if is_whole.any():
        whole, text = present[is_whole].iloc[0], present[~is_whole].iloc[0]
        raise DataError(
            f"{source.name}: column '{name}' mixes whole numbers and text, such as {whole!r} and "
            f"{text!r}; convert it to one of them"
        )
    return "str"


def _as_kind(series: pd.Series[Any], is_missing: np.ndarray, kind: CategoryKind) -> np.ndarray:
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.dtype.categories.dtype)
    if kind == "int":
        if is_missing.any():
            filled = series.where(~is_missing, 0) if series.dtype == object else series.fillna(0)
            return filled.to_numpy(dtype=np.int64)
        return series.to_numpy(dtype=np.int64)
    values = series.to_numpy(dtype=object, na_value="")
    if len(values) and not isinstance(values[0], str):
        values = np.array([str(value) for value in values], dtype=object)
    return values


def _is_arrow_text(series: pd.Series[Any]) -> bool:
    dtype = series.dtype
    return isinstance(dtype, pd.StringDtype) and dtype.storage == "pyarrow"


def _listed(series: pd.Series[Any], is_missing: np.ndarray) -> CategoryValues:
    """Text with each value listed once, in the order in which they are met."""
    import pyarrow as pa

    column = pa.array(series.array)
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    texts, codes, start = ShortTexts(), np.empty(len(column), dtype=np.int32), 0
    for chunk in column.chunks:
        found = texts.codes(chunk.fill_null("") if chunk.null_count else chunk)
        if found is None:
            return listed_texts(column.dictionary_encode())
        codes[start : start + len(found)] = found
        start += len(found)
    listed = texts.values()
    if is_missing.any():
        codes[is_missing] = len(listed)
        listed = np.append(listed, np.array([""], dtype=object))
    return CategoryValues(listed, is_missing, "str", codes)


def _reread(series: pd.Series[Any], is_missing: np.ndarray, kind: CategoryKind) -> CategoryValues:
    """Values of a text file whose own type is not the vocabulary's."""
    text = [_plain_text(value) for value in series.where(~is_missing, "")]
    if kind == "str":
        return CategoryValues(np.array(text, dtype=object), is_missing, kind)
    values = np.zeros(len(text), dtype=np.int64)
    is_unknown = is_missing.copy()
    for position, value in enumerate(text):
        if value.lstrip("-").isdecimal() and str(int(value)) == value:
            values[position] = int(value)
        else:
            is_unknown[position] = True
    return CategoryValues(values, is_unknown, kind)


def _plain_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def numbers(series: pd.Series[Any], source: Source) -> np.ndarray:
    """`(N,)` float64, NaN where missing; raises with the first row that is no number."""
    dtype = series.dtype
    if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        _refuse(np.isinf(values), series, source, "not finite")
        return values
    if pd.api.types.is_datetime64_any_dtype(dtype):
        stamps = series.dt.tz_convert(None) if series.dt.tz is not None else series
        seconds = stamps.to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
        return np.where(series.isna().to_numpy(), np.nan, seconds)
    parsed = pd.to_numeric(series, errors="coerce")
    values = parsed.to_numpy(dtype=np.float64, na_value=np.nan)
    is_blank = series.isna() | series.astype(str).str.strip().isin(["", "NA", "NaN", "nan", "?"])
    _refuse(np.isnan(values) & ~is_blank.to_numpy(), series, source, "not numbers")
    _refuse(np.isinf(values), series, source, "not finite")
    return values


def _refuse(is_bad: np.ndarray, series: pd.Series[Any], source: Source, what: str) -> None:
    if not is_bad.any():
        return
    first = int(np.argmax(is_bad))
    raise DataError(
        f"{source.name}: column '{series.name}': {int(is_bad.sum()):,} of {len(series):,} rows are "
        f"{what}; first at {source.place(first)}: {series.iloc[first]!r}"
    )


def sets(series: pd.Series[Any], *, separator: str) -> tuple[list[str], np.ndarray]:
    """All values of a set column, row after row, and `(N + 1,)` offsets.

    A cell is a text of values between separators, or a list. Values are trimmed; empty ones and
    repeats within a row are dropped.
    """
    values: list[str] = []
    offsets = np.zeros(len(series) + 1, dtype=np.int64)
    for position, cell in enumerate(series):
        if isinstance(cell, str):
            found = [value.strip() for value in cell.split(separator)]
        elif isinstance(cell, (list, tuple, set, frozenset, np.ndarray)):
            found = [str(value).strip() for value in cell]
        elif cell is None or pd.isna(cell):
            found = []
        else:
            found = [str(cell)]
        values.extend(dict.fromkeys(value for value in found if value))
        offsets[position + 1] = len(values)
    return values, offsets
