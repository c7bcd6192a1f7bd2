"""Paired differences between two models' results for the same users.

Dimension letters: U users, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tabcf.errors import DataError
from tabcf.evaluation.users import N_RELEVANT, N_ROWS, N_TRAIN

__all__ = ["N_RESAMPLES", "bootstrap_interval", "compare_users", "shared_metrics"]

# At 10,000 the ends of a 95 % interval rest on 250 resamples each.
N_RESAMPLES = 10_000

# Draws held at a time: 32 MB.
_BLOCK = 1 << 22


def bootstrap_interval(
    values: np.ndarray, *, n_resamples: int = N_RESAMPLES, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the mean of `(U,)` values (Efron and Tibshirani, 1993, section 13.3).

    Args:
        values: One number a user, such as the difference of two runs.
        n_resamples: How many times U users are drawn with replacement.
        level: Share of resamples whose mean is within.
        seed: Of the draws.

    Returns:
        The lower and the upper end; NaN without values.

    Example:
        >>> bootstrap_interval(np.array([0.25, 0.25, 0.25]))
        (0.25, 0.25)
    """
    if not len(values):
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    block = max(_BLOCK // len(values), 1)
    means = np.empty(n_resamples)
    for start in range(0, n_resamples, block):
        stop = min(start + block, n_resamples)
        drawn = rng.integers(0, len(values), (stop - start, len(values)))
        means[start:stop] = values[drawn].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def shared_metrics(frames: Sequence[pd.DataFrame]) -> list[str]:
    """The metrics that all frames of `user_metrics` have, in the order of the first."""
    counts = {N_TRAIN, N_ROWS, N_RELEVANT}
    names = [name for name in frames[0].columns[1:] if name not in counts]
    return [name for name in names if all(name in frame.columns for frame in frames[1:])]


def compare_users(
    first: pd.DataFrame,
    second: pd.DataFrame,
    metrics: Sequence[str],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Second less first, user by user, with 95 % bootstrap intervals of the mean.

    Args:
        first: A row a user, as `user_metrics` makes them.
        second: The same of another model, on the same rows.
        metrics: Columns to compare.
        n_resamples: Resamples of the users.
        seed: Of the resamples; each metric sees the same ones.

    Returns:
        One row a metric: `metric`, `n_users` that have a value, the means `first` and `second`,
        their `difference`, and `low` and `high`, between which 95 % of the resamples' means are.
        An interval without 0 is a difference that other users of their kind would show too.

    Raises:
        DataError: The users are others, or have other things to find.
    """
    user = first.columns[0]
    if user != second.columns[0] or set(first[user]) != set(second[user]):
        raise DataError(f"expected the same users in both, by '{user}'")
    paired = second.set_index(user).reindex(first[user]).reset_index()
    for count in (N_ROWS, N_RELEVANT):
        if count in first.columns and count in paired.columns:
            differs = (first[count] != paired[count]).to_numpy()
            if differs.any():
                raise DataError(
                    f"{count} differs for {int(differs.sum()):,} of {len(first):,} users: what was "
                    "in training is left out of what is to be found, and the two have not had the "
                    "same"
                )
    found = []
    for name in metrics:
        one, two = first[name].to_numpy(np.float64), paired[name].to_numpy(np.float64)
        has_value = ~np.isnan(one) & ~np.isnan(two)
        difference = two[has_value] - one[has_value]
        low, high = bootstrap_interval(difference, n_resamples=n_resamples, seed=seed)
        found.append(
            {
                "metric": name,
                "n_users": int(has_value.sum()),
                "first": _mean(one[has_value]),
                "second": _mean(two[has_value]),
                "difference": _mean(difference),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(found)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
