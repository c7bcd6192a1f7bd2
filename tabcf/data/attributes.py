"""Which values of a column each row of a table has, as zeros and ones.

Dimension letters: R rows, A values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tabcf.data.sources import Source
from tabcf.data.values import numbers, sets

__all__ = ["Attribute", "attribute_of"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column's values, and which row has which; a row may have several, or none.

    Attributes:
        values: A texts, sorted.
        n_rows: R.
        rows: The row of each pair of a row and a value that it has.
        places: The value of each, by its place in `values`.
    """

    values: list[str]
    n_rows: int
    rows: np.ndarray
    places: np.ndarray

    @property
    def of_rows(self) -> np.ndarray:
        """`(R, A)` booleans; look at the number of values before asking for it."""
        found = np.zeros((self.n_rows, len(self.values)), dtype=bool)
        found[self.rows, self.places] = True
        return found


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
    values, places = np.unique(np.array(found, dtype=str), return_inverse=True)
    rows = np.repeat(np.arange(len(series)), np.diff(offsets))
    return Attribute(values.tolist(), len(series), rows, places)


def _bands(values: np.ndarray) -> Attribute:
    """Numbers by quartiles; a missing one is in no band."""
    rows = np.flatnonzero(~np.isnan(values))
    known = values[rows]
    cuts = np.unique(np.quantile(known, [0.25, 0.5, 0.75]))
    bands, places = np.unique(np.searchsorted(cuts, known, side="left"), return_inverse=True)
    names = []
    for place in range(len(bands)):
        own = known[places == place]
        low, high = own.min(), own.max()
        names.append(f"{low:g}" if low == high else f"{low:g} to {high:g}")
    return Attribute(names, len(values), rows, places)
