"""Columns of a source on disk: read back as they were, in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from tabcf.contracts.target import TargetInfo
from tabcf.data.doctor import examine, examine_blocks
from tabcf.data.moments import mean_and_deviation
from tabcf.data.sources import Source
from tabcf.data.spool import Spool, spooled
from tabcf.errors import DataError

N = 1000


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "user_id": rng.integers(1, 60, N),
            "item_id": rng.integers(1 << 40, (1 << 40) + 30, N),
            "rating": rng.integers(1, 6, N).astype(float),
            "flag": rng.random(N) < 0.5,
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, N), "D"),
            "word": pd.Series(rng.choice(["a", "bb", "ccc", None], N), dtype="str"),
            "same": 7,
        }
    )


def batches(whole: pd.DataFrame, n: int = 130) -> Iterator[Source]:
    for start in range(0, len(whole), n):
        rows = whole.iloc[start : start + n].reset_index(drop=True)
        yield Source(rows, "events", first_line=start + 2)


@pytest.fixture
def spool(monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setattr("tabcf.data.spool._BLOCK", 170)
    return spooled(batches(frame()))


def test_blocks_and_chosen_rows_are_those_that_were_written(spool: Spool) -> None:
    whole = frame()
    blocks = list(spool.blocks())
    assert [block.first_line for block in blocks] == [2, 172, 342, 512, 682, 852]
    found = pd.concat([block.frame for block in blocks], ignore_index=True)
    pd.testing.assert_frame_equal(found, whole)
    chosen = np.random.default_rng(2).random(N) < 0.2
    expected = whole[chosen].reset_index(drop=True)
    pd.testing.assert_frame_equal(spool.taken(chosen).frame, expected)
    parts = [block.frame for block in spool.blocks(chosen)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), expected)
    assert len(spool.taken(np.zeros(N, bool)).frame) == 0


def test_the_whole_frame_is_read_where_it_is_looked_at(spool: Spool) -> None:
    read, whole = spool.frame(), frame()
    for name in whole.columns.drop("word"):
        np.testing.assert_array_equal(read[name].to_numpy(), whole[name].to_numpy())
    words = read["word"].astype(object).where(read["word"].notna(), None)
    assert (
        words.tolist() == whole["word"].astype(object).where(whole["word"].notna(), None).tolist()
    )


def test_whole_numbers_with_gaps_in_later_batches() -> None:
    first = pd.DataFrame({"x": [1, 2]})
    gaps = pd.DataFrame({"x": pd.array([3, None], dtype="Int64")})
    none = pd.DataFrame({"x": pd.Series([None, None], dtype=object)})
    found = spooled(Source(part, "events") for part in (first, gaps, none))
    np.testing.assert_array_equal(
        np.concatenate([block.frame["x"].to_numpy() for block in found.blocks()]),
        [1.0, 2.0, 3.0, np.nan, np.nan, np.nan],
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([["a"], [1]], r"column 'x' has text in some rows and other values in others"),
        ([[[1]]], r"column 'x' \(object\): with train.memory expected numbers, text or dates"),
        ([pd.array([1 << 60, None], dtype="Int64")], r"more than 15 digits"),
    ],
)
def test_what_cannot_be_kept_is_named(parts: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        spooled(Source(pd.DataFrame({"x": part}), "events") for part in parts)


def test_no_rows_are_an_error() -> None:
    with pytest.raises(DataError, match="expected rows, got none"):
        spooled([])


def test_the_doctor_says_of_blocks_what_it_says_of_a_frame(spool: Spool) -> None:
    whole = frame().assign(like=lambda f: f["rating"] * 2)
    whole["user_id"] = np.arange(N) // 10
    part = np.repeat([0, 1, 2], [800, 100, 100])
    uses = {"user_id": "id of user", "word": "category", "same": "number", "like": "number"}
    target = TargetInfo("regression", ("rating",))
    written = spooled(batches(whole))
    found = examine_blocks(lambda number: written.blocks(part == number), target, uses)
    assert found == examine(Source(whole, "events"), part, target, uses)
    assert len(found) == 4


def test_mean_and_deviation_of_many_values_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(5, 2, 999)
    expected = values.mean(), values.std()
    assert mean_and_deviation(values) == pytest.approx(expected, rel=1e-15)
    monkeypatch.setattr("tabcf.data.moments._BLOCK", 100)
    assert mean_and_deviation(values) == pytest.approx(expected, rel=1e-13)
