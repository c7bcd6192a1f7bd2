"""A model's lists by an index of its items."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.model import FactoredScorer
from tabcf.data.batches import select, select_bag, to_device
from tabcf.errors import DataError
from tabcf.recommend.index.graph import ItemIndex
from tabcf.recommend.topk import Lists
from tabcf.recommend.trained import Trained, ranking_value

__all__ = ["check_index", "indexed_items", "item_vectors", "user_vectors"]

_BLOCK = 1024  # users of a block
_ITEMS = 1 << 16  # items of a block
_PROBES = 16  # items whose vectors tell whether an index is of a model


def indexed_items(
    trained: Trained,
    index: ItemIndex,
    users: Inputs,
    events: Inputs,
    k: int,
    *,
    seen: Bag | None = None,
    left_out: np.ndarray | None = None,
) -> Iterator[Lists]:
    """`top_items` of all items by an index.

    Args:
        trained: The model that the index was built from.
        index: The index.
        users: The users' own columns, U rows.
        events: The event's columns for each user, U rows.
        k: Length of the lists.
        seen: Item positions that each user is not offered, U rows.
        left_out: Item positions that nobody is offered, each of them once.

    Raises:
        DataError: The index was built from another model.
    """
    check_index(index, trained)
    model = _factored(trained)
    for start in range(0, len(users.x_cat), _BLOCK):
        rows = torch.arange(start, min(start + _BLOCK, len(users.x_cat)))
        vectors = user_vectors(trained, select(users, rows), select(events, rows))
        own = None if seen is None else select_bag(seen, rows)
        labels, products = index.query(vectors, k, seen=own, left_out=left_out)
        with torch.inference_mode():
            outputs = model.outputs(products.to(trained.device))
            shown = ranking_value(trained.loss.decode(outputs.unsqueeze(2)))
        yield Lists(slice(start, start + len(rows)), labels, shown.cpu())


def check_index(index: ItemIndex, trained: Trained) -> None:
    """Raise DataError unless an index is of the model's items, by their number and some."""
    trained.require_entities("an index")
    n = len(trained.encoder.entities["item"]) - 1
    if n != index.info.n_items:
        raise DataError(f"index: it holds {index.info.n_items:,} items, but the run has {n:,}")
    probes = np.unique(np.linspace(0, n - 1, _PROBES).astype(np.int64))
    own = item_vectors(trained, probes)
    kept = index.vectors(probes)
    if own.shape != kept.shape or not torch.allclose(own, kept, rtol=1e-4, atol=1e-5):
        raise DataError("index: it was built from another model; build it again")


@torch.inference_mode()
def item_vectors(trained: Trained, positions: np.ndarray) -> Tensor:
    """The items' vectors; the table's first row, the unknown item, is none of them.

    Raises:
        DataError: The model has none.
    """
    model, table = _factored(trained), trained.encoder.tables["item"].inputs
    vectors = torch.empty(0)
    for start in range(0, len(positions), _ITEMS):
        rows = torch.from_numpy(positions[start : start + _ITEMS] + 1)
        block = model.item_factors(to_device(select(table, rows), trained.device))
        if not start:
            vectors = torch.empty(len(positions), block.shape[1])
        vectors[start : start + len(block)] = block
    return vectors


@torch.inference_mode()
def user_vectors(trained: Trained, users: Inputs, events: Inputs) -> Tensor:
    """The users' vectors, whose products with the items' give the scores.

    Raises:
        DataError: The model has none.
    """
    device = trained.device
    query = Query(to_device(users, device), to_device(events, device))
    return _factored(trained).query_factors(query).float().cpu()


def _factored(trained: Trained) -> FactoredScorer:
    if not isinstance(trained.model, FactoredScorer):
        name = type(trained.model).__name__
        raise DataError(f"an index needs scores that are products of vectors; {name} has none")
    return trained.model
