"""Named frames that a derived column may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Tables"]


@dataclass(frozen=True, slots=True)
class Tables:
    """The events and the entity tables, as far as a column may see them.

    `events` are training rows only while a column is fitted. `here` is the frame whose rows the
    new column must have, named by its table: an entity's name, or `"event"`.
    """

    here: str
    events: pd.DataFrame
    entities: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)

    def column(self, reference: str) -> pd.Series[Any]:
        """The column named `timestamp` or `user.age`, with one value per row of `here`.

        An entity's column asked for by the events is looked up row by row, as a left merge does.
        """
        table, _, name = reference.rpartition(".")
        if not table or table not in self.entities:
            frame = self.events if self.here == "event" else self.entities[self.here]
            return frame[reference]
        column = self.entities[table][name]
        if self.here == table:
            return column
        return column.iloc[self.rows[table]].reset_index(drop=True)
