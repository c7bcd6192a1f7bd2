"""An approximate index of item vectors: lists without a product with every item.

It is hnswlib's graph (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor
search using Hierarchical Navigable Small World graphs", 2018) over inner products. A levelled index
gives each item one more coordinate, which makes all equally long and leaves every product as it is,
so that the nearest items are those with the highest products (Bachrach et al., "Speeding up the
Xbox recommender system using a Euclidean transformation for inner-product spaces", 2014). That
finds far more where items have biases, and far less where their vectors differ much in length, so
that both are tried; what the better one finds still depends on the vectors and is measured.

Dimension letters: B users, I items, K places of a list, E width of a factored score.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.model import FactoredScorer
from tabcf.data.batches import select, select_bag, to_device
from tabcf.errors import DataError, MissingExtraError, RunError
from tabcf.recommend.index_files import GRAPH, IndexInfo, check_sizes, read_info, write_info
from tabcf.recommend.topk import Lists
from tabcf.recommend.trained import Trained, ranking_value

__all__ = ["IndexInfo", "ItemIndex", "build_index", "indexed_items"]

_BLOCK = 1024  # users of a block
_PROBES = 16  # items whose vectors tell whether an index is of a model


class ItemIndex:
    """Finds the items with nearly the highest products; a label is an item's position.

    The same vectors and seed give the same index and the same lists. Of items with equal products
    any may be listed.

    Example:
        >>> index = ItemIndex.of_vectors(torch.eye(3))
        >>> index.query(torch.tensor([[0.1, 3.0, 0.2]]), 2)[0].tolist()
        [[1, 2]]
    """

    def __init__(self, graph: Any, info: IndexInfo) -> None:
        self._graph = graph
        self.info = info
        graph.set_ef(info.ef)

    def set_ef(self, ef: int) -> None:
        """Keep another number of items in view in a search; the recall is not measured any more.

        Raises:
            DataError: It is not positive.
        """
        if ef < 1:
            raise DataError(f"ef: expected 1 or more, got {ef}")
        self._graph.set_ef(ef)
        self.info = replace(self.info, ef=ef, recall=None, n_queries=0, k=0)

    @classmethod
    def of_vectors(
        cls,
        vectors: Tensor,
        *,
        m: int = 16,
        ef_construction: int = 100,
        ef: int = 64,
        seed: int = 42,
        is_levelled: bool = True,
    ) -> ItemIndex:
        """An index of `(I, E)` vectors, put in one after another by one thread.

        Raises:
            DataError: There is no vector, one is not finite, or an option is too small.
            MissingExtraError: hnswlib is not installed.
        """
        for name, value, least in (
            ("m", m, 2),
            ("ef_construction", ef_construction, 1),
            ("ef", ef, 1),
        ):
            if value < least:
                raise DataError(f"{name}: expected {least} or more, got {value}")
        if vectors.ndim != 2 or not vectors.numel():
            raise DataError(f"item vectors: expected (I, E), got {tuple(vectors.shape)}")
        if not bool(torch.isfinite(vectors).all()):
            raise DataError("item vectors: expected finite numbers, got NaN or infinity")
        n_items, width = vectors.shape
        info = IndexInfo(n_items, width, m, ef_construction, ef, seed, is_levelled)
        graph = _new_graph(info)
        graph.init_index(n_items, M=m, ef_construction=ef_construction, random_seed=seed)
        own = _as_array(vectors)
        graph.add_items(_levelled(own) if is_levelled else own, np.arange(n_items), num_threads=1)
        return cls(graph, info)

    def query(self, factors: Tensor, k: int, *, seen: Bag | None = None) -> tuple[Tensor, Tensor]:
        """The items with nearly the highest products with each of the vectors, best first.

        For a user who has seen n items, k + n are fetched, so that k are left. Where these are a
        quarter of all items, or more than the graph can reach, the list is exact.

        Args:
            factors: `(B, E)` the users' vectors.
            k: Length of the lists.
            seen: Item positions that each user is not offered, B rows.

        Returns:
            `(B, K)` int64 item positions and `(B, K)` float32 products; -1 and -inf in empty
            places.

        Raises:
            DataError: The vectors are of another width, or k is not positive.
        """
        if factors.ndim != 2 or factors.shape[1] != self.info.width:
            raise DataError(
                f"user vectors: expected (B, {self.info.width}), got {tuple(factors.shape)}"
            )
        if k < 1:
            raise DataError(f"k: expected a positive number, got {k}")
        vectors = _as_array(factors)
        n, n_items = len(vectors), self.info.n_items
        labels = np.full((n, k), -1, dtype=np.int64)
        products = np.full((n, k), -np.inf, dtype=np.float32)
        dropped, n_seen = _seen_keys(seen, n, n_items)
        # Powers of two, so that few groups of users are searched for.
        n_fetched = k + np.where(n_seen, 2 ** np.ceil(np.log2(np.maximum(n_seen, 1))), 0)
        n_fetched = np.minimum(n_fetched, n_items).astype(np.int64)
        is_finite = np.isfinite(vectors).all(1)
        for length in np.unique(n_fetched).tolist():
            rows = np.flatnonzero((n_fetched == length) & is_finite)
            if not len(rows):
                continue
            found, values = self._nearest(vectors[rows], length)
            is_dropped = np.isin(rows[:, None] * n_items + found, dropped)
            first = np.argsort(is_dropped, axis=1, kind="stable")[:, :k]
            is_dropped = np.take_along_axis(is_dropped, first, 1)
            width = first.shape[1]
            labels[rows, :width] = np.where(is_dropped, -1, np.take_along_axis(found, first, 1))
            kept = np.take_along_axis(values, first, 1)
            products[rows, :width] = np.where(is_dropped, -np.inf, kept)
        return torch.from_numpy(labels), torch.from_numpy(products)

    def recall(
        self, trained: Trained, n_queries: int = 200, k: int = 100, seed: int = 42
    ) -> IndexInfo:
        """The share of the exact top-k found for some users of training, kept in `info`.

        An item with the same product as the last one of the exact list counts as found.

        Raises:
            DataError: The index is not of this model.
        """
        self.check(trained)
        k = min(k, self.info.n_items)
        users = _some_users(trained, n_queries, seed)
        n_queries, share = len(users), self.share_found(users, k)
        self.info = replace(self.info, recall=share, n_queries=n_queries, k=k)
        return self.info

    def share_found(self, factors: Tensor, k: int) -> float:
        """The share of the exact top-k found for `(B, E)` vectors; ties at its end count."""
        found, _ = self.query(factors, k)
        items = self.vectors()
        shares = []
        for start in range(0, len(factors), 64):
            rows = slice(start, start + 64)
            products = factors[rows].detach().float().cpu() @ items.T
            least = products.topk(k, dim=1).values[:, -1:]
            own = products.gather(1, found[rows].clamp_min(0))
            is_found = (own >= least - 1e-6 * least.abs()) & (found[rows] >= 0)
            shares.append(is_found.float().mean(1))
        return float(torch.cat(shares).mean())

    def vectors(self, labels: np.ndarray | None = None) -> Tensor:
        """The vectors of some items, or of all: a copy."""
        asked = np.arange(self.info.n_items) if labels is None else labels
        found = self._graph.get_items(asked, return_type="numpy")
        return torch.from_numpy(found[:, : self.info.width])

    def check(self, trained: Trained) -> None:
        """Raise DataError unless the index is of the model's items, by their number and some."""
        trained.require_entities("an index")
        n = len(trained.encoder.entities["item"]) - 1
        if n != self.info.n_items:
            raise DataError(f"index: it holds {self.info.n_items:,} items, but the run has {n:,}")
        probes = np.unique(np.linspace(0, n - 1, _PROBES).astype(np.int64))
        own = _item_vectors(trained, probes)
        kept = self.vectors(probes)
        if own.shape != kept.shape or not torch.allclose(own, kept, rtol=1e-4, atol=1e-5):
            raise DataError("index: it was built from another model; build it again")

    def save(self, path: str | Path) -> None:
        """Write `index.bin` and `index.json` into a folder, which is made where it is missing."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        self._graph.save_index(str(folder / GRAPH))
        write_info(folder, self.info)

    @classmethod
    def load(cls, path: str | Path) -> ItemIndex:
        """The index that `save` wrote.

        Raises:
            RunError: A file is missing, or its sizes are not those that were written.
            MissingExtraError: hnswlib is not installed.
        """
        folder = Path(path)
        info, size = read_info(folder)
        graph = _new_graph(info)
        check_sizes(folder, info, size)
        try:
            graph.load_index(str(folder / GRAPH), max_elements=info.n_items)
        except RuntimeError as error:
            raise RunError(f"{folder / 'index.bin'}: {error}") from None
        return cls(graph, info)

    def _nearest(self, vectors: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """`length` items of each vector, best first, and their products."""
        if 4 * length < self.info.n_items:
            try:
                padded = np.pad(vectors, ((0, 0), (0, int(self.info.is_levelled))))
                found, distances = self._graph.knn_query(padded, k=length, num_threads=1)
            except RuntimeError:  # fewer can be reached, as where many vectors are equal
                pass
            else:
                return found.astype(np.int64), 1 - distances
        items, parts = self.vectors(), []
        for start in range(0, len(vectors), 64):
            products = torch.from_numpy(vectors[start : start + 64]) @ items.T
            parts.append(products.topk(length, dim=1))
        labels = torch.cat([part.indices for part in parts])
        return labels.numpy(), torch.cat([part.values for part in parts]).numpy()


def build_index(
    trained: Trained, *, m: int = 16, ef_construction: int = 100, ef: int = 64, seed: int = 42
) -> ItemIndex:
    """An index of all items of a run whose scores are products of vectors, with its recall.

    Both kinds are built, and the one that finds more is kept; a sample of the items would not tell
    them apart, since which kind is better changes with how many there are.

    Args:
        trained: The model.
        m: Edges of an item; more find more and take more memory.
        ef_construction: Items kept in view while building; more find more and build more slowly.
        ef: Items kept in view in a search; more find more and search more slowly.
        seed: Where the layers of the items and the users for the recall come from.

    Raises:
        DataError: The model's scores are no products of vectors.
        MissingExtraError: hnswlib is not installed.
    """
    trained.require_entities("an index")
    vectors = _item_vectors(trained, np.arange(len(trained.encoder.entities["item"]) - 1))
    built = []
    for is_levelled in (True, False):
        index = ItemIndex.of_vectors(
            vectors,
            m=m,
            ef_construction=ef_construction,
            ef=ef,
            seed=seed,
            is_levelled=is_levelled,
        )
        index.recall(trained, seed=seed)
        built.append(index)
    return max(built, key=lambda index: index.info.recall or 0.0)


def indexed_items(
    trained: Trained,
    index: ItemIndex,
    users: Inputs,
    events: Inputs,
    k: int,
    *,
    seen: Bag | None = None,
) -> Iterator[Lists]:
    """`top_items` of all items by an index.

    Args:
        trained: The model that the index was built from.
        index: The index.
        users: The users' own columns, U rows.
        events: The event's columns for each user, U rows.
        k: Length of the lists.
        seen: Item positions that each user is not offered, U rows.

    Raises:
        DataError: The index was built from another model.
    """
    index.check(trained)
    model = _factored(trained)
    for start in range(0, len(users.x_cat), _BLOCK):
        rows = torch.arange(start, min(start + _BLOCK, len(users.x_cat)))
        vectors = _user_vectors(trained, select(users, rows), select(events, rows))
        own = None if seen is None else select_bag(seen, rows)
        labels, products = index.query(vectors, k, seen=own)
        with torch.inference_mode():
            outputs = model.outputs(products.to(trained.device))
            shown = ranking_value(trained.loss.decode(outputs.unsqueeze(2)))
        yield Lists(slice(start, start + len(rows)), labels, shown.cpu())


def _new_graph(info: IndexInfo) -> Any:
    try:
        import hnswlib
    except ImportError:
        raise MissingExtraError("hnswlib", "ann") from None
    return hnswlib.Index(space="ip", dim=info.width + int(info.is_levelled))


def _levelled(vectors: np.ndarray) -> np.ndarray:
    """One more coordinate, with which all are as long as the longest: `(I, E + 1)`."""
    squares = np.einsum("ie,ie->i", vectors, vectors, dtype=np.float64)
    rest = np.sqrt(squares.max() - squares).astype(np.float32)
    return np.concatenate([vectors, rest[:, None]], axis=1)


def _as_array(vectors: Tensor) -> np.ndarray:
    return vectors.detach().to("cpu", torch.float32).contiguous().numpy()


def _factored(trained: Trained) -> FactoredScorer:
    if not isinstance(trained.model, FactoredScorer):
        name = type(trained.model).__name__
        raise DataError(f"an index needs scores that are products of vectors; {name} has none")
    return trained.model


@torch.inference_mode()
def _item_vectors(trained: Trained, labels: np.ndarray) -> Tensor:
    """The items' vectors; the table's first row, the unknown item, is none of them."""
    items = select(trained.encoder.tables["item"].inputs, torch.from_numpy(labels + 1))
    return _factored(trained).item_factors(to_device(items, trained.device)).float().cpu()


@torch.inference_mode()
def _user_vectors(trained: Trained, users: Inputs, events: Inputs) -> Tensor:
    device = trained.device
    query = Query(to_device(users, device), to_device(events, device))
    return _factored(trained).query_factors(query).float().cpu()


def _some_users(trained: Trained, n: int, seed: int) -> Tensor:
    """The vectors of some users of training, `(n, E)`, of all where there are fewer."""
    n_users = len(trained.encoder.entities["user"]) - 1
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n_users, min(n, n_users), replace=False) + 1).astype(np.int32)
    users = select(trained.encoder.tables["user"].inputs, torch.from_numpy(rows))
    return _user_vectors(trained, users, trained.encoder.events_with({}, rows))


def _seen_keys(seen: Bag | None, n: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """`row · I + item` of all seen pairs, and how many each row has."""
    if seen is None:
        return np.zeros(0, dtype=np.int64), np.zeros(n, dtype=np.int64)
    values = seen.values.numpy().astype(np.int64)
    counts = np.diff(np.append(seen.offsets.numpy(), len(values)))
    return np.repeat(np.arange(n), counts) * n_items + values, counts
