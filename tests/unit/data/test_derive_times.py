"""Parts of the day."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.tables import EVENT, Tables
from tabcf.data.derive.times import hour_bins, microseconds
from tabcf.errors import DataError
from tabcf.plugin.registry import parse_options
from tabcf.run.builtins.columns import COLUMNS

KINDS = {definition.name: definition for definition in COLUMNS}


def made(kind: str, given: dict[str, Any], **columns: list[Any]) -> list[Any]:
    """The column's values for event columns; None where missing."""
    definition, events = KINDS[kind], pd.DataFrame(columns)
    tables = Tables(EVENT, events)
    options = parse_options(definition.options, given)
    state = definition.fit(tables, options) if definition.fit else None
    series = definition.apply(tables, options, state)
    assert len(series) == len(events)
    return [None if value is pd.NA or value != value else value for value in series]


def test_an_hour_belongs_to_the_part_that_it_begins() -> None:
    stamps = ["2024-05-31T00:00", "2024-05-31T05:59:59.999999", "2024-05-31T06:00", None]
    assert made("hour_bins", {"from": "timestamp"}, timestamp=stamps) == [
        "[0, 6)",
        "[0, 6)",
        "[6, 12)",
        None,
    ]


def test_edges_may_lie_within_an_hour() -> None:
    stamps = ["2024-05-31T06:05:59", "2024-05-31T06:06", "2024-05-31T23:59:59"]
    found = made("hour_bins", {"from": "t", "edges": [6.1]}, t=stamps)
    assert found == ["[0, 6.1)", "[6.1, 24)", "[6.1, 24)"]


def test_numbers_are_seconds_since_1970() -> None:
    found = made("hour_bins", {"from": "t"}, t=[881250949, 6 * 3600, np.nan])
    # The first is 1997-12-04, 15:55:49.
    assert found == ["[12, 18)", "[6, 12)", None]


def test_the_clock_is_the_time_zones_also_when_it_changes() -> None:
    # In Paris 2024-03-31 01:00 UTC is 03:00, an hour before is 01:00; on 10-27 02:00 comes twice.
    stamps = ["2024-03-31T00:59Z", "2024-03-31T01:00Z", "2024-10-27T00:30Z", "2024-10-27T01:30Z"]
    options = {"from": "t", "edges": [2, 3], "timezone": "Europe/Paris"}
    assert made("hour_bins", options, t=stamps) == ["[0, 2)", "[3, 24)", "[2, 3)", "[2, 3)"]


def test_no_rows_make_no_labels() -> None:
    assert made("hour_bins", {"from": "t"}, t=[]) == []


def test_all_missing() -> None:
    assert made("hour_bins", {"from": "t"}, t=[None, None]) == [None, None]


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(DataError, match="column 't': expected dates as ISO text"):
        made("hour_bins", {"from": "t"}, t=["noon"])


@given(
    st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2090, 1, 1)),
    st.lists(st.integers(1, 95), min_size=1, max_size=5, unique=True),
    st.sampled_from(["UTC", "Europe/Paris", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_a_label_holds_the_hour_on_the_wall(
    moment: dt.datetime, quarters: list[int], zone: str
) -> None:
    edges = [quarter / 4 for quarter in sorted(quarters)]
    stamp = moment.replace(tzinfo=dt.UTC)
    (label,) = hour_bins(pd.Series([stamp.isoformat()]), edges, timezone=zone)
    low, high = (float(text) for text in label[1:-1].split(", "))
    local = stamp.astimezone(ZoneInfo(zone))
    hour = local.hour + local.minute / 60 + local.second / 3600 + local.microsecond / 3.6e9
    assert low <= hour < high


def test_microseconds_read_all_forms_alike() -> None:
    seconds = pd.Series([0.0, 1.5, np.nan])
    text = pd.Series(["1970-01-01T00:00Z", "1970-01-01T01:00:01.5+01:00", None])
    for series in (seconds, text, pd.to_datetime(text, utc=True, format="ISO8601")):
        values, is_missing = microseconds(series)
        assert values.tolist() == [0, 1_500_000, 0]
        assert is_missing.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"timezone": "Mars/Base"}, "no time zone 'Mars/Base'; such as UTC or Europe/Paris"),
        ({"timezone": "../UTC"}, r"no time zone '\.\./UTC'"),
        ({"timezone": "Europe"}, "no time zone 'Europe'"),
        ({"timezone": ""}, "no time zone ''"),
        ({"edges": [12, 6]}, r"expected hours between 0 and 24, rising, got \[12\.0, 6\.0\]"),
        ({"edges": [0, 6]}, "expected hours between 0 and 24, rising"),
        ({"edges": [6, 24]}, "expected hours between 0 and 24, rising"),
        ({"edges": [6, 6]}, "expected hours between 0 and 24, rising"),
        ({"edges": []}, "at least 1 item"),
        ({"edges": [float("nan")]}, "finite number"),
    ],
)
def test_refused_options(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_options(KINDS["hour_bins"].options, {"from": "t", **given})


def test_date_part_refuses_an_unknown_zone_as_well() -> None:
    with pytest.raises(ValueError, match="no time zone 'Mars/Base'"):
        parse_options(
            KINDS["date_part"].options, {"from": "t", "part": "hour", "timezone": "Mars/Base"}
        )
