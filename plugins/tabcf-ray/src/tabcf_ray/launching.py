"""A fit by the workers of Ray Train, which joins them by `torch.distributed`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from tabcf.contracts.launch import Launch, Message
from tabcf.errors import RunError

__all__ = ["launched"]

# Workers send one another tensors through gloo; Ray's store holds little but the task.
_STORE_BYTES = 100 * 2**20
_Work = Callable[[int, Message, Callable[[Message], None]], None]


def launched(launch: Launch, address: str | None) -> Mapping[int, str]:
    """Have workers of Ray do a launch; as `tabcf.contracts.launch.Launched` has it.

    Args:
        launch: The fit.
        address: A running cluster.

    Raises:
        RunError: Ray is not installed, or cannot be reached.
    """
    try:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError:
        raise RunError("train.engine: ray is not installed; pip install 'tabcf-ray[ray]'") from None
    failed: list[int] = []
    ended: Exception | None = None

    def hear(rank: int, message: Message) -> None:
        if "failed" in message:
            failed.append(rank)
        launch.hear(rank, message)

    with (
        _ray(launch.size, address),
        tempfile.TemporaryDirectory(prefix="tabcf-ray-") as scratch,
        _mailbox(hear) as mailbox,
    ):
        trainer = TorchTrainer(
            _in_worker,
            train_loop_config={
                "folder": str(Path.cwd()),
                "work": launch.work,
                "task": dict(launch.task),
                "mailbox": mailbox,
            },
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(num_workers=launch.size),
            run_config=RunConfig(storage_path=scratch),
        )
        try:
            trainer.fit()
        except Exception as error:
            ended = error
    # One that gave up has said why.
    return {} if ended is None or failed else _ended(ended)


def _in_worker(config: dict[str, Any]) -> None:
    """What a worker does: its part of the fit, told of by messages.

    Raises:
        RuntimeError: It gave up; the others, who wait for it, are ended then.
    """
    from ray.train import get_context

    rank = get_context().get_world_rank()
    has_failed = False

    def send(message: Message) -> None:
        nonlocal has_failed
        has_failed |= "failed" in message
        config["mailbox"].put((rank, dict(message)))

    if Path(config["folder"]).is_dir():
        os.chdir(config["folder"])
    work: _Work = config["work"]
    work(rank, config["task"], send)
    if has_failed:
        raise RuntimeError(f"process {rank} gave up")


@contextmanager
def _ray(n: int, address: str | None) -> Iterator[None]:
    """Ray for the block: as it is, a running cluster, or one of n slots on this machine."""
    import ray

    is_own = not ray.is_initialized()
    if is_own:
        # As many slots as workers, whatever the cores; a cluster has its own.
        local = {
            "num_cpus": n,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }
        address = address or os.environ.get("RAY_ADDRESS") or None
        try:
            ray.init(**({"address": address} if address else local))
        except Exception as error:
            raise RunError(f"train.engine: Ray cannot be reached: {_reason(error)}") from error
    try:
        yield
    finally:
        if is_own:
            ray.shutdown()


@contextmanager
def _mailbox(hear: Callable[[int, Message], None]) -> Iterator[Any]:
    """A queue that workers put `(rank, message)` into; all are heard before the block ends."""
    from ray.util.queue import Queue

    queue = Queue(actor_options={"num_cpus": 0})

    def read() -> None:
        while (found := queue.get()) is not None:
            hear(*found)

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        yield queue
    finally:
        queue.put(None)
        reader.join()
        queue.shutdown()


def _ended(error: BaseException) -> dict[int, str]:
    """Which worker ended badly, and how; the first one where Ray does not say."""
    ranks = sorted(getattr(error, "worker_failures", {})) or [0]
    return {ranks[0]: f"its worker ended: {_reason(error)}"}


def _reason(error: BaseException) -> str:
    """The innermost cause in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
