"""Predictions for events, as a frame that keeps the caller's columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.model import KnowsMembers, KnowsSpread
from tabcf.contracts.table import Table
from tabcf.contracts.target import TargetInfo
from tabcf.data.batches import batches_in_order, to_device
from tabcf.data.encoder import Encoder
from tabcf.data.sources import Source
from tabcf.errors import RunError
from tabcf.recommend.basis import ATTRIBUTES, AVERAGE, TRAINED, basis_of, cold
from tabcf.recommend.trained import Trained

__all__ = [
    "decode_table",
    "distribution_columns",
    "interval_columns",
    "predict",
    "prediction_columns",
    "spread_of",
    "true_values",
]

# Rows a forward pass; larger ones gain nothing and take more memory.
_BLOCK = 1 << 14


@torch.inference_mode()
def decode_table(trained: Trained, table: Table, *, with_sd: bool = False) -> dict[str, Tensor]:
    """Predictions in the target's own units for all rows of a table, on the CPU.

    Args:
        trained: The model.
        table: Encoded rows.
        with_sd: Whether to add standard deviations, where there are any.

    Returns:
        `value` `(N,)` or `(N, T)`, `probability` `(N,)`, `probabilities` `(N, K)` or `score`
        `(N,)`, as the loss decodes them; `sd` `(N,)`.
    """
    parts = []
    for inputs in batches_in_order(table, _BLOCK):
        on_device = to_device(inputs, trained.device)
        raw = trained.model(on_device.x_cat, on_device.x_cont, on_device.x_sets)
        part = trained.loss.decode(raw)
        if with_sd:
            part |= _deviations(trained, part, on_device)
        parts.append(part)
    if len(parts) == 1:
        return {name: value.cpu() for name, value in parts[0].items()}
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}


def predict(
    trained: Trained, source: Source, *, distribution: bool = False, interval: float | None = None
) -> pd.DataFrame:
    """The source's frame with the prediction as its last column.

    Where ids are involved, `basis` says what each row rests on: `trained`, or which of its
    entities had no training event, and whether `attributes` or the `average` stand in for it. Args
    and the other columns are those of `Run.predict`.

    Raises:
        RunError: There is no distribution, or nothing to take an interval of.
    """
    if interval is not None and not 0 < interval < 1:
        raise RunError(f"interval: expected a share between 0 and 1, got {interval:g}")
    table = trained.encoder.encode(source)
    has_sd = isinstance(trained.model, KnowsSpread)
    with_sd = has_sd or distribution or interval is not None
    decoded = decode_table(trained, table, with_sd=with_sd)
    frame = source.frame.copy(deep=False)
    added = prediction_columns(trained.target, decoded)
    if interval is not None:
        added = {**interval_columns(trained.target, decoded, interval), **added}
    if distribution:
        added = {**distribution_columns(trained.target, decoded), **added}
    if has_sd or distribution:
        added = {"sd": decoded["sd"].numpy(), **added}
    if isinstance(trained.model, KnowsMembers):
        added = {**_disagreement(trained, table), **added}
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


def distribution_columns(target: TargetInfo, decoded: dict[str, Tensor]) -> dict[str, Any]:
    """The likeliest level, and the probability of each.

    Raises:
        RunError: No levels' probabilities are predicted.
    """
    if target.kind != "rating" or "probabilities" not in decoded:
        raise RunError(
            "this run predicts no probabilities of levels; they come with a target with levels and "
            "`loss: cross_entropy`, or `fit: {gibbs: {likelihood: ordered_probit}}`"
        )
    probabilities = decoded["probabilities"].numpy()
    levels = np.array(target.levels)
    shares = {f"P({level:g})": probabilities[:, k] for k, level in enumerate(target.levels)}
    return {"mode": levels[probabilities.argmax(1)], **shares}


def interval_columns(
    target: TargetInfo, decoded: dict[str, Tensor], share: float
) -> dict[str, Any]:
    """`low` and `high` of a central interval, within a rating's levels.

    Of probabilities of levels, the lowest and the highest level that the interval touches: these
    hold at least that share.

    Raises:
        RunError: Predictions have no spread.
    """
    if "sd" not in decoded:
        raise RunError(
            "this run predicts no spread to take an interval of; `fit: gibbs` gives one, and so do "
            "losses with probabilities of a rating's levels"
        )
    if target.kind == "rating" and "probabilities" in decoded:
        levels = np.array(target.levels)
        below = decoded["probabilities"].double().cumsum(1).numpy()[:, :-1]
        # Beside rounding, so that the ends of an exact interval stay where they are.
        low = levels[(below <= (1 - share) / 2 - 1e-9).sum(1)]
        return {"low": low, "high": levels[(below < (1 + share) / 2 - 1e-9).sum(1)]}
    half = float(torch.special.ndtri(torch.tensor(0.5 + share / 2, dtype=torch.float64)))
    value, sd = decoded["value"].numpy(), decoded["sd"].numpy()
    ends = {"low": value - half * sd, "high": value + half * sd}
    if not target.levels:
        return ends
    return {name: end.clip(target.levels[0], target.levels[-1]) for name, end in ends.items()}


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


@torch.inference_mode()
def _disagreement(trained: Trained, table: Table) -> dict[str, np.ndarray]:
    """`members_sd` `(N,)`, where a prediction is one number: how the members of an ensemble differ.

    In the prediction's own units, over members and not an estimate for further ones. It says how
    much hangs on the random weights that a training begins with, not how far an event may lie.
    """
    assert isinstance(trained.model, KnowsMembers)
    parts = []
    for inputs in batches_in_order(table, _BLOCK):
        each = trained.loss.decode(trained.model.each(*to_device(inputs, trained.device)))
        numbers = [each[n] for n in ("value", "score", "probability") if n in each]
        if not numbers or numbers[0].ndim != 2:
            return {}
        parts.append(numbers[0].std(0, correction=0).cpu())
    return {"members_sd": torch.cat(parts).numpy()}


def _deviations(trained: Trained, decoded: dict[str, Tensor], inputs: Inputs) -> dict[str, Tensor]:
    """`sd` `(B,)` in the target's own units, by the levels' probabilities or by the model."""
    target = trained.target
    if target.kind == "rating" and "probabilities" in decoded:
        probabilities = decoded["probabilities"].double()
        levels = torch.tensor(target.levels, dtype=torch.float64, device=probabilities.device)
        off = levels - (probabilities @ levels)[:, None]
        return {"sd": (probabilities * off.square()).sum(1).sqrt().float()}
    if isinstance(trained.model, KnowsSpread):
        return {"sd": trained.model.spread(*inputs)[:, 0] * target.scale[0]}
    return {}


def _basis(encoder: Encoder, table: Table) -> np.ndarray:
    """For each event `trained`, or for example `cold user: attributes; cold item: average`."""
    found = np.full(len(table), "", dtype=object)
    for name, entity in table.entities.items():
        rows = table.rows[name].numpy()
        basis = basis_of(encoder, name, entity.index.numpy()[rows], rows > 0)
        for what in (ATTRIBUTES, AVERAGE):
            found[basis == what] += f"; {cold(what, name)}"
    return np.array([text[2:] or TRAINED for text in found], dtype=object)
