"""Rows of an entity as what a person knows of them: ids, labels and counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tabcf.recommend.trained import Trained

__all__ = ["named_rows"]


def named_rows(trained: Trained, entity: str, rows: np.ndarray) -> dict[str, Any]:
    """Columns of a frame: the ids of some rows, and their labels where there are any."""
    known = trained.encoder.entities[entity]
    values: dict[str, Any] = {known.plan.id: known.ids.values_of(rows)}
    if known.plan.label is not None and known.labels is not None:
        values[known.plan.label] = [known.labels[row] for row in rows]
    return values
