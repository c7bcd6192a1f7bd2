"""Broken data, each with the one message that a user gets; nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tabcf
from tabcf.data.sources import read_source
from tabcf.errors import TabcfError

GOOD = "user_id,item_id,rating,when\n" + "".join(
    f"{u},{i},{1 + (u + i) % 5},2024-01-{1 + u:02d}\n" for u in range(6) for i in range(5)
)
ITEMS = "item_id,title\n" + "".join(f"{i},Film {i}\n" for i in range(5))
ENTITIES = {"user": {"id": "user_id"}, "item": {"id": "item_id", "table": "items.csv"}}


def write(folder: Path, **files: str | bytes) -> None:
    defaults: dict[str, str | bytes] = {"ratings.csv": GOOD, "items.csv": ITEMS}
    for name, content in {**defaults, **files}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def with_row(row: str) -> dict[str, str]:
    return {"ratings.csv": GOOD + row + "\n"}


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "missing file": (
        {},
        {"data": "rating.csv"},
        r"data: no file 'rating.csv' in .*; did you mean 'ratings.csv'",
    ),
    "empty file": (
        {"ratings.csv": ""},
        {},
        "ratings.csv: expected a header line with column names, got an",
    ),
    "header only": (
        {"ratings.csv": "user_id,item_id,rating\n"},
        {},
        "expected rows below the header, got none",
    ),
    "ragged row": (with_row("1,2"), {}, "ratings.csv: .*Expected 4 columns, got 2"),
    "not UTF-8": (
        {"ratings.csv": GOOD.encode() + b"caf\xe9,1,2,3\n"},
        {},
        "ratings.csv: expected UTF-8 text",
    ),
    "not UTF-8 header": (
        {"ratings.csv": b"caf\xe9,b\n1,2\n"},
        {},
        "ratings.csv: expected UTF-8 text",
    ),
    "column named twice": (
        {"ratings.csv": "a,b,a\n1,2,3\n"},
        {},
        "ratings.csv:1: .*given twice: a",
    ),
    "column without a name": (
        {"ratings.csv": "a,,b\n1,2,3\n"},
        {},
        "ratings.csv:1: column 2 of 3 has no name",
    ),
    "unknown file type": (
        {"ratings.xlsx": "x"},
        {"data": "ratings.xlsx"},
        "ratings.xlsx: expected one of the file t",
    ),
    "no Parquet": (
        {"ratings.parquet": "x"},
        {"data": "ratings.parquet"},
        "ratings.parquet: not a Parquet fi",
    ),
    "target missing": (
        {},
        {"target": "ratings"},
        "ratings.csv: no column 'ratings'; did you mean 'rating'",
    ),
    "target no number": (
        with_row("1,2,five,2024-01-01"),
        {"target": {"column": "rating", "levels": [1, 2, 3, 4, 5]}},
        "column 'rating': 1 of 31 rows are not numbers; first at line 32: 'five'",
    ),
    "target without a value": (
        with_row("1,2,,2024-01-01"),
        {},
        "target 'rating': 1 of 31 rows have none; first at line 32",
    ),
    "target off its levels": (
        with_row("1,2,9,2024-01-01"),
        {"target": {"column": "rating", "levels": [1, 2, 3, 4, 5]}},
        "1 of 31 rows are on none of the levels 1, 2, 3, 4, 5; first at line 32: 9",
    ),
    "infinite number": (
        with_row("1,2,inf,2024-01-01"),
        {},
        "column 'rating': 1 of 31 rows are not finite; first",
    ),
    "one class": (
        {"ratings.csv": "c,y\n" + "1,yes\n" * 20},
        {"target": "y", "entities": {}, "columns": {"c": "number"}, "model": "tabular"},
        "target 'y': expected at least two classes, got only 'yes'",
    ),
    "id column missing": (
        {},
        {"entities": {"user": {"id": "userid"}, "item": {"id": "item_id"}}},
        "ratings.csv: no column 'userid'; did you mean 'user_id'",
    ),
    "id twice in its table": (
        {"items.csv": ITEMS + "3,Again\n"},
        {},
        "items.csv: column 'item_id': expected each id once; 3 comes again at line 7",
    ),
    "table without the id": (
        {"items.csv": "film,title\n1,a\n"},
        {},
        "items.csv: no column 'item_id'; columns: film",
    ),
    "table with a missing id": (
        {"items.csv": ITEMS + ",Nameless\n"},
        {},
        "items.csv: column 'item_id': 1 of 6 rows have no usable id; first at line 7",
    ),
    "label missing": (
        {},
        {
            "entities": {
                "user": {"id": "user_id"},
                "item": {"id": "item_id", "table": "items.csv", "label": "titel"},
            }
        },
        "items.csv: no column 'titel'; did you mean 'title'",
    ),
    "unknown built-in": (
        {},
        {"data": "builtin:movielens/ratings"},
        "data: no built-in data set 'movielens'; .*movielens-100k",
    ),
    "glob without match": ({}, {"data": "part-*.csv"}, r"data: no file matches 'part-\*.csv'"),
    "folder without data": (
        {"empty/readme.md": "x"},
        {"data": "empty"},
        "data: no data files in the folder 'empty'",
    ),
    "parts that differ": (
        {"parts/1.csv": "a,b\n1,2\n", "parts/2.csv": "a,c\n1,2\n"},
        {"data": "parts"},
        "2.csv: expected the columns of 1.csv",
    ),
    "bad date": (
        with_row("1,2,3,yesterday"),
        {"columns": {"day": {"date_part": {"from": "when", "part": "day"}}}},
        "column 'when': expected dates as ISO text",
    ),
    "bad time zone": (
        {},
        {
            "columns": {
                "h": {"date_part": {"from": "when", "part": "hour", "timezone": "Mars/Base"}}
            }
        },
        "no time zone 'Mars/Base'",
    ),
    "bad comparison": (
        {},
        {"target": {"implicit": {"positive": "rating around 4"}}},
        "expected such as 'year >= 1990' or 'genres has Comedy', got 'rating around 4'",
    ),
    "nothing positive": (
        {},
        {"target": {"implicit": {"positive": "rating > 5"}}},
        "no event of ratings.csv fulfils 'rating > 5'",
    ),
    "event column missing": (
        {},
        {"columns": {"shop": "category"}},
        "ratings.csv: no column 'shop'; columns: user_id",
    ),
    "another data set's fold": ({}, {"split": {"official": "u1"}}, "100,000"),
    "no such split column": (
        {},
        {"split": {"time": "wen"}},
        "no column 'wen'; did you mean 'when'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_broken_data_gives_one_clear_message_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    files, changes, expected = CASES[case]
    write(tmp_path, **files)
    spec = {
        "tabcf": 1,
        "data": "ratings.csv",
        "target": "rating",
        "entities": ENTITIES,
        "model": "dot_product_bias",
        **changes,
    }
    if "implicit" in str(changes.get("target")):
        spec["model"] = "popular"
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    with pytest.raises(TabcfError, match=expected) as error:
        tabcf.fit(tmp_path / "spec.yaml", out=tmp_path / "run")
    assert len(str(error.value).splitlines()) == 1
    before = {
        "spec.yaml",
        *(path.parts[0] for path in map(Path, {"ratings.csv", "items.csv", *files})),
    }
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            {"user_id": [1, "a"], "item_id": [1, 2]},
            "column 'user_id' mixes whole numbers and text, such as 1 and 'a'",
        ),
        (
            {"user_id": ["1", "2"], "item_id": [1, 2]},
            r"'user_id': expected whole numbers as in training, got text such as '1'; convert with",
        ),
        ({"user_id": [1, 2]}, "data: no column 'item_id'"),
    ],
)
def test_a_frame_that_does_not_fit_a_run_is_refused(
    frame: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    write(tmp_path)
    spec = {
        "tabcf": 1,
        "target": "rating",
        "model": "bias",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    }
    run = tabcf.fit(spec, tmp_path / "ratings.csv")
    with pytest.raises(TabcfError, match=expected):
        run.predict(pd.DataFrame(frame))


def test_ids_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,whole,mixed\n007,7,7\n010,10,x\n")
    frame = read_source(str(tmp_path / "a.csv")).frame
    assert frame["id"].tolist() == ["007", "010"]
    assert frame["whole"].tolist() == [7, 10]
    assert frame["mixed"].tolist() == ["7", "x"]


def test_a_text_files_ids_are_read_as_training_read_them(tmp_path: Path) -> None:
    """A file whose ids are not all numbers still finds those that are."""
    write(tmp_path)
    spec = {
        "tabcf": 1,
        "target": "rating",
        "model": "bias",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    }
    run = tabcf.fit(spec, tmp_path / "ratings.csv")
    (tmp_path / "new.csv").write_text("user_id,item_id\n1,1\n01,1\nnobody,1\n")
    basis = run.predict(tmp_path / "new.csv")["basis"].tolist()
    assert basis == ["trained", "cold user: average", "cold user: average"]


def test_the_encoder_learns_from_training_rows_alone() -> None:
    frame = pd.DataFrame(
        {
            "color": ["red", "blue"] * 10 + ["mauve"] * 5,
            "size": [1.0, 3.0] * 10 + [1000.0] * 5,
            "y": range(25),
            "part": ["train"] * 20 + ["test"] * 5,
        }
    )
    spec = {
        "tabcf": 1,
        "target": "y",
        "columns": {"color": "category", "size": "number"},
        "model": {"tabular": {"layers": [4]}},
        "split": {"labels": "part"},
        "train": {"epochs": 1},
    }
    encoder = tabcf.fit(spec, frame).trained.encoder
    encodings = {plan.name: encoding for plan, encoding in encoder.columns}
    assert encodings["color"].vocabulary.values.tolist() == ["blue", "red"]
    assert (encodings["size"].mean, encodings["size"].median) == (2.0, 2.0)


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    write(tmp_path)
    spec = {
        "tabcf": 1,
        "target": "rating",
        "model": "bias",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    }
    run = tabcf.fit(spec, tmp_path / "ratings.csv")
    frame = read_source(str(tmp_path / "ratings.csv")).frame
    turned = run.predict(frame[frame.columns[::-1]])["prediction"]
    assert turned.tolist() == run.predict(frame)["prediction"].tolist()
