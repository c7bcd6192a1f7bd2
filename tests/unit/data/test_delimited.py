"""Columns of text files over many blocks have the type that all their values have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.data import delimited, parquet, text_types
from tabcf.data.arrow import to_frame
from tabcf.data.sources import read_source

PLAIN = ["0", "7", "-7", "12", "1.5", "-0.5", "0.5", "2147483648", "9223372036854775807"]
ODD = [
    "007",
    "+1",
    "-0",
    "-007",
    "00.5",
    "-01.5",
    "0xFFFFFFFF",
    "1e3",
    " 3",
    "",
    "NA",
    "a",
    "-",
    "é",
]
TOO_LARGE = ["9223372036854775808", "-9223372036854775808"]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of some ten rows."""
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 64)


def read(tmp_path: Path, values: list[str]) -> pd.Series:
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n" + "".join(f"{value},1\n" for value in values), encoding="utf-8")
    return read_source(str(path)).frame["x"]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("late", "dtype", "first"),
    [
        ("8", "int64", 7),
        ("1.5", "float64", 7.0),
        ("NA", "Int64", 7),
        ("abc", "str", "7"),
        ("007", "str", "7"),
        ("3000000000", "int64", 7),
    ],
)
def test_a_late_value_decides_for_the_whole_column(
    tmp_path: Path, late: str, dtype: str, first: object
) -> None:
    series = read(tmp_path, ["7"] * 200 + [late])
    assert str(series.dtype) == dtype
    assert series.iloc[0] == first
    assert series.nunique() == (1 if late == "NA" else 2)
    assert len(series) == 201


@pytest.mark.usefixtures("small_blocks")
def test_text_behind_fractions_and_missing_values_stays_as_it_was_written(tmp_path: Path) -> None:
    values = ["1.50"] * 50 + ["NA"] * 50 + [""] * 50 + ["b"]
    series = read(tmp_path, values)
    assert series.dropna().tolist() == [value for value in values if value]
    assert series.isna().sum() == 50


@pytest.mark.usefixtures("small_blocks")
def test_a_block_of_missing_values_alone_decides_nothing(tmp_path: Path) -> None:
    series = read(tmp_path, ["NA"] * 50 + ["3"] * 50 + ["?"] * 50)
    assert series.dtype == "Int64"
    assert series.isna().sum() == 100
    assert series.dropna().unique().tolist() == [3]


@pytest.mark.usefixtures("small_blocks")
def test_a_quoted_value_may_go_over_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n" + '"a\nb",1\n' * 40)
    frame = read_source(str(path)).frame
    assert frame["x"].unique().tolist() == ["a\nb"]
    assert len(frame) == 40


@given(st.lists(st.sampled_from(PLAIN + ODD + TOO_LARGE), min_size=1, max_size=6))
def test_the_quick_look_finds_what_the_careful_one_does(values: list[str]) -> None:
    text = pa.array(["1", *values])[1:]
    kind, part = text_types.typed(text, text_types.Kind.MISSING)
    expected, careful = text_types._typed_with_care(text, text_types.Kind.MISSING)
    assert kind is expected
    assert pc.all(pc.equal(part.cast(careful.type), careful)).as_py() in (True, None)


def test_a_parquet_file_of_many_blocks_is_read_as_arrow_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_STRETCH", 50)
    table = pa.table(
        {
            "text": [f"u{n}" for n in range(100)],
            "whole": pa.array(range(100), pa.int32()),
            "late_gap": [*range(99), None],
            "share": [n / 7 for n in range(100)],
            "gap": [None, *(float(n) for n in range(99))],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=30)
    found = read_source(str(tmp_path / "rows.parquet")).frame
    pd.testing.assert_frame_equal(found, to_frame(table))
