"""What each process of a fit by several does, and starting them on this machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tabcf.contracts.launch import Launch, Message
from tabcf.errors import TrainingError
from tabcf.run.children import Children, as_done

__all__ = ["start_children", "work"]

_CHILD = "tabcf.run.rank_process"


def work(rank: int, task: Message, send: Callable[[Message], None]) -> None:
    """Fit with the others; the first process tells of it and writes the run.

    Args:
        rank: The process' number.
        task: Plain data, as `tabcf.run.ranked` makes it.
        send: Sends a message to who gave the task.
    """
    from tabcf.run import rank_process  # which fits, and so imports who starts it

    rank_process.work({**task, "rank": rank}, send)


def start_children(launch: Launch, options: Any) -> dict[int, str]:
    """Have children of this process do a launch; as `tabcf.contracts.launch.Launched` has it.

    The first one that fails by itself ends the others.
    """
    ended: dict[int, str] = {}
    failed: list[int] = []
    children = Children(_CHILD, threads=launch.threads)

    def on_message(rank: int, message: Message) -> None:
        if "failed" in message:
            failed.append(rank)
        launch.hear(rank, message)

    def run(rank: int) -> None:
        try:
            children.run({**launch.task, "rank": rank}, partial(on_message, rank))
        except TrainingError as error:
            ended[rank] = str(error)

    pool = ThreadPoolExecutor(launch.size)
    try:
        for future in as_done([pool.submit(run, rank) for rank in range(launch.size)]):
            future.result()
            if ended or failed:
                break
    finally:
        children.end()
        pool.shutdown(wait=True, cancel_futures=True)
        children.close()
    return ended
