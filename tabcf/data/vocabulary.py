"""A frozen list of known values: external values on one side, indices on the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.values import CategoryKind, CategoryValues

__all__ = ["Vocabulary"]

# Below this many values a dictionary beats pandas' overhead of some 50 µs a call.
_FEW = 64
# A look-up table of whole numbers has at most so many places a value, or so many in all.
_WIDEST, _SMALL_SPAN = 8, 1 << 16
# Rows looked up at a time, so that what is in between stays in the processor's cache.
_BLOCK = 1 << 16


class Vocabulary:
    """Known values in order; value i has index i + 1, index 0 is the unknown value.

    Example:
        >>> vocabulary = Vocabulary(["a", "b"], kind="str")
        >>> vocabulary.index_of(["b", "z", "a"]).tolist()
        [2, 0, 1]
        >>> vocabulary.values_of([2, 0])
        ['b', None]
    """

    def __init__(self, values: Sequence[Any] | np.ndarray, *, kind: CategoryKind) -> None:
        dtype: Any = np.int64 if kind == "int" else object
        self.kind: CategoryKind = kind
        self.values = np.asarray(values, dtype=dtype)

    @classmethod
    def fitted(cls, found: CategoryValues) -> Vocabulary:
        """The distinct values that are not missing, sorted."""
        return cls(found.distinct(), kind=found.kind)

    def grown(self, found: CategoryValues) -> Vocabulary:
        """The same with further values behind its own, sorted; itself where there are none."""
        values = found.distinct()
        new = values[self.index_of(values) == 0]
        if not len(new):
            return self
        return Vocabulary(np.concatenate([self.values, new]), kind=self.kind)

    def __len__(self) -> int:
        """Number of indices, that of the unknown value included."""
        return len(self.values) + 1

    def __contains__(self, value: Any) -> bool:
        return value in self._index_by_value

    def encode(self, found: CategoryValues) -> np.ndarray:
        """`(N,)` int32 indices; 0 where a value is missing or unknown."""
        index = self.index_of(found.listed)
        if found.codes is not None:
            index = index.take(found.codes)
        if found.is_missing.any():
            index[found.is_missing] = 0
        return index

    def index_of(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        """`(N,)` int32 indices of values of this vocabulary's own kind."""
        if len(values) <= _FEW:
            known = self._index_by_value
            return np.array([known.get(value, 0) for value in values], dtype=np.int32)
        if isinstance(values, np.ndarray) and values.dtype == np.int64:
            table = self._index_by_number
            if table is not None:
                return _looked_up(values, *table)
        return (self._pandas_index.get_indexer(pd.Index(values)) + 1).astype(np.int32)

    def values_of(self, index: Sequence[int] | np.ndarray) -> list[Any]:
        """The values behind indices, None for index 0."""
        asked = np.asarray(index, dtype=np.int64)
        if not len(self.values):
            return [None] * len(asked)
        values: list[Any] = self.values[asked - 1].tolist()
        for place in np.flatnonzero(asked == 0):
            values[place] = None
        return values

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` takes."""
        return {"kind": self.kind, "values": self.values.tolist()}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Vocabulary:
        """The vocabulary that `to_json` described."""
        return cls(state["values"], kind=state["kind"])

    @cached_property
    def _index_by_number(self) -> tuple[int, np.ndarray] | None:
        """The number below the lowest value, and indices from there on; None if far apart.

        The first of them and the last, of the number above the highest value, are 0.
        """
        if self.kind != "int" or not len(self.values):
            return None
        low, high = int(self.values.min()), int(self.values.max())
        is_lowest = low == np.iinfo(np.int64).min
        if is_lowest or high - low >= max(_WIDEST * len(self.values), _SMALL_SPAN):
            return None
        table = np.zeros(high - low + 3, dtype=np.int32)
        table[self.values - low + 1] = np.arange(1, len(self.values) + 1)
        return low - 1, table

    @cached_property
    def _pandas_index(self) -> pd.Index[Any]:
        index: pd.Index[Any] = pd.Index(self.values)
        return index

    @cached_property
    def _index_by_value(self) -> dict[Any, int]:
        return {value: index for index, value in enumerate(self.values.tolist(), start=1)}


def _looked_up(values: np.ndarray, start: int, table: np.ndarray) -> np.ndarray:
    """`(N,)` int32: what the table, which begins at `start`, has at values; outside its ends."""
    found = np.empty(len(values), dtype=np.int32)
    for first in range(0, len(values), _BLOCK):
        part = values[first : first + _BLOCK]
        # A difference that goes round past int64 is far outside of the table all the same.
        table.take(part - start if start else part, out=found[first : first + _BLOCK], mode="clip")
    return found
