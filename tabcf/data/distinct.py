"""Values of a column of ids or categories, each perhaps listed but once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

__all__ = ["CategoryKind", "CategoryValues", "counts_of"]

CategoryKind = Literal["int", "str"]
# Whole numbers within fewer than these are told apart by a count each.
_SMALL_SPAN = 1 << 16
# Rows gone through at a time, so that what is in between stays in the processor's cache.
_BLOCK = 1 << 18


@dataclass(frozen=True)
class CategoryValues:
    """N values, `int64` or text, and which of them are missing (their value is then void).

    With `codes`, `(N,)` int32, `listed` has each value but once, and they say where.
    """

    listed: np.ndarray
    is_missing: np.ndarray
    kind: CategoryKind
    codes: np.ndarray | None = None

    @property
    def values(self) -> np.ndarray:
        """`(N,)`: one for each row."""
        return self.listed if self.codes is None else self.listed[self.codes]

    @property
    def is_scattered(self) -> bool:
        """Whether values lie too far apart, or are no numbers, to be told apart by a count each."""
        return self.codes is None and len(self._present) > 0 and self._span is None

    def distinct(self) -> np.ndarray:
        """The values that are not missing, sorted, each once."""
        return self.counted()[0]

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """The values that are not missing, sorted, each once, and how often, int64."""
        if self.codes is None and self._span is not None:
            low, n = self._span
            counts = counts_of(self._present, n, low)
            met = np.flatnonzero(counts)
            return met + low, counts[met]
        if self.codes is None:
            codes, listed = pd.factorize(self._present)
            counts = counts_of(codes, len(listed))
        else:
            listed, counts = self.listed, counts_of(self.codes, len(self.listed))
            if self.is_missing.any():
                counts -= counts_of(self.codes[self.is_missing], len(listed))
        met = np.flatnonzero(counts)
        met = met[np.argsort(listed[met], kind="stable")]
        return listed[met], counts[met]

    def listed_once(self) -> CategoryValues:
        """The same with each value listed but once."""
        if self.codes is not None:
            return self
        codes, listed = pd.factorize(self.listed)
        return replace(self, listed=listed, codes=codes.astype(np.int32))

    def taken(self, positions: np.ndarray) -> CategoryValues:
        """Those of some rows; the list stays as it is where there is one."""
        is_missing = self.is_missing.take(positions)
        if self.codes is None:
            return replace(self, listed=self.listed.take(positions), is_missing=is_missing)
        return replace(self, is_missing=is_missing, codes=self.codes.take(positions))

    @cached_property
    def _present(self) -> np.ndarray:
        return self.listed[~self.is_missing] if self.is_missing.any() else self.listed

    @cached_property
    def _span(self) -> tuple[int, int] | None:
        """Of whole numbers that lie close together a lower bound, and how many there are from it.

        It is 0 where that is near, from which numbers are counted as they are.
        """
        if self.kind != "int" or not len(self._present):
            return None
        low, high = int(self._present.min()), int(self._present.max())
        most = max(len(self._present), _SMALL_SPAN)
        for start in (0, low):
            if start <= low and high - start < most:
                return start, high - start + 1
        return None


def counts_of(values: np.ndarray, n: int, low: int = 0) -> np.ndarray:
    """`(n,)` int64: how often each whole number from `low` on comes."""
    counts, block = np.zeros(n, dtype=np.int64), max(_BLOCK, n)
    for start in range(0, len(values), block):
        part = values[start : start + block]
        counts += np.bincount(part - low if low else part, minlength=n)
    return counts
