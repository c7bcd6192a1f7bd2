"""Several columns' values as one category."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.derive.texts import distinct

__all__ = ["cross"]


def cross(parts: Sequence[pd.Series[Any]]) -> pd.Series[Any]:
    """The texts of all parts, with ` & ` between; missing where a part is.

    Example:
        >>> cross([pd.Series(["F", "M"]), pd.Series([7.0, None])]).tolist()
        ['F & 7', nan]
    """
    joined, texts = distinct(parts[0])
    is_missing = joined < 0
    for part in parts[1:]:
        codes, others = distinct(part)
        is_missing |= codes < 0
        pairs = np.where(is_missing, -1, joined * len(others) + codes)
        # Numbering the pairs that occur keeps them below the number of rows.
        joined, found = pd.factorize(pairs)
        texts = [
            f"{texts[pair // len(others)]} & {others[pair % len(others)]}" if pair >= 0 else ""
            for pair in found.tolist()
        ]
    made = np.array([*texts, None], dtype=object)
    return pd.Series(made[np.where(is_missing, len(texts), joined)])
