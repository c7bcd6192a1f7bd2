"""Values of a column of ids or categories, each perhaps listed but once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

__all__ = ["CategoryKind", "CategoryValues"]

CategoryKind = Literal["int", "str"]
# Whole numbers within fewer than these are told apart by a flag each.
_SMALL_SPAN = 1 << 16
# Rows gone through at a time, so that what is in between stays in the processor's cache.
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
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

    def distinct(self) -> np.ndarray:
        """The values that are not missing, sorted, each once."""
        if self.codes is not None:
            is_met = np.zeros(len(self.listed), dtype=bool)
            is_met[self.codes[~self.is_missing]] = True
            return np.sort(self.listed[is_met])
        present = self.listed[~self.is_missing] if self.is_missing.any() else self.listed
        if self.kind == "int" and len(present):
            low, high = int(present.min()), int(present.max())
            if high - low < max(len(present), _SMALL_SPAN):
                is_met = np.zeros(high - low + 1, dtype=bool)
                for start in range(0, len(present), _BLOCK):
                    is_met[present[start : start + _BLOCK] - low] = True
                return np.flatnonzero(is_met) + low
        return np.sort(pd.unique(present))

    def taken(self, positions: np.ndarray) -> CategoryValues:
        """Those of some rows; the list stays as it is where there is one."""
        is_missing = self.is_missing.take(positions)
        if self.codes is None:
            return replace(self, listed=self.listed.take(positions), is_missing=is_missing)
        return replace(self, is_missing=is_missing, codes=self.codes.take(positions))
