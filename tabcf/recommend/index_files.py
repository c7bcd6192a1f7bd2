"""An index of items as files: what it is made of in JSON, and the graph in hnswlib's own form."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tabcf.errors import RunError

__all__ = ["GRAPH", "IndexInfo", "check_sizes", "read_info", "write_info"]

GRAPH = "index.bin"
_INFO = "index.json"
_FORMAT = 1
_HEADER = struct.Struct("=6Q")  # of hnswlib's file


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index is made of, and how good it was when it was built.

    Attributes:
        n_items: Items, I. width: E.
        m: Edges of an item on each layer but the lowest, which has twice as many.
        ef_construction: Items kept in view while an item is put in.
        ef: Items kept in view in a search; a longer list raises it to its own length.
        seed: Where the layers of the items come from.
        is_levelled: Whether one more coordinate makes all items equally long.
        recall: Share of the exact lists that was found, for `n_queries` users, `k` places.
    """

    n_items: int
    width: int
    m: int
    ef_construction: int
    ef: int
    seed: int
    is_levelled: bool = True
    recall: float | None = None
    n_queries: int = 0
    k: int = 0


def write_info(folder: Path, info: IndexInfo) -> None:
    """Write what an index is made of beside its graph, which has been written before."""
    size = (folder / GRAPH).stat().st_size
    text = json.dumps({"format": _FORMAT, "bytes": size, **asdict(info)}, indent=2)
    (folder / _INFO).write_text(text + "\n", encoding="utf-8")


def read_info(folder: Path) -> tuple[IndexInfo, int]:
    """What an index is made of, and the size of its graph's file in bytes.

    Raises:
        RunError: The description is missing, of another format, or wrong.
    """
    path = folder / _INFO
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["format"] != _FORMAT:
            raise RunError(f"{path}: expected format {_FORMAT}, got {kept['format']!r}")
        info = IndexInfo(**{field.name: kept[field.name] for field in fields(IndexInfo)})
        sizes = (info.n_items, info.width, info.ef, kept["bytes"])
        if not all(type(size) is int and size > 0 for size in sizes):
            raise RunError(f"{path}: expected positive sizes, got {sizes}")
        if type(info.is_levelled) is not bool:
            raise RunError(f"{path}: is_levelled: expected true or false")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not the description of an index: {error!r}") from None
    return info, kept["bytes"]


def check_sizes(folder: Path, info: IndexInfo, size: int) -> None:
    """Raise unless the file is as long as it was, and says to hold what `info` says.

    hnswlib reads as many numbers an item as it is told to, so that this must be right beforehand.

    Raises:
        RunError: It is not, or cannot be read.
    """
    path = folder / GRAPH
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
        found = path.stat().st_size
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None
    if found != size or len(header) < _HEADER.size:
        raise RunError(f"{path}: expected {size:,} bytes, got {found:,}")
    _, _, n_items, _, label_at, vector_at = _HEADER.unpack(header)
    shape = (n_items, (label_at - vector_at) // 4 - int(info.is_levelled))
    if shape != (info.n_items, info.width):
        raise RunError(f"{path}: expected (I, E) = {(info.n_items, info.width)}, got {shape}")
