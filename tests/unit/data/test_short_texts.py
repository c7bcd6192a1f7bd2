"""Texts told apart as numbers are told apart as texts are; counts are those of each row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.data import delimited, text_types
from tabcf.data.entities import EntityPlan, build_entity
from tabcf.data.short_texts import distinct_texts, joined_codes, text_codes
from tabcf.data.source import Source
from tabcf.data.sources import read_source
from tabcf.data.text_types import Kind, typed
from tabcf.data.values import id_values

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=9), min_size=1, max_size=3))
def test_short_texts_are_told_apart(blocks: list[list[str]]) -> None:
    codes = []
    for words in blocks:
        text = pa.array(["before", *words])[1:]
        found = text_codes(*text_types._characters(text))
        assert found is not None
        codes.append(found)
    joined = joined_codes(codes)
    texts = distinct_texts(joined).to_pylist()
    expected = [word for words in blocks for word in words]
    assert [texts[code] for code in joined.indices.to_pylist()] == expected
    assert texts == list(dict.fromkeys(expected))


def test_a_longer_text_is_not_for_them() -> None:
    assert text_codes(*text_types._characters(pa.array(["a", "123456789"]))) is None


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
    assert ("user" in source.listed) is not long
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
