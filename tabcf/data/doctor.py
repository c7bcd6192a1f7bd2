"""The split doctor: what is odd about data and split, said before training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from tabcf.contracts.target import TargetInfo
from tabcf.data.sources import Source

__all__ = ["examine"]

# An input that alone tells the target this well is most likely the target in disguise.
_SUSPICIOUS_CORRELATION = 0.999
_MOST_ROWS_FOR_LEAKAGE = 200_000


def examine(
    source: Source, part: np.ndarray, target: TargetInfo, uses: Mapping[str, str]
) -> list[str]:
    """Warnings, each one line.

    Args:
        source: All events.
        part: `(N,)`: 0 train, 1 valid, 2 test.
        target: What is predicted.
        uses: What each event column is for: `id of user`, `category`, `number`, `set`.
    """
    frame = source.frame
    is_train = part == 0
    warnings = list(_unseen(frame, is_train, part, uses))
    warnings += _constant(frame[is_train], uses)
    warnings += _duplicates(frame, part, uses)
    warnings += _leakage(frame[is_train], target, uses)
    return warnings


def _unseen(
    frame: pd.DataFrame, is_train: np.ndarray, part: np.ndarray, uses: Mapping[str, str]
) -> Iterator[str]:
    for column, use in uses.items():
        if not (use.startswith("id of") or use == "category"):
            continue
        known = frame[column][is_train].unique()
        for number, name in ((1, "validation"), (2, "test")):
            rows = frame[column][part == number]
            is_new = ~rows.isin(known) & rows.notna()
            if is_new.any():
                what = use.removeprefix("id of ") if use.startswith("id of") else column
                yield (
                    f"{name}: {int(is_new.sum()):,} of {len(rows):,} rows have another {what} than "
                    f"all of training ({int(rows[is_new].nunique()):,} different); "
                    "they are predicted as unknown"
                )


def _constant(train: pd.DataFrame, uses: Mapping[str, str]) -> Iterator[str]:
    for column, use in uses.items():
        if use in ("category", "number") and train[column].nunique(dropna=False) <= 1:
            yield f"column '{column}' has one value in all training rows and says nothing"


def _duplicates(frame: pd.DataFrame, part: np.ndarray, uses: Mapping[str, str]) -> Iterator[str]:
    ids = {use: column for column, use in uses.items()}
    if "id of user" not in ids or "id of item" not in ids:
        return
    pair = [ids["id of user"], ids["id of item"]]
    is_repeat = frame.duplicated(pair, keep=False)
    if not is_repeat.any():
        return
    yield (
        f"{int(is_repeat.sum()):,} rows repeat a (user, item) pair; `duplicates: last` or `mean` "
        "makes each pair one row"
    )
    repeats = frame[is_repeat].assign(_part=part[is_repeat.to_numpy()])
    n_across = int((repeats.groupby(pair)["_part"].nunique() > 1).sum())
    if n_across:
        yield f"{n_across:,} of those pairs are both in training and in a held-out part: a leak"


def _leakage(train: pd.DataFrame, target: TargetInfo, uses: Mapping[str, str]) -> Iterator[str]:
    if len(target.columns) != 1 or not pd.api.types.is_numeric_dtype(train[target.columns[0]]):
        return
    sample = train.iloc[:_MOST_ROWS_FOR_LEAKAGE]
    truth = sample[target.columns[0]].astype(float)
    for column, use in uses.items():
        if use != "number" or not pd.api.types.is_numeric_dtype(sample[column]):
            continue
        values = sample[column].astype(float)
        if values.std() and truth.std():
            correlation = abs(float(values.corr(truth)))
            if correlation >= _SUSPICIOUS_CORRELATION:
                yield (
                    f"column '{column}' tells the target almost exactly (correlation "
                    f"{correlation:.4f}); is it known before the target is?"
                )
