from __future__ import annotations

import doctest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tabcf.errors import DataError
from tabcf.evaluation import compare
from tabcf.evaluation.compare import bootstrap_interval, compare_users, shared_metrics


def _users(ndcg: list[float], **columns: list[float]) -> pd.DataFrame:
    n = len(ndcg)
    frame = pd.DataFrame({"user_id": range(n), "n_train": 3, "n_rows": 2, "n_relevant": 2})
    return frame.assign(**{"ndcg@5": ndcg}, **columns)


def test_an_interval_is_that_of_scipy():
    values = np.random.default_rng(0).normal(0.1, 1, 300)
    low, high = bootstrap_interval(values)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=1
    ).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.01)
    assert low < values.mean() < high


def test_an_interval_holds_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    n_trials, n_within = 300, 0
    for trial in range(n_trials):
        low, high = bootstrap_interval(rng.exponential(1, 200), n_resamples=400, seed=trial)
        n_within += low <= 1 <= high
    # Four standard deviations of a share of 95 % of 300.
    assert n_within / n_trials == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 300) ** 0.5)


def test_resamples_in_blocks_are_those_of_one_go(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    whole = bootstrap_interval(values, n_resamples=1_000)
    monkeypatch.setattr(compare, "_BLOCK", 50 * 7)
    assert bootstrap_interval(values, n_resamples=1_000) == whole
    assert bootstrap_interval(values, n_resamples=1_000, seed=1) != whole


def test_without_users_there_is_no_interval():
    assert np.isnan(bootstrap_interval(np.zeros(0))).all()


def test_a_planted_difference_is_found_where_means_alone_would_drown_it():
    """Users differ by far more than the two models do."""
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 0.9, 400)
    second = first + 0.02 + rng.normal(0, 0.05, 400)
    found = compare_users(_users(list(first)), _users(list(second)), ["ndcg@5"]).iloc[0]
    assert found["difference"] == pytest.approx((second - first).mean())
    assert 0 < found["low"] < found["difference"] < found["high"] < 0.03
    apart = [bootstrap_interval(values) for values in (first, second)]
    assert apart[0][1] > apart[1][0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(-1, 1))
def test_a_run_differs_from_itself_by_nothing_and_by_a_constant_exactly(values, shift):
    same = compare_users(_users(values), _users(values), ["ndcg@5"], n_resamples=50).iloc[0]
    assert (same["difference"], same["low"], same["high"]) == (0, 0, 0)
    moved = _users([value + shift for value in values])
    found = compare_users(_users(values), moved, ["ndcg@5"], n_resamples=50).iloc[0]
    assert [found[name] for name in ("difference", "low", "high")] == pytest.approx(
        [shift] * 3, abs=1e-12
    )


def test_the_order_of_users_says_nothing_and_users_without_a_value_are_left_out():
    first = _users([0.1, 0.5, float("nan"), 0.3])
    second = _users([0.2, 0.7, float("nan"), 0.3])
    found = compare_users(first, second[::-1].reset_index(drop=True), ["ndcg@5"]).iloc[0]
    assert found["n_users"] == 3
    assert found["difference"] == pytest.approx(0.1)


def test_other_users_and_other_things_to_find_are_refused():
    first = _users([0.1, 0.5])
    with pytest.raises(DataError, match="expected the same users"):
        compare_users(first, _users([0.1, 0.5, 0.2]), ["ndcg@5"])
    with pytest.raises(DataError, match="n_relevant differs for 2 of 2 users"):
        compare_users(first, first.assign(n_relevant=1), ["ndcg@5"])


def test_shared_metrics_are_those_of_all():
    frames = [_users([1.0], rmse=[0.1]), _users([1.0], rmse=[0.1], mae=[0.2]), _users([1.0])]
    assert shared_metrics(frames[:2]) == ["ndcg@5", "rmse"]
    assert shared_metrics(frames) == ["ndcg@5"]


def test_the_example_runs():
    found = doctest.testmod(compare)
    assert found.failed == 0
    assert found.attempted > 0
