"""Columns derived from a value's text: its start, a part, what a pattern finds, a hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import ConfigDict, Field, PositiveInt, model_validator

from tabcf.contracts.definitions import ColumnDefinition
from tabcf.contracts.options import Options
from tabcf.contracts.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TEXTS"]


class _OfText(Options):
    model_config = ConfigDict(populate_by_name=True)

    from_: str = Field(alias="from")
    """The column to read, as text; 7 and 7.0 are both "7"."""


class PrefixOptions(_OfText):
    """The start of a text."""

    length: PositiveInt
    """How many characters to keep."""


class RegexOptions(_OfText):
    """What a regular expression finds."""

    pattern: Annotated[str, Field(min_length=1, max_length=200)]
    """The expression, found anywhere in the text unless it holds `^` or `$`. It is matched by RE2,
    which takes Python's syntax without look-around and backreferences."""
    group: Annotated[int, Field(ge=0, le=8)] = 1
    """Which parenthesised part of the first match to keep, from 1; 0 is the whole match. The value
    is missing where nothing is found."""

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        from tabcf.data.derive.patterns import check_pattern

        check_pattern(self.pattern, self.group)
        return self


class SplitOptions(_OfText):
    """One of a text's parts."""

    separator: Annotated[str, Field(min_length=1)]
    """What stands between two parts."""
    part: int = 0
    """Which part to keep, from 0, or from -1 backwards; missing where there are fewer. Spaces
    around it are dropped."""


class HashOptions(_OfText):
    """A bucket for each value."""

    buckets: Annotated[int, Field(ge=2)]
    """How many buckets there are, numbered from 1; values that share one share a vector."""


def _from(name: str, options: Any) -> tuple[str, ...]:
    return (options.from_,)


def _prefix(tables: Tables, options: PrefixOptions, state: Any) -> pd.Series[Any]:
    from tabcf.data.derive.texts import prefix

    return prefix(tables.column(options.from_), options.length)


def _regex(tables: Tables, options: RegexOptions, state: Any) -> pd.Series[Any]:
    from tabcf.data.derive.texts import matched

    return matched(tables.column(options.from_), options.pattern, options.group)


def _split(tables: Tables, options: SplitOptions, state: Any) -> pd.Series[Any]:
    from tabcf.data.derive.texts import split

    return split(tables.column(options.from_), options.separator, options.part)


def _hash(tables: Tables, options: HashOptions, state: Any) -> pd.Series[Any]:
    from tabcf.data.derive.texts import hashed

    return hashed(tables.column(options.from_), options.buckets)


TEXTS = (
    ColumnDefinition(
        name="prefix",
        options=PrefixOptions,
        summary="The start of a text, such as a postcode's area.",
        example="area: {prefix: {from: user.zip_code, length: 3}}",
        output="category",
        sources=_from,
        apply=_prefix,
    ),
    ColumnDefinition(
        name="regex",
        options=RegexOptions,
        summary="What a regular expression finds in a text.",
        example=r"""year: {regex: {from: item.title, pattern: '\((\d{4})\)$'}}""",
        output="category",
        sources=_from,
        apply=_regex,
    ),
    ColumnDefinition(
        name="split",
        options=SplitOptions,
        summary="One of a text's parts.",
        example='main_genre: {split: {from: item.genres, separator: "|", part: 0}}',
        output="category",
        sources=_from,
        apply=_split,
    ),
    ColumnDefinition(
        name="hash",
        options=HashOptions,
        summary="A bucket for each value, known or new: for columns of very many values.",
        example="device: {hash: {from: device_id, buckets: 1000}}",
        output="category",
        sources=_from,
        apply=_hash,
    ),
)
