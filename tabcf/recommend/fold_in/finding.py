"""From what is given of newcomers to rows of their own.

Dimension letters: N events, n newcomers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tabcf.contracts.model import IgnoresUsers, ReadsHistory
from tabcf.contracts.table import Table
from tabcf.data.batches import select
from tabcf.data.targets import encode_target
from tabcf.data.weights import event_weights
from tabcf.errors import RunError
from tabcf.recommend.basis import basis_of, cold
from tabcf.recommend.fold_in.draws import FoldInDraws
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.given import Given, event_pairs
from tabcf.recommend.fold_in.newcomers import Newcomers, Resolve
from tabcf.recommend.trained import Trained

__all__ = ["check_learnable", "fold_in"]


def fold_in(
    trained: Trained,
    given: Given,
    fold: FoldIn | FoldInDraws | None,
    *,
    reranking: Resolve | None = None,
) -> Newcomers:
    """Give users or items rows by their events, without training anew.

    Args:
        trained: The model.
        given: Who they are and what is known of them.
        fold: What finds rows of their entity; None for a model that has none.
        reranking: Finds the re-rankers that lists name.

    Raises:
        DataError: A column is missing or of another type than in training.
    """
    entity, n = given.entity, len(given)
    table = trained.encoder.encode(given.events, requests={entity: given.source})
    posterior = None
    if fold is not None:
        posterior = fold.solve(_learnt(trained, given, table), n)
    owner, _ = event_pairs(table, entity)
    counts = np.bincount(owner[given.is_positive], minlength=n)
    if fold is None and not isinstance(trained.model, ReadsHistory):
        counts[:] = 0
    without = cold(str(basis_of(trained.encoder, entity, 0)))
    basis = [f"{c} event{'s' if c != 1 else ''}" if c else without for c in counts.tolist()]
    return Newcomers(
        trained, given, table, basis=basis, fold=fold, posterior=posterior, reranking=reranking
    )


def check_learnable(trained: Trained, entity: str, fold: FoldIn | FoldInDraws | None) -> None:
    """Raise where events of newcomers would tell nothing to a model that tells users apart.

    Raises:
        RunError: It does not say which rows are a user's, nor does it score by what users had.
    """
    model = trained.model
    if fold is None and not isinstance(model, ReadsHistory | IgnoresUsers):
        raise RunError(
            f"{type(model).__name__} cannot take new {entity}s: it does not say which rows are a "
            "column's (`column_rows`)"
        )


def _learnt(trained: Trained, given: Given, table: Table) -> Table:
    """The events that count, with their target and what each counts."""
    target, weight = encode_target(trained.target, given.events), None
    if trained.weight is not None and len(table):
        weight = event_weights(given.events, trained.weight)
    if given.is_positive.all():
        return replace(table, target=target, weight=weight)
    counted = torch.from_numpy(np.flatnonzero(given.is_positive))
    return replace(
        table,
        rows={name: rows[counted] for name, rows in table.rows.items()},
        events=select(table.events, counted),
        target=None if target is None else target[counted],
        weight=None if weight is None else weight[counted],
    )
