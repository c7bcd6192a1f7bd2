"""What a run is worth for each user: a row a user, a column a metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from tabcf.contracts.table import Table
from tabcf.data.sources import Source
from tabcf.evaluation.evaluate import Metric, list_values
from tabcf.evaluation.lists import RankedUsers
from tabcf.recommend.predictor import decode_table, true_values
from tabcf.recommend.trained import Trained

__all__ = ["N_RELEVANT", "N_ROWS", "N_TRAIN", "pooled_users", "user_metrics"]

N_TRAIN, N_ROWS, N_RELEVANT = "n_train", "n_rows", "n_relevant"


def user_metrics(
    trained: Trained,
    source: Source,
    is_positive: np.ndarray,
    table: Table,
    metrics: Sequence[Metric],
    ranked: RankedUsers | None,
) -> pd.DataFrame:
    """Metrics of every user of some rows, those without anything to find included.

    Args:
        trained: The model.
        source: The rows with their users' ids; a row without an id is left out.
        is_positive: `(N,)`, which of them count; a user of others alone has no metrics.
        table: The rows that count, encoded.
        metrics: What to compute; those of all lists together, such as coverage, are left out.
        ranked: What `rank_for` gives for the table and the metrics.

    Returns:
        In the order of ids: the id, `n_train` events in training, `n_rows` rows that count, and
        `n_relevant` items to find, where there are ranking metrics; then those, NaN for users
        without a list. Where numbers are predicted, `rmse` and `mae` over the user's rows. The
        mean of a column is the run's metric, but for `rmse` and `mae`, where users with many rows
        weigh more in the run's.
    """
    entity = trained.encoder.entities["user"]
    ids = source.frame[entity.plan.id]
    if ids.dtype == object:
        ids = ids.astype(str).where(ids.notna(), None)
    place, users = pd.factorize(ids, sort=True)
    row_of_user = np.zeros(len(users), dtype=np.int64)
    row_of_user[place[place >= 0]] = entity.rows_of(source.frame[entity.plan.id], source)[
        place >= 0
    ]
    place = place[is_positive]
    n_rows = np.bincount(place[place >= 0], minlength=len(users))
    frame = pd.DataFrame({entity.plan.id: users})
    frame[N_TRAIN] = entity.n_events[row_of_user]
    frame[N_ROWS] = n_rows
    if ranked is not None:
        ranking = [metric for metric in metrics if metric.definition.is_ranking]
        user_of_row = np.full(len(entity), -1)
        user_of_row[row_of_user] = np.arange(len(users))
        chosen = user_of_row[ranked.users]
        frame[N_RELEVANT] = 0
        frame.loc[chosen, N_RELEVANT] = ranked.n_relevant.numpy()
        for name, values in list_values(trained, ranked, ranking).items():
            if values.ndim == 1:
                column = np.full(len(users), np.nan)
                column[chosen] = values.double().numpy()
                frame[name] = column
    if trained.target.kind in ("regression", "rating"):
        for name, column in _errors(trained, table, place, n_rows).items():
            frame[name] = column
    return frame


def pooled_users(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The metrics of each user over the test rows of several folds.

    Args:
        frames: What `user_metrics` gave for each fold, with the same columns.

    Returns:
        The same columns, a row a user: counts are sums, `rmse` and `mae` those of all the user's
        rows together, and metrics of lists means over the folds that have one.
    """
    user = frames[0].columns[0]
    rows = pd.concat(frames, ignore_index=True)
    counts = [name for name in (N_TRAIN, N_ROWS, N_RELEVANT) if name in rows]
    means = [name for name in rows.columns[1:] if name not in (*counts, "rmse", "mae")]
    weight = rows[N_ROWS].to_numpy(np.float64)
    sums = {
        "rmse": np.where(weight > 0, rows["rmse"] ** 2 * weight, 0.0) if "rmse" in rows else None,
        "mae": np.where(weight > 0, rows["mae"] * weight, 0.0) if "mae" in rows else None,
    }
    grouped = rows.assign(**{n: s for n, s in sums.items() if s is not None}).groupby(user)
    pooled = pd.concat([grouped[counts].sum(), grouped[means].mean()], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        for name in ("rmse", "mae"):
            if name in rows:
                mean = grouped[name].sum() / pooled[N_ROWS]
                pooled[name] = np.sqrt(mean) if name == "rmse" else mean
    return pooled.reset_index()[list(frames[0].columns)]


def _errors(
    trained: Trained, table: Table, place: np.ndarray, n_rows: np.ndarray
) -> dict[str, np.ndarray]:
    """RMSE and MAE over each user's rows; nothing where a loss decodes to no number."""
    if not len(table):
        return {}
    predicted = decode_table(trained, table).get("value")
    if predicted is None:
        return {}
    assert table.target is not None
    errors = predicted.double() - true_values(trained, table.target).double()
    # Several target columns: their mean, row by row, as over all rows.
    per_row = torch.stack([errors.square(), errors.abs()]).reshape(2, len(table), -1).mean(2)
    has_user = place >= 0
    square, absolute = (
        np.bincount(place[has_user], weights=values[has_user], minlength=len(n_rows))
        for values in per_row.numpy()
    )
    with np.errstate(invalid="ignore"):
        return {"rmse": np.sqrt(square / n_rows), "mae": absolute / n_rows}
