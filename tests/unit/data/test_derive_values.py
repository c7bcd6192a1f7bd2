"""Bins, crosses and look-ups."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.tables import EVENT, Tables
from tabcf.data.derive.bins import bins, interval_labels, quantile_edges
from tabcf.errors import DataError
from tabcf.plugin.registry import parse_options
from tabcf.run.builtins.columns import COLUMNS

KINDS = {definition.name: definition for definition in COLUMNS}

USERS = pd.DataFrame(
    {
        "user_id": [np.nan, 1, 2, 3],
        "age": [np.nan, 24, 25, 80],
        "gender": [None, "F", "M", None],
        "zip_code": [None, "10001", "94110", "T8H1N"],
    }
)


def tables(**columns: list[Any]) -> Tables:
    """Events of users 1, 2, 3 and someone unknown, with further columns."""
    events = pd.DataFrame({"user_id": [1, 2, 3, 9], **columns})
    rows = np.array([1, 2, 3, 0])
    return Tables(
        EVENT,
        events,
        {"user": USERS},
        rows={"user": rows},
        index={"user": rows},
        event_index={"user": rows},
        ids={"user": "user_id"},
    )


def made(kind: str, given: dict[str, Any], frames: Tables) -> list[Any]:
    """The column's values, with a state that went through JSON; None where missing."""
    definition = KINDS[kind]
    options = parse_options(definition.options, given)
    state = definition.fit(frames, options) if definition.fit else None
    series = definition.apply(frames, options, json.loads(json.dumps(state)))
    assert len(series) == len(frames.events)
    return [None if value is pd.NA or value != value else value for value in series]


# Bins


def test_bins_hold_their_lower_edge() -> None:
    found = made("bins", {"from": "user.age", "edges": [25, 35, 50]}, tables())
    assert found == ["(-inf, 25)", "[25, 35)", "[50, inf)", None]


def test_bins_of_an_events_own_texts_of_numbers() -> None:
    found = made("bins", {"from": "n", "edges": [0.5]}, tables(n=["0.5", "-1", "", "2"]))
    assert found == ["[0.5, inf)", "(-inf, 0.5)", None, "[0.5, inf)"]


def test_quantiles_are_those_of_the_rows_of_the_fit() -> None:
    definition = KINDS["bins"]
    options = parse_options(definition.options, {"from": "n", "quantiles": 2})
    assert definition.fit is not None
    state = definition.fit(tables(n=[1, 2, 3, 4]), options)
    assert state == {"edges": [3.0]}
    later = definition.apply(tables(n=[100, 200, 300, -7]), options, state)
    assert later.tolist() == ["[3, inf)"] * 3 + ["(-inf, 3)"]


def test_equal_quantiles_are_one() -> None:
    assert quantile_edges(pd.Series([0, 0, 0, 0, 5, 9]), 4, table="t").tolist() == [5]
    assert quantile_edges(pd.Series([3, 3, 3]), 4, table="t").tolist() == []


def test_quantiles_of_nothing_are_one_interval() -> None:
    found = made("bins", {"from": "n", "quantiles": 4}, tables(n=[None, None, None, None]))
    assert found == [None] * 4
    assert interval_labels([]) == ["(-inf, inf)"]


def test_labels_of_near_edges_differ() -> None:
    assert interval_labels([881250949, 881250950]) == [
        "(-inf, 881250949)",
        "[881250949, 881250950)",
        "[881250950, inf)",
    ]
    assert interval_labels([1 / 3, 0.3333334]) == [
        "(-inf, 0.3333333)",
        "[0.3333333, 0.3333334)",
        "[0.3333334, inf)",
    ]


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=6, unique=True),
)
def test_a_label_holds_the_value(values: list[float], edges: list[int]) -> None:
    labels = bins(pd.Series(values), sorted(edges), table="events")
    for value, label in zip(values, labels, strict=True):
        low, high = (float(text) for text in label[1:-1].split(", "))
        assert low <= value < high


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.integers(2, 10))
def test_every_quantile_bin_holds_a_row(values: list[int], n: int) -> None:
    edges = quantile_edges(pd.Series(values), n, table="events")
    assert len(edges) < n
    assert (np.diff(edges) > 0).all()
    found = np.searchsorted(edges, values, side="right")
    assert sorted(set(found.tolist())) == list(range(len(edges) + 1))


def test_bins_of_what_is_no_number_are_refused() -> None:
    frames = tables(n=[1, 2, "five", 4])
    with pytest.raises(DataError, match="events: column 'n': 1 of 4 rows are not numbers"):
        made("bins", {"from": "n", "quantiles": 2}, frames)


# Crosses


def test_a_cross_is_missing_where_a_part_is() -> None:
    frames = tables(hour=[7, 7.0, 8, 9])
    assert made("cross", {"": ["user.gender", "hour"]}, frames) == ["F & 7", "M & 7", None, None]


def test_a_cross_with_an_entitys_ids_reads_them_like_ids() -> None:
    frames = tables(screen=["tv", None, "tv", "phone"])
    assert made("cross", {"from": ["user", "screen"]}, frames) == [
        "1 & tv",
        None,
        "3 & tv",
        "9 & phone",
    ]
    assert KINDS["cross"].sources(
        "x", parse_options(KINDS["cross"].options, {"": ["a", "b.c"]})
    ) == (
        "a",
        "b.c",
    )


_CELLS = st.one_of(st.none(), st.sampled_from("abc"))


@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS), max_size=20))
def test_a_cross_is_its_parts_joined(rows: list[tuple[str | None, ...]]) -> None:
    events = pd.DataFrame(rows, columns=["x", "y", "z"], dtype=object)
    definition = KINDS["cross"]
    options = parse_options(definition.options, {"from": ["x", "y", "z"]})
    found = definition.apply(Tables(EVENT, events), options, None)
    expected = [None if None in row else " & ".join(map(str, row)) for row in rows]
    assert [None if value != value else value for value in found] == expected


# Look-ups


def test_listed_values() -> None:
    given = {"from": "user.gender", "values": {"F": "woman"}}
    assert made("mapping", given, tables()) == ["woman", None, None, None]
    assert made("mapping", {**given, "default": "other"}, tables()) == [
        "woman",
        "other",
        None,
        None,
    ]


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0], ["1", "2", "3", "4"]])
def test_keys_are_compared_as_text(numbers: list[Any]) -> None:
    given = {"from": "n", "values": {1: "one", "2": 2, 3.0: 3.0}}
    assert made("mapping", given, tables(n=numbers)) == ["one", "2", "3", None]


def reading(frames: Tables, file: pd.DataFrame | None) -> Tables:
    """The same tables, beside which there is one file, regions.csv, or none."""

    def read(path: str) -> pd.DataFrame:
        assert file is not None, "the file was read again"
        assert path == "regions.csv"
        return file

    return Tables(
        frames.here,
        frames.events,
        frames.entities,
        rows=frames.rows,
        index=frames.index,
        event_index=frames.event_index,
        ids=frames.ids,
        read=read,
    )


REGIONS = pd.DataFrame(
    {
        "zip_code": ["10001", "94110", None, "20001"],
        "code": [1, 2, 3, 4],
        "region": ["east", "west", "x", None],
    }
)


def test_a_file_is_read_once_and_its_key_is_named_as_the_column() -> None:
    definition = KINDS["mapping"]
    given = {"from": "user.zip_code", "table": "regions.csv", "value": "region"}
    options = parse_options(definition.options, given)
    assert definition.fit is not None
    state = definition.fit(reading(tables(), REGIONS), options)
    assert state == {"values": {"10001": "east", "94110": "west"}}
    found = definition.apply(reading(tables(), None), options, state)
    assert found.tolist()[:2] == ["east", "west"]
    assert found.isna().tolist() == [False, False, True, True]


def test_a_file_with_another_key() -> None:
    given = {"from": "user", "table": "regions.csv", "key": "code", "value": "region"}
    assert made("mapping", given, reading(tables(), REGIONS)) == ["east", "west", "x", None]


def test_a_key_that_comes_twice_is_refused() -> None:
    twice = pd.DataFrame({"code": [7.0, 8, 7], "region": ["a", "b", "c"]})
    given = {"from": "user", "table": "regions.csv", "key": "code", "value": "region"}
    message = r"regions.csv: column 'code': expected each key once; '7' comes again at row 2"
    with pytest.raises(DataError, match=message):
        made("mapping", given, reading(tables(), twice))


def test_a_file_without_the_column_is_refused() -> None:
    given = {"from": "user.zip_code", "table": "regions.csv", "value": "regoin"}
    with pytest.raises(DataError, match=r"regions.csv: no column 'regoin'; did you mean 'region'"):
        made("mapping", given, reading(tables(), REGIONS))


FILE = {"from": "a", "table": "t.csv", "value": "v"}


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("bins", {"from": "a"}, "expected either `edges` or `quantiles`, got neither"),
        ("bins", {"from": "a", "edges": [1], "quantiles": 3}, "`quantiles`, got both"),
        ("bins", {"from": "a", "edges": [2, 1]}, r"expected rising numbers, got \[2\.0, 1\.0\]"),
        ("bins", {"from": "a", "edges": [1, 1]}, "expected rising numbers"),
        ("bins", {"from": "a", "edges": []}, "at least 1 item"),
        ("bins", {"from": "a", "quantiles": 1}, "greater than or equal to 2"),
        ("cross", {"from": ["a"]}, "at least 2 items"),
        ("cross", {"": ["a"]}, "at least 2 items"),
        ("mapping", {"from": "a"}, "expected either `values` or `table`, got neither"),
        ("mapping", {**FILE, "values": {}}, "expected either `values` or `table`, got both"),
        ("mapping", {"from": "a", "table": "t.csv"}, "expected `value`, the column of t.csv"),
        ("mapping", {"from": "a", "values": {}, "key": "k"}, "are columns of a `table`"),
        ("mapping", {"from": "a", "values": {1: "a", "1": "b"}}, "'1' is listed twice"),
        ("mapping", {"from": "a", "values": ["b"]}, "dictionary"),
        *(
            ("mapping", {**FILE, "table": path}, "expected a file that lies beside the spec or pl")
            for path in (
                "/etc/passwd",
                "../t.csv",
                "a/../../t.csv",
                r"a\..\t.csv",
                r"C:\t.csv",
                "c:t.csv",
                r"\\host\t.csv",
                "https://x.org/t.csv",
                "",
            )
        ),
    ],
)
def test_refused_options(kind: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_options(KINDS[kind].options, given)


def test_a_file_may_lie_below() -> None:
    assert parse_options(KINDS["mapping"].options, {**FILE, "table": "tables/..t.csv"})
