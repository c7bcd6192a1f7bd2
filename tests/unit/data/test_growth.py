"""Entities, vocabularies and encoders with further values: what was known keeps its place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.data.entities import EntityPlan, build_entity
from tabcf.data.growth import appended, grown_entity
from tabcf.data.sources import Source, source_of_frame
from tabcf.data.values import category_values
from tabcf.data.vocabulary import Vocabulary
from tabcf.errors import DataError

PLAN = EntityPlan("item", "id", "title")


def source(name: str = "new", **columns: object) -> Source:
    return source_of_frame(pd.DataFrame(columns), name=name)


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_known_values_keep_their_index_and_new_ones_follow(old: list[int], new: list[int]) -> None:
    frame = source(c=np.array(old, dtype=np.int64))
    before = Vocabulary.fitted(category_values(frame.frame["c"], frame))
    later = source(c=np.array(new, dtype=np.int64))
    after = before.grown(category_values(later.frame["c"], later))
    assert after.values[: len(before) - 1].tolist() == before.values.tolist()
    assert after.values[len(before) - 1 :].tolist() == sorted(set(new) - set(old))


def test_who_gets_events_now_moves_behind_those_that_had_some() -> None:
    table = source(id=[10, 11, 12, 13], title=["a", "b", "c", "d"])
    before = build_entity(PLAN, table, source(id=[11, 13, 13]))
    assert before.index.tolist() == [0, 0, 1, 0, 2]
    more = source(id=[20, 12], title=["t", "other"])
    grown, moved = grown_entity(before, source(id=[12, 30, 13, 20]), table=more)
    assert grown.ids.values.tolist() == [10, 11, 13, 12, 20, 30]
    assert grown.index.tolist() == [0, 0, 1, 2, 3, 4, 5]
    assert grown.n_events.tolist() == [0, 0, 1, 3, 1, 1, 1]
    assert grown.frame["title"].tolist()[:5] == ["a", "b", "d", "c", "t"], "c stays what it was"
    assert pd.isna(grown.frame["title"].iloc[5])
    assert moved.tolist() == [0, 1, 2, 4, 3]
    for value in (11, 13):
        was = before.index[before.ids.index_of([value])]
        assert was == grown.index[grown.ids.index_of([value])]


def test_a_table_alone_adds_rows_without_embeddings() -> None:
    before = build_entity(PLAN, source(id=[1, 2], title=["a", "b"]), source(id=[1]))
    grown, moved = grown_entity(
        before, source(id=np.zeros(0, dtype=int)), table=source(id=[3], title=["c"])
    )
    assert grown.index.tolist() == [0, 1, 0, 0]
    assert moved.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (source("t.csv", id=[3, 3], title=["c", "d"]), "row 1 has one that came before"),
        (source("t.csv", id=pd.array([3, None], dtype="Int64"), title=["c", "d"]), "1 has none"),
        (source("t.csv", id=[3]), "no column 'title'"),
        (source("t.csv", id=["x"], title=["c"]), "expected whole numbers as in training"),
        (source("t.csv", id=[3], title=["c"], year=["x"]), "column 'year': expected numbers"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(table: Source, message: str) -> None:
    own = source(id=[1, 2], title=["a", "b"], year=[1990, 1991])
    before = build_entity(PLAN, own, source(id=[1]))
    with pytest.raises(DataError, match=message) as caught:
        grown_entity(before, source(id=[1]), table=table)
    assert str(caught.value).startswith("t.csv: ")


def test_an_id_that_is_no_number_is_refused_where_ids_are_numbers() -> None:
    before = build_entity(EntityPlan("user", "id"), None, source(id=[1, 2]))
    text = Source(pd.DataFrame({"id": ["3", "ab"]}), "new.csv", is_text=True, first_line=2)
    with pytest.raises(DataError, match=r"new\.csv: column 'id': .* first at line 3: 'ab'"):
        grown_entity(before, text)


def test_rows_behind_others_take_their_types() -> None:
    own = pd.DataFrame({"zip": ["007", "12"], "age": [1.5, np.nan], "none": [None, None]})
    text = Source(pd.DataFrame({"zip": [34, 5], "age": [2, 3]}), "new.csv", is_text=True)
    found = appended(own, text, ["zip"])
    assert found["zip"].tolist() == ["007", "12", "34", "5"]
    assert found["age"].tolist()[2:] == [2, 3]
    assert found["none"].isna().all()
    with pytest.raises(DataError, match="column 'zip': expected text as in training, got numbers"):
        appended(own, source(zip=[34]), ["zip"])
    with pytest.raises(DataError, match="no column 'zip'"):
        appended(own, source(age=[34]), ["zip"])
