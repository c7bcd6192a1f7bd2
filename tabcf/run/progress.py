"""What a fit tells of itself while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from tabcf.data.source import OnRows
from tabcf.training.loop import EpochReport

__all__ = ["Progress", "Silent", "epoch_line", "rows_told"]


def epoch_line(report: EpochReport, epochs: int) -> str:
    """An epoch as one line of text."""
    valid = "".join(f"  valid {name} {value:.4f}" for name, value in report.validation.items())
    return (
        f"epoch {report.epoch:>{len(str(epochs))}}/{epochs}  loss {report.train_loss:.4f}"
        f"{valid}  {report.seconds:.1f} s"
    )


class Progress(Protocol):
    """Told of each step; shows it or not."""

    def rows(self, what: str, n_rows: int, share: float) -> None:
        """Rows are read or encoded: what is done, how many so far, which share of all that is."""

    def start(self, epochs: int, n_steps: int) -> None:
        """A training begins."""

    def step(self) -> None:
        """One step is done."""

    def epoch(self, report: EpochReport, epochs: int) -> None:
        """One epoch is done."""

    def stop(self) -> None:
        """Reading, encoding or training has ended."""

    def note(self, text: str) -> None:
        """Something to know."""

    def warn(self, text: str) -> None:
        """Something to look at."""


@contextmanager
def rows_told(progress: Progress, what: str) -> Iterator[OnRows]:
    """What tells of rows that are read or encoded within the block."""
    try:
        yield partial(progress.rows, what)
    finally:
        progress.stop()


class Silent:
    """Shows nothing."""

    def rows(self, what: str, n_rows: int, share: float) -> None: ...

    def start(self, epochs: int, n_steps: int) -> None: ...

    def step(self) -> None: ...

    def epoch(self, report: EpochReport, epochs: int) -> None: ...

    def stop(self) -> None: ...

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...
