"""MovieLens 100K in its normal form, from GroupLens' own files and from RecBole's copy of them.

Both keep the ratings in the order of `u.data`, on which the official folds rest. Titles come
without the year, which is a column of its own and empty if unknown; genres are joined by `|` in
the order of GroupLens' flags. The genre `unknown` says that none is known: an empty field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabcf.data.datasets.normal_form import read_member, write_table
from tabcf.data.datasets.records import Unavailable

__all__ = [
    "ITEM_COLUMNS",
    "RATING_COLUMNS",
    "USER_COLUMNS",
    "split_title",
    "write_from_grouplens",
    "write_from_recbole",
]

RATING_COLUMNS = ("user_id", "item_id", "rating", "timestamp")
USER_COLUMNS = ("user_id", "age", "gender", "occupation", "zip_code")
ITEM_COLUMNS = ("item_id", "title", "year", "genres")

_GENRES = (  # the flags of u.item after the first, which says "unknown"
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
_N_ITEM_FIELDS = 5 + 1 + len(_GENRES)
_TITLE_AND_YEAR = re.compile(r"(?P<title>.*\S)\s*\((?P<year>\d{4})\)(?:\s*\([A-Z]+\))?")
_NO_TITLE = "unknown"
_RECBOLE_UNKNOWN = "unkonwn"  # as spelt there


@dataclass(frozen=True, slots=True)
class _Tables:
    ratings: Iterable[Sequence[str]]
    users: Iterable[Sequence[str]]
    items: Iterable[Sequence[str]]

    def write(self, folder: Path) -> None:
        write_table(folder / "ratings.csv", RATING_COLUMNS, self.ratings)
        write_table(folder / "users.csv", USER_COLUMNS, self.users)
        write_table(folder / "items.csv", ITEM_COLUMNS, self.items)


def split_title(text: str) -> tuple[str, str]:
    """Title and year; the year is empty if the title ends in none.

    A kind of release after the year, such as `(V)` for video, belongs to neither.

    Example:
        >>> split_title("Postino, Il (1994)"), split_title("unknown")
        (('Postino, Il', '1994'), ('unknown', ''))
    """
    text = text.strip()
    found = _TITLE_AND_YEAR.fullmatch(text)
    return (found["title"], found["year"]) if found else (text, "")


def write_from_grouplens(archive: Path, folder: Path) -> None:
    """Write the three tables from `ml-100k.zip`.

    Raises:
        Unavailable: The archive is not in GroupLens' format.
    """
    _Tables(
        ratings=_rows(archive, "ml-100k/u.data", separator="\t", n_fields=4),
        users=_rows(archive, "ml-100k/u.user", separator="|", n_fields=5),
        items=map(
            _grouplens_item,
            _rows(archive, "ml-100k/u.item", separator="|", n_fields=_N_ITEM_FIELDS),
        ),
    ).write(folder)


def write_from_recbole(archive: Path, folder: Path) -> None:
    """Write the three tables from the data files inside RecBole's wheel.

    Raises:
        Unavailable: The wheel does not hold them as expected.
    """
    _Tables(
        ratings=_recbole_rows(archive, "inter", ("user_id", "item_id", "rating", "timestamp")),
        users=_recbole_rows(
            archive, "user", ("user_id", "age", "gender", "occupation", "zip_code")
        ),
        items=map(
            _recbole_item,
            _recbole_rows(archive, "item", ("item_id", "movie_title", "release_year", "class")),
        ),
    ).write(folder)


def _grouplens_item(fields: Sequence[str]) -> tuple[str, str, str, str]:
    title, year = split_title(fields[1])
    flags = fields[-len(_GENRES) :]
    genres = [genre for genre, flag in zip(_GENRES, flags, strict=True) if flag == "1"]
    return fields[0], title, year, "|".join(genres)


def _recbole_item(fields: Sequence[str]) -> tuple[str, str, str, str]:
    item_id, title, year, genres = fields
    if title == _RECBOLE_UNKNOWN:
        title = _NO_TITLE
    if not year.isdecimal():
        # The last bracket was taken for the year: `(V)`, or nothing. The title kept the year.
        title, year = split_title(title)
    known = set(genres.split())
    return item_id, title, year, "|".join(genre for genre in _GENRES if genre in known)


def _rows(
    archive: Path, member: str, *, separator: str, n_fields: int, encoding: str = "latin-1"
) -> Iterator[list[str]]:
    try:
        text = read_member(archive, member).decode(encoding)
    except UnicodeDecodeError as error:
        raise Unavailable(f"{member}: expected {encoding} text ({error.reason})") from None
    # Not splitlines(): it also breaks at characters that may stand inside a latin-1 title.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not line:
            continue
        fields = line.split(separator)
        if len(fields) != n_fields:
            raise Unavailable(
                f"{member}:{number}: expected {n_fields} fields, got {len(fields)}: {line[:60]!r}"
            )
        yield fields


def _recbole_rows(archive: Path, suffix: str, columns: tuple[str, ...]) -> Iterator[list[str]]:
    member = f"recbole/dataset_example/ml-100k/ml-100k.{suffix}"
    rows = _rows(archive, member, separator="\t", n_fields=len(columns), encoding="utf-8")
    header = tuple(field.partition(":")[0] for field in next(rows, []))
    if header != columns:
        raise Unavailable(
            f"{member}:1: expected the columns {', '.join(columns)}, got {', '.join(header)}"
        )
    return rows
