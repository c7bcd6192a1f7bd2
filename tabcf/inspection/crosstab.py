"""Users against items: what was rated in the cells, and what is predicted in the empty ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag
from tabcf.contracts.model import ColumnVectors
from tabcf.data.batches import select
from tabcf.errors import DataError
from tabcf.recommend.basis import TRAINED, basis_of, cold
from tabcf.recommend.neighbours import entity_vectors
from tabcf.recommend.scores import score_blocks
from tabcf.recommend.trained import Trained

__all__ = ["Crosstab", "crosstab"]


@dataclass(frozen=True, slots=True)
class Crosstab:
    """A part of the users × items table, the picture of collaborative filtering.

    Attributes:
        values: Users down, items across: the training target where there was an event (1 for an
            implicit one), else the prediction.
        is_known: The same shape: whether the cell was a training event.
        predictions: The same shape: what the model predicts in every cell.
        user_vectors: The users' trained vectors, one row each; None where the model learns none.
        item_vectors: The items' trained vectors, one column each.
    """

    values: pd.DataFrame
    is_known: pd.DataFrame
    predictions: pd.DataFrame
    user_vectors: pd.DataFrame | None
    item_vectors: pd.DataFrame | None

    def __str__(self) -> str:
        shown = self.values.map("{:.1f}".format).where(
            ~self.is_known, self.values.map("[{:g}]".format)
        )
        return f"{shown.to_string()}\n[known], predicted"


def crosstab(
    trained: Trained,
    users: int | Iterable[Any] = 12,
    items: int | Iterable[Any] = 12,
    *,
    is_text: bool = False,
) -> Crosstab:
    """Some users' and items' part of the table.

    Args:
        trained: The model.
        users: How many of the busiest, or whose ids.
        items: How many of the most popular, or whose ids or labels.
        is_text: Ids come from a command line.

    Raises:
        DataError: What is given is neither an id nor a label.
        RunError: The run has no users and items.
    """
    trained.require_entities("crosstab")
    user_rows, named_users = _chosen(trained, "user", users, is_text=is_text)
    item_rows, named_items = _chosen(trained, "item", items, is_text=is_text)
    names = {
        "user": _names(trained, "user", user_rows, named_users),
        "item": _names(trained, "item", item_rows, named_items),
    }
    predicted = _predicted(trained, user_rows, item_rows).double().numpy()
    source = trained.events.learnable()
    rows = trained.encoder.encode_ids(source)
    is_inside = np.isin(rows["user"], user_rows[user_rows > 0])
    is_inside &= np.isin(rows["item"], item_rows[item_rows > 0])
    at_user = {row: place for place, row in enumerate(user_rows.tolist())}
    at_item = {row: place for place, row in enumerate(item_rows.tolist())}
    values, is_known = predicted.copy(), np.zeros(predicted.shape, dtype=bool)
    target: np.ndarray = np.ones(len(source.frame))
    if trained.target.kind in ("rating", "regression"):
        target = source.frame[trained.target.columns[0]].astype(float).to_numpy()
    for position in np.flatnonzero(is_inside):
        cell = at_user[int(rows["user"][position])], at_item[int(rows["item"][position])]
        values[cell], is_known[cell] = target[position], True

    def framed(table: Any) -> pd.DataFrame:
        return pd.DataFrame(table, index=names["user"], columns=names["item"])

    user_vectors = item_vectors = None
    if isinstance(trained.model, ColumnVectors):
        user_vectors = pd.DataFrame(_vectors(trained, "user", user_rows), index=names["user"])
        item_vectors = pd.DataFrame(_vectors(trained, "item", item_rows), index=names["item"]).T
    return Crosstab(framed(values), framed(is_known), framed(predicted), user_vectors, item_vectors)


def _chosen(
    trained: Trained, entity: str, which: Any, *, is_text: bool
) -> tuple[np.ndarray, list[Any]]:
    """Rows, 0 for unknown ids, and what the caller names them by."""
    known = trained.encoder.entities[entity]
    if isinstance(which, int) and not isinstance(which, bool):
        if which < 1:
            raise DataError(f"{entity}s: expected a positive number or ids, got {which}")
        order = np.argsort(-known.n_events[1:], kind="stable") + 1
        return order[:which], known.ids.values_of(order[:which])
    if isinstance(which, (str, bytes)) or not isinstance(which, Iterable):
        which = [which]
    named = list(which)
    return np.array([known.row_or_unknown(value, is_text=is_text) for value in named]), named


def _names(trained: Trained, entity: str, rows: np.ndarray, named: list[Any]) -> pd.Index[Any]:
    """Labels or ids; of those without training events with what stands in for these."""
    known = trained.encoder.entities[entity]
    basis = basis_of(trained.encoder, entity, known.index[rows], rows > 0)
    ids = [
        own if row else given
        for own, row, given in zip(known.ids.values_of(rows), rows, named, strict=True)
    ]
    if (basis != TRAINED).any():
        texts = known.labels or [""] * len(known)
        shown = [
            value if what == TRAINED else f"{value} ({cold(what)})"
            for value, what in zip(
                [texts[row] or value for row, value in zip(rows, ids, strict=True)],
                basis,
                strict=True,
            )
        ]
        return pd.Index(shown, name=known.plan.label or known.plan.id)
    index: pd.Index[Any] = pd.Index(ids, name=known.plan.id)
    if known.labels is None:
        return index
    # Two items may have one title; the id tells them apart.
    texts = [known.labels[row] or str(value) for row, value in zip(rows, ids, strict=True)]
    twice = {text for text in texts if texts.count(text) > 1}
    shown = [
        f"{text} ({value})" if text in twice else text
        for text, value in zip(texts, ids, strict=True)
    ]
    index = pd.Index(shown, name=known.plan.label)
    return index


def _predicted(trained: Trained, user_rows: np.ndarray, item_rows: np.ndarray) -> Tensor:
    tables = trained.encoder.tables
    history = None
    if trained.past is not None:
        bag = trained.past.positive.of_users(user_rows)
        history = Bag(tables["item"].index[bag.values.long()], bag.offsets)
    blocks = score_blocks(
        trained,
        select(tables["user"].inputs, torch.from_numpy(user_rows)),
        trained.encoder.events_with({}, user_rows),
        select(tables["item"].inputs, torch.from_numpy(item_rows)),
        history=history,
    )
    return torch.cat([scores for _, scores in blocks])


def _vectors(trained: Trained, entity: str, rows: np.ndarray) -> np.ndarray:
    index = trained.encoder.entities[entity].index[rows]
    vectors: np.ndarray = entity_vectors(trained, entity).numpy()[index]
    return vectors
