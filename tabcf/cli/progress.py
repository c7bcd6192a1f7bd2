"""A training's progress on a terminal: a bar, and a line an epoch; only lines in a log."""

from __future__ import annotations

import sys
from typing import Any

import click

from tabcf.run.progress import epoch_line
from tabcf.training.loop import EpochReport

__all__ = ["Shown"]


class Shown:
    """Shows steps as a bar where there is a terminal, and epochs as lines everywhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._n_steps = 0

    def start(self, epochs: int, n_steps: int) -> None:
        """Open the bar."""
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            Remaining(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("training", total=epochs * n_steps)

    def step(self) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def epoch(self, report: EpochReport, epochs: int) -> None:
        """Print a line."""
        self._line(epoch_line(report, epochs))

    def stop(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def note(self, text: str) -> None:
        """Print a line."""
        self._line(text)

    def warn(self, text: str) -> None:
        """Print a line marked as a warning."""
        self._line(f"warning: {text}")

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            click.echo(text, err=True)
