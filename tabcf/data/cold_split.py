"""A split for cold starts: whole users or items whom training never sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.random import Generator

from tabcf.data.parts import GIVEN, TEST, TRAIN, counts, dealt, require, times
from tabcf.errors import DataError

__all__ = ["cold_split"]


def cold_split(
    events: pd.DataFrame,
    *,
    columns: Sequence[str],
    valid: float,
    test: float,
    rng: Generator,
    n_given: int = 0,
    by: str | None = None,
) -> np.ndarray:
    """Whole users, items or both are held out: no row of a held one trains.

    With one column all rows of an id are in one part. With two, a row tests where either of its
    ids does, else validates where either does. Rows without an id are held out by the other
    column alone.

    Of each id that tests, `n_given` events are told: they are neither learnt from nor scored, and
    newcomers can be folded in by them. With two columns they are events with somebody who trains.

    Args:
        events: N rows.
        columns: The columns of ids.
        valid: Share of the ids of each column whose rows validate, in [0, 1).
        test: Share of the ids of each column whose rows test, in [0, 1).
        rng: Which ids, and which events are given.
        n_given: How many events of each id that tests are given.
        by: The column that says which events come first and are given; at random without it.

    Returns:
        `(N,)` int8: 0 train, 1 valid, 2 test, 3 given.

    Raises:
        DataError: There is no such column, a time is missing, no id or no row is left to train on,
            or nothing is left to score.

    Example:
        >>> frame = pd.DataFrame({"user": [1, 1, 2, 2], "timestamp": [9, 8, 7, 6]})
        >>> cold_split(
        ...     frame,
        ...     columns=["user"],
        ...     valid=0,
        ...     test=0.5,
        ...     n_given=1,
        ...     by="timestamp",
        ...     rng=np.random.default_rng(0),
        ... ).tolist()
        [2, 3, 0, 0]
    """
    of_columns, codes = [], []
    for column in columns:
        require(events, column)
        code, ids = pd.factorize(events[column])
        n_valid, n_test = counts(len(ids), valid, test, what=f"different '{column}'")
        part_of_id = dealt(len(ids), rng.permutation(len(ids)), n_valid, n_test)
        codes.append(code)
        # Code -1, no id, reads the entry at the end.
        of_columns.append(np.append(part_of_id, np.int8(TRAIN))[code])
    part: np.ndarray = np.maximum.reduce(of_columns)
    if not (part == TRAIN).any():
        raise DataError(f"cold split: no row of {len(part):,} is left to train on")
    if not n_given:
        return part
    when = rng.permutation(len(events)) if by is None else times(events, by)
    given = np.zeros(len(part), dtype=bool)
    for number, code in enumerate(codes):
        others = [own for place, own in enumerate(of_columns) if place != number]
        may = of_columns[number] == TEST
        for own in others:
            may &= own == TRAIN
        given |= may & (_place(code, when, may) < n_given)
    part[given] = GIVEN
    if test and not (part == TEST).any():
        raise DataError(
            f"cold split: nobody who tests has more than {n_given} events, which are given; "
            "expected a smaller `given`"
        )
    return part


def _place(codes: np.ndarray, when: np.ndarray, is_counted: np.ndarray) -> np.ndarray:
    """`(N,)`: the place of each row among the counted ones of its id, from 0; N for the others."""
    rows = np.flatnonzero(is_counted)
    order = rows[np.lexsort([when[rows], codes[rows]])]
    own = codes[order]
    place = np.full(len(codes), len(codes), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(own, own)
    return place
