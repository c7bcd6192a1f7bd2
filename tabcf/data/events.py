"""Which events count: positives of an implicit target, and repeated (user, item) pairs."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tabcf.data.conditions import matching
from tabcf.data.sources import Source
from tabcf.errors import DataError

__all__ = ["is_positive", "merge_duplicates"]


def is_positive(source: Source, comparison: str | None) -> np.ndarray:
    """`(N,)` booleans: the events that conditions such as `rating >= 4` hold for.

    Raises:
        DataError: It is no condition, no event fulfils it, or a column is missing.
    """
    if comparison is None:
        return np.ones(len(source.frame), dtype=bool)
    holds = matching(source, comparison, where="target.implicit.positive")
    if not holds.any():
        raise DataError(
            f"target.implicit.positive: no event of {source.name} fulfils {comparison!r}"
        )
    return holds


def merge_duplicates(
    source: Source,
    pair: tuple[str, str],
    *,
    rule: Literal["keep", "first", "last", "mean"],
    target: str | None = None,
) -> Source:
    """Make several events of one (user, item) pair one event, by a rule.

    `keep` keeps all, `first` and `last` go by row order, `mean` keeps the first row with the
    mean of the target.
    """
    if rule == "keep":
        return source
    frame = source.frame
    source.require(pair)
    if rule == "mean" and target is not None:
        means = frame.groupby(list(pair), sort=False, dropna=False)[target].transform("mean")
        frame = frame.assign(**{target: means})
    kept = frame.drop_duplicates(list(pair), keep="last" if rule == "last" else "first")
    return source.with_rows(kept.reset_index(drop=True))
