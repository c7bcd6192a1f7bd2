"""The built-in trackers and their options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tabcf.contracts.definitions import TrackerDefinition
from tabcf.contracts.options import Options
from tabcf.errors import DataError

__all__ = ["TRACKERS"]

_COLUMNS = ("run", "epoch", "metric", "value")


class CSVOptions(Options):
    """A text file, one line for each metric of an epoch."""

    shorthand: ClassVar[str | None] = "path"

    path: str
    """The file, from the current folder; lines are added to one that such fits have written."""


class _CSV:
    """Writes `run,epoch,metric,value` lines: one for each metric of an epoch, and of the end.

    Fits with other metrics so share a file, and so do an epoch's metrics and those of the end,
    which have no epoch. Nothing stays open between two epochs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = ""

    def start(self, name: str, parameters: Mapping[str, Any]) -> None:
        self._name = name
        header = ",".join(_COLUMNS)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+", encoding="utf-8", errors="replace", newline="") as file:
            file.seek(0)
            first = file.readline()
            if not first:
                file.write(f"{header}\n")
            elif first.rstrip("\r\n") != header:
                found = first.rstrip("\r\n")[:80]
                raise DataError(
                    f"{self._path}: expected a log that starts with '{header}', got '{found}'; "
                    "give the tracker csv another path"
                )

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._add(str(epoch), metrics)

    def finish(self, metrics: Mapping[str, float], folder: Path | None) -> None:
        self._add("", metrics)

    def abort(self, reason: str) -> None:
        """The lines so far stay."""

    def _add(self, epoch: str, metrics: Mapping[str, float]) -> None:
        import csv

        with self._path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([self._name, epoch, *item] for item in metrics.items())


TRACKERS = (
    TrackerDefinition(
        name="csv",
        options=CSVOptions,
        summary="A text file with every metric of every epoch.",
        example="{csv: log.csv}",
        build=lambda options: _CSV(Path(options.path)),
    ),
)
