"""A run's lists under audit: who is asked for lists, what held rows say, which groups there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from tabcf.audit.clusters import find_groups
from tabcf.audit.findings import Audit
from tabcf.audit.groups import groups_of
from tabcf.audit.now import Held, UserLists, audit
from tabcf.contracts.table import Table
from tabcf.data.sources import Source
from tabcf.errors import RunError
from tabcf.evaluation.lists import relevant_items
from tabcf.recommend.predictor import decode_table, true_values
from tabcf.recommend.recommender import recommend
from tabcf.recommend.reranking.chain import Reranking
from tabcf.recommend.trained import Trained

__all__ = ["audit_policies"]


def audit_policies(
    trained: Trained,
    policies: Mapping[str, Reranking | None],
    *,
    groups: Iterable[str] | None = None,
    find: bool = False,
    k: int = 10,
    held: Table | None = None,
    min_share: float = 0.01,
) -> dict[str, Audit]:
    """What the lists of a model are like in several orders; nothing is trained anew.

    Args:
        trained: The model.
        policies: What puts the model's lists into order, by name; None for nothing.
        groups: As for `Run.audit`.
        find: Whether to look for groups too, by the named columns of items if there are any.
        k: Length of the lists.
        held: Rows that were kept from training, encoded.
        min_share: As for `Run.audit`.

    Raises:
        RunError: The run has no users and items, or keeps nothing of what they had.
    """
    trained.require_entities("audit")
    if trained.past is None:
        raise RunError("audit: this run does not know what users had in training")
    named = None if groups is None else list(groups)
    watched, n_small = groups_of(trained, named, min_share=min_share)
    if find:
        columns = _item_columns(named or ()) or None
        watched = (*watched, *find_groups(trained, columns, seed=trained.seed))
    kept = None if held is None else _held(trained, held)
    return {
        name: audit(
            trained,
            _lists(trained, k, reranking),
            watched,
            n_small=n_small,
            held=kept,
        )
        for name, reranking in policies.items()
    }


def _item_columns(groups: Iterable[str]) -> list[str]:
    """The columns of the items' table among attributes such as `item.genres=War`."""
    sides = (name.partition("=")[0].partition(".") for name in groups)
    return list(dict.fromkeys(column for side, _, column in sides if side == "item"))


def _lists(trained: Trained, k: int, reranking: Reranking | None) -> UserLists:
    """What everybody with training events is recommended."""
    users, items = trained.encoder.entities["user"], trained.encoder.entities["item"]
    rows = users.row_of_index[1:]
    frame = recommend(trained, users.ids.values_of(rows), k=k, rerank=reranking)
    source = Source(frame, "lists")
    listed = np.zeros((len(users), k), dtype=np.int64)
    owner = users.rows_of(frame[users.plan.id], source)
    listed[owner, frame["rank"].to_numpy() - 1] = items.rows_of(frame[items.plan.id], source)
    return UserLists(rows, listed[rows])


def _held(trained: Trained, table: Table) -> Held:
    _, relevant = relevant_items(table, trained.seen)
    if trained.target.kind not in ("regression", "rating"):
        return Held(relevant)
    decoded = decode_table(trained, table).get("value")
    if decoded is None or decoded.ndim > 1:
        return Held(relevant)
    assert table.target is not None
    squares = (decoded.double() - true_values(trained, table.target).double()).square()
    rows = table.rows["user"].long()
    errors = torch.zeros(2, len(trained.encoder.entities["user"]), dtype=torch.float64)
    errors[0].index_add_(0, rows, squares)
    errors[1].index_add_(0, rows, torch.ones_like(squares))
    errors[:, 0] = 0  # of users whom nobody knows
    return Held(relevant, errors.numpy())
