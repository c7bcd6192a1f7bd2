"""Which events count: positives of an implicit target, and repeated (user, item) pairs."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tabcf.data.sources import Source
from tabcf.data.values import numbers
from tabcf.errors import DataError

__all__ = ["is_positive", "merge_duplicates"]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_COMPARISON = re.compile(r"\s*(?P<column>.+?)\s*(?P<sign>>=|<=|==|!=|>|<)\s*(?P<value>.+?)\s*")


def is_positive(source: Source, comparison: str | None) -> np.ndarray:
    """`(N,)` booleans: the events that a comparison such as `rating >= 4` holds for.

    Raises:
        DataError: It is no comparison of a column with a number, or the column is missing.
    """
    if comparison is None:
        return np.ones(len(source.frame), dtype=bool)
    match = _COMPARISON.fullmatch(comparison)
    try:
        if match is None:
            raise ValueError
        value = float(match["value"])
    except ValueError:
        raise DataError(
            f"target.implicit.positive: expected a column, one of {' '.join(_OPERATORS)} and a "
            f"number, such as 'rating >= 4', got {comparison!r}"
        ) from None
    source.require([match["column"]])
    holds = _OPERATORS[match["sign"]](numbers(source.frame[match["column"]], source), value)
    if not holds.any():
        raise DataError(
            f"target.implicit.positive: no event of {source.name} fulfils {comparison!r}"
        )
    return np.asarray(holds, dtype=bool)


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
    return Source(kept.reset_index(drop=True), source.name, source.is_text)
