"""One fold in a process of its own: `python -m tabcf.run.fold_process`, with the task as input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabcf.errors import TabcfError
from tabcf.run.cached import load_events
from tabcf.run.children import Message, serve
from tabcf.run.fit import fit_events
from tabcf.run.registry import compose_registry
from tabcf.spec.read import read_spec
from tabcf.training.loop import EpochReport

__all__ = ["Told"]


class Told:
    """Sends what a fit tells of itself."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send

    def rows(self, what: str, n_rows: int, share: float) -> None: ...

    def start(self, epochs: int, n_steps: int) -> None: ...

    def step(self) -> None: ...

    def stop(self) -> None: ...

    def epoch(self, report: EpochReport, epochs: int) -> None:
        self._send({"epoch": asdict(report), "epochs": epochs})

    def note(self, text: str) -> None:
        self._send({"note": text})

    def warn(self, text: str) -> None:
        self._send({"warn": text})


def _fit(task: Any, send: Callable[[Message], None]) -> None:
    folder = None if task["folder"] is None else Path(task["folder"])
    try:
        document = read_spec(task["spec"], compose_registry(task["plugins"]), folder=folder)
        events = load_events(
            document.spec,
            document.registry,
            data=task["data"],
            folder=folder,
            cache=task["cache"],
        )
        fit_events(
            document.spec,
            document.registry,
            events,
            name=task["name"],
            progress=Told(send),
            out=Path(task["out"]),
            is_resumed=task["is_resumed"],
            is_whole=True,
        )
    except TabcfError as error:
        send({"failed": str(error)})


if __name__ == "__main__":
    serve(_fit)
