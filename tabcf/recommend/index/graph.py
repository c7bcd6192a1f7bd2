"""A graph of item vectors that finds nearly the highest products; knows no models.

Dimension letters: B users, I items, K places of a list, E width of a factored score.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag
from tabcf.data.batches import slice_bag
from tabcf.errors import DataError, MissingExtraError, RunError
from tabcf.recommend.index.files import GRAPH, IndexInfo, read_info, write_info
from tabcf.recommend.index.graph_file import check_graph

__all__ = ["ItemIndex"]

# Items put in at a time, so that no second form of all vectors stands beside the first.
_PUT = 1 << 16
# Items read back at a time: hnswlib makes a Python number of each of theirs on the way.
_READ = 1 << 12
# Products held at a time where lists are exact: 64 MB.
_MOST_PRODUCTS = 1 << 24


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
        if not all(bool(block.isfinite().all()) for block in vectors.split(_PUT)):
            raise DataError("item vectors: expected finite numbers, got NaN or infinity")
        n_items, width = vectors.shape
        info = IndexInfo(n_items, width, m, ef_construction, ef, seed, is_levelled)
        graph = _new_graph(info)
        graph.init_index(n_items, M=m, ef_construction=ef_construction, random_seed=seed)
        longest = max(float(_squares(block).max()) for block in _blocks(vectors))
        start = 0
        for block in _blocks(vectors):
            put = _levelled(block, longest) if is_levelled else block
            graph.add_items(put, np.arange(start, start + len(block)), num_threads=1)
            start += len(block)
        return cls(graph, info)

    def query(
        self,
        factors: Tensor,
        k: int,
        *,
        seen: Bag | None = None,
        left_out: np.ndarray | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The items with nearly the highest products with each of the vectors, best first.

        For a user who is not offered n items, k + n are fetched, so that k are left. Where these
        are a quarter of all items, or more than the graph can reach, the list is exact.

        Args:
            factors: `(B, E)` the users' vectors.
            k: Length of the lists.
            seen: Item positions that each user is not offered, B rows.
            left_out: Item positions that nobody is offered, each of them once.

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
        if left_out is not None:
            n_seen = n_seen + len(left_out)
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
            if left_out is not None:
                is_dropped |= np.isin(found, left_out)
            first = np.argsort(is_dropped, axis=1, kind="stable")[:, :k]
            is_dropped = np.take_along_axis(is_dropped, first, 1)
            width = first.shape[1]
            labels[rows, :width] = np.where(is_dropped, -1, np.take_along_axis(found, first, 1))
            kept = np.take_along_axis(values, first, 1)
            products[rows, :width] = np.where(is_dropped, -np.inf, kept)
        return torch.from_numpy(labels), torch.from_numpy(products)

    def measure(
        self, factors: Tensor, k: int, *, seen: Bag | None = None, items: Tensor | None = None
    ) -> IndexInfo:
        """The share of the exact lists that is found for some users, kept in `info`."""
        k = min(k, self.info.n_items)
        share = self.share_found(factors, k, seen=seen, items=items)
        self.info = replace(self.info, recall=share, n_queries=len(factors), k=k)
        return self.info

    def share_found(
        self, factors: Tensor, k: int, *, seen: Bag | None = None, items: Tensor | None = None
    ) -> float:
        """The share of the exact lists that is found for `(B, E)` vectors.

        An item with the same product as the last one of the exact list counts as found.

        Args:
            factors: The users' vectors; at least one user has an item left.
            k: Length of the lists.
            seen: Item positions that each user is not offered, B rows.
            items: `(I, E)` what the index was built from; read back from it where not given.
        """
        found, _ = self.query(factors, k, seen=seen)
        items = self._own_vectors if items is None else items
        shares = []
        for rows, products in _products(factors.detach().float().cpu(), items):
            if seen is not None:
                own = slice_bag(seen, rows.start, rows.stop)
                products[own.row_of_value, own.values.long()] = -torch.inf
            best = products.topk(min(k, self.info.n_items), dim=1).values
            n_best = (best > -torch.inf).sum(1)
            least = best.gather(1, (n_best - 1).clamp_min(0)[:, None])
            own_products = products.gather(1, found[rows].clamp_min(0))
            is_found = (own_products >= least - 1e-6 * least.abs()) & (found[rows] >= 0)
            shares.append((is_found.sum(1) / n_best)[n_best > 0])
        return float(torch.cat(shares).clamp_max(1).mean())

    def vectors(self, labels: np.ndarray | None = None) -> Tensor:
        """The vectors of some items, or of all: a copy."""
        asked = np.arange(self.info.n_items) if labels is None else labels
        vectors = torch.empty(len(asked), self.info.width)
        for start in range(0, len(asked), _READ):
            found = self._graph.get_items(asked[start : start + _READ], return_type="numpy")
            vectors[start : start + _READ] = torch.from_numpy(found[:, : self.info.width])
        return vectors

    def save(self, path: str | Path, *, weights: str | None = None) -> None:
        """Write `index.bin` and `index.json` into a folder, which is made where it is missing.

        Args:
            path: The folder.
            weights: SHA-256 of the file of the weights that the vectors come from.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        self._graph.save_index(str(folder / GRAPH))
        write_info(folder, replace(self.info, weights=weights))

    @classmethod
    def load(cls, path: str | Path) -> ItemIndex:
        """The index that `save` wrote.

        Raises:
            RunError: A file is missing, or is not what was written.
            MissingExtraError: hnswlib is not installed.
        """
        folder = Path(path)
        info, size = read_info(folder)
        graph = _new_graph(info)
        check_graph(folder / GRAPH, info, size)
        try:
            graph.load_index(str(folder / GRAPH), max_elements=info.n_items)
        except RuntimeError as error:
            raise RunError(f"{folder / GRAPH}: {error}") from None
        return cls(graph, info)

    @cached_property
    def _own_vectors(self) -> Tensor:
        return self.vectors()

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
        parts = [
            products.topk(length, dim=1)
            for _, products in _products(torch.from_numpy(vectors), self._own_vectors)
        ]
        labels = torch.cat([part.indices for part in parts])
        return labels.numpy(), torch.cat([part.values for part in parts]).numpy()


def _new_graph(info: IndexInfo) -> Any:
    try:
        import hnswlib
    except ImportError:
        raise MissingExtraError("hnswlib", "ann") from None
    return hnswlib.Index(space="ip", dim=info.width + int(info.is_levelled))


def _blocks(vectors: Tensor) -> Iterator[np.ndarray]:
    for block in vectors.split(_PUT):
        yield _as_array(block)


def _squares(vectors: np.ndarray) -> np.ndarray:
    squares: np.ndarray = np.einsum("ie,ie->i", vectors, vectors, dtype=np.float64)
    return squares


def _levelled(vectors: np.ndarray, longest: float) -> np.ndarray:
    """One more coordinate, with which all are as long as the longest: `(I, E + 1)`."""
    rest = np.sqrt(np.maximum(longest - _squares(vectors), 0)).astype(np.float32)
    return np.concatenate([vectors, rest[:, None]], axis=1)


def _products(factors: Tensor, items: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """All items' products with some users at a time: which users, and `(B, I)`."""
    size = max(_MOST_PRODUCTS // len(items), 1)
    for start in range(0, len(factors), size):
        own = factors[start : start + size]
        yield slice(start, start + len(own)), own @ items.T


def _as_array(vectors: Tensor) -> np.ndarray:
    return vectors.detach().to("cpu", torch.float32).contiguous().numpy()


def _seen_keys(seen: Bag | None, n: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """`row · I + item` of all seen pairs, and how many each row has."""
    if seen is None:
        return np.zeros(0, dtype=np.int64), np.zeros(n, dtype=np.int64)
    values = seen.values.numpy().astype(np.int64)
    counts = np.diff(np.append(seen.offsets.numpy(), len(values)))
    return np.repeat(np.arange(n), counts) * n_items + values, counts
