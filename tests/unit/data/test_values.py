"""Ids that are text, of many rows, are told apart by Arrow; whole numbers by a look-up table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.data.sources import Source
from tabcf.data.values import category_values, id_values
from tabcf.data.vocabulary import Vocabulary


def source(values: list[object], dtype: str | None = None) -> Source:
    return Source(pd.DataFrame({"x": pd.Series(values, dtype=dtype)}), "rows")


def test_many_texts_are_those_of_python_objects() -> None:
    values = [None if n % 7 == 0 else f"u{n % 400}" for n in range(3000)]
    listed = category_values(source(values, "str").frame["x"], source(values))
    plain = category_values(source(values, "object").frame["x"], source(values))
    assert listed.codes is not None
    assert plain.codes is None
    assert listed.values.tolist() == plain.values.tolist()
    assert listed.distinct().tolist() == plain.distinct().tolist()
    vocabulary = Vocabulary(plain.distinct()[::2], kind="str")
    np.testing.assert_array_equal(vocabulary.encode(listed), vocabulary.encode(plain))


def test_many_missing_texts_are_no_value() -> None:
    found = category_values(source([None] * 2000, "str").frame["x"], source([None]), kind="str")
    assert Vocabulary.fitted(found).values.tolist() == []
    assert not Vocabulary(["a"], kind="str").encode(found).any()


@pytest.mark.parametrize("longest", ["", " and more"])
def test_an_empty_text_is_a_value_beside_missing_ones(longest: str) -> None:
    values = [
        None if n % 5 == 0 else "" if n % 5 == 1 else f"u{n % 5}{longest}" for n in range(2000)
    ]
    found = id_values(source(values, "str"), "x")
    distinct, counts = found.counted()
    assert distinct.tolist() == ["", *(f"u{n}{longest}" for n in (2, 3, 4))]
    assert counts.tolist() == [400] * 4
    assert Vocabulary.fitted(found).encode(found).tolist() == [n % 5 for n in range(2000)]


def test_far_numbers_are_told_apart_once() -> None:
    rows = source([(n % 9) * 10**15 for n in range(2000)])
    found = id_values(rows, "x")
    assert found.codes is not None
    assert id_values(rows, "x", kind="int") is found
    assert found.distinct().tolist() == [n * 10**15 for n in range(9)]


@pytest.mark.parametrize("low", [-(2**63), -(2**63) + 1, 2**63 - 60])
def test_numbers_at_the_ends_of_their_type_are_found(low: int) -> None:
    values = np.arange(50, dtype=np.int64) + low
    vocabulary = Vocabulary(values[::2], kind="int")
    asked = np.concatenate([values, [-(2**63), 0, 2**63 - 1]] * 2)
    expected = [
        vocabulary.values.tolist().index(v) + 1 if v in vocabulary.values else 0 for v in asked
    ]
    assert vocabulary.index_of(asked).tolist() == expected


def test_ids_are_told_apart_once_for_all_who_ask() -> None:
    rows = source([f"u{n % 9}" for n in range(2000)], "str")
    assert id_values(rows, "x") is id_values(rows, "x", kind="str")


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-50, 50), min_size=1, unique=True),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-60, 60)),
)
def test_numbers_near_and_far_are_found(known: list[int], asked: list[int]) -> None:
    vocabulary = Vocabulary(known, kind="int")
    asked = (asked + known) * 70
    expected = [known.index(value) + 1 if value in known else 0 for value in asked]
    assert vocabulary.index_of(np.array(asked, dtype=np.int64)).tolist() == expected
