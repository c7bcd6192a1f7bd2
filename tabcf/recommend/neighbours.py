"""Nearest neighbours among users or items by their trained vectors."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.contracts.model import ColumnVectors
from tabcf.errors import DataError, RunError
from tabcf.recommend.basis import AVERAGE, TRAINED, cold
from tabcf.recommend.trained import Trained, column_of

__all__ = ["Closeness", "entity_vectors", "similar"]

Closeness = Literal["cosine", "dot", "euclidean"]


def entity_vectors(trained: Trained, entity: str) -> Tensor:
    """`(n, d)`: the vectors of an entity's trained rows, by index; row 0 is the unknown one.

    Raises:
        RunError: The run has no such entity, or its model no vectors.
    """
    if entity not in trained.encoder.entities:
        known = ", ".join(trained.encoder.entities) or "none"
        raise RunError(f"this run has no entity '{entity}'; known: {known}")
    if not isinstance(trained.model, ColumnVectors):
        raise RunError(f"{type(trained.model).__name__} learns no vectors to compare or show")
    return trained.model.column_vectors(column_of(trained, entity)).detach().cpu()


def similar(
    trained: Trained,
    entity: str,
    id: Any,
    k: int = 10,
    *,
    metric: Closeness = "cosine",
    is_text: bool = False,
) -> pd.DataFrame:
    """The k nearest to one user or item, nearest first.

    Args:
        trained: The model.
        entity: `item`, `user` or another entity of the run.
        id: Whose neighbours: an id, or a label such as a title.
        k: How many.
        metric: `cosine` (direction only), `dot` (favours long vectors, often those of popular
            items) or `euclidean` (a distance: smaller is nearer).
        is_text: The id comes from a command line.

    Returns:
        `rank`, the id, its label where there is one, the metric's number, `count`, the number of
        training events that the vector rests on, and `basis`: `trained`, or `cold: average` where
        the one asked for has no training events and stands at the vector of the unknown.

    Raises:
        DataError: What is given is neither an id nor a label.
    """
    if metric not in ("cosine", "dot", "euclidean"):
        raise DataError(f"metric: expected cosine, dot or euclidean, got {metric!r}")
    vectors = entity_vectors(trained, entity)
    known = trained.encoder.entities[entity]
    row = known.row_or_unknown(id, is_text=is_text)
    index = int(known.index[row])
    closeness = _closeness(vectors, vectors[index], metric)
    closeness[[0, index]] = -torch.inf
    best = torch.topk(closeness, min(k, max(len(vectors) - 2, 0)))
    rows = known.row_of_index[best.indices.numpy()]
    values: dict[str, Any] = {
        "rank": np.arange(1, len(rows) + 1),
        known.plan.id: known.ids.values_of(rows),
    }
    if known.plan.label is not None and known.labels is not None:
        values[known.plan.label] = [known.labels[r] for r in rows]
    shown = best.values.numpy()
    values[metric] = -shown if metric == "euclidean" else shown
    values["count"] = known.n_events[rows]
    values["basis"] = TRAINED if index else cold(AVERAGE)
    return pd.DataFrame(values)


def _closeness(vectors: Tensor, one: Tensor, metric: Closeness) -> Tensor:
    """`(n,)`: larger is nearer."""
    if metric == "dot":
        return vectors @ one
    if metric == "euclidean":
        distance: Tensor = torch.linalg.vector_norm(vectors - one, dim=1)
        return -distance
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=1) * torch.linalg.vector_norm(one)
    return (vectors @ one) / norms.clamp_min(1e-12)
