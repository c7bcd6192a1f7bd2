from __future__ import annotations

import pandas as pd
import pytest

from tabcf.data.entities import EntityPlan, build_entity
from tabcf.data.sources import source_of_frame
from tabcf.errors import DataError


@pytest.fixture
def films() -> object:
    table = source_of_frame(
        pd.DataFrame(
            {
                "item_id": [3, 7, 9],
                "title": ["Heat", "Sabrina", "Sabrina"],
                "year": [1995, 1954, 1995],
            }
        ),
        name="films",
    )
    events = source_of_frame(pd.DataFrame({"item_id": [7, 7, 9, 11]}), name="events")
    return build_entity(EntityPlan("item", "item_id", "title"), table, events)


def test_rows_are_the_tables_then_those_only_met(films: object) -> None:
    assert films.ids.values_of(range(5)) == [None, 3, 7, 9, 11]
    assert films.index.tolist() == [0, 0, 1, 2, 3]
    assert films.row_of_index.tolist() == [0, 2, 3, 4]
    assert films.n_events.tolist() == [0, 0, 2, 1, 1]
    assert films.labels == ["", "Heat", "Sabrina", "Sabrina", ""]


def test_a_label_finds_its_row(films: object) -> None:
    assert films.row_named("heat") == 1
    assert films.row_named(9) == 3
    assert films.row_named("9", is_text=True) == 3


def test_an_ambiguous_label_lists_its_candidates(films: object) -> None:
    expected = r"item 'sabrina' is ambiguous: item_id 7 \(Sabrina, 1954\); item_id 9 \(Sabrina, 1"
    with pytest.raises(DataError, match=expected):
        films.row_named("sabrina")


def test_an_unknown_label_names_the_nearest(films: object) -> None:
    with pytest.raises(DataError, match=r"'Heet' is unknown; did you mean item_id 3 \(Heat, 1995"):
        films.row_named("Heet")


def test_an_id_given_twice_is_refused() -> None:
    table = source_of_frame(pd.DataFrame({"item_id": [3, 3]}), name="films")
    events = source_of_frame(pd.DataFrame({"item_id": [3]}))
    with pytest.raises(DataError, match="films: column 'item_id': expected each id once; 3 comes"):
        build_entity(EntityPlan("item", "item_id"), table, events)


def test_text_ids_do_not_meet_a_table_of_numbers() -> None:
    table = source_of_frame(pd.DataFrame({"item_id": [3]}), name="films")
    events = source_of_frame(pd.DataFrame({"item_id": ["3"]}))
    with pytest.raises(DataError, match="films: column 'item_id': expected text as in training"):
        build_entity(EntityPlan("item", "item_id"), table, events)
