"""What a model is worth for newcomers by how many of their events it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from tabcf.data.dates import dates
from tabcf.data.sources import Source
from tabcf.errors import DataError
from tabcf.evaluation.evaluate import Metric
from tabcf.evaluation.told import metrics_of_newcomers, told_metrics
from tabcf.recommend.fold_in.draws import FoldInDraws
from tabcf.recommend.fold_in.finding import check_learnable
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.given import read_given
from tabcf.recommend.trained import Trained

__all__ = ["N_GIVEN", "WITHOUT", "learning_curve"]

N_GIVEN = "n"
WITHOUT = " without attributes"


def learning_curve(
    trained: Trained,
    fold: FoldIn | FoldInDraws | None,
    source: Source,
    metrics: Sequence[Metric],
    *,
    entity: str,
    is_positive: np.ndarray,
    at: Sequence[int],
    by: str | None,
) -> pd.DataFrame:
    """Metrics of newcomers after their first n events, for several n, on the same later events.

    Newcomers are those without training events who have more than max(`at`) events: the first
    max(`at`) are given step by step, the others held to measure on. A list leaves out what is given
    at the last step from the first one on, so that all steps choose among the same items.

    Args:
        trained: The model.
        fold: What finds rows of the entity; None for a model that has none.
        source: Events of newcomers and maybe of others, with their target.
        metrics: What to measure.
        entity: `user` or `item`: who is new.
        is_positive: `(N,)` booleans: which events count; the others are only seen.
        at: How many events are given, at each step.
        by: The column that says which events are the first; None takes the rows as they come.

    Returns:
        One row a step: `n`, `n_users` or `n_items` newcomers, and the metrics. Where the entity has
        attributes, each metric stands a second time, with the newcomers' attributes blank.

    Raises:
        DataError: Nobody is new, or has events enough; or a column is missing.
        RunError: The model cannot take newcomers.
    """
    steps = sorted(set(at))
    if not steps or steps[0] < 0:
        raise DataError(f"at: expected numbers of events, such as 0, 1, 5, got {list(at)}")
    check_learnable(trained, entity, fold)
    metrics = metrics_of_newcomers(metrics, entity)
    parts = _parts(trained, source, is_positive, entity=entity, n_given=steps[-1], by=by)
    attributes = {"": parts.newcomers}
    if any(plan.table == entity for plan, _ in trained.encoder.columns):
        columns = dict.fromkeys(trained.encoder.request_columns(entity)[1:])
        attributes[WITHOUT] = replace(
            parts.newcomers, frame=parts.newcomers.frame.assign(**columns)
        )
    rows = []
    for n in steps:
        row: dict[str, float] = {N_GIVEN: n, f"n_{entity}s": len(parts.newcomers.frame)}
        for name, own in attributes.items():
            given = read_given(
                trained,
                entity,
                parts.given,
                is_positive=parts.is_positive & (parts.place < n),
                attributes=own,
            )
            found = told_metrics(trained, fold, given, parts.held, metrics)
            row |= {f"{metric}{name}": value for metric, value in found.items()}
        rows.append(row)
    return pd.DataFrame(rows)


class _Parts(NamedTuple):
    """Newcomers by their ids, the events that are given step by step, and those measured on.

    `place` says which of its newcomer's events a given one is, from 0.
    """

    newcomers: Source
    given: Source
    is_positive: np.ndarray
    place: np.ndarray
    held: Source


def _parts(
    trained: Trained,
    source: Source,
    is_positive: np.ndarray,
    *,
    entity: str,
    n_given: int,
    by: str | None,
) -> _Parts:
    known = trained.encoder.entities[entity]
    column = known.plan.id
    source.require([column])
    codes, _ = pd.factorize(source.frame[column])
    is_new = (known.index[known.rows_of(source.frame[column], source)] == 0) & (codes >= 0)
    if not is_new.any():
        raise DataError(
            f"{source.name}: no new '{column}': the run was trained on all of them; split by "
            f"`cold: {entity}` to keep some"
        )
    order = np.lexsort([_when(source, by), codes])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(codes[order], codes[order])
    counts = np.bincount(codes[is_new], minlength=codes.max() + 1)
    is_long = is_new & (counts[codes] > n_given)
    if not is_long.any():
        raise DataError(
            f"{source.name}: no new '{column}' has more than {n_given} events, which are given; "
            f"the most is {counts.max()}: give a smaller `at`"
        )
    is_given = is_long & (place < n_given)
    return _Parts(
        _rows(source, is_long & (place == 0), [column]),
        _rows(source, is_given),
        is_positive[is_given],
        place[is_given],
        _rows(source, is_long & ~is_given & is_positive),
    )


def _when(source: Source, by: str | None) -> np.ndarray:
    """`(N,)`: what events are ordered by; rows of equal times stay as they come."""
    if by is None:
        return np.zeros(len(source.frame))
    if by not in source.frame.columns:
        raise DataError(
            f"{source.name}: no column '{by}' that says which events are the first; name another "
            "one by `by`, or None to take the rows as they come"
        )
    series = source.frame[by]
    values = series if pd.api.types.is_numeric_dtype(series.dtype) else pd.Series(dates(series))
    if values.isna().any():
        place = source.place(int(np.argmax(values.isna())))
        raise DataError(f"{source.name}: column '{by}': no time at {place}")
    return pd.factorize(values, sort=True)[0]


def _rows(source: Source, is_chosen: np.ndarray, columns: Sequence[str] | None = None) -> Source:
    frame = source.frame[is_chosen].reset_index(drop=True)
    return replace(source, frame=frame if columns is None else frame[columns], first_line=None)
