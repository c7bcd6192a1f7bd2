"""hnswlib's file of a graph, checked before hnswlib reads it.

It follows whatever edges a file has, so that these must be of its own items beforehand: a run may
come from a stranger. The form is that of `saveIndex` in hnswlib 0.8: a header; a record an item
with the number of its edges on the lowest layer, the edges, its vector and its label; and for each
item the bytes and the edges of its higher layers.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from tabcf.errors import RunError
from tabcf.recommend.index.files import IndexInfo

__all__ = ["check_graph"]

# Offset of layer 0, room for items, items, bytes an item, offsets of label and vector in a record;
# top layer and the item that a search begins with; edges on a layer, on the lowest, asked for;
# what layers are drawn with; items kept in view while building.
_HEADER = struct.Struct("=6QiI3QdQ")
_BLOCK = 1 << 16  # items looked at at a time


def check_graph(path: Path, info: IndexInfo, size: int) -> None:
    """Raise unless a file is as long as it was, and is a graph of as many items as `info` says.

    Args:
        path: The file.
        info: What the graph is made of.
        size: How many bytes it had when it was written.

    Raises:
        RunError: It is not, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
        found = path.stat().st_size
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None
    if found != size or len(header) < _HEADER.size:
        raise RunError(f"{path}: expected {size:,} bytes, got {found:,}")
    start, room, n_items, record, label_at, vector_at, top, first, *rest = _HEADER.unpack(header)
    shape = (n_items, (label_at - vector_at) // 4 - int(info.is_levelled))
    if shape != (info.n_items, info.width):
        raise RunError(f"{path}: expected (I, E) = {(info.n_items, info.width)}, got {shape}")
    n_edges = 2 * info.m
    places = (0, n_items, label_at + 8, 4 * (n_edges + 1), [info.m, n_edges, info.m])
    n_bytes = size - _HEADER.size
    if (
        (start, room, record, vector_at, rest[:3]) != places
        or n_bytes < n_items * record
        or record % 4
        or n_bytes % 4
    ):
        raise RunError(f"{path}: not a graph with m = {info.m}")
    words = np.asarray(np.memmap(path, dtype=np.uint32, mode="r", offset=_HEADER.size))
    split = n_items * record // 4
    layers = _layers(words[split:], n_items, info.m)
    is_whole = (
        layers is not None
        and first < n_items
        and layers[first] == top == layers.max()
        and _is_lowest_sound(words[:split].reshape(n_items, -1), n_edges)
        and _are_higher_sound(words[split:], layers, info.m)
    )
    if not is_whole:
        raise RunError(f"{path}: its edges do not lead to its own items")


def _layers(words: np.ndarray, n_items: int, m: int) -> np.ndarray | None:
    """`(I,)` the highest layer of each item; None where the words are not that many items'."""
    layers = np.zeros(n_items, dtype=np.int64)
    place, n_words, width = 0, len(words), 4 * (m + 1)
    for item in range(n_items):
        if place >= n_words:
            return None
        size = int(words[place])
        if size % width:
            return None
        layers[item] = size // width
        place += 1 + size // 4
    return layers if place == n_words else None


def _is_lowest_sound(records: np.ndarray, n_edges: int) -> bool:
    """Whether all edges lead to items, and all labels are the items' positions."""
    n_items = len(records)
    for start in range(0, n_items, _BLOCK):
        block = records[start : start + _BLOCK]
        labels = np.ascontiguousarray(block[:, -2:]).view(np.uint64)[:, 0]
        if (
            (block[:, 0] > n_edges).any()
            or (block[:, 1 : n_edges + 1] >= n_items).any()
            or (labels != np.arange(start, start + len(block))).any()
        ):
            return False
    return True


def _are_higher_sound(words: np.ndarray, layers: np.ndarray, m: int) -> bool:
    """Whether the edges of each higher layer lead to items that reach up to it."""
    starts = np.concatenate([[0], np.cumsum(1 + layers * (m + 1))])[:-1]
    for layer in range(1, int(layers.max()) + 1):
        own = starts[layers >= layer] + 1 + (layer - 1) * (m + 1)
        counts = words[own]
        if (counts > m).any():
            return False
        edges = words[own[:, None] + 1 + np.arange(m)]
        is_edge = np.arange(m) < counts[:, None]
        if (edges >= len(layers)).any() or (layers[edges[is_edge]] < layer).any():
            return False
    return True
