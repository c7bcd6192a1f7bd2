"""Predictions for events, as a frame that keeps the caller's columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.contracts.model import KnowsSpread
from tabcf.contracts.table import Table
from tabcf.contracts.target import TargetInfo
from tabcf.data.batches import batches_in_order, to_device
from tabcf.data.encoder import Encoder
from tabcf.data.sources import Source
from tabcf.recommend.basis import ATTRIBUTES, AVERAGE, TRAINED, basis_of, cold
from tabcf.recommend.trained import Trained

__all__ = ["decode_table", "predict", "prediction_columns", "spread_of", "true_values"]

# Rows a forward pass; larger ones gain nothing and take more memory.
_BLOCK = 1 << 14


@torch.inference_mode()
def decode_table(trained: Trained, table: Table) -> dict[str, Tensor]:
    """Predictions in the target's own units for all rows of a table, on the CPU.

    Returns:
        `value` `(N,)` or `(N, T)`, `probability` `(N,)`, `probabilities` `(N, K)` or `score`
        `(N,)`, as the loss decodes them.
    """
    parts = []
    for inputs in batches_in_order(table, _BLOCK):
        on_device = to_device(inputs, trained.device)
        raw = trained.model(on_device.x_cat, on_device.x_cont, on_device.x_sets)
        parts.append(trained.loss.decode(raw))
    if len(parts) == 1:
        return {name: value.cpu() for name, value in parts[0].items()}
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}


def predict(trained: Trained, source: Source) -> pd.DataFrame:
    """The source's frame with the prediction as its last column.

    Where ids are involved, `basis` says what each row rests on: `trained`, or which of its
    entities had no training event, and whether `attributes` or the `average` stand in for it.
    """
    table = trained.encoder.encode(source)
    decoded = decode_table(trained, table)
    frame = source.frame.copy(deep=False)
    added = prediction_columns(trained.target, decoded)
    if isinstance(trained.model, KnowsSpread):
        added = {"sd": spread_of(trained, table), **added}
    if table.entities:
        added = {"basis": _basis(trained.encoder, table), **added}
    for name, values in added.items():
        if name in frame.columns:
            del frame[name]
        frame[name] = values
    return frame


def prediction_columns(target: TargetInfo, decoded: dict[str, Tensor]) -> dict[str, Any]:
    """Columns to show; the last one is the prediction itself."""
    if "probability" in decoded:
        probability = decoded["probability"].numpy()
        labels = np.array(target.labels, dtype=object)
        return {
            f"P({target.labels[1]})": probability,
            "prediction": labels[(probability >= 0.5).astype(int)],
        }
    if "value" in decoded:
        value = decoded["value"].numpy()
        if value.ndim == 2:
            return {f"prediction.{name}": value[:, t] for t, name in enumerate(target.columns)}
        return {"prediction": value}
    if "probabilities" in decoded:
        probabilities = decoded["probabilities"].numpy()
        columns: dict[str, Any] = {
            f"P({label})": probabilities[:, k] for k, label in enumerate(target.labels)
        }
        labels = np.array(target.labels, dtype=object)
        return columns | {"prediction": labels[probabilities.argmax(axis=1)]}
    return {"prediction": decoded["score"].numpy()}


def true_values(trained: Trained, target: Tensor) -> Tensor:
    """A table's target in its own units."""
    info = trained.target
    if info.kind in ("regression", "rating"):
        scale, center = torch.tensor(info.scale), torch.tensor(info.center)
        return target * scale + center
    return target


@torch.inference_mode()
def spread_of(trained: Trained, table: Table) -> np.ndarray:
    """`(N,)`: standard deviations in the target's own units."""
    assert isinstance(trained.model, KnowsSpread)
    parts = []
    for inputs in batches_in_order(table, _BLOCK):
        on_device = to_device(inputs, trained.device)
        parts.append(trained.model.spread(*on_device)[:, 0].cpu())
    spread: np.ndarray = torch.cat(parts).numpy() * trained.target.scale[0]
    return spread


def _basis(encoder: Encoder, table: Table) -> np.ndarray:
    """For each event `trained`, or for example `cold user: attributes; cold item: average`."""
    found = np.full(len(table), "", dtype=object)
    for name, entity in table.entities.items():
        rows = table.rows[name].numpy()
        basis = basis_of(encoder, name, entity.index.numpy()[rows], rows > 0)
        for what in (ATTRIBUTES, AVERAGE):
            found[basis == what] += f"; {cold(what, name)}"
    return np.array([text[2:] or TRAINED for text in found], dtype=object)
