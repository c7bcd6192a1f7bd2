"""MovieLens files from both sources come to one normal form; the films here are invented."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabcf.data.datasets.movielens import (
    split_title,
    write_from_grouplens,
    write_from_recbole,
)
from tabcf.data.datasets.records import Unavailable

FLAGS = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
FILMS = [  # GroupLens' title, RecBole's title and year, release date, genres
    ("Paper Moons (1994)", "Paper Moons", "1994", "01-Jan-1995", ["Comedy", "Romance"]),
    ("unknown", "unkonwn", "unkonwn", "", ["unknown"]),
    ("Old Barn: A Life (1996) ", "Old Barn: A Life", "1996", "02-Apr-1996", ["Documentary"]),
    ("Ducks IV (1995) (V)", "Ducks IV (1995)", "V", "01-Jan-1995", ["Animation", "Children's"]),
    ("3001: A Sea Tale (1968)", "3001: A Sea Tale", "1968", "", ["Sci-Fi", "Drama"]),
    ("Été, L' (Summer, A) (1991)", "Été, L' (Summer, A)", "1991", "", ["Drama"]),
    ('Say "Yes", Ann (1971)', 'Say "Yes", Ann', "1971", "", ["unknown"]),
    ("Wait\x85Then (1990)", "Wait\x85Then", "1990", "", ["War"]),
]
ITEMS = [
    ["1", "Paper Moons", "1994", "Comedy|Romance"],
    ["2", "unknown", "", ""],
    ["3", "Old Barn: A Life", "1996", "Documentary"],
    ["4", "Ducks IV", "1995", "Animation|Children's"],
    ["5", "3001: A Sea Tale", "1968", "Drama|Sci-Fi"],
    ["6", "Été, L' (Summer, A)", "1991", "Drama"],
    ["7", 'Say "Yes", Ann', "1971", ""],
    ["8", "Wait\x85Then", "1990", "War"],
]
RATINGS = [["9", "3", "4", "881250949"], ["2", "1", "5", "881250948"], ["9", "1", "1", "7"]]
USERS = [["2", "24", "F", "none", "01002"], ["9", "53", "M", "other", "V3N4P"]]


def grouplens_files() -> dict[str, bytes]:
    items = []
    for number, (title, _, _, date, genres) in enumerate(FILMS, start=1):
        flags = ["1" if flag in genres else "0" for flag in FLAGS]
        items.append("|".join([str(number), title, date, "", "http://films.invalid", *flags]))
    return {
        "ml-100k/u.data": "".join("\t".join(row) + "\n" for row in RATINGS).encode(),
        "ml-100k/u.user": "".join("|".join(row) + "\n" for row in USERS).encode(),
        "ml-100k/u.item": ("\n".join(items) + "\n\n").encode("latin-1"),
    }


def recbole_files() -> dict[str, bytes]:
    def table(header: str, rows: list[list[str]]) -> bytes:
        return "".join("\t".join(row) + "\n" for row in [header.split(), *rows]).encode()

    items = [
        [str(number), title, year, " ".join(genres)]
        for number, (_, title, year, _, genres) in enumerate(FILMS, start=1)
    ]
    stem = "recbole/dataset_example/ml-100k/ml-100k"
    return {
        f"{stem}.inter": table("user_id:token item_id:token rating:float timestamp:float", RATINGS),
        f"{stem}.user": table(
            "user_id:token age:token gender:token occupation:token zip_code:token", USERS
        ),
        f"{stem}.item": table(
            "item_id:token movie_title:token_seq release_year:token class:token_seq", items
        ),
    }


def make_archive(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def read_table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_grouplens_files_come_to_the_normal_form(tmp_path: Path) -> None:
    write_from_grouplens(make_archive(tmp_path / "a.zip", grouplens_files()), tmp_path)
    assert read_table(tmp_path / "ratings.csv") == [
        ["user_id", "item_id", "rating", "timestamp"],
        *RATINGS,
    ]
    assert read_table(tmp_path / "users.csv") == [
        ["user_id", "age", "gender", "occupation", "zip_code"],
        *USERS,
    ]
    assert read_table(tmp_path / "items.csv") == [
        ["item_id", "title", "year", "genres"],
        *ITEMS,
    ]


def test_both_sources_come_to_the_same_bytes(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    copy.mkdir()
    write_from_grouplens(make_archive(tmp_path / "a.zip", grouplens_files()), original)
    write_from_recbole(make_archive(tmp_path / "a.whl", recbole_files()), copy)
    for name in ("ratings.csv", "users.csv", "items.csv"):
        assert (copy / name).read_bytes() == (original / name).read_bytes()


def test_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    files = {name: data.replace(b"\n", b"\r\n") for name, data in grouplens_files().items()}
    write_from_grouplens(make_archive(tmp_path / "a.zip", files), tmp_path)
    assert read_table(tmp_path / "items.csv")[1:] == ITEMS
    assert read_table(tmp_path / "ratings.csv")[1:] == RATINGS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paper Moons (1994)", ("Paper Moons", "1994")),
        ("Paper Moons(1994)", ("Paper Moons", "1994")),
        ("Ducks IV (1995) (V)", ("Ducks IV", "1995")),
        ("Two (1986) (1987)", ("Two (1986)", "1987")),
        ("1984 (1984)", ("1984", "1984")),
        ("Murder at 1600", ("Murder at 1600", "")),
        ("Barn (Old)", ("Barn (Old)", "")),
        ("(1984)", ("(1984)", "")),
        ("  ", ("", "")),
    ],
)
def test_split_title(text: str, expected: tuple[str, str]) -> None:
    assert split_title(text) == expected


@given(
    title=st.text(st.characters(codec="latin-1", exclude_categories=["C"]), min_size=1).filter(
        lambda text: text.strip()
    ),
    year=st.integers(1000, 9999),
)
def test_a_title_and_its_year_are_told_apart(title: str, year: int) -> None:
    assert split_title(f"{title} ({year})") == (title.strip(), str(year))


def test_a_short_row_is_named_with_its_line(tmp_path: Path) -> None:
    files = grouplens_files()
    files["ml-100k/u.data"] += b"5\t6\t7\n"
    archive = make_archive(tmp_path / "a.zip", files)
    with pytest.raises(Unavailable, match=r"^ml-100k/u.data:4: expected 4 fields, got 3: '5.t6"):
        write_from_grouplens(archive, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    files = grouplens_files()
    del files["ml-100k/u.user"]
    archive = make_archive(tmp_path / "a.zip", files)
    with pytest.raises(Unavailable, match=r"^has no file 'ml-100k/u.user'$"):
        write_from_grouplens(archive, tmp_path)


def test_other_columns_in_the_copy_are_refused(tmp_path: Path) -> None:
    files = recbole_files()
    name = "recbole/dataset_example/ml-100k/ml-100k.inter"
    files[name] = files[name].replace(b"rating:float", b"stars:float")
    archive = make_archive(tmp_path / "a.whl", files)
    with pytest.raises(
        Unavailable, match=r"expected the columns user_id, item_id, rating, .*stars"
    ):
        write_from_recbole(archive, tmp_path)


def test_what_is_no_zip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"<html>sign in first</html>")
    with pytest.raises(Unavailable, match=r"^is no readable zip file"):
        write_from_grouplens(path, tmp_path)
