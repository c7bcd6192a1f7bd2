"""An index built from a trained model: both kinds tried, and as wide a search as is wished for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag
from tabcf.data.batches import select
from tabcf.errors import DataError
from tabcf.recommend.index.files import IndexInfo
from tabcf.recommend.index.graph import ItemIndex
from tabcf.recommend.index.lists import check_index, item_vectors, user_vectors
from tabcf.recommend.trained import Trained

__all__ = ["PLACES", "build_index", "measure_index"]

# Users, and places of their lists, that the recall is measured for.
_QUERIES, PLACES = 200, 100
# Beyond it a search is slower than the exact lists up to some 100,000 items (benchmarks/ann.py).
_MOST_EF = 1024


def build_index(
    trained: Trained,
    *,
    recall: float = 0.95,
    m: int = 16,
    ef_construction: int = 100,
    ef: int = 64,
    places: int = PLACES,
    seed: int = 42,
) -> ItemIndex:
    """An index of all items of a model whose scores are products of vectors, with its recall.

    The second kind is built where the first one does not reach the wished recall at once, and the
    one that finds more is kept; a sample of the items would not tell them apart, since which kind
    is better changes with how many there are. Then `ef` is doubled until the recall is reached.

    Args:
        trained: The model.
        recall: Share of the exact lists that is to be found, 0 to 1.
        m: Edges of an item; more find more and take more memory.
        ef_construction: Items kept in view while building; more find more and build more slowly.
        ef: Items kept in view in a search at first; more find more and search more slowly.
        places: Length of the lists that the recall is measured for, or all items where there are
            fewer.
        seed: Where the layers of the items and the users for the recall come from.

    Raises:
        DataError: The model's scores are no products of vectors, an option is out of range, or the
            recall cannot be reached.
        MissingExtraError: hnswlib is not installed.
    """
    if not 0 <= recall <= 1:
        raise DataError(f"recall: expected 0 to 1, got {recall:g}")
    if places < 1:
        raise DataError(f"places: expected 1 or more, got {places}")
    trained.require_entities("an index")
    vectors = item_vectors(trained, np.arange(len(trained.encoder.entities["item"]) - 1))
    users, seen = _some_users(trained, _QUERIES, seed)

    def built(*, is_levelled: bool) -> ItemIndex:
        index = ItemIndex.of_vectors(
            vectors,
            m=m,
            ef_construction=ef_construction,
            ef=ef,
            seed=seed,
            is_levelled=is_levelled,
        )
        index.measure(users, places, seen=seen, items=vectors)
        return index

    index = built(is_levelled=True)
    if _recall_of(index) < recall:
        index = max(index, built(is_levelled=False), key=_recall_of)
    while _recall_of(index) < recall and 2 * index.info.ef <= _MOST_EF:
        index.set_ef(2 * index.info.ef)
        index.measure(users, places, seen=seen, items=vectors)
    if _recall_of(index) < recall:
        raise DataError(
            f"index: expected {recall:.1%} of the exact top {index.info.k} to be found, got "
            f"{_recall_of(index):.1%} with ef {index.info.ef}; raise m or ef_construction, or wish "
            "for less recall"
        )
    return index


def measure_index(
    index: ItemIndex,
    trained: Trained,
    *,
    n_queries: int = _QUERIES,
    k: int = PLACES,
    seed: int = 42,
) -> IndexInfo:
    """The share of the exact lists found for some users of training, kept in `index.info`.

    Their lists leave out what they had in training, as those of `recommend` do.

    Raises:
        DataError: The index is not of this model.
    """
    check_index(index, trained)
    users, seen = _some_users(trained, n_queries, seed)
    return index.measure(users, k, seen=seen)


def _recall_of(index: ItemIndex) -> float:
    return index.info.recall or 0.0


def _some_users(trained: Trained, n: int, seed: int) -> tuple[Tensor, Bag | None]:
    """The vectors of some users of training, of all where there are fewer, and what they had.

    Returns:
        `(n, E)`, and item positions in n rows.
    """
    n_users = len(trained.encoder.entities["user"]) - 1
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n_users, min(n, n_users), replace=False) + 1).astype(np.int32)
    users = select(trained.encoder.tables["user"].inputs, torch.from_numpy(rows))
    vectors = user_vectors(trained, users, trained.encoder.events_with({}, rows))
    if trained.past is None:
        return vectors, None
    had = trained.past.seen.of_users(rows)
    return vectors, Bag(had.values - 1, had.offsets)
