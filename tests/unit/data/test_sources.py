"""The same rows come out of every kind of file, frame and database."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

import tabcf
from tabcf.data.sources import read_source, source_of_frame
from tabcf.data.sql import read_query
from tabcf.errors import DataError, SpecError


def events() -> pd.DataFrame:
    """Ids as text and numbers, a number with gaps, a whole number with gaps, a time."""
    return pd.DataFrame(
        {
            "user_id": ["007", "b", "b", "c"],
            "item_id": [3, 1, 2, 3],
            "rating": [4.0, 2.5, np.nan, 1.0],
            "minutes": pd.array([90, None, 120, 7], dtype="Int64"),
            "at": [datetime(2024, 3, 1, 10), *(datetime(2024, 3, day) for day in (2, 3, 4))],
        }
    )


def assert_events(frame: pd.DataFrame, expected: pd.DataFrame | None = None) -> None:
    """The same values in the same rows, whatever the width of their types."""
    expected = events() if expected is None else expected
    assert list(frame.columns) == list(expected.columns)
    assert [len(frame), *frame.index[:2]] == [len(expected), 0, 1]
    for name in expected.columns:
        own, other = frame[name].astype("object"), expected[name].astype("object")
        assert own.isna().tolist() == other.isna().tolist(), name
        assert own.dropna().tolist() == other.dropna().tolist(), name


class Stream:
    """A table that nothing is known of but the Arrow C stream interface."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


FRAMES = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "arrow": pa.Table.from_pandas,
    "arrow stream": lambda frame: Stream(pa.Table.from_pandas(frame, preserve_index=False)),
    "categories": lambda frame: frame.astype({"user_id": "category"}),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames(kind: str) -> None:
    assert_events(source_of_frame(FRAMES[kind](events())).frame)


def test_frames_of_dictionaries_and_decimals() -> None:
    table = pa.table(
        {
            "user_id": pa.array(["x", "y", "x"]).dictionary_encode(),
            "price": pa.array([Decimal("1.50"), None, Decimal("2")]),
        }
    )
    frame = source_of_frame(Stream(table)).frame
    assert frame["user_id"].tolist() == ["x", "y", "x"]
    np.testing.assert_array_equal(frame["price"].to_numpy(), [1.5, np.nan, 2.0])


def test_what_is_no_table_is_told() -> None:
    with pytest.raises(DataError, match="expected a data frame or a path, got int"):
        source_of_frame(5)


@pytest.mark.parametrize("ending", ["parquet", "pq", "feather", "arrow"])
def test_files(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"events.{ending}"
    table = pa.Table.from_pandas(events(), preserve_index=False)
    if ending == "arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, max_chunksize=2)
    elif ending == "feather":
        pyarrow.feather.write_feather(table, str(path))
    else:
        pq.write_table(table, path, row_group_size=2)
    assert_events(read_source(str(path)).frame)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_file_that_is_none_of_its_kind_is_told(ending: str, tmp_path: Path) -> None:
    (tmp_path / f"events.{ending}").write_text("user_id,item_id\n1,2\n")
    with pytest.raises(DataError, match=f"events.{ending}: not an? (Parquet|Arrow) file"):
        read_source(f"events.{ending}", folder=tmp_path)


class TestPartitioned:
    def write(self, folder: Path) -> pd.DataFrame:
        frame = events().assign(year=[2023, 2023, 2024, 2024])
        for year, part in frame.groupby("year"):
            below = folder / f"year={year}"
            below.mkdir(parents=True)
            part.drop(columns="year").to_parquet(below / "part-0.parquet", index=False)
        return frame

    def test_the_folders_names_are_a_column(self, tmp_path: Path) -> None:
        frame = self.write(tmp_path / "events")
        assert_events(read_source("events", folder=tmp_path).frame, frame)

    def test_one_of_its_files_is_read_without(self, tmp_path: Path) -> None:
        self.write(tmp_path / "events")
        found = read_source("events/year=2023/part-0.parquet", folder=tmp_path)
        assert "year" not in found.frame.columns

    def test_other_columns_in_one_file_are_told(self, tmp_path: Path) -> None:
        self.write(tmp_path / "events")
        extra = events().assign(strange=1)
        extra.to_parquet(tmp_path / "events" / "year=2024" / "part-1.parquet", index=False)
        with pytest.raises(DataError, match=r"got 'strange' in year=2024/part-1.parquet"):
            read_source("events", folder=tmp_path)


def fill(url: str) -> None:
    """A table `events` of 60,000 rows, and a view of its first four."""
    engine = sa.create_engine(url)
    metadata = sa.MetaData()
    table = sa.Table(
        "events",
        metadata,
        sa.Column("n", sa.Integer),
        sa.Column("user_id", sa.String),
        sa.Column("item_id", sa.Integer),
        sa.Column("rating", sa.Numeric(4, 2)),
        sa.Column("minutes", sa.Integer),
        sa.Column("at", sa.DateTime),
    )
    few = [
        dict(
            zip(
                [column.name for column in table.columns],
                [n, user, item, rating, minutes, at],
                strict=True,
            )
        )
        for n, (user, item, rating, minutes, at) in enumerate(
            [
                ("007", 3, Decimal("4.00"), 90, datetime(2024, 3, 1, 10)),
                ("b", 1, Decimal("2.50"), None, datetime(2024, 3, 2)),
                ("b", 2, None, 120, datetime(2024, 3, 3)),
                ("c", 3, Decimal("1.00"), 7, datetime(2024, 3, 4)),
            ]
        )
    ]
    many = [{**few[n % 4], "n": n} for n in range(4, 60_000)]
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(table.insert(), few + many)
    engine.dispose()


FIRST = "select user_id, item_id, rating, minutes, at from events where n < 4 order by n"


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'events.db'}"
    fill(url)
    return url


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own on a socket in a folder of its own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        if os.environ.get("TABCF_REQUIRE_SERVICES"):
            pytest.fail("PostgreSQL is needed here")
        pytest.skip("PostgreSQL is not installed")
    programs = found[-1].parent
    # Its server refuses to be run by root.
    before = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path("/tmp") / f"tabcf-postgresql-{os.getpid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    data = folder / "data"

    def call(*command: object) -> None:
        done = subprocess.run(
            [*before, *map(str, command)], capture_output=True, text=True, cwd=folder, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        call(programs / "initdb", "-D", data, "-U", "reader", "--auth=trust", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        log = folder / "log"
        call(programs / "pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")
        try:
            url = f"postgresql+psycopg://reader:${{TABCF_TEST_PASSWORD}}@/postgres?host={folder}"
            fill(url.replace("${TABCF_TEST_PASSWORD}", "any"))
            yield url
        finally:
            call(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        subprocess.run([*before, "rm", "-rf", str(data)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TABCF_TEST_PASSWORD", "open sesame/@:")
    url: str = request.getfixturevalue(request.param)
    return url


def test_queries(database: str) -> None:
    frame = read_query(database, FIRST).frame
    if database.startswith("sqlite"):  # which has no type for times
        frame["at"] = pd.to_datetime(frame["at"])
    assert_events(frame)


def test_a_query_of_many_rows_comes_in_parts(database: str) -> None:
    """The first part has no gap in `late`, the last one nothing else: one type fits both."""
    query = (
        "select n, case when n < 55000 then n end as late, "
        "case when n >= 55000 then 'x' end as word from events order by n"
    )
    frame = read_query(database, query).frame
    assert frame["n"].tolist() == list(range(60_000))
    assert frame["late"].isna().sum() == 5_000
    assert frame["word"].notna().sum() == 5_000


def test_mistakes_in_queries_are_told(database: str) -> None:
    with pytest.raises(DataError, match=r"data\.sql: .*nothing") as error:
        read_query(database, "select * from nothing")
    assert "sesame" not in str(error.value)
    with pytest.raises(DataError, match="expected rows, got none"):
        read_query(database, "select * from events where n < 0")
    with pytest.raises(DataError, match="names must be unique; given twice: n; name them apart"):
        read_query(database, "select n, n from events where n < 4")
    with pytest.raises(DataError, match=r"expected a query that gives rows|syntax error"):
        read_query(database, "create table other (n integer)")


def test_the_database_is_left_as_it_was(database: str) -> None:
    with pytest.raises(DataError):
        read_query(database, "delete from events")
    assert read_query(database, "select count(*) as n from events").frame["n"].tolist() == [60_000]


def test_where_the_database_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TABCF_TEST_PASSWORD", raising=False)
    with pytest.raises(DataError, match="the environment variable TABCF_TEST_PASSWORD is not set"):
        read_query("postgresql+psycopg://me:${TABCF_TEST_PASSWORD}@/x", "select 1")
    with pytest.raises(DataError, match="expected a URL such as sqlite"):
        read_query("ratings.db", "select 1")
    with pytest.raises(DataError, match="the driver of strange is not installed"):
        read_query("strange://x", "select 1")
    monkeypatch.setenv("TABCF_TEST_PASSWORD", "open sesame/@:")
    unreachable = "postgresql+psycopg://me:${TABCF_TEST_PASSWORD}@/x?host=/nowhere"
    with pytest.raises(DataError) as error:
        read_query(unreachable, "select 1")
    assert "sesame" not in str(error.value)


class TestSpec:
    def spec(self, url: str, **changes: Any) -> dict[str, Any]:
        query = "select user_id, item_id, n % 5 as rating from events where n < 400"
        return {
            "tabcf": 1,
            "data": {"sql": {"url": url, "query": query}},
            "target": "rating",
            "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
            "model": "dot_product_bias",
            "train": {"epochs": 1},
            **changes,
        }

    def test_events_and_attributes_come_from_a_database(self, sqlite: str, tmp_path: Path) -> None:
        items = {
            "id": "item_id",
            "table": {
                "sql": {
                    "url": sqlite,
                    "query": "select distinct item_id, item_id * 2.0 as size from events",
                }
            },
            "columns": {"size": "number"},
        }
        entities = {"user": {"id": "user_id"}, "item": items}
        run = tabcf.fit(self.spec(sqlite, entities=entities), out=tmp_path / "run")
        assert sum(run.report.n_rows.values()) == 400
        assert set(run.trained.encoder.entities["item"].frame["size"]) == {2.0, 4.0, 6.0}
        # The run is read without the database.
        assert tabcf.load(tmp_path / "run").spec.data == run.spec.data

    def test_a_password_is_not_written_down(self) -> None:
        with pytest.raises(SpecError, match=r"data\.sql\.url: expected the password to come from"):
            tabcf.fit(self.spec("postgresql+psycopg://me:secret@host/x"))

    def test_either_a_path_or_a_query(self, sqlite: str) -> None:
        both = {**self.spec(sqlite)["data"], "path": "x.csv"}
        with pytest.raises(SpecError, match="expected either path or sql"):
            tabcf.fit(self.spec(sqlite, data=both))
