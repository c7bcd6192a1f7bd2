"""Chosen columns alone, and blocks of rows, are the same values that reading all of it gives."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from tabcf.data import delimited, files, parquet, sql
from tabcf.data.sources import read_batches, read_source
from tabcf.data.sql import query_batches
from tabcf.errors import DataError

CHOSEN = {"late", "word", "rating"}


def table() -> pa.Table:
    """A column of numbers until its last row is text, one with gaps, others without."""
    n = 300
    return pa.table(
        {
            "late": [*(str(i) for i in range(n - 1)), "x7"],
            "ignored": [f"long text {i}" for i in range(n)],
            "word": [f"w{i % 7}" for i in range(n)],
            "rating": [i % 10 / 2 for i in range(n)],
            "gap": [None if i % 50 == 0 else i for i in range(n)],
        }
    )


@pytest.fixture(params=["csv", "parquet", "feather", "arrow", "folder", "partitioned", "dotted"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "ROWS", 64)
    monkeypatch.setattr(parquet, "ROWS", 64)
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 1024)
    kind, rows = request.param, table()
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        rows.to_pandas().to_csv(path, index=False)
    elif kind == "parquet":
        pq.write_table(rows, path)
    elif kind == "feather":
        pyarrow.feather.write_feather(rows, str(path), chunksize=100)
    elif kind == "arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, rows.schema) as stream:
            stream.write_table(rows, max_chunksize=100)
    elif kind == "folder":
        path.mkdir()
        pq.write_table(rows[:100], path / "a.parquet")
        pq.write_table(rows[100:], path / "b.parquet")
    elif kind == "partitioned":
        for year, part in ((2023, rows[:100]), (2024, rows[100:])):
            (path / f"year={year}").mkdir(parents=True)
            pq.write_table(part, path / f"year={year}" / "part.parquet")
    else:
        path = path.with_suffix(".parquet")
        pq.write_table(rows.append_column("a.b", rows["gap"]), path)
    return path


def test_chosen_columns_are_those_of_the_whole_file(path: Path) -> None:
    whole, some = read_source(str(path)), read_source(str(path), columns=CHOSEN)
    if "a.b" not in whole.frame:  # whose names say too little to read some of them
        assert list(some.frame.columns) == [key for key in whole.frame.columns if key in CHOSEN]
        assert list(some.all_columns) == list(whole.frame.columns)
    for name in CHOSEN:
        pd.testing.assert_series_equal(some.frame[name], whole.frame[name])


def test_a_column_that_is_not_there_is_missed_among_all_columns(path: Path) -> None:
    found = read_source(str(path), columns={"rating", "wort"})
    with pytest.raises(DataError, match=r"no column 'wort'; did you mean 'word'\? .*ignored"):
        found.require(["rating", "wort"])
    with pytest.raises(DataError, match=r"no column 'wort'.*late, ignored, word, rating, gap"):
        found.with_rows(found.frame[:3]).require(["wort"])


def test_with_none_of_the_columns_the_rows_are_counted(path: Path) -> None:
    assert len(read_source(str(path), columns={"nothing"}).frame) == 300


@pytest.mark.parametrize("columns", [None, CHOSEN])
def test_blocks_are_the_rows_of_the_whole(path: Path, columns: set[str] | None) -> None:
    whole = read_source(str(path), columns=columns)
    blocks = list(read_batches(str(path), columns=columns))
    assert len(blocks) > 2 or path.suffix == ".partitioned"
    for name in whole.frame.columns:
        values = pd.concat([block.frame[name] for block in blocks], ignore_index=True)
        pd.testing.assert_series_equal(
            values.astype(whole.frame[name].dtype), whole.frame[name], check_names=False
        )
    if path.suffix == ".csv":
        lines = [block.first_line for block in blocks]
        before = [2 + sum(len(b.frame) for b in blocks[:i]) for i in range(len(blocks))]
        assert lines == before


def test_blocks_of_text_have_the_type_of_the_whole_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 64)
    rows = ["7,1,a", *["8,2,"] * 60, "NA,1.5,b", "007,2,c"]
    (tmp_path / "rows.csv").write_text("x,y,z\n" + "\n".join(rows) + "\n")
    whole = read_source("rows.csv", folder=tmp_path).frame
    blocks = [block.frame for block in read_batches("rows.csv", folder=tmp_path)]
    assert len(blocks) > 3
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), whole)
    assert {str(block["x"].dtype) for block in blocks} == {"str"}


def test_a_late_mistake_in_a_text_file_is_told_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 64)
    (tmp_path / "rows.csv").write_text("x,y\n" + "1,2\n" * 50 + "1,2,3\n")
    with pytest.raises(DataError, match=r"rows.csv: .*Expected 2 columns, got 3"):
        list(read_batches("rows.csv", folder=tmp_path))
    (tmp_path / "rows.csv").write_text("x,y\n")
    with pytest.raises(DataError, match="expected rows below the header, got none"):
        list(read_batches("rows.csv", folder=tmp_path))


def test_names_in_a_header_may_have_spaces_around_them(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x , y\n1,2\n")
    frame = read_source("rows.csv", folder=tmp_path, columns={"y"}).frame
    assert frame.to_dict("list") == {"y": [2]}


def test_who_watches_is_told_of_all_rows_of_all_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        table().to_pandas().to_csv(tmp_path / f"{name}.csv", index=False)
    told: list[tuple[int, float]] = []
    read_source(str(tmp_path), on_rows=lambda n, share: told.append((n, share)))
    assert told[-1] == (600, 1.0)
    assert told == sorted(told)


def test_blocks_of_a_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "_ROWS", 64)
    url = f"sqlite:///{tmp_path / 'rows.db'}"
    engine = sa.create_engine(url)
    table().to_pandas().to_sql("rows", engine, index=False)
    engine.dispose()
    blocks = [block.frame for block in query_batches(url, "select late, rating from rows")]
    assert [len(block) for block in blocks] == [64, 64, 64, 64, 44]
    assert pd.concat(blocks)["late"].tolist() == table()["late"].to_pylist()
    with pytest.raises(DataError, match="expected rows, got none"):
        list(query_batches(url, "select late from rows where rating < 0"))
