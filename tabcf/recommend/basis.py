"""What an answer rests on: events in training, or of somebody cold attributes or the average."""

from __future__ import annotations

from typing import Any

import numpy as np

from tabcf.data.encoder import Encoder

__all__ = ["ATTRIBUTES", "AVERAGE", "TRAINED", "basis_of", "cold"]

TRAINED, ATTRIBUTES, AVERAGE = "trained", "attributes", "average"


def basis_of(encoder: Encoder, entity: str, index: Any, is_described: Any = True) -> np.ndarray:
    """What is known of some users or items.

    Args:
        encoder: Says whether the entity has attributes that the model reads.
        entity: Whose.
        index: `(N,)`: their embedding rows, 0 without training events.
        is_described: `(N,)` booleans: whether a table or the request has a row of theirs.

    Returns:
        `(N,)` texts: `trained`, `attributes` or `average`.
    """
    has_attributes = any(plan.table == entity for plan, _ in encoder.columns)
    cold_ones = np.where(has_attributes & np.asarray(is_described), ATTRIBUTES, AVERAGE)
    return np.where(np.asarray(index) > 0, TRAINED, cold_ones).astype(object)


def cold(basis: str, entity: str | None = None) -> str:
    """The text of a basis for a result: `cold: average`, `cold item: attributes`, or `trained`."""
    if basis not in (ATTRIBUTES, AVERAGE):
        return basis
    return f"cold{f' {entity}' if entity else ''}: {basis}"
