"""Encoded rows as raw arrays in files of a folder, read through memory maps.

    arrays.json    each array's name, with its file
    0.npy, ...     one array each, in numpy's own format

Nothing in there is code, and none is run by reading it.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.disk import let_go

__all__ = ["Mapped", "arrays_of", "map_arrays", "open_arrays", "table_of", "write_arrays"]

_NAMES = "arrays.json"
# Bytes written at a time of what is on disk itself.
_COPIED = 1 << 24


class Mapped(NamedTuple):
    """Arrays that are read from files where they are looked at, and what lets go of that again."""

    arrays: dict[str, np.ndarray]
    release: Callable[[], None]


def write_arrays(
    folder: Path, arrays: Mapping[str, np.ndarray], *, release: Callable[[], None] | None = None
) -> None:
    """Write arrays into a folder that has none yet.

    Args:
        folder: Where.
        arrays: By name.
        release: Of arrays that are on disk themselves, lets go of what was read of them.

    Raises:
        OSError: It cannot be written.
    """
    files = {name: f"{position}.npy" for position, name in enumerate(arrays)}
    for name, array in arrays.items():
        if release is None or not array.flags.c_contiguous:
            np.save(folder / files[name], array, allow_pickle=False)
        else:
            _copy(folder / files[name], array, release)
    (folder / _NAMES).write_text(json.dumps(files, indent=1), encoding="utf-8")


def open_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The arrays as memory maps; whoever changes values changes them in memory alone.

    Raises:
        OSError: A file is not there.
        ValueError: A file is no array, or is cut off.
    """
    return map_arrays(folder).arrays


def map_arrays(folder: Path) -> Mapped:
    """The same, with what lets go of the memory that reading them took.

    Changed values are then as they were.
    """
    files = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    arrays, maps = {}, []
    for name, file in files.items():
        arrays[name], own = _opened(folder / file)
        maps += [] if own is None else [own]

    def release() -> None:
        for own in maps:
            let_go(own)

    return Mapped(arrays, release)


def arrays_of(table: Table) -> dict[str, np.ndarray]:
    """A table's events by names such as `rows.user`, `events.x_cat` and `events.sets.0.values`.

    The entities' tables are not among them, as an encoder makes them anew.
    """
    found: dict[str, Tensor] = {f"rows.{name}": rows for name, rows in table.rows.items()}
    found |= {"events.x_cat": table.events.x_cat, "events.x_cont": table.events.x_cont}
    for position, bag in enumerate(table.events.x_sets):
        parts = zip(Bag._fields, bag, strict=True)
        found |= {f"events.sets.{position}.{key}": part for key, part in parts if part is not None}
    optional = {"target": table.target, "weight": table.weight}
    found |= {name: values for name, values in optional.items() if values is not None}
    found |= {f"left_out.{position}": values for position, values in table.left_out.items()}
    return {name: values.contiguous().numpy() for name, values in found.items()}


def table_of(
    arrays: Mapping[str, np.ndarray],
    entities: Mapping[str, EntityTable],
    *,
    release: Callable[[], None] | None = None,
) -> Table:
    """The table of arrays that `arrays_of` named; other names are left out.

    `release` is the table's.
    """
    found = {name: torch.from_numpy(values) for name, values in arrays.items()}

    def below(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): v for n, v in found.items() if n.startswith(prefix)}

    n_sets = len([name for name in below("events.sets.") if name.endswith(".values")])
    bags = tuple(Bag(**below(f"events.sets.{position}.")) for position in range(n_sets))
    return Table(
        rows=below("rows."),
        events=Inputs(found["events.x_cat"], found["events.x_cont"], bags),
        entities=dict(entities),
        target=found.get("target"),
        weight=found.get("weight"),
        left_out={int(position): values for position, values in below("left_out.").items()},
        release=release,
    )


def _copy(path: Path, array: np.ndarray, release: Callable[[], None]) -> None:
    """What `np.save` writes, some rows at a time."""
    n_rows = max(_COPIED // max(array[:1].nbytes, 1), 1)
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(array), n_rows):
            rows = array[start : start + n_rows]
            # Times have no buffer of their own.
            file.write(rows.view(np.uint8).data if rows.size else b"")
            release()


def _opened(path: Path) -> tuple[np.ndarray, mmap.mmap | None]:
    """An array and its map; of nothing there is none."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, is_transposed, dtype = np.lib.format.read_array_header_1_0(file)
        n, start = int(np.prod(shape)), file.tell()
        if not n:
            return np.zeros(shape, dtype), None
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    flat = np.frombuffer(mapped, dtype, n, start)
    return flat.reshape(shape, order="F" if is_transposed else "C"), mapped
