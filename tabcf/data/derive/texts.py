"""Categories made of a value's text: its start, a part, what a pattern finds, a hash.

Each distinct value is read once, however many rows have it. A missing value stays missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tabcf.data.derive.patterns import extracted

__all__ = ["as_text", "distinct", "hashed", "matched", "prefix", "split", "text_of", "translated"]


def text_of(value: Any) -> str:
    """A value as text, the way ids read: 7 and 7.0 are both "7"."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def distinct(series: pd.Series[Any]) -> tuple[np.ndarray, list[str]]:
    """Each row's place `(N,)` in a list of distinct texts, -1 where missing, and that list."""
    if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) != "string":
        # Of these, pandas would take True and 1 for the same.
        missing = series.isna()
        texts = [
            None if is_missing else text_of(value)
            for value, is_missing in zip(series, missing, strict=True)
        ]
        series = pd.Series(texts, dtype=object)
    codes, values = pd.factorize(series)
    return codes.astype(np.int64), [text_of(value) for value in values]


def translated(series: pd.Series[Any], make: Callable[[str], str | None]) -> pd.Series[Any]:
    """What `make` says of each value's text; None is a missing value."""
    codes, texts = distinct(series)
    made = np.array([*map(make, texts), None], dtype=object)
    return pd.Series(made[codes])


def as_text(series: pd.Series[Any]) -> pd.Series[Any]:
    """Each value's text.

    Example:
        >>> as_text(pd.Series([7.0, 2.5, None])).tolist()
        ['7', '2.5', nan]
    """
    return translated(series, str)


def prefix(series: pd.Series[Any], length: int) -> pd.Series[Any]:
    """The first characters of each text."""
    return translated(series, lambda text: text[:length])


def split(series: pd.Series[Any], separator: str, part: int) -> pd.Series[Any]:
    """One part of each text, trimmed; missing where there is none or nothing in it.

    Example:
        >>> split(pd.Series(["Lyon, FR", "Rome"]), ",", 1).tolist()
        ['FR', nan]
    """

    def one(text: str) -> str | None:
        parts = text.split(separator)
        if not -len(parts) <= part < len(parts):
            return None
        return parts[part].strip() or None

    return translated(series, one)


def matched(series: pd.Series[Any], pattern: str, group: int) -> pd.Series[Any]:
    """What a group of a pattern's first match holds; missing where that is nothing."""
    codes, texts = distinct(series)
    made = np.array([*extracted(texts, pattern, group), None], dtype=object)
    return pd.Series(made[codes])


def hashed(series: pd.Series[Any], n_buckets: int) -> pd.Series[Any]:
    """Each text's bucket in 1..n_buckets, the same on every machine (BLAKE2b).

    Feature hashing of one column (Weinberger et al. 2009, without their sign): values that
    share a bucket share an embedding.
    """
    codes, texts = distinct(series)
    buckets = np.array([_digest(text) % n_buckets + 1 for text in [*texts, ""]], dtype=np.int64)
    values = pd.Series(buckets[codes])
    is_missing = codes < 0
    return values.astype("Int64").mask(is_missing) if is_missing.any() else values


def _digest(text: str) -> int:
    encoded = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")
