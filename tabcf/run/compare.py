"""Runs beside one another, user by user, on the same test rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tabcf.errors import DataError, RunError
from tabcf.evaluation.compare import N_RESAMPLES, compare_users, shared_metrics

if TYPE_CHECKING:
    from tabcf.run.cross_validation import CrossValidation
    from tabcf.run.run import Run

__all__ = ["compare_runs", "identity_of_rows"]

# Rows whose ids are texts at a time.
_BLOCK = 1 << 16

# Columns of a user that say how far numbers are off, and nothing of lists.
_OF_NUMBERS = {"rmse", "mae"}


def identity_of_rows(frame: pd.DataFrame, ids: Sequence[str]) -> str:
    """A SHA-256 of the rows' ids, whatever the rows' order and the columns' names.

    Args:
        frame: The rows.
        ids: The columns of ids; always in the same order of roles.
    """
    rows = np.empty(len(frame), np.uint64)
    # Some rows at a time, since texts take ten times the memory of what they are of.
    for start in range(0, len(frame), _BLOCK):
        texts = frame[list(ids)].iloc[start : start + _BLOCK].astype(str)
        hashes = pd.util.hash_pandas_object(texts.set_axis(range(len(ids)), axis=1), index=False)
        rows[start : start + len(texts)] = hashes
    rows.sort()
    return hashlib.sha256(rows.tobytes()).hexdigest()


def compare_runs(
    runs: Sequence[Run | CrossValidation],
    *,
    names: Sequence[str],
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Each run less the first, as paired differences per user with 95 % bootstrap intervals.

    Args:
        runs: At least two, with users, fitted with the same test rows. Cross-validations are
            compared over all their folds together: a user's result is that over the folds.
        names: What to call them.
        n_resamples: Resamples of the users.
        seed: Of the resamples.

    Returns:
        One row a run but the first and metric: `run`, then the columns of `compare_users`.
        Errors of numbers are compared where the target is the same column, and all of them as
        means over users.

    Raises:
        RunError: A run has no results per user, or other test rows than the first.
    """
    if len(runs) < 2:
        raise RunError("expected at least two runs to compare")
    for run, name in zip(runs, names, strict=True):
        if run.users is None:
            raise RunError(
                f"{name}: has no test results per user: it has no users or no test rows, or was "
                "fitted by an older tabcf"
            )
        if run.test_rows != runs[0].test_rows:
            raise RunError(
                f"{name} and {names[0]} were tested on different rows, so that their results are "
                "not comparable; give both the same data, split and seed, and for implicit targets "
                "the same `positive`"
            )
    found = []
    first = runs[0].users
    assert first is not None
    for run, name in zip(runs[1:], names[1:], strict=True):
        assert run.users is not None
        metrics = shared_metrics([first, run.users])
        one, two = runs[0].spec.target, run.spec.target
        if (one.column, one.columns) != (two.column, two.columns):
            metrics = [metric for metric in metrics if metric not in _OF_NUMBERS]
        if not metrics:
            raise RunError(f"{name} and {names[0]} have no metric of users in common")
        try:
            compared = compare_users(first, run.users, metrics, n_resamples=n_resamples, seed=seed)
        except DataError as error:
            raise RunError(f"{name} and {names[0]}: {error}") from None
        compared.insert(0, "run", name)
        found.append(compared)
    return pd.concat(found, ignore_index=True)
