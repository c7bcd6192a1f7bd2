"""Rows of data with what to call them in messages."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tabcf.data.distinct import CategoryValues
from tabcf.errors import DataError

__all__ = ["OnRows", "Source", "no_rows", "not_empty"]

OnRows = Callable[[int, float], None]
"""Told while a file is read how many rows there are so far, and which share of it they are."""


@dataclass(frozen=True, slots=True)
class Source:
    """A frame and what to call it in messages.

    `is_text` says that it came from a text file, where the type of a value is not its author's
    word; `first_line` is the line number of its first row there. `all_columns` names those of the
    file where only some were read. `listed` keeps what was found of ids that are text, as these are
    read when an encoder is fitted and again when it encodes.
    """

    frame: pd.DataFrame
    name: str
    is_text: bool = False
    first_line: int | None = None
    all_columns: tuple[str, ...] = ()
    listed: dict[str, CategoryValues] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def taken(self, positions: np.ndarray) -> Source:
        """Some of the rows, whose lines are no longer known."""
        taken = self.with_rows(self.frame.iloc[positions].reset_index(drop=True))
        taken.listed.update({name: found.taken(positions) for name, found in self.listed.items()})
        return taken

    def with_rows(self, frame: pd.DataFrame) -> Source:
        """The same with other rows, whose lines are no longer known."""
        return Source(frame, self.name, self.is_text, all_columns=self.all_columns)

    def place(self, position: int) -> str:
        """Where a row is, in the user's words: `line 4,512`, or `row 4,510` of a frame."""
        if self.first_line is None:
            return f"row {position:,}"
        return f"line {position + self.first_line:,}"

    def require(self, columns: Sequence[str]) -> None:
        """Raise if a column is missing; names the nearest one that is there."""
        for column in columns:
            if column not in self.frame.columns:
                known = list(self.all_columns) or [str(name) for name in self.frame.columns]
                near = difflib.get_close_matches(column, known, n=1)
                hint = f"did you mean '{near[0]}'? " if near else ""
                raise DataError(
                    f"{self.name}: no column '{column}'; {hint}columns: {', '.join(known)}"
                )


def no_rows(name: str) -> DataError:
    """That a source is empty."""
    return DataError(f"{name}: expected rows below the header, got none")


def not_empty(source: Source) -> Source:
    """The source itself.

    Raises:
        DataError: It has no rows.
    """
    if len(source.frame) == 0:
        raise no_rows(source.name)
    return source
