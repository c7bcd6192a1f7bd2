"""The built-in trackers and their options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tabcf.contracts.definitions import TrackerDefinition
from tabcf.contracts.options import Options

__all__ = ["TRACKERS"]


class CSVOptions(Options):
    """A text file, one line an epoch."""

    shorthand: ClassVar[str | None] = "path"

    path: str
    """The file, from the current folder; lines are added to one that exists."""


class _CSV:
    """Writes `run,epoch,metric,value` lines: one for each metric of an epoch, and of the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = ""

    def start(self, name: str, parameters: Mapping[str, Any]) -> None:
        self._name = name
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text("run,epoch,metric,value\n", encoding="utf-8")

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._add(str(epoch), metrics)

    def finish(self, metrics: Mapping[str, float], folder: Path | None) -> None:
        self._add("", metrics)

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
