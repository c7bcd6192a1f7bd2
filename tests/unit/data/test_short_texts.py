"""Texts told apart as numbers are told apart as texts are; counts are those of each row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.data import delimited, short_texts, text_types
from tabcf.data.arrow import listed_texts
from tabcf.data.entities import EntityPlan, build_entity
from tabcf.data.short_texts import ShortTexts
from tabcf.data.source import Source
from tabcf.data.sources import read_source
from tabcf.data.text_types import Kind, typed
from tabcf.data.values import id_values

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)


@given(
    st.lists(st.lists(WORDS, max_size=9), min_size=1, max_size=4),
    st.sampled_from([pa.string(), pa.large_string()]),
)
def test_short_texts_are_told_apart(blocks: list[list[str]], kind: pa.DataType) -> None:
    texts, codes = ShortTexts(), []
    for words in blocks:
        found = texts.codes(pa.array(["before", *words, "behind"], kind)[1:-1])
        assert found is not None
        codes += found.tolist()
    expected = [word for words in blocks for word in words]
    values = texts.values().tolist()
    assert [values[code] for code in codes] == expected
    assert values == list(dict.fromkeys(expected))


@pytest.mark.parametrize("n", [40, 30_000])
def test_many_blocks_of_many_texts_are_told_apart(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists grow over many blocks, and numbers meet in slots."""
    monkeypatch.setattr(short_texts, "_BLOCK", 1 << 10)
    words = [f"u-{n}" for n in np.random.default_rng(0).integers(0, n, 60_000)]
    texts = ShortTexts()
    codes, expected = texts.codes(pa.array(words)), pd.factorize(np.array(words, dtype=object))
    assert codes is not None
    np.testing.assert_array_equal(codes, expected[0])
    assert texts.values().tolist() == expected[1].tolist()


@pytest.mark.parametrize("other", ["123456789", "a\0", "\0", "\0\1"])
def test_longer_texts_and_zeros_are_not_for_them(other: str) -> None:
    assert ShortTexts().codes(pa.array(["a", other])) is None


def test_too_many_different_ones_are_not_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_texts, "_MOST", 20)
    monkeypatch.setattr(short_texts, "_FIRST", 4)
    monkeypatch.setattr(short_texts, "_BLOCK", 16)
    few, many = ([str(n % most) for n in range(200)] for most in (20, 40))
    assert ShortTexts().codes(pa.array(few)) is not None
    assert ShortTexts().codes(pa.array(many)) is None


@pytest.mark.parametrize(
    "values", [["1", "2"], ["0.5", "3"], ["0.5", "7"], ["01", "2"], ["yes", "no"], ["1e3", "2"]]
)
def test_few_values_typed_once_each_are_typed_as_each_is(values: list[str]) -> None:
    text = pa.array(values * 4096)
    kind, part = typed(text, Kind.MISSING)
    expected, other = text_types._typed_each(text, Kind.MISSING)
    assert kind is expected
    assert part.cast(other.type).equals(other)


@pytest.mark.parametrize("long", [False, True])
def test_what_a_text_file_lists_of_ids_is_what_its_values_say(
    long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 256)
    rng = np.random.default_rng(0)
    ids = [f"u{n}" for n in rng.integers(0, 40, 500)] + (["a longer id"] if long else [])
    pd.DataFrame({"user": ids, "n": 1}).to_csv(tmp_path / "rows.csv", index=False)
    source = read_source(str(tmp_path / "rows.csv"))
    assert id_values(source, "user").values.tolist() == ids
    some = np.array([3, 3, 400, 7])
    assert id_values(source.taken(some), "user").values.tolist() == [ids[n] for n in some]
    assert source.taken(some).frame["user"].tolist() == [ids[n] for n in some]


@pytest.mark.parametrize("kind", ["near", "far", "gaps", "text", "text with gaps"])
def test_an_entitys_events_are_counted_row_by_row(kind: str) -> None:
    rng = np.random.default_rng(0)
    values = pd.Series(rng.integers(-5, 40, 3000))
    if kind == "far":
        values = values * 10**9
    elif kind.startswith("text"):
        values = "u" + values.astype(str)
    if "gaps" in kind:
        values = values.astype("str" if "text" in kind else "Int64").where(values.index % 7 > 0)
    source = Source(values.to_frame("user"), "rows")
    entity = build_entity(EntityPlan("user", "user"), None, source)
    expected = values.value_counts().sort_index()
    assert entity.ids.values.tolist() == expected.index.tolist()
    assert entity.n_events.tolist() == [0, *expected.tolist()]


@pytest.mark.parametrize("n", [40, 3000])
def test_texts_that_a_parquet_file_lists_are_taken_over(n: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    users = [None if place % 9 == 0 else f"user {place}" for place in rng.integers(0, n, 6000)]
    table = pa.table({"user": users, "empty": [None] * 6000, "at": range(6000)})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=2500)
    source = read_source(str(tmp_path / "rows.parquet"))
    # Where most of a list's texts come but once, the file has about as many texts as numbers.
    assert ("user" in source.listed) is (n == 40)
    assert (
        source.frame["user"].astype(object).where(source.frame["user"].notna(), None).tolist()
        == users
    )
    found = id_values(source, "user")
    assert found.is_missing.tolist() == [user is None for user in users]
    assert [value or None for value in found.values] == users
    assert found.distinct().tolist() == sorted({user for user in users if user is not None})


def test_a_list_that_has_a_text_twice_has_it_once() -> None:
    column = pa.DictionaryArray.from_arrays([0, 1, 2, 1], ["b", "a", "b"])
    found = listed_texts(pa.chunked_array([column]))
    assert found.listed.tolist() == ["b", "a"]
    assert found.values.tolist() == ["b", "a", "b", "a"]
