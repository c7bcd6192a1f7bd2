"""Whole users and items that training never sees."""

from __future__ import annotations

import doctest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.data import cold_split as module
from tabcf.data.cold_split import cold_split
from tabcf.data.parts import GIVEN, TEST, TRAIN, VALID
from tabcf.errors import DataError

SHARE = st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.4])
SEED = st.integers(0, 99)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _events(n: int, *, seed: int = 0) -> pd.DataFrame:
    """An index that is not 0, 1, 2, …: labels must follow the order of rows."""
    rng = _rng(seed)
    columns = {name: rng.integers(0, 25, size=n) for name in ("user_id", "item_id")}
    frame = pd.DataFrame({**columns, "timestamp": rng.integers(0, 50, size=n)})
    return frame.set_axis(rng.permutation(n) + 1000, axis=0)


def _wanted(n: int, share: float) -> list[int]:
    """Counts within one of a share; at least one unless the share is 0."""
    if not share:
        return [0]
    return [count for count in range(1, n + 1) if abs(count - n * share) <= 1]


@given(n=st.integers(30, 200), valid=SHARE, test=SHARE, seed=SEED)
def test_all_rows_of_an_id_are_in_one_part(n, valid, test, seed):
    events = _events(n, seed=seed)
    part = cold_split(events, columns=["user_id"], valid=valid, test=test, rng=_rng(seed))
    ids = [set(events["user_id"].to_numpy()[part == number]) for number in (TRAIN, VALID, TEST)]
    n_ids = events["user_id"].nunique()
    assert not ids[TRAIN] & ids[VALID]
    assert not ids[TRAIN] & ids[TEST]
    assert not ids[VALID] & ids[TEST]
    assert len(ids[VALID]) in _wanted(n_ids, valid)
    assert len(ids[TEST]) in _wanted(n_ids, test)
    assert ids[TRAIN]


def test_rows_without_an_id_are_not_held_out():
    events = pd.DataFrame({"u": [None, "a", "b", None, "c", "b"]})
    for seed in range(20):
        part = cold_split(events, columns=["u"], valid=0.3, test=0.3, rng=_rng(seed))
        assert part[[0, 3]].tolist() == [TRAIN, TRAIN]
        assert part[2] == part[5]


def test_cold_shares_must_leave_an_id():
    events = pd.DataFrame({"u": ["a", "b", "b"]})
    with pytest.raises(DataError, match="of 2 different 'u' leave none to train on"):
        cold_split(events, columns=["u"], valid=0.1, test=0.1, rng=_rng())


@given(n=st.integers(400, 800), seed=SEED, n_given=st.integers(0, 3))
def test_of_both_sides_no_held_id_trains(n, seed, n_given):
    events = _events(n, seed=seed)
    part = cold_split(
        events,
        columns=["user_id", "item_id"],
        valid=0.1,
        test=0.2,
        n_given=n_given,
        by="timestamp",
        rng=_rng(seed),
    )
    users, items = events["user_id"].to_numpy(), events["item_id"].to_numpy()
    trains = part == TRAIN
    known = np.isin(users, users[trains]), np.isin(items, items[trains])
    # Every row that is held out has a user or an item that training has not.
    assert not (known[0] & known[1])[part == VALID].any()
    assert not (known[0] & known[1])[part == TEST].any()
    # A given event is one side's alone.
    assert (known[0] | known[1])[part == GIVEN].all()
    for new, ids in ((~known[0], users), (~known[1], items)):
        own = ids[(part == GIVEN) & new]
        assert np.bincount(own, minlength=25).max(initial=0) <= n_given


@pytest.mark.parametrize("by", ["timestamp", None])
def test_the_given_events_are_the_first_or_any(by):
    events = _events(400)
    part = cold_split(
        events, columns=["user_id"], valid=0.1, test=0.3, n_given=2, by=by, rng=_rng()
    )
    is_tested = part >= TEST
    n_in_order = 0
    for _, own in events.assign(part=part)[is_tested].groupby("user_id"):
        assert (own["part"] == GIVEN).sum() == min(2, len(own))
        given = own["part"] == GIVEN
        n_in_order += own["timestamp"][given].max() <= own["timestamp"][~given].min()
    n_users = events["user_id"][is_tested].nunique()
    assert n_users == 8  # 30 % of 25, rounded
    if by is None:
        assert n_in_order < n_users
    else:
        assert n_in_order == n_users
    without = cold_split(events, columns=["user_id"], valid=0.1, test=0.3, rng=_rng())
    assert np.array_equal(np.minimum(part, TEST), without)


def test_something_is_left_to_score():
    with pytest.raises(DataError, match="nobody who tests has more than 99 events"):
        cold_split(_events(50), columns=["user_id"], valid=0, test=0.2, n_given=99, rng=_rng())


def test_two_sides_may_leave_no_row_to_train_on():
    events = pd.DataFrame({"u": [1, 2], "i": [1, 2]})
    with pytest.raises(DataError, match="no row of 2 is left to train on"):
        cold_split(events, columns=["u", "i"], valid=0, test=0.5, rng=_rng(2))


def test_the_example_of_the_cold_split_runs():
    found = doctest.testmod(module)
    assert found.failed == 0
    assert found.attempted > 0
