"""Which type a column of text has: whole numbers, numbers or text, found block by block.

A column is whole numbers only if every value reads back as it was written, so that the id `007`
stays `007`; else numbers if all values are, else text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tabcf.data.arrow import to_series
from tabcf.data.short_texts import ShortTexts, characters_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MISSING_NUMBERS", "Kind", "TextColumn", "typed"]

MISSING_NUMBERS = ("", "NA", "NaN", "nan", "N/A", "null", "NULL", "None", "?")
"""What stands for no number; in a column of text these are values."""
# Values that are looked at first: a text among them settles the column.
_SAMPLE = 256
# Of many values, so few different ones are typed once each.
_MANY, _FEW = 4096, 64


class Kind(IntEnum):
    """What a column's values are, from the narrowest to the widest."""

    MISSING = 0
    WHOLE = 1
    NUMBER = 2
    TEXT = 3


@dataclass(slots=True)
class TextColumn:
    """What was read of a column so far; `must_reread` where its first blocks were taken for less.

    A part of missing values is kept as text, since in a text column `NA` is a value.
    """

    kind: Kind = Kind.MISSING
    parts: list[tuple[Kind, pa.Array]] = field(default_factory=list)
    must_reread: bool = False

    def add(self, text: pa.StringArray) -> None:
        kind, part = typed(text, self.kind)
        if kind is Kind.TEXT and self.kind in (Kind.WHOLE, Kind.NUMBER):
            self.must_reread = True
        self.kind = max(self.kind, kind)
        self.parts.append((kind, part))

    def add_numbers(self, values: pa.Array) -> None:
        """Take values that were read as numbers of this column's kind."""
        self.parts.append((self.kind, values))

    def series(self) -> pd.Series[Any]:
        """All parts as one; they are let go."""
        import pyarrow as pa

        type_ = {Kind.WHOLE: pa.int64(), Kind.NUMBER: pa.float64()}.get(self.kind, pa.string())
        parts = [
            pa.nulls(len(part), type_) if kind is Kind.MISSING < self.kind < Kind.TEXT else part
            for kind, part in self.parts
        ]
        self.parts = []
        if type_ == pa.string() or any(part.null_count for part in parts):
            return to_series(pa.chunked_array([part.cast(type_) for part in parts], type=type_))
        values = np.empty(sum(map(len, parts)), type_.to_pandas_dtype())
        start = 0
        for part in parts:
            values[start : start + len(part)] = part.to_numpy()
            start += len(part)
        return pd.Series(values, copy=False)


def typed(text: pa.StringArray, least: Kind) -> tuple[Kind, pa.Array]:
    """A block's values by the narrowest kind they have, which is at least `least`.

    Text without gaps is given back as it is.
    """
    if least < Kind.TEXT and len(text) >= _MANY:
        found = _typed_once_each(text, least)
        if found is not None:
            return found
    return _typed_each(text, least)


def _typed_once_each(text: pa.StringArray, least: Kind) -> tuple[Kind, pa.Array] | None:
    """The same for few short values that come again and again; None where it is others."""
    import pyarrow as pa

    if len(text[:_SAMPLE].unique()) > _FEW:
        return None
    texts = ShortTexts()
    codes = texts.codes(text) if _is_clean(*characters_of(text)) else None
    if codes is None or len(texts) > _FEW:
        return None
    kind, values = _typed_each(pa.array(texts.values(), pa.string()), least)
    return None if kind is Kind.TEXT else (kind, values.take(pa.array(codes)))


def _typed_each(text: pa.StringArray, least: Kind) -> tuple[Kind, pa.Array]:
    starts, characters = characters_of(text)
    # Up to '9' there are digits, signs, dots and spaces, and none of the missing values but ''.
    if least < Kind.TEXT and len(characters) and characters.max() <= ord("9"):
        found = _plain_numbers(text, starts, characters, least)
        if found is not None:
            return found
    if least < Kind.TEXT and _typed_with_care(text[:_SAMPLE], least)[0] is Kind.TEXT:
        least = Kind.TEXT
    if least is Kind.TEXT and _is_clean(starts, characters):
        return Kind.TEXT, text
    return _typed_with_care(text, least)


def _plain_numbers(
    text: pa.StringArray, starts: np.ndarray, characters: np.ndarray, least: Kind
) -> tuple[Kind, pa.Array] | None:
    """A block without missing values as numbers; None where that needs a closer look."""
    import pyarrow as pa

    try:
        if least < Kind.NUMBER:
            try:
                whole = text.cast(pa.int64())
                values = whole.to_numpy()
                # No number is shorter than as Python writes it, so that equal sums prove each.
                if _written_length(values) == len(characters):
                    fits = values.min() >= -(2**31) and values.max() < 2**31
                    return Kind.WHOLE, pa.array(values.astype(np.int32)) if fits else whole
                return None
            except pa.ArrowInvalid:
                pass
        number = text.cast(pa.float64())
        return None if _has_leading_zero(starts, characters) else (Kind.NUMBER, number)
    except pa.ArrowInvalid:
        return None


def _typed_with_care(text: pa.StringArray, least: Kind) -> tuple[Kind, pa.Array]:
    """The same for blocks with missing values, spaces, exponents or text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(text)
    filled = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    is_missing = pc.is_in(text, value_set=pa.array(MISSING_NUMBERS))
    if pc.all(is_missing).as_py():
        return Kind.MISSING, filled
    if least is Kind.TEXT:
        return Kind.TEXT, filled
    present = pc.if_else(is_missing, pa.scalar(None, pa.string()), text)
    if least < Kind.NUMBER:
        try:
            whole = present.cast(pa.int64())
            if pc.all(pc.equal(whole.cast(pa.string()), present)).as_py():
                return Kind.WHOLE, whole
        except pa.ArrowInvalid:
            pass
    if not pc.any(pc.match_substring_regex(present, r"^[+-]?0\d|^\+")).as_py():
        try:
            return Kind.NUMBER, present.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
    return Kind.TEXT, filled


def _written_length(values: np.ndarray) -> int:
    """Characters of all whole numbers as Python writes them."""
    magnitude = np.abs(values)
    total, largest, bound = len(values) + int(np.count_nonzero(values < 0)), magnitude.max(), 10
    while bound <= largest:
        total += int(np.count_nonzero(magnitude >= bound))
        bound *= 10
    return total


def _has_leading_zero(starts: np.ndarray, characters: np.ndarray) -> bool:
    """Whether a number begins with a plus, or with a zero that another digit follows."""
    lowest = characters.min()
    first, stops = starts[:-1], starts[1:]
    begins = characters.take(first)
    if lowest <= ord("+") and (begins == ord("+")).any():
        return True
    if lowest <= ord("-"):
        is_negative = begins == ord("-")
        first = first + is_negative
        begins = characters.take(first, mode="clip")
    is_zero = begins == ord("0")
    if not is_zero.any():
        return False
    first, stops = first[is_zero], stops[is_zero]
    follower = characters[first[first + 1 < stops] + 1]
    return bool(((follower >= ord("0")) & (follower <= ord("9"))).any())


def _is_clean(starts: np.ndarray, characters: np.ndarray) -> bool:
    """Whether each value is there, in ASCII and without spaces."""
    if not len(characters) or characters.min() <= ord(" ") or characters.max() >= 128:
        return False
    return bool((np.diff(starts) > 0).all())
