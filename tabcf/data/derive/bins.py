"""Numbers as categories: which of several intervals each lies in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.sources import Source
from tabcf.data.values import numbers

__all__ = ["bins", "interval_labels", "labelled", "quantile_edges"]


def bins(series: pd.Series[Any], edges: Sequence[float], *, table: str) -> pd.Series[Any]:
    """The interval that each number lies in; missing where the number is.

    An interval has its lower edge and not its upper one.

    Args:
        series: Numbers.
        edges: Where intervals meet, rising; E edges make E + 1 intervals.
        table: What to call the table in a message.

    Raises:
        DataError: A value is no number.

    Example:
        >>> bins(pd.Series([24, 25, 80]), [25, 50], table="user").tolist()
        ['(-inf, 25)', '[25, 50)', '[50, inf)']
    """
    values = numbers(series, Source(series.to_frame(), table))
    is_missing = np.isnan(values)
    found = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="right")
    return labelled(np.where(is_missing, 0, found), interval_labels(edges), is_missing)


def quantile_edges(series: pd.Series[Any], n: int, *, table: str) -> np.ndarray:
    """Edges of at most n intervals with about as many numbers in each; `(E,)`, E < n.

    Edges are numbers that occur, so that labels read well. Edges that coincide, where many numbers
    are equal, are one; the least number is none, since nothing would lie below it.

    Raises:
        DataError: A value is no number.

    Example:
        >>> quantile_edges(pd.Series([1, 1, 1, 1, 2, 3]), 3, table="user").tolist()
        [2.0]
    """
    values = numbers(series, Source(series.to_frame(), table))
    present = values[~np.isnan(values)]
    if not len(present):
        return np.zeros(0)
    edges: np.ndarray = np.unique(
        np.quantile(present, np.linspace(0, 1, n + 1)[1:-1], method="higher")
    )
    return np.asarray(edges[edges > present.min()])


def interval_labels(
    edges: Sequence[float] | np.ndarray, *, first: str = "(-inf", last: str = "inf"
) -> list[str]:
    """Names of the intervals between edges, with as few digits as tell the edges apart.

    Example:
        >>> interval_labels([25, 37.5])
        ['(-inf, 25)', '[25, 37.5)', '[37.5, inf)']
    """
    for digits in range(6, 18):
        texts = [_edge_text(float(edge), digits) for edge in edges]
        if len(set(texts)) == len(texts):
            break
    starts, ends = [first, *(f"[{text}" for text in texts)], [*texts, last]
    return [f"{start}, {end})" for start, end in zip(starts, ends, strict=True)]


def _edge_text(edge: float, digits: int) -> str:
    """Whole numbers in full, others to some digits."""
    return str(int(edge)) if edge.is_integer() and abs(edge) < 1e15 else f"{edge:.{digits}g}"


def labelled(index: np.ndarray, labels: Sequence[str], is_missing: np.ndarray) -> pd.Series[Any]:
    """Each row's label, missing where stated."""
    names = np.array([*labels, None], dtype=object)
    return pd.Series(names[np.where(is_missing, len(labels), index)])
