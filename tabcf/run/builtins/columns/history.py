"""Columns derived from training events: how many, how long ago, with whom.

Of a training row they leave its own event out, which nobody knows when a prediction is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveInt

from tabcf.contracts.definitions import ColumnDefinition
from tabcf.contracts.options import Options
from tabcf.contracts.tables import EVENT, Tables
from tabcf.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["HISTORY"]

_MICROS = {"second": 1e6, "minute": 6e7, "hour": 3.6e9, "day": 8.64e10}


class CountOptions(Options):
    """How many training events an entity has."""

    shorthand: ClassVar[str | None] = "of"

    of: str
    """The entity: `user`, `item` or another one."""
    log: bool = True
    """Whether to take log(1 + n): few have most of the events."""


class RecencyOptions(Options):
    """How long ago an entity's last training event was."""

    shorthand: ClassVar[str | None] = "of"

    of: str
    """The entity: `user`, `item` or another one."""
    at: str = "timestamp"
    """The events' column of times: ISO text, a date type, or seconds since 1970."""
    unit: Literal["second", "minute", "hour", "day"] = "day"
    """What the time is counted in."""
    log: bool = True
    """Whether to take log(1 + time): a day more means much at first and little later."""


class HistoryOptions(Options):
    """All that an entity had training events with: the implicit bag of SVD++ (Koren 2008).

    Koren 2008, "Factorization meets the neighborhood", KDD: the set N(u) of equation 15. Of a
    training row the set is without that row's own item or user, which is what it is to tell.
    """

    shorthand: ClassVar[str | None] = "of"

    of: Literal["user", "item"]
    """`user` for the items that each user had, `item` for the users who had each item."""
    limit: PositiveInt | None = None
    """How many to keep, the last in row order; by default all."""


def _event_index(tables: Tables, entity: str) -> np.ndarray:
    if entity not in tables.event_index:
        known = ", ".join(tables.event_index) or "none"
        raise DataError(f"column: no entity '{entity}'; known: {known}")
    return tables.event_index[entity]


def _number(values: np.ndarray, *, is_log: bool) -> pd.Series[Any]:
    import numpy as np
    import pandas as pd

    return pd.Series(np.log1p(values) if is_log else values)


def _fit_count(tables: Tables, options: CountOptions) -> dict[str, Any]:
    from tabcf.data.derive.history import counts

    return {"counts": counts(_event_index(tables, options.of))}


def _count(tables: Tables, options: CountOptions, state: dict[str, Any]) -> pd.Series[Any]:
    import numpy as np

    found = state["counts"][tables.index[options.of]].astype(np.float64)
    if tables.is_training:
        found = np.maximum(found - 1, 0)
    return _number(found, is_log=options.log)


def _fit_recency(tables: Tables, options: RecencyOptions) -> dict[str, Any]:
    from tabcf.data.derive.history import grouped
    from tabcf.data.derive.times import microseconds

    if tables.here != EVENT:
        raise DataError(
            f"column: recency of {options.of}: expected `at` to be a column of the events, and the "
            f"column to be declared in the top-level `columns`; '{options.at}' is one of "
            f"{tables.here}"
        )
    times, is_missing = microseconds(tables.column(options.at))
    bounds, rows = grouped(_event_index(tables, options.of), times, is_left_out=is_missing)
    return {"bounds": bounds, "times": times[rows]}


def _recency(tables: Tables, options: RecencyOptions, state: dict[str, Any]) -> pd.Series[Any]:
    import numpy as np

    from tabcf.data.derive.history import micros_since_last
    from tabcf.data.derive.times import microseconds

    at, is_missing = microseconds(tables.column(options.at))
    found = micros_since_last(state["bounds"], state["times"], tables.index[options.of], at)
    found = np.where(is_missing, np.nan, found / _MICROS[options.unit])
    return _number(found, is_log=options.log)


def _partner(tables: Tables, options: HistoryOptions) -> pd.Series[Any]:
    """Each event's id of the other of user and item."""
    other = "item" if options.of == "user" else "user"
    if other not in tables.ids:
        raise DataError(
            f"column: the history of {options.of} is made of the entity '{other}', which the spec "
            "does not have"
        )
    return tables.events[tables.ids[other]]


def _fit_history(tables: Tables, options: HistoryOptions) -> dict[str, Any]:
    from tabcf.data.derive.history import partners

    return dict(
        partners(_event_index(tables, options.of), _partner(tables, options), limit=options.limit)
    )


def _history(tables: Tables, options: HistoryOptions, state: dict[str, Any]) -> pd.Series[Any]:
    from tabcf.data.derive.history import bags

    return bags(state, tables.index[options.of])


def _own_partner(tables: Tables, options: HistoryOptions, state: Any) -> pd.Series[Any]:
    from tabcf.data.derive.texts import as_text

    return as_text(_partner(tables, options))


HISTORY = (
    ColumnDefinition(
        name="count",
        options=CountOptions,
        summary="How many training events an entity has.",
        example="activity: {count: user}",
        output="number",
        sources=lambda name, options: (options.of,),
        fit=_fit_count,
        apply=_count,
        leaves_out_own=True,
        follows_events=True,
    ),
    ColumnDefinition(
        name="recency",
        options=RecencyOptions,
        summary="How long ago an entity's last training event was.",
        example="since_last: {recency: {of: user, at: timestamp, unit: day}}",
        output="number",
        sources=lambda name, options: (options.of, options.at),
        fit=_fit_recency,
        apply=_recency,
        follows_events=True,
    ),
    ColumnDefinition(
        name="history",
        options=HistoryOptions,
        summary="The items a user had in training, or an item's users: SVD++'s implicit bag.",
        example="had: {history: user}",
        output="set",
        sources=lambda name, options: (options.of,),
        fit=_fit_history,
        apply=_history,
        own=_own_partner,
        follows_events=True,
    ),
)
