"""Trained vectors as a frame by external id."""

from __future__ import annotations

import pandas as pd

from tabcf.recommend.neighbours import entity_vectors
from tabcf.recommend.trained import Trained

__all__ = ["embedding_table"]


def embedding_table(trained: Trained, entity: str) -> pd.DataFrame:
    """Vectors of an entity's trained rows.

    Returns:
        Indexed by id: the label where there is one, `count` (training events) and one column a
        dimension, named 0, 1, ….

    Raises:
        RunError: The model learns no vectors, or the run has no such entity.
    """
    vectors = entity_vectors(trained, entity).numpy()
    known = trained.encoder.entities[entity]
    rows = known.row_of_index[1:]
    index = pd.Index(known.ids.values_of(rows), name=known.plan.id)
    frame = pd.DataFrame(vectors[1:], index=index)
    frame.insert(0, "count", known.n_events[rows])
    if known.plan.label is not None and known.labels is not None:
        frame.insert(0, known.plan.label, [known.labels[row] for row in rows])
    return frame
