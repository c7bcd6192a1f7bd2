"""Whom lists are for: known users by their ids, and new ones by attributes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from tabcf.contracts.inputs import Inputs
from tabcf.data.batches import select
from tabcf.data.sources import Source, source_of_frame
from tabcf.recommend.basis import AVERAGE, basis_of, cold
from tabcf.recommend.trained import Trained

__all__ = ["AskedUsers", "asked_users", "listed", "strangers"]


@dataclass(frozen=True, slots=True)
class AskedUsers:
    """Whom to recommend to, U users of one model.

    Attributes:
        ids: Their ids as they are shown.
        rows: `(U,)` int32, 0 for somebody unknown.
        inputs: Their columns.
        basis: What the user's part of a score rests on: `trained`, or of somebody without training
            events `cold: attributes` or `cold: average`.
        attributes: Those that came with the request.
    """

    ids: list[Any]
    rows: np.ndarray
    inputs: Inputs
    basis: list[str]
    attributes: Source | None = None


def asked_users(trained: Trained, users: Any, *, is_text: bool = False) -> AskedUsers:
    """Users by an id, ids, or a frame of attributes in which an id column is optional.

    `AskedUsers` of the model stay as they are.

    Raises:
        DataError: An id is of another type than in training, or the frame has no usable column.
    """
    if isinstance(users, AskedUsers):
        return users
    entity = trained.encoder.entities["user"]
    if isinstance(users, pd.DataFrame):
        source = source_of_frame(users, name="users")
        table = trained.encoder.encode_entities("user", source)
        given = source.frame.columns
        n = len(source.frame)
        if entity.plan.id in given:
            ids = source.frame[entity.plan.id].tolist()
            rows = entity.rows_of(source.frame[entity.plan.id], source)
        else:
            ids, rows = list(range(n)), np.zeros(n, dtype=np.int32)
        inputs = select(table.inputs, torch.arange(1, n + 1))
        basis = basis_of(trained.encoder, "user", table.index[1:])
        return AskedUsers(ids, rows, inputs, list(map(cold, basis)), source)
    ids = listed(users)
    rows = entity.rows_of_ids(ids, is_text=is_text)
    inputs = select(trained.encoder.tables["user"].inputs, torch.from_numpy(rows))
    basis = basis_of(trained.encoder, "user", entity.index[rows], rows > 0)
    known = entity.ids.values_of(rows)
    shown = [given if value is None else value for given, value in zip(ids, known, strict=True)]
    return AskedUsers(shown, rows, inputs, list(map(cold, basis)))


def strangers(trained: Trained, n: int) -> AskedUsers:
    """N users of whom nothing is known."""
    rows = np.zeros(n, dtype=np.int32)
    inputs = select(trained.encoder.tables["user"].inputs, torch.from_numpy(rows))
    return AskedUsers(list(range(n)), rows, inputs, [cold(AVERAGE)] * n)


def listed(ids: Any) -> list[Any]:
    """One id, or several, as a list."""
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        return [ids]
    return list(ids)
