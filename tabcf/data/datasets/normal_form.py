"""How a table of a data set is written: CSV in UTF-8, one header line, an empty field if missing.

Numbers are written in the shortest form that reads back as the same number, so that the same
values always come to the same bytes.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tabcf.data.datasets.records import Unavailable

__all__ = ["read_member", "whole_if_possible", "write_table"]


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write one table; None becomes an empty field."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def whole_if_possible(values: Sequence[float]) -> Sequence[float] | list[int]:
    """A column as whole numbers if all are whole.

    Example:
        >>> whole_if_possible([41.0, 21.0])
        [41, 21]
    """
    if all(float(value).is_integer() for value in values):
        return [int(value) for value in values]
    return values


def read_member(archive: Path, member: str) -> bytes:
    """The bytes of one file inside a zip file or wheel.

    Raises:
        Unavailable: The archive is none, or lacks that file.
    """
    try:
        with zipfile.ZipFile(archive) as files:
            return files.read(member)
    except KeyError:
        raise Unavailable(f"has no file '{member}'") from None
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise Unavailable(f"is no readable zip file ({error})") from None
