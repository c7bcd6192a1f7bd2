"""The small data sets that scikit-learn ships, in their normal form."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from tabcf.data.datasets.normal_form import whole_if_possible, write_table
from tabcf.errors import MissingExtraError

__all__ = ["write_from_scikit_learn"]

_UNIT = re.compile(r"\s*\([^)]*\)$")


def write_from_scikit_learn(folder: Path, *, name: str) -> None:
    """Write `<name>.csv`: the features in scikit-learn's order, then `target`.

    A class is written as its name, a diabetes measure as it was taken (scikit-learn's default
    rescales it).

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        sets: Any = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise MissingExtraError("scikit-learn", "datasets") from None
    load = getattr(sets, f"load_{name.replace('-', '_')}")
    bunch = load(scaled=False) if name == "diabetes" else load()
    features = [whole_if_possible(column) for column in bunch.data.T.tolist()]
    target = bunch.target.tolist()
    if "target_names" in bunch:
        target = [str(bunch.target_names[number]) for number in target]
    else:
        target = whole_if_possible(target)
    columns = [*map(_column_name, bunch.feature_names), "target"]
    write_table(folder / f"{name}.csv", columns, zip(*features, target, strict=True))


def _column_name(text: str) -> str:
    """`sepal length (cm)` → `sepal_length`."""
    return re.sub(r"\W+", "_", _UNIT.sub("", text))
