"""Which rows train, validate and test.

Every function gives `(N,)` int8 in the order of the rows, as `tabcf.data.parts` numbers parts. A
share of 0 takes no row, any other share at least one, and some rows are always left to train on.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.random import Generator

from tabcf.data.parts import TEST, TRAIN, VALID, counts, dealt, require, times
from tabcf.errors import DataError

__all__ = [
    "OfficialFold",
    "kfold_split",
    "labels_split",
    "leave_last_out_split",
    "official_split",
    "random_split",
    "stratified_split",
    "time_split",
]

OfficialFold = Literal["u1", "u2", "u3", "u4", "u5"]

_OFFICIAL_ROWS, _OFFICIAL_FOLD = 100_000, 20_000
_LABELS = {"train": TRAIN, "valid": VALID, "test": TEST}


def random_split(events: pd.DataFrame, *, valid: float, test: float, rng: Generator) -> np.ndarray:
    """Rows at random.

    Args:
        events: N rows.
        valid: Share of all rows that validates, in [0, 1).
        test: Share of all rows that tests, in [0, 1).
        rng: Which rows.

    Raises:
        DataError: The shares leave no row to train on.

    Example:
        >>> frame = pd.DataFrame({"y": range(10)})
        >>> part = random_split(frame, valid=0.1, test=0.2, rng=np.random.default_rng(0))
        >>> np.bincount(part).tolist()
        [7, 1, 2]
    """
    n = len(events)
    n_valid, n_test = counts(n, valid, test, what="rows")
    return dealt(n, rng.permutation(n), n_valid, n_test)


def stratified_split(
    events: pd.DataFrame, *, by: str, valid: float, test: float, rng: Generator
) -> np.ndarray:
    """Rows at random, with the same shares of each value of a column.

    A part as a whole has the same number of rows as in `random_split`. Its number of rows of each
    value is within one of the share for the test part, and within two for the validation part;
    missing counts as a value. A column of numbers has its neighbours' values spread evenly even
    where each is there only once.

    Args:
        events: N rows.
        by: The column, such as the target.
        valid: Share that validates, in [0, 1).
        test: Share that tests, in [0, 1).
        rng: Which rows.

    Raises:
        DataError: There is no such column, or no row is left to train on.
    """
    require(events, by)
    n = len(events)
    n_valid, n_test = counts(n, valid, test, what="rows")
    codes, _ = pd.factorize(events[by], sort=_is_sortable(events[by]))
    # Rows of a value stand together, those of none with code -1, in random order; rows are taken
    # at even distances.
    order = np.lexsort([rng.permutation(n), codes])
    part = np.full(n, TRAIN, dtype=np.int8)
    is_test = _evenly(n, n_test, rng)
    part[order[is_test]] = TEST
    rest = order[~is_test]
    part[rest[_evenly(len(rest), n_valid, rng)]] = VALID
    return part


def time_split(events: pd.DataFrame, *, column: str, valid: float, test: float) -> np.ndarray:
    """The newest rows test, those before them validate.

    Rows of equal time are kept in one part, so that nothing is learnt from a row as old as one
    that tests; the parts' sizes are the nearest to their shares that allow it.

    Args:
        events: N rows.
        column: Times: numbers, a date type or ISO text.
        valid: Share of all rows that validates, in [0, 1).
        test: Share of all rows that tests, in [0, 1).

    Raises:
        DataError: There is no such column, a time is missing, there are too few different times,
            or no row is left to train on.

    Example:
        >>> frame = pd.DataFrame({"timestamp": [30, 10, 20, 40]})
        >>> time_split(frame, column="timestamp", valid=0.25, test=0.25).tolist()
        [1, 0, 0, 2]
    """
    n = len(events)
    codes = times(events, column)
    n_valid, n_test = counts(n, valid, test, what="rows")
    ordered = np.sort(codes)
    # Whether the time changes behind a row; the number of rows up to there is a possible cut.
    is_cut = ordered[1:] > ordered[:-1]
    n_cuts, first = np.count_nonzero(is_cut), int(np.argmax(is_cut)) + 1 if n > 1 else 0
    n_needed = (n_valid > 0) + (n_test > 0)
    if n_cuts < n_needed:
        raise DataError(
            f"time split: column '{column}' has {n_cuts + 1} different times in {n:,} rows; "
            f"{n_needed + 1} parts need at least {n_needed + 1}"
        )
    start_of_test = n
    if n_test:
        # One cut more is needed before this one where rows validate as well.
        start_of_test = _nearest(is_cut, n - n_test, low=first + (n_valid > 0), high=n)
    start_of_valid = start_of_test
    if n_valid:
        wanted = n - n_test - n_valid
        start_of_valid = _nearest(is_cut, wanted, low=first, high=start_of_test)
    part = np.full(n, TRAIN, dtype=np.int8)
    if start_of_valid < n:
        part[codes >= ordered[start_of_valid]] = VALID
    if start_of_test < n:
        part[codes >= ordered[start_of_test]] = TEST
    return part


def leave_last_out_split(
    events: pd.DataFrame, *, user: str, time: str, n_valid: int = 1, n_test: int = 1
) -> np.ndarray:
    """Each user's last events test, those before them validate.

    A user with no event left to train on stays in training with all of theirs, as do rows
    without a user. Of events at one time, the row further down counts as the later one.

    Args:
        events: N rows.
        user: The column of user ids.
        time: The column of times: numbers, a date type or ISO text.
        n_valid: How many events of each user validate.
        n_test: How many events of each user test.

    Raises:
        DataError: There is no such column, a time is missing, or no user has events enough.

    Example:
        >>> frame = pd.DataFrame({"user": [1, 1, 1, 2], "timestamp": [3, 1, 2, 9]})
        >>> leave_last_out_split(frame, user="user", time="timestamp").tolist()
        [2, 0, 1, 0]
    """
    if n_valid < 0 or n_test < 0:
        raise DataError(
            f"leave_last_out split: expected counts of at least 0, got valid {n_valid}, "
            f"test {n_test}"
        )
    require(events, user)
    codes, _ = pd.factorize(events[user])
    order = np.lexsort([times(events, time), codes])
    sorted_codes = codes[order]
    n_events = np.bincount(codes + 1, minlength=1)[sorted_codes + 1]
    end = np.searchsorted(sorted_codes, sorted_codes, side="right")
    # 0 for a user's last event, 1 for the one before it.
    from_last = end - 1 - np.arange(len(order))
    n_held = n_valid + n_test
    can_give = (sorted_codes >= 0) & (n_events > n_held)
    if n_held and not can_give.any():
        raise DataError(
            f"leave_last_out split: no '{user}' has more than {n_held} events, which are held "
            f"out; the most is {int(n_events[sorted_codes >= 0].max(initial=0))}"
        )
    part = np.full(len(events), TRAIN, dtype=np.int8)
    part[order[can_give & (from_last < n_held)]] = VALID
    part[order[can_give & (from_last < n_test)]] = TEST
    return part


def kfold_split(
    events: pd.DataFrame,
    *,
    k: int,
    fold: int,
    valid: float,
    rng: Generator,
    by: str | None = None,
) -> np.ndarray:
    """One of k random folds tests; with one seed, the k folds hold each row once.

    Args:
        events: N rows.
        k: Number of folds, at least 2.
        fold: Which one tests, from 1 to k.
        valid: Share of the other folds' rows (with `by`, ids) that validates, in [0, 1).
        rng: Which rows.
        by: A column whose values stay together in one fold, such as user ids; rows without one
            are on their own.

    Raises:
        DataError: There is no such fold or column, fewer rows than folds, or no row to train on.
    """
    if k < 2 or not 1 <= fold <= k:
        raise DataError(
            f"kfold split: expected k of at least 2 and a fold from 1 to k, got k {k} "
            f"and fold {fold}"
        )
    codes, what = np.arange(len(events)), "rows"
    if by is not None:
        require(events, by)
        codes, values = pd.factorize(events[by])
        is_missing = codes < 0
        codes[is_missing] = len(values) + np.arange(is_missing.sum())
        what = f"different '{by}'"
    n = int(codes.max(initial=-1)) + 1
    if n < k:
        raise DataError(f"kfold split: {n:,} {what} cannot fill {k} folds")
    order = rng.permutation(n)
    first, last = (fold - 1) * n // k, fold * n // k
    rest = np.concatenate([order[:first], order[last:]])
    n_valid, _ = counts(len(rest), valid, 0, what=f"{what} of the other folds")
    return dealt(n, np.concatenate([order[first:last], rest]), n_valid, last - first)[codes]


def official_split(
    events: pd.DataFrame, *, fold: OfficialFold, valid: float, rng: Generator
) -> np.ndarray:
    """A fold that the authors of MovieLens-100K published.

    `u1` tests on the first 20,000 rows of `u.data`, `u2` on the next 20,000, up to `u5`
    (the archive's `mku.sh`); the rows must be in that file's order.

    Args:
        events: The 100,000 ratings.
        fold: Which fold.
        valid: Share of the 80,000 training rows that validates, in [0, 1).
        rng: Which rows validate.

    Raises:
        DataError: There is no such fold, or there are not 100,000 rows.
    """
    n = len(events)
    folds = ("u1", "u2", "u3", "u4", "u5")
    if fold not in folds:
        raise DataError(f"official split: expected one of {', '.join(folds)}, got '{fold}'")
    if n != _OFFICIAL_ROWS:
        raise DataError(
            f"official split: the folds of MovieLens-100K are of {_OFFICIAL_ROWS:,} rows in the "
            f"order of u.data, got {n:,}; for other data use random, time or kfold"
        )
    first = folds.index(fold) * _OFFICIAL_FOLD
    is_test = np.zeros(n, dtype=bool)
    is_test[first : first + _OFFICIAL_FOLD] = True
    rest = np.flatnonzero(~is_test)
    n_valid, _ = counts(len(rest), valid, 0, what="training rows")
    order = np.concatenate([np.flatnonzero(is_test), rng.permutation(rest)])
    return dealt(n, order, n_valid, _OFFICIAL_FOLD)


def labels_split(events: pd.DataFrame, *, column: str) -> np.ndarray:
    """A column says which part each row belongs to: `train`, `valid` or `test`.

    Raises:
        DataError: There is no such column, a label is another one, or no row trains.

    Example:
        >>> labels_split(pd.DataFrame({"part": ["test", "train"]}), column="part").tolist()
        [2, 0]
    """
    require(events, column)
    values = events[column].astype(object)
    part = values.map(_LABELS).to_numpy(dtype=np.float64, na_value=np.nan)
    is_bad = np.isnan(part)
    if is_bad.any():
        first = int(np.argmax(is_bad))
        label = values.iloc[first]
        near = difflib.get_close_matches(str(label), _LABELS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise DataError(
            f"labels split: column '{column}': expected train, valid or test, but "
            f"{int(is_bad.sum()):,} of {len(part):,} rows have something else; first in row "
            f"{first:,}: {label!r}{hint}"
        )
    if not (part == TRAIN).any():
        raise DataError(f"labels split: column '{column}': no row of {len(part):,} is 'train'")
    return part.astype(np.int8)


def _evenly(n: int, n_chosen: int, rng: Generator) -> np.ndarray:
    """`(n,)` booleans, `n_chosen` of them true at even distances, from a random start.

    Example: 2 of 5 with start 1: (0, 2, 4, 6, 8, 10) + 1 over 5 is 0, 0, 1, 1, 1, 2, which rises
    at positions 1 and 4. Any m positions in a row hold `m * n_chosen / n`, give or take one.
    """
    start = int(rng.integers(n)) if n else 0
    steps = (np.arange(n + 1, dtype=np.int64) * n_chosen + start) // max(n, 1)
    return np.diff(steps) > 0


def _nearest(is_cut: np.ndarray, wanted: int, *, low: int, high: int) -> int:
    """The cut from `low` to below `high` that is nearest to the wanted one; there is one.

    A list of all cuts could be as long as the data.
    """
    before = is_cut[low - 1 : max(min(wanted, high) - 1, low - 1)][::-1]
    start = max(wanted, low)
    behind = is_cut[start - 1 : max(high - 1, start - 1)]
    left = min(wanted, high) - 1 - int(np.argmax(before)) if before.any() else None
    right = start + int(np.argmax(behind)) if behind.any() else None
    if left is None or (right is not None and right - wanted < wanted - left):
        assert right is not None
        return right
    return left


def _is_sortable(series: pd.Series[Any]) -> bool:
    return not pd.api.types.is_object_dtype(series.dtype)
