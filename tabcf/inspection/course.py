"""The course of a training: losses, learning rates, and what weight decay did to whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from tabcf.contracts.model import ColumnRows, SetRows
from tabcf.recommend.trained import Trained
from tabcf.training.loop import EpochReport

__all__ = ["epoch_table", "schedule_table", "share_kept", "weight_table"]


def epoch_table(epochs: Sequence[EpochReport]) -> pd.DataFrame:
    """One row an epoch: `epoch`, `train_loss`, validation metrics, `learning_rate`, `seconds`."""
    return pd.DataFrame(
        [
            {
                "epoch": report.epoch,
                "train_loss": report.train_loss,
                **report.validation,
                "learning_rate": report.learning_rate,
                "seconds": report.seconds,
            }
            for report in epochs
        ]
    )


def schedule_table(
    schedule: Callable[[float], tuple[float, float | None]], peak: float, *, n: int = 200
) -> pd.DataFrame:
    """The learning rate, and the first beta where it moves, at n points of the training."""
    progress = np.linspace(0, 1, n)
    points = [schedule(float(at)) for at in progress]
    return pd.DataFrame(
        {
            "progress": progress,
            "learning_rate": [peak * factor for factor, _ in points],
            "beta": [np.nan if beta is None else beta for _, beta in points],
        }
    )


def share_kept(
    schedule: Callable[[float], tuple[float, float | None]],
    peak: float,
    n_steps: int,
    decay: Mapping[str, float],
) -> dict[str, float]:
    """What decoupled weight decay alone leaves of a weight that no event moves.

    The product over all steps of `1 - learning rate · decay`, by column as in `decay`.
    """
    middles = (np.arange(n_steps) + 0.5) / max(n_steps, 1)
    rates = peak * np.array([schedule(float(at))[0] for at in middles])
    return {
        name: float(np.exp(np.log1p(-np.minimum(rates * own, 1 - 1e-12)).sum()))
        for name, own in decay.items()
    }


@torch.no_grad()
def weight_table(trained: Trained, kept: Mapping[str, float] | None = None) -> pd.DataFrame:
    """How large each column's rows are, by how often they were trained.

    Weight decay pulls every row towards zero at every step, while only events of its own push it
    away: rows with few events end up short.

    Args:
        trained: The model.
        kept: By column, the share of a weight that decay alone would have left at the end of the
            training, as `share_kept` gives it; `default` for those not named.

    Returns:
        One row a column: `column`, `n` rows, `width`, `norm` (root of the mean square of all its
        numbers), `norm_few` and `norm_many` (of the fourth of its trained rows with fewest and with
        most events, for entities; else NaN), and `kept`.
    """
    layout, model = trained.encoder.layout, trained.model
    found = []
    if isinstance(model, ColumnRows):
        for position, column in enumerate(layout.categorical):
            parts = [p[rows].flatten(1) for p, rows in model.column_rows(position)]
            counts = None
            if column.entity is not None:
                entity = trained.encoder.entities[column.entity]
                counts = entity.n_events[entity.row_of_index]
            found.append(_row(column.name, torch.cat(parts, 1), counts, kept))
    if isinstance(model, SetRows):
        for position, bag in enumerate(layout.sets):
            parts = [p[rows].flatten(1) for p, rows in model.set_rows(position)]
            found.append(_row(bag.name, torch.cat(parts, 1), None, kept))
    names = ["column", "n", "width", "norm", "norm_few", "norm_many", "kept"]
    return pd.DataFrame(found, columns=names)


def _row(
    name: str, rows: torch.Tensor, counts: np.ndarray | None, kept: Mapping[str, float] | None
) -> dict[str, float | str | int]:
    few = many = float("nan")
    if counts is not None and len(rows) > 4:
        order = torch.from_numpy(np.argsort(counts[1:], kind="stable") + 1).to(rows.device)
        fourth = max(len(order) // 4, 1)
        few, many = _size(rows[order[:fourth]]), _size(rows[order[-fourth:]])
    share = float("nan")
    if kept is not None:
        share = kept.get(name, kept.get("default", float("nan")))
    return {
        "column": name,
        "n": len(rows),
        "width": rows.shape[1],
        "norm": _size(rows),
        "norm_few": few,
        "norm_many": many,
        "kept": share,
    }


def _size(rows: torch.Tensor) -> float:
    return float(rows.double().pow(2).mean().sqrt())
