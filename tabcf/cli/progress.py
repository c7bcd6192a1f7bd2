"""A fit's progress on a terminal: a bar, and a line an epoch; only lines in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from tabcf.run.progress import epoch_line
from tabcf.training.loop import EpochReport

__all__ = ["Shown"]

# Seconds that reading or encoding takes before a bar is shown for it.
_SHORT = 1.0


class Shown:
    """Shows steps as a bar where there is a terminal, and epochs as lines everywhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._what = ""
        self._begun = 0.0

    def rows(self, what: str, n_rows: int, share: float) -> None:
        """Move a bar of rows, with how many a second and how long it will take."""
        if not sys.stderr.isatty():
            return
        now = time.monotonic()
        if what != self._what:
            self.stop()
            self._what, self._begun = what, now
        seconds = now - self._begun
        if self._bar is None and seconds > _SHORT and share < 1.0:
            self._open_rows(what)
        if self._bar is not None:
            speed = n_rows / max(seconds, 1e-9)
            left = f"{seconds * (1 - share) / share:,.0f} s left" if share > 0 else ""
            self._bar.update(
                self._task,
                completed=share,
                total=1.0 if share > 0 else None,
                said=f"{n_rows:,} rows, {_speed(speed)} rows/s {left}",
            )
        if share >= 1.0:
            self.stop()

    def _open_rows(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn(what),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(what, total=1.0, said="")

    def start(self, epochs: int, n_steps: int) -> None:
        """Open the bar."""
        self.stop()
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
        self._what = ""
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


def _speed(rows: float) -> str:
    return f"{rows / 1e6:.1f} M" if rows >= 1e6 else f"{rows:,.0f}"
