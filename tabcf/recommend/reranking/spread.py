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
) -> Tensor | None:
    """`(B, N)` float64: standard deviations of scores, in the units that lists are ranked by.

    None for predictions that jump, such as the likeliest level of a rating.

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
    with torch.enable_grad():
        value = ranking_value(fold.loss.decode(raw.requires_grad_(True)))
    if not value.requires_grad:
        return None
    (by_output,) = torch.autograd.grad(value.sum(), raw)
    slope = torch.einsum("mk,mkp->mp", by_output, jacobian).view(len(rows), n, -1)
    variance = torch.einsum("bnp,bpq,bnq->bn", slope, covariance, slope)
    return variance.clamp_min(0).sqrt()


def _covariances(trained: Trained, fold: FoldIn, rows: np.ndarray) -> Tensor:
    """`(n, P, P)`: of different users' rows, each by the user's own training events."""
    events = trained.events.learnable()
    own = np.isin(trained.encoder.encode_ids(events)["user"], rows[rows > 0])
    source = Source(events.frame[own].reset_index(drop=True), events.name, events.is_text)
    table = trained.encoder.encode(source)
    # The users asked for are the rows 1 to n of a table of their own.
    asked = torch.from_numpy(np.append(0, rows)).long()
    users = EntityTable(select(table.entities["user"].inputs, asked))
    number = np.searchsorted(rows, table.rows["user"].numpy()) + 1
    table = replace(
        table,
        rows={**table.rows, "user": torch.from_numpy(number.astype(np.int32))},
        entities={**table.entities, "user": users},
        target=encode_target(trained.target, source),
    )
    return fold.solve(table, len(rows)).covariance
