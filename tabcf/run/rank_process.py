"""One process of a fit by several: `python -m tabcf.run.rank_process`, with its task as input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabcf.errors import TabcfError
from tabcf.run.cached import load_events
from tabcf.run.children import Message, serve
from tabcf.run.fit import fit_together
from tabcf.run.fold_process import Told
from tabcf.run.progress import Progress, Silent
from tabcf.run.registry import compose_registry
from tabcf.spec.read import read_spec
from tabcf.training.scale_out.group import OtherEnded, joined
from tabcf.training.scale_out.ranks import TogetherRanks

__all__ = ["work"]


def work(task: Any, send: Callable[[Message], None]) -> None:
    """Fit with the others; the first process tells of it and writes the run.

    Args:
        task: Plain data, as `tabcf.run.ranked` makes it.
        send: Sends a message to who gave the task.
    """
    folder = None if task["folder"] is None else Path(task["folder"])
    progress: Progress = Silent() if task["rank"] else Told(send)
    try:
        document = read_spec(task["spec"], compose_registry(task["plugins"]), folder=folder)
        with joined(task["rank"], task["size"], meeting=task["meeting"]) as group:
            ranks = TogetherRanks(group)
            fit_together(
                document.spec,
                document.registry,
                load_events(
                    document.spec,
                    document.registry,
                    data=task["data"],
                    folder=folder,
                    cache=task["cache"],
                    ranks=ranks,
                ),
                name=task["name"],
                progress=progress,
                out=Path(task["out"]),
                is_resumed=task["is_resumed"],
                ranks=ranks,
            )
    except OtherEnded as error:
        send({"gone": str(error)})
    except TabcfError as error:
        send({"failed": str(error)})


if __name__ == "__main__":
    serve(work)
