"""The target: what kind it is, what its values mean and how they are encoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.contracts.target import TargetInfo
from tabcf.data.moments import mean_and_deviation
from tabcf.data.sources import Source
from tabcf.data.values import category_values, numbers
from tabcf.errors import DataError

__all__ = [
    "encode_target",
    "fit_target",
    "scaled",
    "scaled_by",
    "target_from_json",
    "target_to_json",
]

# A whole-number column with at most this many values could be a class; it still is a number
# unless the loss says otherwise.
_MOST_CLASSES = 1000


def fit_target(
    source: Source,
    *,
    column: str | None = None,
    columns: Sequence[str] = (),
    levels: Sequence[float] = (),
    as_classes: bool = False,
) -> TargetInfo:
    """What the target is, from the rows that may be learnt from.

    Text has two values (`binary`) or more (`classes`); numbers are `regression`, with `levels`
    a `rating`; `as_classes` makes numbers classes. With no column it is `implicit`.

    Raises:
        DataError: A value is missing, no number, or not on a level.
    """
    names = [column] if column else list(columns)
    if not names:
        return TargetInfo("implicit")
    source.require(names)
    series = source.frame[names[0]]
    is_number = _is_number(series)
    if len(names) == 1 and not levels and (as_classes or not is_number):
        return _fit_classes(series, source)
    values = [_numbers_given(source.frame[name], source) for name in names]
    if levels:
        info = TargetInfo("rating", tuple(names), tuple(float(level) for level in levels))
        _on_levels(values[0], series, source, info)
        return info
    return TargetInfo(
        "regression", tuple(names), center=(0.0,) * len(names), scale=(1.0,) * len(names)
    )


def scaled(info: TargetInfo, source: Source) -> TargetInfo:
    """The same target, standardised: zero mean and unit deviation over these rows."""
    return scaled_by(info, [numbers(source.frame[name], source) for name in info.columns])


def scaled_by(info: TargetInfo, columns: Iterable[np.ndarray]) -> TargetInfo:
    """The same by the `(N,)` float64 values of each column."""
    center, scale = [], []
    for values in columns:
        mean, deviation = mean_and_deviation(values)
        center.append(mean)
        scale.append(deviation if deviation > 0 else 1.0)
    fields = asdict(info) | {"center": tuple(center), "scale": tuple(scale)}
    return TargetInfo(**fields)


def encode_target(info: TargetInfo, source: Source) -> Tensor | None:
    """`(N,)` float32 or int64, `(N, T)` float32 for several columns, None if implicit."""
    if info.kind == "implicit":
        return None
    source.require(info.columns)
    if info.kind in ("binary", "classes"):
        return _encode_classes(info, source)
    encoded = []
    for name, center, scale in zip(info.columns, info.center, info.scale, strict=True):
        values = _numbers_given(source.frame[name], source)
        if info.kind == "rating":
            _on_levels(values, source.frame[name], source, info)
        encoded.append(((values - center) / scale).astype(np.float32))
    return torch.from_numpy(encoded[0] if len(encoded) == 1 else np.stack(encoded, axis=1))


def target_to_json(info: TargetInfo) -> dict[str, Any]:
    """Plain data that `target_from_json` takes."""
    return asdict(info)


def target_from_json(state: dict[str, Any]) -> TargetInfo:
    """The target that `target_to_json` described."""
    lists = {key: tuple(value) for key, value in state.items() if isinstance(value, list)}
    return TargetInfo(**state | lists)


def _is_number(series: pd.Series[Any]) -> bool:
    dtype = series.dtype
    is_flag = pd.api.types.is_bool_dtype(dtype)
    return pd.api.types.is_numeric_dtype(dtype) and not is_flag


def _fit_classes(series: pd.Series[Any], source: Source) -> TargetInfo:
    found = category_values(series, source)
    _refuse_missing(found.is_missing, series, source)
    distinct = sorted(set(found.values.tolist()))
    labels = tuple(str(value) for value in distinct)
    if len(labels) < 2:
        raise DataError(
            f"{source.name}: target '{series.name}': expected at least two classes, got only "
            f"{labels[0]!r}"
        )
    if len(labels) > _MOST_CLASSES:
        raise DataError(
            f"{source.name}: target '{series.name}': expected numbers, or text of at most "
            f"{_MOST_CLASSES:,} classes, got {len(labels):,} different texts such as {labels[0]!r}"
        )
    return TargetInfo(
        "binary" if len(labels) == 2 else "classes", (str(series.name),), labels=labels
    )


def _encode_classes(info: TargetInfo, source: Source) -> Tensor:
    series = source.frame[info.columns[0]]
    found = category_values(series, source)
    _refuse_missing(found.is_missing, series, source)
    place = {label: number for number, label in enumerate(info.labels)}
    codes = np.array([place.get(str(value), -1) for value in found.values], dtype=np.int64)
    if (codes < 0).any():
        first = int(np.argmax(codes < 0))
        raise DataError(
            f"{source.name}: target '{info.columns[0]}': expected one of "
            f"{', '.join(info.labels[:10])}; got {str(found.values[first])!r} at "
            f"{source.place(first)}, a class that training did not have"
        )
    encoded = torch.from_numpy(codes)
    return encoded.float() if info.kind == "binary" else encoded


def _numbers_given(series: pd.Series[Any], source: Source) -> np.ndarray:
    values = numbers(series, source)
    _refuse_missing(np.isnan(values), series, source)
    return values


def _refuse_missing(is_missing: np.ndarray, series: pd.Series[Any], source: Source) -> None:
    if is_missing.any():
        first = int(np.argmax(is_missing))
        raise DataError(
            f"{source.name}: target '{series.name}': {int(is_missing.sum()):,} of "
            f"{len(series):,} rows have none; first at {source.place(first)}; drop those rows"
        )


def _on_levels(
    values: np.ndarray, series: pd.Series[Any], source: Source, info: TargetInfo
) -> None:
    is_off = ~np.isin(values, info.levels)
    if is_off.any():
        first = int(np.argmax(is_off))
        levels = ", ".join(f"{level:g}" for level in info.levels)
        raise DataError(
            f"{source.name}: target '{series.name}': {int(is_off.sum()):,} of {len(series):,} rows "
            f"are on none of the levels {levels}; first at {source.place(first)}: "
            f"{series.iloc[first]}"
        )
