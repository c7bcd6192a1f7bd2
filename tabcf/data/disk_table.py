"""Encoded events on disk: written block by block, then a table like any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.disk import DiskArray, DiskArrays

__all__ = ["DiskTable", "with_weight"]

_ROWS, _CAT, _CONT, _TARGET, _WEIGHT = "rows.", "x_cat", "x_cont", "target", "weight"


class DiskTable:
    """Takes the blocks of a table one behind the other.

    Sets of events and what is left out of sets have no place here.

    Args:
        folder: Where the files are; by default where temporary files are.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._arrays = DiskArrays(folder)

    def append(self, table: Table) -> None:
        """Write a block's events behind the others."""
        assert not table.events.x_sets
        assert not table.left_out
        for name, rows in table.rows.items():
            self._arrays.append(f"{_ROWS}{name}", rows.numpy())
        self._arrays.append(_CAT, table.events.x_cat.numpy())
        self._arrays.append(_CONT, table.events.x_cont.numpy())
        for name, values in ((_TARGET, table.target), (_WEIGHT, table.weight)):
            if values is not None:
                self._arrays.append(name, values.numpy())

    def opened(self, entities: Mapping[str, EntityTable]) -> Table:
        """All events as a table; its columns are memory maps, and `release` lets go of them."""
        arrays = self._arrays.opened()

        def column(name: str) -> Tensor | None:
            return None if name not in arrays else torch.from_numpy(arrays[name])

        blank = np.zeros((0, 0))
        return Table(
            {
                name.removeprefix(_ROWS): torch.from_numpy(rows)
                for name, rows in arrays.items()
                if name.startswith(_ROWS)
            },
            Inputs(
                torch.from_numpy(arrays.get(_CAT, blank.astype(np.int32))),
                torch.from_numpy(arrays.get(_CONT, blank.astype(np.float32))),
            ),
            dict(entities),
            column(_TARGET),
            column(_WEIGHT),
            release=self._arrays.release,
        )


def with_weight(table: Table, weight: Tensor) -> Table:
    """A table on disk with other weights, `(N,)`, which are written there, too."""
    array, release = DiskArray(), table.release
    assert release is not None
    array.append(weight.numpy())

    def release_both() -> None:
        release()
        array.release()

    return replace(table, weight=torch.from_numpy(array.opened()), release=release_both)
