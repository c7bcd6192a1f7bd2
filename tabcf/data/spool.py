"""The columns of a source on disk: written once by record batch, read again in blocks of rows.

Numbers, dates and flags are kept as they are, in the narrowest type that all of a column's batches
fit. Text is kept as the number of each row's value in a list of all different ones, which is in
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.arrow import to_series
from tabcf.data.disk import DiskArray
from tabcf.data.source import Source
from tabcf.data.values import CategoryValues
from tabcf.errors import DataError

__all__ = ["Spool", "spooled"]

# Rows of a block, and values of all its columns: ten megabytes.
_BLOCK, _VALUES = 1 << 17, 1 << 20
# Whole numbers up to here are the same as floats, which have room for missing ones.
_EXACT = 1 << 53


class _Texts:
    """A list of different texts that grows; each has the number of its place."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._number: dict[str, int] = {}

    def numbers(self, series: pd.Series[Any]) -> np.ndarray:
        """`(n,)` int32; -1 for a missing value."""
        codes, found = pd.factorize(series)
        numbers = np.full(len(found) + 1, -1, np.int32)
        for place, value in enumerate(found):
            number = self._number.setdefault(value, len(self.values))
            if number == len(self.values):
                self.values.append(value)
            numbers[place] = number
        return numbers[codes]


@dataclass(frozen=True, slots=True)
class Spool:
    """A source's rows on disk.

    Attributes:
        name: What to call them in messages.
        is_text: Whether they are of a text file.
        first_line: The line of the first row there, if so.
        columns: `(N,)` memory maps by name; of a text, the places of its values in `texts`.
        texts: The different values of each column of text.
        dtypes: What the other columns are given as; they may be kept in a narrower type.
        release: Lets go of the memory that reading took.
    """

    name: str
    is_text: bool
    first_line: int | None
    columns: dict[str, np.ndarray]
    texts: dict[str, np.ndarray]
    dtypes: dict[str, np.dtype[Any]]
    release: Callable[[], None]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def n_bytes(self) -> int:
        """Bytes of the columns on disk."""
        return sum(values.nbytes for values in self.columns.values())

    def frame(self) -> pd.DataFrame:
        """All rows as a frame that is read from disk where it is looked at; texts as categories."""
        found: dict[str, Any] = {}
        for name, values in self.columns.items():
            if name in self.texts:
                kind = pd.CategoricalDtype(pd.Index(self.texts[name]))
                found[name] = pd.Categorical.from_codes(values, dtype=kind, validate=False)
            else:
                found[name] = values
        return pd.DataFrame(found, copy=False)

    def source(self) -> Source:
        """The same with what to call them."""
        return Source(self.frame(), self.name, self.is_text)

    def distinct(self, column: str) -> Source:
        """A text column's different values, a row each; and a missing one if there are any."""
        values: list[Any] = self.texts[column].tolist()
        if (self.columns[column] < 0).any():
            values.append(None)
        return Source(pd.DataFrame({column: pd.Series(values, dtype="str")}), self.name)

    def blocks(self, is_chosen: np.ndarray | None = None) -> Iterator[Source]:
        """The rows, or those that `(N,)` booleans choose, some at a time."""
        n_rows = self._block
        for start in range(0, len(self), n_rows):
            places: slice | np.ndarray = slice(start, start + n_rows)
            first_line = None if self.first_line is None else self.first_line + start
            if is_chosen is not None and not (chosen := is_chosen[places]).all():
                places, first_line = start + np.flatnonzero(chosen), None
                if not len(places):
                    continue
            # Copies: what they are read from is let go.
            columns = {name: np.array(values[places]) for name, values in self.columns.items()}
            self.release()
            yield self._source(columns, first_line)

    def parts(self, lengths: Iterable[int]) -> Iterator[Source]:
        """The rows in parts of these lengths, one behind the other."""
        start = 0
        for n in lengths:
            first_line = None if self.first_line is None else self.first_line + start
            rows = slice(start, start + n)
            columns = {name: np.array(values[rows]) for name, values in self.columns.items()}
            self.release()
            yield self._source(columns, first_line)
            start += n

    def taken(self, is_chosen: np.ndarray) -> Source:
        """The rows that `(N,)` booleans choose, in memory."""
        n = int(np.count_nonzero(is_chosen))
        found = {name: np.empty(n, values.dtype) for name, values in self.columns.items()}
        n_taken = 0
        n_rows = self._block
        for start in range(0, len(self) if n else 0, n_rows):
            chosen = is_chosen[start : start + n_rows]
            stop = n_taken + int(np.count_nonzero(chosen))
            for name, values in self.columns.items():
                found[name][n_taken:stop] = values[start : start + n_rows][chosen]
            n_taken = stop
            self.release()
        return self._source(found, None)

    @property
    def _block(self) -> int:
        """Rows of a block: fewer where there are many columns."""
        return max(min(_BLOCK, _VALUES // len(self.columns)), 1)

    def _source(self, columns: Mapping[str, np.ndarray], first_line: int | None) -> Source:
        import pyarrow as pa

        found: dict[str, Any] = {}
        listed: dict[str, CategoryValues] = {}
        for name, chosen in columns.items():
            if name not in self.texts:
                found[name] = chosen.astype(self.dtypes[name], copy=False)
                continue
            is_missing = chosen < 0
            texts = self.texts[name]
            places_of_values = pa.array(chosen, mask=is_missing)
            found[name] = to_series(pa.array(texts, pa.string()).take(places_of_values))
            if is_missing.any():
                chosen = np.where(is_missing, len(texts), chosen)
                texts = np.append(texts, np.array([""], dtype=object))
            listed[name] = CategoryValues(texts, is_missing, "str", chosen)
        source = Source(pd.DataFrame(found, copy=False), self.name, self.is_text, first_line)
        source.listed.update(listed)
        return source


def spooled(batches: Iterable[Source], columns: Sequence[str] | None = None) -> Spool:
    """Write a source's batches to disk.

    Args:
        batches: All of the same columns.
        columns: Those that are kept; None for all.

    Raises:
        DataError: A column holds what cannot be kept so, or a column is missing.
    """
    arrays: dict[str, DiskArray] = {}
    texts: dict[str, _Texts] = {}
    dtypes: dict[str, np.dtype[Any]] = {}
    first: Source | None = None
    for batch in batches:
        if first is None:
            first = batch
            for name in columns or batch.frame.columns:
                arrays[name] = DiskArray()
        batch.require(list(arrays))
        for name, array in arrays.items():
            series = batch.frame[name]
            if _is_text(series) and (name in texts or not len(array)):
                array.append(texts.setdefault(name, _Texts()).numbers(series))
            elif name in texts and not series.isna().all():
                raise DataError(
                    f"{batch.name}: column '{name}' has text in some rows and other values in "
                    "others; make it one of them"
                )
            elif name in texts:
                array.append(np.full(len(series), -1, np.int32))
            else:
                values = _numbers(series, batch)
                dtypes[name] = np.promote_types(dtypes.get(name, values.dtype), values.dtype)
                array.append(_narrowed(values))
    if first is None:
        raise DataError("data: expected rows, got none")

    def release() -> None:
        for array in arrays.values():
            array.release()

    return Spool(
        first.name,
        first.is_text,
        first.first_line,
        {name: array.opened() for name, array in arrays.items()},
        {name: np.array(own.values, dtype=object) for name, own in texts.items()},
        dtypes,
        release,
    )


def _narrowed(values: np.ndarray) -> np.ndarray:
    """Whole numbers in half the room, where they fit into it."""
    if values.dtype == np.int64 and len(values):
        limits = np.iinfo(np.int32)
        if limits.min <= values.min() and values.max() <= limits.max:
            return values.astype(np.int32)
    return values


def _is_text(series: pd.Series[Any]) -> bool:
    dtype = series.dtype
    if isinstance(dtype, pd.StringDtype):
        return True
    if isinstance(dtype, pd.CategoricalDtype):
        return not pd.api.types.is_numeric_dtype(dtype.categories.dtype)
    present = series.dropna() if pd.api.types.is_object_dtype(dtype) else ()
    return len(present) > 0 and all(isinstance(value, str) for value in present)


def _numbers(series: pd.Series[Any], source: Source) -> np.ndarray:
    """A column of anything but text as it is kept; missing whole numbers make it one of floats."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "iufb":
        return series.to_numpy()
    if isinstance(dtype, np.dtype) and dtype.kind == "M":
        return series.to_numpy()
    if series.isna().all():
        return np.full(len(series), np.nan)
    if pd.api.types.is_integer_dtype(dtype) or pd.api.types.is_float_dtype(dtype):
        values = series.to_numpy(np.float64, na_value=np.nan)
        if not (np.abs(values[~np.isnan(values)]) < _EXACT).all():
            raise DataError(
                f"{source.name}: column '{series.name}' has missing values beside whole numbers "
                "of more than 15 digits, which train.memory cannot keep; make it text"
            )
        return values
    raise DataError(
        f"{source.name}: column '{series.name}' ({dtype}): with train.memory expected numbers, "
        "text or dates; leave the column out, or leave train.memory out"
    )
