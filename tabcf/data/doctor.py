"""The split doctor: what is odd about data and split, said before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tabcf.contracts.target import TargetInfo
from tabcf.data.sources import Source

__all__ = ["examine", "examine_blocks"]

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


def examine_blocks(
    blocks: Callable[[int], Iterator[Source]], target: TargetInfo, uses: Mapping[str, str]
) -> list[str]:
    """The same of events that come some at a time; repeated pairs are not looked for.

    Args:
        blocks: Gives the events of a part.
        target: What is predicted.
        uses: What each event column is for.
    """
    known: dict[str, pd.Index[Any]] = {}
    few: dict[str, set[Any]] = {}
    first = pd.DataFrame()
    for block in blocks(0):
        first = first if len(first) else block.frame
        for column, use in uses.items():
            if use in ("category", "number") and len(few.setdefault(column, set())) < 2:
                few[column] |= {None if pd.isna(v) else v for v in block.frame[column].unique()}
            if _has_values(use):
                found = pd.Index(block.frame[column].dropna().unique())
                known[column] = found if column not in known else known[column].union(found)
    warnings = []
    for number, name in ((1, "validation"), (2, "test")):
        n_rows, n_new = 0, dict.fromkeys(known, 0)
        new: dict[str, set[Any]] = {column: set() for column in known}
        for block in blocks(number):
            n_rows += len(block.frame)
            for column, values in known.items():
                rows = block.frame[column]
                is_new = ~rows.isin(values) & rows.notna()
                n_new[column] += int(is_new.sum())
                new[column] |= set(rows[is_new].unique())
        warnings += [
            _unseen_line(name, column, uses[column], n_new[column], n_rows, len(new[column]))
            for column in known
            if n_new[column]
        ]
    warnings += [_constant_line(column) for column, values in few.items() if len(values) <= 1]
    warnings += _leakage(first, target, uses) if len(first) else []
    return warnings


def _has_values(use: str) -> bool:
    """Whether a column's values are known one by one."""
    return use.startswith("id of") or use == "category"


def _unseen_line(name: str, column: str, use: str, n_new: int, n_rows: int, n_values: int) -> str:
    what = use.removeprefix("id of ") if use.startswith("id of") else column
    return (
        f"{name}: {n_new:,} of {n_rows:,} rows have another {what} than all of training "
        f"({n_values:,} different); they are predicted as unknown"
    )


def _constant_line(column: str) -> str:
    return f"column '{column}' has one value in all training rows and says nothing"


def _unseen(
    frame: pd.DataFrame, is_train: np.ndarray, part: np.ndarray, uses: Mapping[str, str]
) -> Iterator[str]:
    for column, use in uses.items():
        if not _has_values(use):
            continue
        known = frame[column][is_train].unique()
        for number, name in ((1, "validation"), (2, "test")):
            rows = frame[column][part == number]
            is_new = ~rows.isin(known) & rows.notna()
            if is_new.any():
                n_new, n_values = int(is_new.sum()), int(rows[is_new].nunique())
                yield _unseen_line(name, column, use, n_new, len(rows), n_values)


def _constant(train: pd.DataFrame, uses: Mapping[str, str]) -> Iterator[str]:
    for column, use in uses.items():
        if use in ("category", "number") and train[column].nunique(dropna=False) <= 1:
            yield _constant_line(column)


def _duplicates(frame: pd.DataFrame, part: np.ndarray, uses: Mapping[str, str]) -> Iterator[str]:
    ids = {use: column for column, use in uses.items()}
    if "id of user" not in ids or "id of item" not in ids:
        return
    pair = [ids["id of user"], ids["id of item"]]
    is_repeat = _repeats(frame, pair)
    if not is_repeat.any():
        return
    yield (
        f"{int(is_repeat.sum()):,} rows repeat a (user, item) pair; `duplicates: last` or `mean` "
        "makes each pair one row"
    )
    repeats = frame[is_repeat].assign(_part=part[is_repeat])
    n_across = int((repeats.groupby(pair)["_part"].nunique() > 1).sum())
    if n_across:
        yield f"{n_across:,} of those pairs are both in training and in a held-out part: a leak"


def _repeats(frame: pd.DataFrame, pair: list[str]) -> np.ndarray:
    """`(N,)` booleans: rows whose pair comes more than once.

    Pairs of whole numbers are sorted as one number each, which takes a quarter of the time.
    """
    columns = [frame[column].to_numpy() for column in pair]
    if not len(frame) or any(values.dtype.kind != "i" for values in columns):
        return frame.duplicated(pair, keep=False).to_numpy()
    first, second = ((values.astype(np.int64), int(values.min())) for values in columns)
    n_first, n_second = (int(values.max()) - low + 1 for values, low in (first, second))
    if n_first * n_second > np.iinfo(np.int64).max:
        return frame.duplicated(pair, keep=False).to_numpy()
    keys = (first[0] - first[1]) * n_second + (second[0] - second[1])
    in_order = np.sort(keys)
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    return pd.Series(keys).isin(twice).to_numpy() if len(twice) else np.zeros(len(keys), dtype=bool)


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
