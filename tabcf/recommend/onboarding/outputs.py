"""What a model says of each item to a new user, as a straight line through the prior's mean.

Dimension letters: I items, K outputs of the model, P numbers of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tabcf.data.batches import join, select
from tabcf.recommend.fold_in.fold_in import FoldIn

__all__ = ["Outputs", "outputs_of"]

_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Outputs:
    """`rest + slope · row`, and the prediction that it is decoded to, in the target's units.

    Models that are linear in a user's row are that already; of others it is the tangent.

    Shape:
        rest: `(I, K)`. slope: `(I, K, P)`. value: `(I,)`. value_slope: `(I, P)`; all float64.
        Values are those of a row of zeros.
    """

    rest: Tensor
    slope: Tensor
    value: Tensor
    value_slope: Tensor


def outputs_of(fold: FoldIn, items: Tensor) -> Outputs:
    """Outputs for a user of whom nothing is known, with the items of some rows `(I,)`."""
    encoder, mean = fold.trained.encoder, fold.prior.mean
    blank = encoder.events_with({}, np.zeros(1, dtype=np.int32))
    raws, slopes = [], []
    for rows in items.split(_AT_ONCE):
        nobody = rows.new_zeros(len(rows))
        inputs = join(
            select(encoder.tables["user"].inputs, nobody),
            select(encoder.tables["item"].inputs, rows),
            select(blank, nobody),
        )
        raw, slope = fold.responses(inputs).jacobian(mean.repeat(len(rows), 1))
        raws.append(raw.double())
        slopes.append(slope.double())
    raw, slope = torch.cat(raws), torch.cat(slopes)
    value, by_output = _decoded(fold, raw)
    value_slope = (by_output.unsqueeze(1) @ slope).squeeze(1)
    return Outputs(raw - slope @ mean, slope, value - value_slope @ mean, value_slope)


@torch.enable_grad()
def _decoded(fold: FoldIn, raw: Tensor) -> tuple[Tensor, Tensor]:
    """`(I,)` predictions and their derivatives `(I, K)` by the outputs.

    Of yes or no it is the log-odds, and of choices the score: what lists are sorted by.
    """
    raw = raw.detach().requires_grad_(True)
    odds = raw[:, -1] - raw[:, 0] if raw.shape[1] == 2 else raw[:, 0]
    value = fold.loss.decode(raw).get("value", odds)
    (slope,) = torch.autograd.grad(value.sum(), raw)
    return value.detach().double(), slope.double()
