"""Which values of a column each row of a table has, as zeros and ones.

Dimension letters: R rows, A values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tabcf.data.sources import Source
from tabcf.data.values import numbers, sets

__all__ = ["Attribute", "attribute_of"]


class Attribute(NamedTuple):
    """A column's values, and which row has which; a row may have several, or none.

    Shape:
        values: A texts, sorted. of_rows: `(R, A)` booleans.
    """

    values: list[str]
    of_rows: np.ndarray


def attribute_of(
    source: Source, column: str, *, separator: str = "|", most_numbers: int | None = None
) -> Attribute:
    """A column's values as zeros and ones.

    Args:
        source: The rows.
        column: Whose values; a text's several ones stand between separators.
        separator: What stands between a text's several values.
        most_numbers: A column of more different numbers than this is cut into four bands of about
            as many rows each, such as `25 to 30`; every number is a value of its own without it.

    Raises:
        DataError: There is no such column.

    Example:
        >>> films = pd.DataFrame({"genres": ["War|Drama", "Drama", None]})
        >>> attribute_of(Source(films, "films"), "genres").values
        ['Drama', 'War']
    """
    source.require([column])
    series = source.frame[column]
    if most_numbers is not None and pd.api.types.is_numeric_dtype(series.dtype):
        if series.nunique() > most_numbers and not pd.api.types.is_bool_dtype(series.dtype):
            return _bands(numbers(series, source))
        if pd.api.types.is_float_dtype(series.dtype):
            # 1994.0, which a gap makes of 1994, is shown as it was written.
            series = series.map("{:.15g}".format, na_action="ignore")
    found, offsets = sets(series, separator=separator)
    values, place = np.unique(np.array(found, dtype=str), return_inverse=True)
    of_rows = np.zeros((len(series), len(values)), dtype=bool)
    of_rows[np.repeat(np.arange(len(series)), np.diff(offsets)), place] = True
    return Attribute(values.tolist(), of_rows)


def _bands(values: np.ndarray) -> Attribute:
    """Numbers by quartiles; a missing one is in no band."""
    is_known = ~np.isnan(values)
    cuts = np.unique(np.quantile(values[is_known], [0.25, 0.5, 0.75]))
    band = np.searchsorted(cuts, values, side="left")
    names, of_rows = [], []
    for number in range(len(cuts) + 1):
        own = is_known & (band == number)
        if own.any():
            low, high = values[own].min(), values[own].max()
            names.append(f"{low:g}" if low == high else f"{low:g} to {high:g}")
            of_rows.append(own)
    return Attribute(names, np.stack(of_rows, 1))
