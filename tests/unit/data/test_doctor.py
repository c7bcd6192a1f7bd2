"""What is odd about data: pairs that come more than once are found however their ids are kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.target import TargetInfo
from tabcf.data.doctor import examine
from tabcf.data.sources import Source

PAIR = {"user": "id of user", "item": "id of item"}
LARGEST = 2**63 - 1
IDS = st.one_of(st.integers(-2, 2), st.sampled_from([-LARGEST, LARGEST, 2**40]))


def repeats(frame: pd.DataFrame) -> str:
    """The lines on repeated pairs; every other row tests."""
    part = np.where(np.arange(len(frame)) % 2, 2, 0)
    target = TargetInfo("regression", ("y",))
    lines = examine(Source(frame.assign(y=1.0), "data"), part, target, PAIR)
    return "\n".join(line for line in lines if "pair" in line)


@given(st.lists(st.tuples(IDS, IDS), min_size=2, max_size=30))
def test_numbers_repeat_as_their_texts_do(pairs: list[tuple[int, int]]) -> None:
    frame = pd.DataFrame(pairs, columns=["user", "item"], dtype="int64")
    assert repeats(frame) == repeats(frame.astype(str))


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64", "Int64", "float64", "str"])
def test_repeated_pairs_are_counted(dtype: str) -> None:
    frame = pd.DataFrame({"user": [1, 1, 2, 1, 2], "item": [5, 5, 5, 6, 5]}).astype(dtype)
    found = repeats(frame)
    assert "4 rows repeat a (user, item) pair" in found
    assert "1 of those pairs are both in training and in a held-out part" in found
