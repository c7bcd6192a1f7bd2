"""Biases beside means: what a user or an item adds to every prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tabcf.contracts.model import ColumnBiases
from tabcf.errors import RunError
from tabcf.recommend.trained import Trained, column_of

__all__ = ["bias_table"]


def bias_table(
    trained: Trained, entity: str, *, mean_target: np.ndarray | None = None
) -> pd.DataFrame:
    """An entity's trained biases, highest first.

    A bias is what is left of an item's ratings once it is known who rated it: a film that only
    generous raters saw has a high mean and a low bias.

    Returns:
        Indexed by id: the label where there is one, `bias`, `mean` (of the training target,
        where it is a number) and `count`.

    Raises:
        RunError: The model has no biases, or the run no such entity.
    """
    if entity not in trained.encoder.entities:
        names = ", ".join(trained.encoder.entities) or "none"
        raise RunError(f"this run has no entity '{entity}'; known: {names}")
    if not isinstance(trained.model, ColumnBiases):
        raise RunError(
            f"{type(trained.model).__name__} learns no biases; dot_product_bias and bias do"
        )
    known = trained.encoder.entities[entity]
    bias = trained.model.column_bias(column_of(trained, entity)).detach().cpu().numpy()
    rows = known.row_of_index[1:]
    values: dict[str, Any] = {known.plan.id: known.ids.values_of(rows)}
    if known.plan.label is not None and known.labels is not None:
        values[known.plan.label] = [known.labels[row] for row in rows]
    values["bias"] = bias[1:]
    if mean_target is not None:
        values["mean"] = mean_target[rows]
    values["count"] = known.n_events[rows]
    frame = pd.DataFrame(values).set_index(known.plan.id)
    return frame.iloc[np.argsort(-frame["bias"].to_numpy(), kind="stable")]
