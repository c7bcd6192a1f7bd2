"""Rows of data with what to call them in messages."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tabcf.errors import DataError

__all__ = ["Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """A frame and what to call it in messages.

    `is_text` says that it came from a text file, where the type of a value is not its author's
    word; `first_line` is the line number of its first row there. `listed` keeps what was found of
    ids that are text, as these are read when an encoder is fitted and again when it encodes.
    """

    frame: pd.DataFrame
    name: str
    is_text: bool = False
    first_line: int | None = None
    listed: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def place(self, position: int) -> str:
        """Where a row is, in the user's words: `line 4,512`, or `row 4,510` of a frame."""
        if self.first_line is None:
            return f"row {position:,}"
        return f"line {position + self.first_line:,}"

    def require(self, columns: Sequence[str]) -> None:
        """Raise if a column is missing; names the nearest one that is there."""
        for column in columns:
            if column not in self.frame.columns:
                known = [str(name) for name in self.frame.columns]
                near = difflib.get_close_matches(column, known, n=1)
                hint = f"did you mean '{near[0]}'? " if near else ""
                raise DataError(
                    f"{self.name}: no column '{column}'; {hint}columns: {', '.join(known)}"
                )
