"""What a page is made of: sections of text, tables and charts; knows neither runs nor HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

__all__ = ["Block", "Chart", "Code", "Note", "Section", "Table"]


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph; a warning stands out."""

    text: str
    kind: Literal["plain", "warning"] = "plain"


@dataclass(frozen=True, slots=True)
class Code:
    """Text as it was written, folded away under a title."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A frame that readers may sort by any column.

    Attributes:
        frame: Its columns are shown, its index is not.
        caption: What it is.
        formats: By column, such as `.3f` or `,d`; numbers get four significant digits else.
    """

    frame: pd.DataFrame
    caption: str
    formats: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing as SVG, and in words what it shows."""

    svg: str
    caption: str


Block = Note | Code | Table | Chart


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, its place in the contents, and what stands below it."""

    id: str
    title: str
    blocks: tuple[Block, ...]
