from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tabcf.data.attributes import Attribute, attribute_of
from tabcf.data.sources import Source
from tabcf.errors import DataError

FILMS = Source(
    pd.DataFrame(
        {
            "genres": ["War|Drama", "Drama", None, " War | Comedy "],
            "year": [1942.0, 1995.0, np.nan, 1995.0],
            "minutes": [80, 90, 100, 110],
            "is_long": [False, False, True, True],
        }
    ),
    "films",
)


def parts(attribute: Attribute) -> tuple[list[str], np.ndarray]:
    return attribute.values, attribute.of_rows


def test_a_row_may_have_several_values_or_none() -> None:
    values, of_rows = parts(attribute_of(FILMS, "genres"))
    assert values == ["Comedy", "Drama", "War"]
    expected = [[0, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert of_rows.astype(int).tolist() == expected


def test_few_numbers_are_values_and_many_are_bands() -> None:
    values, of_rows = parts(attribute_of(FILMS, "year", most_numbers=2))
    assert values == ["1942", "1995"]
    assert of_rows.sum(0).tolist() == [1, 2]
    values, of_rows = parts(attribute_of(FILMS, "minutes", most_numbers=3))
    assert values == ["80", "90", "100", "110"]
    assert (of_rows == np.eye(4, dtype=bool)).all()
    ages = Source(pd.DataFrame({"age": [*range(100), np.nan]}), "users")
    values, of_rows = parts(attribute_of(ages, "age", most_numbers=12))
    assert values == ["0 to 24", "25 to 49", "50 to 74", "75 to 99"]
    assert of_rows.sum(0).tolist() == [25, 25, 25, 25]
    assert not of_rows[-1].any()


def test_truth_values_are_no_numbers() -> None:
    assert attribute_of(FILMS, "is_long", most_numbers=1).values == ["False", "True"]


def test_a_missing_column_is_told() -> None:
    with pytest.raises(DataError, match="films: no column 'genre'; did you mean 'genres'"):
        attribute_of(FILMS, "genre")
