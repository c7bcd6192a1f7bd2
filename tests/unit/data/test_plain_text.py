"""Numbers of large text files that are read as such are those that a look at each text finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tabcf.data import delimited, plain_text
from tabcf.data.plain_text import is_plain
from tabcf.data.sources import read_source
from tabcf.errors import DataError

NUMBERS = ["0", "7", "-7", "12", "1.5", "-0.5", "0.5", ".5", "5.", "2147483648", "1e3", "", "NA"]
ODD = ["007", "-0", "+1", "-007", "00.5", "-01.5", "0x1F", "0e1", " 3", "3 ", "\u00a03", " ", '"3"']
TOO_LARGE = ["9223372036854775808", "-9223372036854775808", "1e400", "inf", "nan", "a", "NAN"]


def read_both(path: Path, monkeypatch: pytest.MonkeyPatch, sample: int = 64) -> list[Any]:
    """The frame, or what is wrong, by guessed types and by a look at each value as text."""
    found: list[Any] = []
    for least in (0, 1 << 40):
        with monkeypatch.context() as patch:
            patch.setattr(delimited, "_LEAST_BYTES", least)
            patch.setattr(delimited, "_SAMPLE_BYTES", sample)
            patch.setattr(delimited, "_BLOCK_BYTES", 128)
            patch.setattr(plain_text, "_BLOCK", 7)
            try:
                found.append(read_source(str(path)).frame)
            except DataError as error:
                found.append(str(error))
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=30),
    st.lists(st.sampled_from(NUMBERS + ODD + TOO_LARGE), max_size=3),
    st.sampled_from([",", "\t", ";", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
)
def test_numbers_are_read_as_texts_say(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    early: list[str],
    late: list[str],
    delimiter: str,
    end: str,
    encoding: str,
) -> None:
    path = tmp_path / "rows.csv"
    rows = [
        delimiter.join(("n", "x", "y")),
        *(f"1{delimiter}{value}{delimiter}2" for value in early),
    ]
    rows += [f"3{delimiter}{value}{delimiter}u" for value in late]
    path.write_bytes(end.join(rows).encode(encoding))
    guessed, looked_at = read_both(path, monkeypatch)
    if isinstance(looked_at, str):
        assert guessed == looked_at
    else:
        pd.testing.assert_frame_equal(guessed, looked_at)


@pytest.mark.parametrize(
    "value", ["0", "10", "0.5", "-0.5", "-3", "", "a-0", "1/02", "x 0", "1:00"]
)
def test_numbers_in_one_way_of_writing_are_plain(tmp_path: Path, value: str) -> None:
    path = tmp_path / "rows.csv"
    for content in (f"{value},1\n-3,0\n0,2", f"0,{value}\r\n", f"1,{value}"):
        path.write_text("x,y\n" + content)
        assert is_plain(path, 4, ",")


@pytest.mark.parametrize("value", ["00", "-0", "007", "+1", "-01.5", "0x1F", "0e1", " 3", '"3"'])
def test_others_are_not(tmp_path: Path, value: str) -> None:
    path = tmp_path / "rows.csv"
    for content in (f"{value},1\n", f"0,{value}\r\n", f"1,{value}", f"4,2\n\t{value},2"):
        path.write_text("x,y\n" + content)
        assert not is_plain(path, 4, ",")


def test_guessed_numbers_are_read_without_a_look_at_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_LEAST_BYTES", 0)
    path = tmp_path / "rows.csv"
    frame = pd.DataFrame(
        {"u": [3, 1, 0] * 40, "t": ["a", "b", "c"] * 40, "r": [0.5, 2.0, 3.5] * 40}
    )
    frame.to_csv(path, index=False)
    text = delimited._Text.opened(path, "rows.csv", None)
    read = delimited._columns_guessed(text, None)
    assert read is not None
    assert [str(part.type) for _, part in (read[key].parts[0] for key in "utr")] == [
        "int64",
        "string",
        "double",
    ]


@pytest.mark.parametrize("problem", ["1,2,3\n", "1\n", "é,1\n"])
def test_what_is_wrong_late_is_told_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"x,y\n" + b"1,2\n" * 90 + problem.encode("latin-1"))
    guessed, looked_at = read_both(path, monkeypatch)
    assert isinstance(guessed, str)
    assert guessed == looked_at
