"""How unsure a model is of a user's scores, because of what it does not know of the user.

Dimension letters: B users, N items of each, P numbers of a user's row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable
from tabcf.data.batches import join, select
from tabcf.data.sources import Source
from tabcf.data.targets import encode_target
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.trained import Trained, ranking_value

__all__ = ["score_spread"]


def score_spread(
    trained: Trained,
    fold: FoldIn,
    rows: np.ndarray,
    sides: tuple[Inputs, Inputs, Inputs],
    columns: Tensor,
) -> Tensor:
    """`(B, N)` float64: standard deviations of scores, in the units that lists are ranked by.

    A user's row is normal about the trained one, with the covariance that the fold-in finds from
    their training events; a user without any has the prior's. A score's variance is that of its
    linear approximation at the trained row: slopeᵀ · covariance · slope.

    Args:
        trained: The model.
        fold: What finds users' rows.
        rows: `(B,)` user rows, 0 for unknown ones.
        sides: Columns of the B users, of all items, and of the users' events.
        columns: `(B, N)`: which items, -1 for none.
    """
    known, place = np.unique(rows, return_inverse=True)
    covariance = _covariances(trained, fold, known)[torch.from_numpy(place)]
    index = torch.from_numpy(trained.encoder.entities["user"].index[rows]).long()
    users, items, events = sides
    n = columns.shape[1]
    owner = torch.arange(len(rows)).repeat_interleave(n)
    pairs = join(
        select(users, owner), select(items, columns.clamp_min(0).flatten()), select(events, owner)
    )
    raw, jacobian = fold.responses(pairs).jacobian(fold.trained_rows()[index][owner])
    slope = _by_row(fold, raw, jacobian).view(len(rows), n, -1)
    variance = torch.einsum("bnp,bpq,bnq->bn", slope, covariance, slope)
    return variance.clamp_min(0).sqrt()


def _covariances(trained: Trained, fold: FoldIn, rows: np.ndarray) -> Tensor:
    """`(n, P, P)`: of different users' rows, each by the user's own training events."""
    events = trained.events.learnable()
    own = np.isin(trained.encoder.encode_ids(events)["user"], rows[rows > 0])
    source = Source(events.frame[own].reset_index(drop=True), events.name, events.is_text)
    table = trained.encoder.encode(source)
    if trained.target.kind != "implicit":
        table = replace(table, target=encode_target(trained.target, source))
    # The users are rows 1 to n of a table of their own, behind a blank row.
    place = np.zeros(len(trained.encoder.entities["user"]), dtype=np.int32)
    place[rows] = np.arange(1, len(rows) + 1)
    chosen = torch.from_numpy(np.concatenate([[0], rows]).astype(np.int64))
    users = EntityTable(select(table.entities["user"].inputs, chosen))
    table = replace(
        table,
        rows={**table.rows, "user": torch.from_numpy(place)[table.rows["user"].long()]},
        entities={**table.entities, "user": users},
    )
    return fold.solve(table, len(rows)).covariance


def _by_row(fold: FoldIn, raw: Tensor, jacobian: Tensor) -> Tensor:
    """`(M, P)`: how what lists are ranked by changes with the row."""
    at = raw.detach().requires_grad_(True)
    with torch.enable_grad():
        value = ranking_value(fold.loss.decode(at))
    (by_output,) = torch.autograd.grad(value.sum(), at)
    return torch.einsum("mk,mkp->mp", by_output, jacobian)
