"""Reading delimited text in blocks; each column gets the type that all its values have.

A column is whole numbers only if every value reads back as it was written, so that the id `007`
stays `007`; else numbers if all values are, else text. Each block is typed on its own and is kept
as narrow as its values allow, so that the text of one block only is in memory.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from enum import IntEnum
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tabcf.data.arrow import to_series
from tabcf.data.source import Source
from tabcf.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_text"]

_MISSING_NUMBERS = ("", "NA", "NaN", "nan", "N/A", "null", "NULL", "None", "?")
_BLOCK_BYTES = 1 << 22
# Values that are looked at first: a text among them settles the column.
_SAMPLE = 256


class _Kind(IntEnum):
    """What a column's values are, from the narrowest to the widest."""

    MISSING = 0
    WHOLE = 1
    NUMBER = 2
    TEXT = 3


@dataclass(slots=True)
class _Column:
    """What was read of a column so far; `must_reread` where its first blocks were taken for less.

    A part of missing values is kept as text, since in a text column `NA` is a value.
    """

    kind: _Kind = _Kind.MISSING
    parts: list[tuple[_Kind, pa.Array]] = field(default_factory=list)
    must_reread: bool = False

    def add(self, text: pa.StringArray) -> None:
        kind, part = _typed(text, self.kind)
        if kind is _Kind.TEXT and self.kind in (_Kind.WHOLE, _Kind.NUMBER):
            self.must_reread = True
        self.kind = max(self.kind, kind)
        self.parts.append((kind, part))

    def series(self) -> pd.Series[Any]:
        """All parts as one; they are let go."""
        import pyarrow as pa

        type_ = {_Kind.WHOLE: pa.int64(), _Kind.NUMBER: pa.float64()}.get(self.kind, pa.string())
        parts = [
            pa.nulls(len(part), type_) if kind is _Kind.MISSING < self.kind < _Kind.TEXT else part
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
        return pd.Series(values)


def read_text(path: Path, name: str) -> Source:
    """Read a delimited text file with a header line.

    Raises:
        DataError: It is no UTF-8 text, a row has too few or too many values, or a column's name
            is missing or given twice.
    """
    import pyarrow as pa

    header, delimiter = _header(path, name)
    try:
        columns = _read(path, header, delimiter, {})
        if any(column.must_reread for column in columns.values()):
            kinds = {key: column.kind for key, column in columns.items()}
            columns = _read(path, header, delimiter, kinds)
    except pa.ArrowInvalid as error:
        raise DataError(f"{name}: {_csv_problem(str(error))}") from None
    frame = pd.DataFrame({key: columns.pop(key).series() for key in list(columns)}, copy=False)
    return Source(frame, name, is_text=True, first_line=2)


def _read(
    path: Path, header: list[str], delimiter: str, kinds: dict[str, _Kind]
) -> dict[str, _Column]:
    """All columns, none narrower than `kinds` says."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    reader = pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        parse_options=pa_csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=_has_quotes(path)
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
    )
    columns = {key: _Column(kinds.get(key, _Kind.MISSING)) for key in reader.schema.names}
    for batch in reader:
        for key, text in zip(batch.schema.names, batch.columns, strict=True):
            columns[key].add(text)
    return columns


def _has_quotes(path: Path) -> bool:
    """Whether a value may go over several lines, which takes a second look at each block."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return content.find(b'"') >= 0


def _header(path: Path, name: str) -> tuple[list[str], str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: expected UTF-8 text; {error.reason}") from None
    if not line.strip():
        raise DataError(f"{name}: expected a header line with column names, got an empty line")
    delimiter = "\t" if path.suffix.lower() in {".tsv", ".tab"} else _delimiter(line)
    names = next(csv.reader([line], delimiter=delimiter))
    names = [column.strip() for column in names]
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise DataError(f"{name}:1: column names must be unique; given twice: {', '.join(twice)}")
    if "" in names:
        raise DataError(f"{name}:1: column {names.index('') + 1} of {len(names)} has no name")
    return names, delimiter


def _delimiter(header: str) -> str:
    return max(",;\t|", key=header.count)


def _csv_problem(message: str) -> str:
    """Say pyarrow's complaint in one short line."""
    first = message.splitlines()[0].removeprefix("CSV parse error: ")
    if "UTF8" in first or "utf8" in first.lower():
        return "expected UTF-8 text; save the file in that encoding"
    return first[:200]


def _typed(text: pa.StringArray, least: _Kind) -> tuple[_Kind, pa.Array]:
    """A block's values by the narrowest kind they have, which is at least `least`."""
    starts, characters = _characters(text)
    # Up to '9' there are digits, signs, dots and spaces, and none of the missing values but ''.
    if least < _Kind.TEXT and len(characters) and characters.max() <= ord("9"):
        found = _plain_numbers(text, starts, characters, least)
        if found is not None:
            return found
    if least < _Kind.TEXT and _typed_with_care(text[:_SAMPLE], least)[0] is _Kind.TEXT:
        least = _Kind.TEXT
    if least is _Kind.TEXT and _is_clean(starts, characters):
        return _Kind.TEXT, text
    return _typed_with_care(text, least)


def _plain_numbers(
    text: pa.StringArray, starts: np.ndarray, characters: np.ndarray, least: _Kind
) -> tuple[_Kind, pa.Array] | None:
    """A block without missing values as numbers; None where that needs a closer look."""
    import pyarrow as pa

    try:
        if least < _Kind.NUMBER:
            try:
                whole = text.cast(pa.int64())
                values = whole.to_numpy()
                # No number is shorter than as Python writes it, so that equal sums prove each.
                if _written_length(values) == len(characters):
                    fits = values.min() >= -(2**31) and values.max() < 2**31
                    return _Kind.WHOLE, pa.array(values.astype(np.int32)) if fits else whole
                return None
            except pa.ArrowInvalid:
                pass
        number = text.cast(pa.float64())
        return None if _has_leading_zero(starts, characters) else (_Kind.NUMBER, number)
    except pa.ArrowInvalid:
        return None


def _typed_with_care(text: pa.StringArray, least: _Kind) -> tuple[_Kind, pa.Array]:
    """The same for blocks with missing values, spaces, exponents or text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(text)
    filled = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    is_missing = pc.is_in(text, value_set=pa.array(_MISSING_NUMBERS))
    if pc.all(is_missing).as_py():
        return _Kind.MISSING, filled
    if least is _Kind.TEXT:
        return _Kind.TEXT, filled
    present = pc.if_else(is_missing, pa.scalar(None, pa.string()), text)
    if least < _Kind.NUMBER:
        try:
            whole = present.cast(pa.int64())
            if pc.all(pc.equal(whole.cast(pa.string()), present)).as_py():
                return _Kind.WHOLE, whole
        except pa.ArrowInvalid:
            pass
    if not pc.any(pc.match_substring_regex(present, r"^[+-]?0\d|^\+")).as_py():
        try:
            return _Kind.NUMBER, present.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
    return _Kind.TEXT, filled


def _characters(text: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """`(N + 1,)` int32 bounds of N values in their joined bytes, and those."""
    _, offsets, data = text.buffers()
    bounds = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    if data is None:
        return bounds, np.zeros(0, np.uint8)
    return bounds - bounds[0], np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]


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
