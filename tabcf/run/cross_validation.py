"""What came of several folds: a run a fold, and their metrics beside one another.

A folder of them holds `folds.json`, which says which folds there are and what became of each, and
the run of each fold that is done: `fold-1`, `fold-2`, ...
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabcf.errors import RunError
from tabcf.evaluation.users import pooled_users
from tabcf.run.folder import load
from tabcf.run.manifest import FOLDS, FORMAT, read_json, write_json
from tabcf.run.results import FitReport
from tabcf.run.run import Run
from tabcf.spec.records import Spec

__all__ = ["CrossValidation", "FoldsFile", "Scratch", "is_cross_validation", "mean_and_sd"]


def is_cross_validation(folder: str | Path) -> bool:
    """Whether a folder holds folds."""
    return (Path(folder) / FOLDS).is_file()


def mean_and_sd(rows: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Of each metric the mean over folds and the standard deviation of a fold, with n - 1.

    Example:
        >>> mean_and_sd([{"rmse": 1.0}, {"rmse": 2.0}, {"rmse": 3.0}])
        ({'rmse': 2.0}, {'rmse': 1.0})
    """
    names = [name for name in rows[0] if all(name in row for row in rows)] if rows else []
    values = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in names}
    means = {name: float(value.mean()) for name, value in values.items()}
    sds = {
        name: float(value.std(ddof=1)) if len(value) > 1 else float("nan")
        for name, value in values.items()
    }
    return means, sds


@dataclass(frozen=True)
class FoldsFile:
    """What `folds.json` says: enough to go on where a fit was broken off.

    Attributes:
        name: What the runs are called.
        spec: The spec's plain values, the whole split among them.
        rows: A fingerprint of the events.
        folds: Each fold's name with `done`, `waiting`, or why it failed.
    """

    name: str
    spec: Mapping[str, Any]
    rows: str
    folds: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Replace the file at once."""
        scratch = folder / f".{FOLDS}"
        state = {"format": FORMAT, "name": self.name, "folds": dict(self.folds)}
        write_json(scratch, {**state, "rows": self.rows, "spec": self.spec})
        scratch.replace(folder / FOLDS)

    @classmethod
    def read(cls, folder: Path) -> FoldsFile:
        """Read it.

        Raises:
            RunError: There is none, or it is of another format.
        """
        if not is_cross_validation(folder):
            raise RunError(f"{folder}: expected the folder of a cross-validation; no {FOLDS} in it")
        state = read_json(folder / FOLDS)
        if state.get("format") != FORMAT:
            raise RunError(
                f"{folder}: expected format {FORMAT}, got {state.get('format')!r}; it was written "
                "by another version of tabcf"
            )
        return cls(state["name"], state["spec"], state["rows"], state["folds"])

    @property
    def is_done(self) -> bool:
        """Whether no fold is left to fit."""
        return all(state == "done" for state in self.folds.values())


class Scratch:
    """A folder that goes when nothing refers to this object any more, or at the end of Python."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="tabcf-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class CrossValidation:
    """What `fit` returns for a split of several folds.

    Attributes:
        name: The spec's name.
        folds: The run of each fold that is done, by the fold's name, such as `1` or `u1`.
        failures: Why a fold has no run, by its name.
        n_folds: How many folds there are, done or not.
        is_interrupted: Whether Ctrl-C ended it before its last fold.
        folder: Where it is saved, None as long as it is only in memory.
    """

    name: str
    folds: Mapping[str, Run]
    n_folds: int
    failures: Mapping[str, str] = field(default_factory=dict)
    is_interrupted: bool = False
    folder: Path | None = None
    # What the runs were read from, which goes with the object where nothing else keeps it.
    scratch: Scratch | None = None

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        plugins: Sequence[Any] = (),
        allow_changed_plugins: bool = False,
    ) -> CrossValidation:
        """Read a folder of folds; those that are not done are left out.

        Args:
            folder: The folder.
            plugins: As for `load`.
            allow_changed_plugins: As for `load`.

        Raises:
            RunError: It is no such folder, or no fold of it is done.
        """
        folder = Path(folder)
        file = FoldsFile.read(folder)
        runs = {
            fold: load(
                folder / f"fold-{fold}",
                plugins=plugins,
                allow_changed_plugins=allow_changed_plugins,
            )
            for fold, state in file.folds.items()
            if state == "done"
        }
        if not runs:
            raise RunError(f"{folder}: none of its {len(file.folds)} folds is done")
        failures = {f: s for f, s in file.folds.items() if s not in ("done", "waiting")}
        return cls(file.name, runs, len(file.folds), failures, folder=folder)

    @property
    def spec(self) -> Spec:
        """The spec of the first fold that is done; the others' differ in the fold alone."""
        return next(iter(self.folds.values())).spec

    @property
    def reports(self) -> dict[str, FitReport]:
        """The report of each fold."""
        return {fold: run.report for fold, run in self.folds.items()}

    @property
    def label(self) -> str:
        """What the model is called in tables."""
        return next(iter(self.folds.values())).label

    @property
    def table(self) -> pd.DataFrame:
        """Test metrics: a row a fold, then their `mean` and `sd`, with the fold as the index."""
        return _with_summary({f"fold {f}": report.test for f, report in self.reports.items()})

    @property
    def summary(self) -> pd.DataFrame:
        """Mean and standard deviation over folds of the model's metrics and the baselines'.

        Returns:
            One row a model and metric: `model`, `metric`, `mean`, `sd`, `n_folds`.
        """
        found = []
        for model in self._models():
            rows = [run.test_table[model] for run in self.folds.values()]
            means, sds = mean_and_sd(rows)
            found += [
                {"model": model, "metric": m, "mean": means[m], "sd": sds[m], "n_folds": len(rows)}
                for m in means
            ]
        return pd.DataFrame(found, columns=["model", "metric", "mean", "sd", "n_folds"])

    @cached_property
    def users(self) -> pd.DataFrame | None:
        """Test metrics of each user over all folds; None without users or test rows."""
        frames = [run.users for run in self.folds.values() if run.users is not None]
        return pooled_users(frames) if len(frames) == len(self.folds) else None

    @property
    def test_rows(self) -> str:
        """Says which test rows each fold had; empty without users."""
        rows = [f"{fold}:{report.test_rows}" for fold, report in self.reports.items()]
        if any(row.endswith(":") for row in rows):
            return ""
        return hashlib.sha256(" ".join(rows).encode()).hexdigest()

    def evaluate(self, data: Any, *, retrieve: bool = True) -> pd.DataFrame:
        """The metrics of each fold's model on the given rows, as `table` has them.

        Rows that a model was fitted on measure nothing; give ones that no fold had.
        """
        return _with_summary(
            {f"fold {f}": run.evaluate(data, retrieve=retrieve) for f, run in self.folds.items()}
        )

    def _models(self) -> list[str]:
        """The models that every fold's table has."""
        tables = [run.test_table for run in self.folds.values()]
        return [model for model in tables[0] if all(model in table for table in tables)]


def _with_summary(rows: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    means, sds = mean_and_sd(list(rows.values()))
    return pd.DataFrame.from_dict({**rows, "mean": means, "sd": sds}, orient="index")
