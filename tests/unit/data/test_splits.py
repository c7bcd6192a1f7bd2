from __future__ import annotations

import doctest
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.data import splits
from tabcf.data.cold_split import cold_split
from tabcf.data.parts import TEST, TRAIN, VALID
from tabcf.data.splits import (
    kfold_split,
    labels_split,
    leave_last_out_split,
    official_split,
    random_split,
    stratified_split,
    time_split,
)
from tabcf.errors import DataError

SHARE = st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.4])
SEED = st.integers(0, 99)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _events(n: int, *, n_users: int = 7, n_times: int = 50, seed: int = 0) -> pd.DataFrame:
    """An index that is not 0, 1, 2, …: labels must follow the order of rows."""
    rng = _rng(seed)
    frame = pd.DataFrame(
        {
            "user_id": rng.integers(0, n_users, size=n),
            "rating": rng.integers(1, 6, size=n),
            "timestamp": rng.integers(0, n_times, size=n),
        }
    )
    return frame.set_axis(rng.permutation(n) + 1000, axis=0)


def _sizes(part: np.ndarray) -> list[int]:
    return np.bincount(part, minlength=3).tolist()


def _wanted(n: int, share: float) -> list[int]:
    """Counts within one row of a share; at least one row unless the share is 0."""
    if not share:
        return [0]
    return [count for count in range(1, n + 1) if abs(count - n * share) <= 1]


SHARED_SPLITS = {
    "random": lambda events, valid, test, rng: random_split(
        events, valid=valid, test=test, rng=rng
    ),
    "stratified": lambda events, valid, test, rng: stratified_split(
        events, by="rating", valid=valid, test=test, rng=rng
    ),
    "time": lambda events, valid, test, rng: time_split(
        events.assign(timestamp=rng.permutation(len(events))),
        column="timestamp",
        valid=valid,
        test=test,
    ),
}


@pytest.mark.parametrize("name", SHARED_SPLITS)
@given(n=st.integers(4, 200), valid=SHARE, test=SHARE, seed=SEED)
def test_every_row_has_one_label_and_shares_are_within_a_row(name, n, valid, test, seed):
    part = SHARED_SPLITS[name](_events(n), valid, test, _rng(seed))
    assert part.dtype == np.int8
    assert part.shape == (n,)
    n_train, n_valid, n_test = _sizes(part)
    assert n_valid in _wanted(n, valid)
    assert n_test in _wanted(n, test)
    assert n_train > 0


@pytest.mark.parametrize("name", SHARED_SPLITS)
@pytest.mark.parametrize(
    ("n", "valid", "test", "sizes"),
    [
        (11, 0.0, 0.25, [8, 0, 3]),
        (10, 0.25, 0.1, [6, 3, 1]),
        (10, 0.01, 0.01, [8, 1, 1]),
        (4, 0.4, 0.4, [2, 1, 1]),
    ],
)
def test_shares_are_rounded_to_whole_rows(name, n, valid, test, sizes):
    assert _sizes(SHARED_SPLITS[name](_events(n), valid, test, _rng())) == sizes


SEEDED_SPLITS = {
    **{name: SHARED_SPLITS[name] for name in ("random", "stratified")},
    "kfold": lambda events, valid, test, rng: kfold_split(
        events, k=4, fold=2, valid=valid, rng=rng
    ),
    "cold": lambda events, valid, test, rng: cold_split(
        events, columns=["user_id"], valid=valid, test=test, rng=rng
    ),
}


@pytest.mark.parametrize("name", SEEDED_SPLITS)
def test_a_seed_decides_the_split(name):
    events = _events(300, n_users=40)
    first, again, other = (SEEDED_SPLITS[name](events, 0.1, 0.2, _rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", SEEDED_SPLITS)
def test_every_row_has_the_same_chance(name):
    events = _events(40, n_users=1000)
    n_trials, rng = 2_000, _rng()
    counts = np.stack([SEEDED_SPLITS[name](events, 0.25, 0.25, rng) for _ in range(n_trials)])
    for share in ((counts == TEST).mean(0), (counts == VALID).mean(0)):
        # Standard deviation of one row's share: 0.0097.
        assert np.abs(share - share.mean()).max() < 5 * 0.0097


@pytest.mark.parametrize("name", ["random", "stratified", "time"])
@pytest.mark.parametrize(("valid", "test"), [(0.5, 0.5), (0.7, 0.6)])
def test_shares_must_leave_rows_to_train_on(name, valid, test):
    with pytest.raises(
        DataError, match=rf"valid {valid:g} and test {test:g} of 40 rows leave none to train on"
    ):
        SHARED_SPLITS[name](_events(40), valid, test, _rng())


@pytest.mark.parametrize("name", ["random", "stratified", "time"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_few_rows_cannot_be_split(name, n):
    with pytest.raises(DataError, match=rf"test 0\.1 of {n} rows leave none to train on"):
        SHARED_SPLITS[name](_events(n), 0.1, 0.1, _rng())


@pytest.mark.parametrize("name", ["random", "stratified", "time"])
@pytest.mark.parametrize("share", [-0.1, 1.0, 80.0, float("nan")])
def test_a_share_lies_between_0_and_1(name, share):
    with pytest.raises(DataError, match=r"expected a share test in \[0, 1\), got"):
        SHARED_SPLITS[name](_events(40), 0.1, share, _rng())


@pytest.mark.parametrize(
    "split",
    [
        lambda e: stratified_split(e, by="ratng", valid=0, test=0.1, rng=_rng()),
        lambda e: time_split(e, column="ratng", valid=0, test=0.1),
        lambda e: leave_last_out_split(e, user="ratng", time="timestamp"),
        lambda e: leave_last_out_split(e, user="user_id", time="ratng"),
        lambda e: cold_split(e, columns=["ratng"], valid=0, test=0.1, rng=_rng()),
        lambda e: labels_split(e, column="ratng"),
    ],
)
def test_an_unknown_column_is_named_with_its_nearest(split):
    message = r"no column 'ratng'; did you mean 'rating'\? columns: user_id, rating, timestamp"
    with pytest.raises(DataError, match=message):
        split(_events(40))


@given(n=st.integers(10, 200), valid=SHARE, test=SHARE, seed=SEED)
def test_each_value_has_its_share_of_a_stratified_split(n, valid, test, seed):
    events = _events(n, seed=seed)
    part = stratified_split(events, by="rating", valid=valid, test=test, rng=_rng(seed))
    _, n_valid, n_test = _sizes(part)
    for rating in range(1, 6):
        is_rating = events["rating"].to_numpy() == rating
        _, valid_of_rating, test_of_rating = _sizes(part[is_rating])
        assert abs(test_of_rating - is_rating.sum() * n_test / n) < 1
        assert abs(valid_of_rating - is_rating.sum() * n_valid / n) < 2


@pytest.mark.parametrize("dtype", ["object", "str", "category"])
def test_strata_may_be_texts_and_missing(dtype):
    values = pd.Series(["b", None, "a"] * 30, dtype=dtype)
    part = stratified_split(
        pd.DataFrame({"city": values}), by="city", valid=0.1, test=0.2, rng=_rng()
    )
    for city in range(3):
        assert _sizes(part[city::3]) == [21, 3, 6]


def test_rows_of_one_value_are_drawn_at_random():
    events = pd.DataFrame({"rating": [3] * 20})
    found = {
        stratified_split(events, by="rating", valid=0.0, test=0.5, rng=_rng(seed)).tobytes()
        for seed in range(200)
    }
    # 184,756 are possible; every second row in the rows' own order would be two.
    assert len(found) > 190


def test_a_stratified_split_spreads_numbers_that_are_there_once():
    events = pd.DataFrame({"price": _rng().normal(size=1000)})
    part = stratified_split(events, by="price", valid=0.0, test=0.1, rng=_rng())
    rank = events["price"].rank().to_numpy()
    assert np.diff(np.sort(rank[part == TEST])).tolist() == [10] * 99


@given(n=st.integers(5, 200), n_times=st.integers(3, 60), valid=SHARE, test=SHARE, seed=SEED)
def test_parts_of_a_time_split_follow_one_another(n, n_times, valid, test, seed):
    events = _events(n, n_times=n_times, seed=seed)
    time = events["timestamp"].to_numpy()
    n_parts = 1 + (valid > 0) + (test > 0)
    if len(set(time)) < n_parts:
        return
    part = time_split(events, column="timestamp", valid=valid, test=test)
    ranges = [time[part == number] for number in (TRAIN, VALID, TEST) if (part == number).any()]
    assert len(ranges) == n_parts
    for earlier, later in pairwise(ranges):
        assert earlier.max() < later.min()


def test_rows_of_one_time_are_kept_together_and_sizes_near_their_shares():
    time = [1] * 5 + [2] * 3 + [3] * 4
    # Wanted are 2 rows that test; the cuts allow 4, 7 or none at all.
    part = time_split(pd.DataFrame({"t": time}), column="t", valid=0.0, test=1 / 6)
    assert _sizes(part) == [8, 0, 4]
    # Wanted are 6 and 1: the cut before the 2s is the only one left to validate.
    part = time_split(pd.DataFrame({"t": time}), column="t", valid=1 / 12, test=0.5)
    assert _sizes(part) == [5, 3, 4]


@pytest.mark.parametrize(
    "times",
    [
        [20, 10, 30, 40],
        [2**60 + 1, 2**60, 2**60 + 2, 2**60 + 3],
        [-0.5, -float("inf"), 0.25, 7.0],
        ["2024-02-28", "2023-12-31", "2024-02-28T10:00", "2024-03-01"],
        # By the clock on the wall the first two are the other way round.
        ["2024-01-01T09:00+09:00", "2023-12-31T23:00+00:00", "2024-01-02", "2024-01-03"],
        pd.to_datetime(["2024-02-28", "2023-12-31", "2024-02-29", "2024-03-01"]),
    ],
)
def test_times_may_be_numbers_dates_or_texts(times):
    part = time_split(pd.DataFrame({"t": times}), column="t", valid=0.25, test=0.25)
    expected = [TRAIN, TRAIN, VALID, TEST]
    assert part.tolist() == expected
    user = pd.DataFrame({"t": times, "u": 1})
    assert leave_last_out_split(user, user="u", time="t").tolist() == expected


def test_too_few_different_times_are_refused():
    events = pd.DataFrame({"t": [5, 5, 6, 6]})
    with pytest.raises(DataError, match="2 different times in 4 rows; 3 parts need at least 3"):
        time_split(events, column="t", valid=0.25, test=0.25)


def test_a_missing_time_is_refused():
    events = pd.DataFrame({"t": [5.0, None, 6.0, None], "u": 1})
    message = "column 't': 2 of 4 rows have no time; first row 1"
    with pytest.raises(DataError, match=message):
        time_split(events, column="t", valid=0.25, test=0.25)
    with pytest.raises(DataError, match=message):
        leave_last_out_split(events, user="u", time="t")


def test_text_that_is_no_time_is_refused():
    with pytest.raises(DataError, match="column 't': expected dates as ISO text"):
        time_split(pd.DataFrame({"t": ["soon", "later"]}), column="t", valid=0, test=0.5)


@given(
    n=st.integers(10, 120),
    n_valid=st.integers(0, 3),
    n_test=st.integers(0, 3),
    seed=SEED,
)
def test_each_users_last_events_are_held_out(n, n_valid, n_test, seed):
    events = _events(n, n_users=3, n_times=20, seed=seed)
    if n_valid + n_test >= events["user_id"].value_counts().max():
        return
    part = leave_last_out_split(
        events, user="user_id", time="timestamp", n_valid=n_valid, n_test=n_test
    )
    for user in range(3):
        positions = np.flatnonzero(events["user_id"].to_numpy() == user)
        rows = sorted(positions, key=lambda p: (events["timestamp"].iloc[p], p))
        n_train = len(rows) - n_valid - n_test
        expected = [TRAIN] * n_train + [VALID] * n_valid + [TEST] * n_test
        if n_train < 1:
            expected = [TRAIN] * len(rows)
        assert part[rows].tolist() == expected


def test_rows_without_a_user_train():
    events = pd.DataFrame({"u": [None, "a", None, "a", "a", None], "t": [9, 1, 8, 2, 3, 7]})
    part = leave_last_out_split(events, user="u", time="t")
    assert part.tolist() == [TRAIN, TRAIN, TRAIN, VALID, TEST, TRAIN]


def test_users_with_too_few_events_are_all_there_are():
    events = pd.DataFrame({"u": [1, 1, 2, None], "t": [1, 2, 3, 4]})
    with pytest.raises(DataError, match=r"no 'u' has more than 2 events.*the most is 2"):
        leave_last_out_split(events, user="u", time="t")


@pytest.mark.parametrize("counts", [{"n_valid": -1}, {"n_test": -2}])
def test_counts_are_not_negative(counts):
    with pytest.raises(DataError, match="expected counts of at least 0"):
        leave_last_out_split(_events(40), user="user_id", time="timestamp", **counts)


@given(n=st.integers(10, 100), k=st.integers(2, 8), valid=SHARE, seed=SEED)
def test_folds_hold_each_row_once(n, k, valid, seed):
    events = _events(n)
    parts = [
        kfold_split(events, k=k, fold=fold, valid=valid, rng=_rng(seed)) for fold in range(1, k + 1)
    ]
    is_test = np.stack([part == TEST for part in parts])
    assert is_test.sum(0).tolist() == [1] * n
    assert np.ptp(is_test.sum(1)) <= 1
    for part in parts:
        n_train, n_valid, n_test = _sizes(part)
        assert n_valid in _wanted(n - n_test, valid)
        assert n_train > 0


@pytest.mark.parametrize(("k", "fold"), [(1, 1), (5, 0), (5, 6)])
def test_a_fold_that_does_not_exist_is_refused(k, fold):
    with pytest.raises(DataError, match=f"a fold from 1 to k, got k {k} and fold {fold}"):
        kfold_split(_events(40), k=k, fold=fold, valid=0.0, rng=_rng())


def test_folds_need_rows():
    with pytest.raises(DataError, match="3 rows cannot fill 5 folds"):
        kfold_split(_events(3), k=5, fold=1, valid=0.0, rng=_rng())


@pytest.mark.parametrize(("fold", "first"), [("u1", 0), ("u2", 20_000), ("u5", 80_000)])
@pytest.mark.parametrize("valid", [0.0, 0.1])
def test_official_folds_are_blocks_of_the_file(fold, first, valid):
    part = official_split(_events(100_000), fold=fold, valid=valid, rng=_rng())
    assert np.flatnonzero(part == TEST).tolist() == list(range(first, first + 20_000))
    n_valid = round(80_000 * valid)
    assert _sizes(part) == [80_000 - n_valid, n_valid, 20_000]


def test_official_folds_validate_on_random_rows():
    events = _events(100_000)
    first, again, other = (
        official_split(events, fold="u1", valid=0.1, rng=_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # Spread over the whole file, not a block of it.
    assert np.histogram(np.flatnonzero(first == VALID), bins=4)[0].min() > 1_500


@pytest.mark.parametrize("n", [99_999, 100_001, 0])
def test_official_folds_are_of_one_data_set(n):
    with pytest.raises(DataError, match=rf"100,000 rows in the order of u\.data, got {n:,}"):
        official_split(pd.DataFrame({"y": np.zeros(n)}), fold="u1", valid=0.0, rng=_rng())


def test_an_official_fold_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="expected one of u1, u2, u3, u4, u5, got 'ua'"):
        official_split(_events(40), fold="ua", valid=0.0, rng=_rng())


@pytest.mark.parametrize("dtype", ["object", "str", "category"])
def test_labels_say_the_part(dtype):
    column = pd.Series(["test", "train", "valid", "train"], dtype=dtype, index=[5, 3, 9, 1])
    part = labels_split(pd.DataFrame({"part": column}), column="part")
    assert part.dtype == np.int8
    assert part.tolist() == [TEST, TRAIN, VALID, TRAIN]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["train", "tset", "dev"], r"2 of 3 rows.*first in row 1: 'tset'; did you mean 'test'\?"),
        (["train", "Train"], "1 of 2 rows have something else; first in row 1: 'Train'"),
        (["train", None], "1 of 2 rows have something else; first in row 1"),
        ([0, 1, 2], "3 of 3 rows have something else; first in row 0: 0"),
        (["valid", "test"], "no row of 2 is 'train'"),
    ],
)
def test_other_labels_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        labels_split(pd.DataFrame({"part": labels}), column="part")


def test_the_examples_of_splits_run():
    found = doctest.testmod(splits)
    assert found.failed == 0
    assert found.attempted > 0
