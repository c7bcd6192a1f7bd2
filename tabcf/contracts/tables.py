"""Named frames that a derived column may read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["EVENT", "Tables"]

EVENT = "event"


def _no_files(path: str) -> pd.DataFrame:
    raise FileNotFoundError(path)


@dataclass(frozen=True, slots=True)
class Tables:
    """The events and the entity tables, as far as a column may see them.

    Attributes:
        here: The table whose rows the new column has: an entity's name, or `"event"`.
        events: The events; training rows only while a column is fitted, and none where an
            entity's columns are applied.
        entities: Each entity's table behind a blank row 0; while a column is fitted only rows
            with training events.
        rows: Where `here` is the events: each event's row in an entity's table, `(N,)`.
        index: Each row's entity as its embedding row, `(n,)`, n rows of `here`; 0 for an entity
            that is unknown or has no training event.
        event_index: The same for each of `events`.
        ids: Each entity's id column.
        derived: Other columns that this one reads, by their reference: their table and values.
        is_training: Whether the rows are the training rows themselves.
        read: Reads a look-up file that the options name; it lies beside the spec or the plugin.
    """

    here: str
    events: pd.DataFrame
    entities: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    index: Mapping[str, np.ndarray] = field(default_factory=dict)
    event_index: Mapping[str, np.ndarray] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, tuple[str, pd.Series[Any]]] = field(default_factory=dict)
    is_training: bool = False
    read: Callable[[str], pd.DataFrame] = _no_files

    def column(self, reference: str) -> pd.Series[Any]:
        """The column named `timestamp`, `user.age` or `user`, one value per row of `here`.

        An entity's column asked for by the events is looked up row by row, as a left merge does.
        """
        if reference in self.derived:
            table, values = self.derived[reference]
            return self._aligned(table, values)
        if reference in self.ids:
            frame = self.events if self.here == EVENT else self.entities[self.here]
            return frame[self.ids[reference]]
        table, _, name = reference.rpartition(".")
        if table not in self.entities:
            frame = self.events if self.here == EVENT else self.entities[self.here]
            return frame[reference]
        return self._aligned(table, self.entities[table][name])

    def _aligned(self, table: str, values: pd.Series[Any]) -> pd.Series[Any]:
        if self.here == table:
            return values
        return values.iloc[self.rows[table]].reset_index(drop=True)
