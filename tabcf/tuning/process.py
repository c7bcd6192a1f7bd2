"""Trials in a process of their own: `python -m tabcf.tuning.process`, one task a setting."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabcf.errors import TabcfError
from tabcf.run.children import Message, serve
from tabcf.training.loop import EpochReport
from tabcf.tuning.bench import Bench, Stopped

__all__: list[str] = []

_benches: dict[str, Bench] = {}


def _try(task: Any, send: Callable[[Message], None]) -> None:
    def on_epoch(report: EpochReport) -> None:
        send({"epoch": asdict(report), "asks": True})
        if sys.stdin.readline().strip() != "true":
            raise Stopped("stopped")

    try:
        if "only" not in _benches:
            folder = None if task["folder"] is None else Path(task["folder"])
            _benches["only"] = Bench.of(task["spec"], folder, task["data"], task["plugins"])
        send({"measured": asdict(_benches["only"].fit(task["overrides"], on_epoch))})
    except Stopped:
        send({"stopped": True})
    except TabcfError as error:
        send({"failed": str(error)})


if __name__ == "__main__":
    serve(_try)
