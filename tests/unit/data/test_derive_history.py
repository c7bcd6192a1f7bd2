"""Counts, recency and histories; what a training row may know of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.tables import EVENT, Tables
from tabcf.data.derive.history import bags, partners
from tabcf.errors import DataError
from tabcf.plugin.registry import parse_options
from tabcf.run.builtins.columns import COLUMNS

KINDS = {definition.name: definition for definition in COLUMNS}
DAY = 86_400

# Users are numbered by index; user 1 has three events, 2 has one, 0 is unknown.
USERS = [1, 2, 1, 1, 0]
ITEMS = ["a", "b", "b", "c", "a"]
DAYS = [3.0, 1.0, 1.0, 3.0, 2.0]
ITEM_INDEX = {"a": 1, "b": 2, "c": 3}


def tables(
    users: list[int],
    items: list[Any],
    days: list[Any] | None = None,
    *,
    here: str = EVENT,
    index: dict[str, list[int]] | None = None,
    is_training: bool = False,
) -> Tables:
    """Events of users and items, as a column of the events or of an entity sees them."""
    seconds = [None if day is None else day * DAY for day in days or [0.0] * len(users)]
    events = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": seconds})
    event_index = {
        "user": np.array(users, dtype=np.int64),
        "item": np.array([ITEM_INDEX.get(item, 0) for item in items], dtype=np.int64),
    }
    given_index = {name: np.array(values) for name, values in (index or {}).items()}
    return Tables(
        here,
        events,
        index=given_index or event_index,
        event_index=event_index,
        ids={"user": "user_id", "item": "item_id"},
        is_training=is_training,
    )


def fitted(kind: str, given: Any, train: Tables) -> tuple[Any, Any]:
    definition = KINDS[kind]
    options = parse_options(definition.options, given if isinstance(given, dict) else {"": given})
    assert definition.fit is not None
    state = definition.fit(train, options)
    assert all(array.dtype.kind in "iufU" for array in state.values())
    return options, state


def made(kind: str, given: Any, train: Tables, here: Tables | None = None) -> list[Any]:
    options, state = fitted(kind, given, train)
    return KINDS[kind].apply(here or train, options, state).tolist()


# Counts


def test_counts_are_of_training_events_and_of_no_one_unknown() -> None:
    assert made("count", {"of": "user", "log": False}, tables(USERS, ITEMS)) == [3, 1, 3, 3, 0]
    assert made("count", {"of": "item", "log": False}, tables(USERS, ITEMS)) == [2, 2, 2, 1, 2]


def test_a_training_row_is_not_counted_for_itself() -> None:
    train = tables(USERS, ITEMS, is_training=True)
    assert made("count", {"of": "user", "log": False}, train) == [2, 0, 2, 2, 0]
    assert KINDS["count"].leaves_out_own


def test_counts_of_an_entitys_rows() -> None:
    users = tables([], [], here="user", index={"user": [0, 2, 1]})
    assert made("count", {"of": "user", "log": False}, tables(USERS, ITEMS), users) == [0, 1, 3]
    assert made("count", "user", tables(USERS, ITEMS), users) == pytest.approx(
        np.log([1, 2, 4]).tolist()
    )


def test_a_count_of_no_entity_is_refused() -> None:
    with pytest.raises(DataError, match="no entity 'usr'; known: user, item"):
        fitted("count", "usr", tables(USERS, ITEMS))


@given(st.lists(st.integers(0, 4), max_size=30))
def test_a_training_rows_count_is_that_of_the_other_rows(users: list[int]) -> None:
    train = tables(users, ["a"] * len(users), is_training=True)
    found = made("count", {"of": "user", "log": False}, train)
    others = [sum(other == user for other in users) - 1 if user else 0 for user in users]
    assert found == others


# Recency


def test_recency_is_since_the_last_earlier_event() -> None:
    days = {"of": "user", "unit": "day", "log": False}
    train = tables(USERS, ITEMS, DAYS)
    assert made("recency", days, train) == pytest.approx(
        [2, np.nan, np.nan, 2, np.nan], nan_ok=True
    )
    later = tables([1, 2, 0, 1, 1], ["a"] * 5, [4.5, 1.0, 9.0, None, 0.5])
    assert made("recency", days, train, later) == pytest.approx([1.5] + [np.nan] * 4, nan_ok=True)


def test_units_and_logarithm() -> None:
    train, later = tables([1], ["a"], [0.0]), tables([1], ["a"], [2.0])
    for unit, expected in {"second": 172_800, "minute": 2880, "hour": 48, "day": 2}.items():
        given = {"of": "user", "unit": unit}
        assert made("recency", given | {"log": False}, train, later) == [expected]
        assert made("recency", given, train, later) == pytest.approx([np.log1p(expected)])


def test_recency_reads_the_entity_and_the_time() -> None:
    definition = KINDS["recency"]
    options = parse_options(definition.options, {"of": "item", "at": "when"})
    assert definition.sources("r", options) == ("item", "when")


def test_recency_without_any_time() -> None:
    nothing = tables([1, 2], ["a", "b"], [None, None])
    assert np.isnan(made("recency", "user", nothing)).all()
    assert np.isnan(made("recency", "user", nothing, tables([1], ["a"], [3.0]))).all()
    assert made("recency", "user", tables([], []), tables([], [])) == []


_EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(0, 6))), max_size=25
)


def _since(user: int, day: int | None, past: list[tuple[int, int | None]]) -> float:
    earlier = [d for u, d in past if u == user and d is not None and day is not None and d < day]
    return day - max(earlier) if earlier and user and day is not None else np.nan


@given(_EVENTS, _EVENTS)
def test_recency_is_what_a_search_finds(train: Any, asked: Any) -> None:
    given = {"of": "user", "log": False}
    past = tables([u for u, _ in train], ["a"] * len(train), [d for _, d in train])
    known = {u for u, _ in train}
    asked = [(u if u in known else 0, d) for u, d in asked]
    later = tables([u for u, _ in asked], ["a"] * len(asked), [d for _, d in asked])
    expected = [_since(u, d, train) for u, d in asked]
    assert made("recency", given, past, later) == pytest.approx(expected, nan_ok=True)
    # A training row finds others, as if it were not there itself.
    others = [_since(u, d, train[:i] + train[i + 1 :]) for i, (u, d) in enumerate(train)]
    assert made("recency", given, past) == pytest.approx(others, nan_ok=True)


# Histories


def test_a_history_is_the_items_of_a_user() -> None:
    users = tables([], [], here="user", index={"user": [0, 2, 1, 1]})
    found = made("history", "user", tables(USERS, ITEMS), users)
    assert found == [[], ["b"], ["a", "b", "c"], ["a", "b", "c"]]


def test_a_history_is_the_users_of_an_item() -> None:
    items = tables([], [], here="item", index={"item": [3, 1, 0]})
    assert made("history", "item", tables(USERS, ITEMS), items) == [["1"], ["1", "0"], []]


def test_a_history_may_be_of_the_last_events_only() -> None:
    users = tables([], [], here="user", index={"user": [0, 2, 1]})
    given = {"of": "user", "limit": 2}
    assert made("history", given, tables(USERS, ITEMS), users) == [[], ["b"], ["b", "c"]]


def test_events_without_an_id_are_in_no_history() -> None:
    train = tables([1, 2, 1], [7.0, None, 8.0])
    users = tables([], [], here="user", index={"user": [1, 2]})
    assert made("history", "user", train, users) == [["7", "8"], []]


def test_a_training_rows_own_item_is_named() -> None:
    definition = KINDS["history"]
    train = tables([1, 2, 1], [7.0, None, 8.0], is_training=True)
    options, state = fitted("history", "user", train)
    assert definition.own is not None
    own = definition.own(train, options, state)
    assert own.isna().tolist() == [False, True, False]
    assert own[~own.isna()].tolist() == ["7", "8"]
    assert definition.sources("h", options) == ("user",)


def test_a_history_needs_the_other_entity() -> None:
    events = pd.DataFrame({"user_id": [1]})
    train = Tables(EVENT, events, event_index={"user": np.array([1])}, ids={"user": "user_id"})
    with pytest.raises(DataError, match="history of user is made of the entity 'item'"):
        fitted("history", "user", train)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=30),
    st.one_of(st.none(), st.integers(1, 4)),
)
def test_histories_are_the_pairs(pairs: list[tuple[int, int]], limit: int | None) -> None:
    index = np.array([user for user, _ in pairs], dtype=np.int64)
    ids = pd.Series([item for _, item in pairs], dtype=np.int64)
    state = partners(index, ids, limit=limit)
    asked = np.array([0, *index[::-1]], dtype=np.int64)
    for user, found in zip(asked, bags(state, asked), strict=True):
        expected = [str(item) for other, item in pairs if other == user and user > 0]
        assert found == (expected if limit is None else expected[-limit:])


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("count", {}, "Field required"),
        ("recency", {"of": "user", "unit": "week"}, "'second', 'minute', 'hour' or 'day'"),
        ("history", {"of": "genre"}, "'user' or 'item'"),
        ("history", {"of": "user", "limit": 0}, "greater than 0"),
    ],
)
def test_refused_options(kind: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_options(KINDS[kind].options, given)
