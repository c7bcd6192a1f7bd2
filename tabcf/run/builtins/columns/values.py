"""Columns derived from other columns' values: bins, crosses, look-ups."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from tabcf.contracts.definitions import ColumnDefinition
from tabcf.contracts.options import Options
from tabcf.contracts.tables import EVENT, Tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VALUES"]

_Value = str | int | float | bool


class BinsOptions(Options):
    """Which of several intervals a number lies in."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str = Field(alias="from")
    """The column of numbers."""
    edges: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    """Where intervals meet, rising; 25 belongs to the interval that starts there."""
    quantiles: Annotated[int, Field(ge=2, le=1000)] | None = None
    """In place of edges: as many intervals, each with about as many training rows. Fewer where
    many rows have equal numbers."""

    @field_validator("edges")
    @classmethod
    def _rising(cls, edges: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if edges is not None and any(b <= a for a, b in pairwise(edges)):
            raise ValueError(f"expected rising numbers, got {list(edges)}")
        return edges

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.edges is None) == (self.quantiles is None):
            got = "neither" if self.edges is None else "both"
            raise ValueError(f"expected either `edges` or `quantiles`, got {got}")
        return self


class CrossOptions(Options):
    """Several columns' values as one category."""

    model_config = ConfigDict(populate_by_name=True)
    shorthand: ClassVar[str | None] = "from_"

    from_: Annotated[tuple[str, ...], Field(min_length=2)] = Field(alias="from")
    """The columns: `timestamp`, `user.age`, `item` for an item's ids, or a derived one."""


class MappingOptions(Options):
    """What a list or a file says of each value."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str = Field(alias="from")
    """The column whose values are looked up, compared as text; 7 and 7.0 are both "7"."""
    values: dict[str, _Value] | None = None
    """What each value becomes."""
    table: str | None = None
    """In place of values: a file that lies beside the spec or the plugin, or below it. The run
    keeps what it says."""
    key: str | None = None
    """The file's column to look up in; by default the last part of `from`."""
    value: str | None = None
    """The file's column of what each becomes."""
    default: _Value | None = None
    """What a value that is not listed becomes, otherwise missing. A missing value stays so."""

    @field_validator("values", mode="before")
    @classmethod
    def _text_keys(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        texts: dict[str, Any] = {}
        for key, value in values.items():
            if _text(key) in texts:
                raise ValueError(f"'{_text(key)}' is listed twice")
            texts[_text(key)] = value
        return texts

    @field_validator("table")
    @classmethod
    def _beside(cls, path: str | None) -> str | None:
        if path is None:
            return None
        windows = PureWindowsPath(path)
        leads_away = bool(windows.drive or windows.root) or PurePosixPath(path).is_absolute()
        if leads_away or ".." in windows.parts or "://" in path or not path:
            raise ValueError(
                f"expected a file that lies beside the spec or plugin, or below it, got '{path}'"
            )
        return path

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.values is None) == (self.table is None):
            got = "neither" if self.values is None else "both"
            raise ValueError(f"expected either `values` or `table`, got {got}")
        if self.table is not None and self.value is None:
            raise ValueError(f"expected `value`, the column of {self.table} to take values from")
        if self.table is None and (self.key is not None or self.value is not None):
            raise ValueError("`key` and `value` are columns of a `table`; there is none")
        return self


def _text(value: Any) -> str:
    """As `tabcf.data.derive.texts.text_of`, which would load pandas."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _from(name: str, options: Any) -> tuple[str, ...]:
    return (options.from_,)


def _table(tables: Tables) -> str:
    return "events" if tables.here == EVENT else tables.here


def _fit_bins(tables: Tables, options: BinsOptions) -> dict[str, Any]:
    from tabcf.data.derive.bins import quantile_edges

    if options.quantiles is None:
        assert options.edges is not None
        return {"edges": list(options.edges)}
    series = tables.column(options.from_)
    return {"edges": quantile_edges(series, options.quantiles, table=_table(tables)).tolist()}


def _bins(tables: Tables, options: BinsOptions, state: dict[str, Any]) -> pd.Series[Any]:
    from tabcf.data.derive.bins import bins

    return bins(tables.column(options.from_), state["edges"], table=_table(tables))


def _cross(tables: Tables, options: CrossOptions, state: Any) -> pd.Series[Any]:
    from tabcf.data.derive.crosses import cross

    return cross([tables.column(reference) for reference in options.from_])


def _fit_mapping(tables: Tables, options: MappingOptions) -> dict[str, Any]:
    from tabcf.data.derive.lookups import lookup_of_frame

    if options.values is not None:
        return {"values": {key: _text(value) for key, value in options.values.items()}}
    assert options.table is not None
    assert options.value is not None
    key = options.key or options.from_.rpartition(".")[2]
    frame = tables.read(options.table)
    return {"values": lookup_of_frame(frame, options.table, key=key, value=options.value)}


def _mapping(tables: Tables, options: MappingOptions, state: dict[str, Any]) -> pd.Series[Any]:
    from tabcf.data.derive.lookups import looked_up

    default = None if options.default is None else _text(options.default)
    return looked_up(tables.column(options.from_), state["values"], default=default)


VALUES = (
    ColumnDefinition(
        name="bins",
        options=BinsOptions,
        summary="Which of several intervals a number lies in.",
        example="age_group: {bins: {from: user.age, edges: [25, 35, 50]}}",
        output="category",
        sources=_from,
        fit=_fit_bins,
        apply=_bins,
    ),
    ColumnDefinition(
        name="cross",
        options=CrossOptions,
        summary="Several columns' values as one category.",
        example="who: {cross: [user.gender, user.occupation]}",
        output="category",
        sources=lambda name, options: tuple(options.from_),
        apply=_cross,
    ),
    ColumnDefinition(
        name="mapping",
        options=MappingOptions,
        summary="What a list or a file says of each value.",
        example="region: {mapping: {from: user.zip_code, table: regions.csv, value: region}}",
        output="category",
        sources=_from,
        fit=_fit_mapping,
        apply=_mapping,
    ),
)
