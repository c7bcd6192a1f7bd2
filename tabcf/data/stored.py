"""Encoded rows as raw arrays in files of a folder, read through memory maps.

    arrays.json    each array's name, with its file
    0.npy, ...     one array each, in numpy's own format

Nothing in there is code, and none is run by reading it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.table import EntityTable, Table

__all__ = ["arrays_of", "open_arrays", "table_of", "write_arrays"]

_NAMES = "arrays.json"


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays into a folder that has none yet.

    Raises:
        OSError: It cannot be written.
    """
    files = {name: f"{position}.npy" for position, name in enumerate(arrays)}
    for name, array in arrays.items():
        np.save(folder / files[name], array, allow_pickle=False)
    (folder / _NAMES).write_text(json.dumps(files, indent=1), encoding="utf-8")


def open_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The arrays as memory maps; whoever changes values changes them in memory alone.

    Raises:
        OSError: A file is not there.
        ValueError: A file is no array, or is cut off.
    """
    files = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    return {name: _opened(folder / file) for name, file in files.items()}


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


def table_of(arrays: Mapping[str, np.ndarray], entities: Mapping[str, EntityTable]) -> Table:
    """The table of arrays that `arrays_of` named; other names are left out."""
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
    )


def _opened(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, is_transposed, dtype = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
    if not int(np.prod(shape)):
        return np.zeros(shape, dtype)
    mapped: np.ndarray = np.memmap(
        path, dtype, mode="c", offset=start, shape=shape, order="F" if is_transposed else "C"
    )
    return mapped.view(np.ndarray)
