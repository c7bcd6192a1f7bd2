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
        present = found.values[~found.is_missing]
        return cls(np.sort(pd.unique(present)), kind=found.kind)

    def grown(self, found: CategoryValues) -> Vocabulary:
        """The same with further values behind its own, sorted; itself where there are none."""
        is_new = (self.encode(found) == 0) & ~found.is_missing
        if not is_new.any():
            return self
        new = np.sort(pd.unique(found.values[is_new]))
        return Vocabulary(np.concatenate([self.values, new]), kind=self.kind)

    def __len__(self) -> int:
        """Number of indices, that of the unknown value included."""
        return len(self.values) + 1

    def __contains__(self, value: Any) -> bool:
        return value in self._index_by_value

    def encode(self, found: CategoryValues) -> np.ndarray:
        """`(N,)` int32 indices; 0 where a value is missing or unknown."""
        index = self.index_of(found.values)
        if found.is_missing.any():
            index[found.is_missing] = 0
        return index

    def index_of(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        """`(N,)` int32 indices of values of this vocabulary's own kind."""
        if len(values) <= _FEW:
            known = self._index_by_value
            return np.array([known.get(value, 0) for value in values], dtype=np.int32)
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
    def _pandas_index(self) -> pd.Index[Any]:
        index: pd.Index[Any] = pd.Index(self.values)
        return index

    @cached_property
    def _index_by_value(self) -> dict[Any, int]:
        return {value: index for index, value in enumerate(self.values.tolist(), start=1)}
