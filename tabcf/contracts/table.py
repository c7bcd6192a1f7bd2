"""Encoded data: numbers only, in star form.

Two numbers per entity, never under one name. `row` is its place in the entity table; row 0
stands for somebody unknown, all of whose attributes are missing. `index` is its embedding row;
it is 0 for an entity without training interactions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from tabcf.contracts.inputs import Inputs

__all__ = ["EntityTable", "Table"]


@dataclass(frozen=True, slots=True)
class EntityTable:
    """The columns of one entity, one row per known entity, behind row 0 for an unknown one.

    Shape:
        inputs.x_cat: `(R, 1 + C)` int32, column 0 is the entity's own index.
        inputs.x_cont: `(R, F)` float32.
        inputs.x_sets: bags of R rows.
    """

    inputs: Inputs

    @property
    def index(self) -> Tensor:
        """`(R,)` int32: each row's embedding row, 0 where it had no training interaction."""
        return self.inputs.x_cat[:, 0]

    def __len__(self) -> int:
        return int(self.inputs.x_cat.shape[0])


@dataclass(frozen=True, slots=True)
class Table:
    """Encoded events. `rows[entity]` points into `entities[entity]`; attributes sit only there.

    Shape:
        rows[entity]: `(N,)` int32.
        events: the event's own columns, N rows.
        target: `(N,)` float32 (value, probability of the positive class), `(N,)` int64 (class)
            or `(N, T)` float32 (several values); None where nothing is to be learnt.
        weight: `(N,)` float32 or None.
        left_out: by the position of a set column, `(N,)` int32: the value that each row's own
            event put into its set, which training leaves out; 0 for none.

    Attributes:
        release: Of events on disk, lets go of the memory that reading them took; whoever goes
            through many rows calls it by the way. None for events in memory.
    """

    rows: dict[str, Tensor]
    events: Inputs
    entities: dict[str, EntityTable] = field(default_factory=dict)
    target: Tensor | None = None
    weight: Tensor | None = None
    left_out: dict[int, Tensor] = field(default_factory=dict)
    release: Callable[[], None] | None = None

    def __len__(self) -> int:
        return int(self.events.x_cat.shape[0])
