"""An index of items as files: the graph in hnswlib's own form, and in JSON what it is made of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tabcf.errors import RunError

__all__ = ["GRAPH", "INFO", "IndexInfo", "read_info", "write_info"]

GRAPH = "index.bin"
INFO = "index.json"
_FORMAT = 1


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
        recall: Share of the exact lists that was found, for `n_queries` users, `k` places; their
            items of training were left out.
        weights: SHA-256 of the weights' file of the run that it is saved with.
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
    weights: str | None = None

    def __str__(self) -> str:
        if self.recall is None:
            return f"an index of {self.n_items:,} items, not measured"
        return (
            f"an index of {self.n_items:,} items, which finds {self.recall:.1%} of the exact "
            f"top {self.k} (measured for {self.n_queries:,} users)"
        )


def write_info(folder: Path, info: IndexInfo) -> None:
    """Write what an index is made of beside its graph, which has been written before."""
    size = (folder / GRAPH).stat().st_size
    text = json.dumps({"format": _FORMAT, "bytes": size, **asdict(info)}, indent=2)
    (folder / INFO).write_text(text + "\n", encoding="utf-8")


def read_info(folder: Path) -> tuple[IndexInfo, int]:
    """What an index is made of, and the size of its graph's file in bytes.

    Raises:
        RunError: The description is missing, of another format, or wrong.
    """
    path = folder / INFO
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["format"] != _FORMAT:
            raise RunError(f"{path}: expected format {_FORMAT}, got {kept['format']!r}")
        info = IndexInfo(**{field.name: kept[field.name] for field in fields(IndexInfo)})
        sizes = (info.n_items, info.width, info.m, info.ef, kept["bytes"])
        if not all(type(size) is int and size > 0 for size in sizes):
            raise RunError(f"{path}: expected positive sizes, got {sizes}")
        if type(info.is_levelled) is not bool:
            raise RunError(f"{path}: is_levelled: expected true or false")
        measured = (info.recall, info.n_queries, info.k)
        if info.recall is not None and not all(isinstance(v, int | float) for v in measured):
            raise RunError(f"{path}: expected what was measured as numbers, got {measured}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not the description of an index: {error!r}") from None
    return info, kept["bytes"]
