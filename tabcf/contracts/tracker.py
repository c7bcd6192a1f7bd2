"""Who is told how a fit goes, such as a log file or an experiment server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Tracker"]


class Tracker(Protocol):
    """Gets plain numbers and texts of one fit; what it raises ends the fit."""

    def start(self, name: str, parameters: Mapping[str, Any]) -> None:
        """A fit begins: the run's name, and every value of the spec by its path."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch ended: its number from 1, training loss and validation metrics."""

    def finish(self, metrics: Mapping[str, float], folder: Path | None) -> None:
        """The fit ended, and is saved in the folder if there is one.

        Metrics are `test.*`, `valid.*` and, of a first stage's lists, `retrieve.test.*`.
        """

    def abort(self, reason: str) -> None:
        """The fit failed, or was stopped outside an epoch: the last call, in place of `finish`.

        Close what is open. It also comes when `start`, `epoch` or `finish` itself has raised.
        """
