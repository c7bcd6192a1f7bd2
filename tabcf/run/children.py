"""Work in processes of their own: a task in as JSON, messages out as lines of JSON.

A child is a new Python that runs one module; nothing is pickled, and a script that starts one needs
no `if __name__ == "__main__"`. What it prints goes to its standard error, which is kept for the
case that it ends badly.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from threading import Lock
from typing import Any, Literal, TextIO, TypeVar

from tabcf.errors import TrainingError

__all__ = ["Children", "as_done", "n_cores", "serve", "threads_of_each"]

_T = TypeVar("_T")
Message = Mapping[str, Any]
_END: Message = {"end": True}
_LONGEST_TAIL = 400
# Seconds that a process has to clean up in before it is killed.
_PATIENCE = 10.0
# Seconds after which Ctrl-C is noticed at the latest.
_AWAKE = 0.2


def n_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of_each(asked: int | Literal["auto"]) -> int:
    """The threads of each of some processes side by side, where `auto` is one."""
    return 1 if asked == "auto" else asked


def as_done(futures: Iterable[Future[_T]]) -> Iterator[Future[_T]]:
    """The futures as they are done, waited for by the main thread.

    It wakes by the way: where the system hands Ctrl-C to another thread, the main one hears of it
    only when it runs, and Windows interrupts no wait that has no end.
    """
    left = set(futures)
    while left:
        done, left = wait(left, timeout=_AWAKE, return_when=FIRST_COMPLETED)
        yield from done


class _Child:
    """One process, which does one task after another."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed with the child
        # Ctrl-C is for the parent alone, which then ends its children.
        own_group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            encoding="utf-8",
            env=environment,
            **own_group,
        )

    def do(self, task: Message, on_message: Callable[[Message], Any]) -> bool:
        """Do a task; whether the process came to its end.

        What `on_message` returns is the answer to a message that asks for one.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(task, default=_plain) + "\n")
            self.process.stdin.flush()
        for line in self.process.stdout:
            message = json.loads(line)
            if message == _END:
                return True
            answer = on_message(message)
            if "asks" in message:
                with contextlib.suppress(BrokenPipeError):
                    self.process.stdin.write(json.dumps(answer) + "\n")
                    self.process.stdin.flush()
        return False

    def last_words(self) -> str:
        """How it ended, and what it printed last."""
        status = self.process.wait()
        self._said.seek(0)
        tail = " ".join(self._said.read().split())[-_LONGEST_TAIL:]
        how = f"status {status}" if status >= 0 else f"signal {-status}"
        return f"its process ended with {how}: {tail or 'it said nothing'}"

    def close(self) -> None:
        """Let it end, having nothing more to do."""
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self._said.close()


class Children:
    """Processes that do tasks, as many at a time as threads call; all can be ended at once.

    Args:
        module: What each of them runs; it calls `serve`.
        threads: How many threads each may use.
    """

    def __init__(self, module: str, *, threads: int = 1) -> None:
        self._command = [sys.executable, "-m", module]
        self._threads = threads
        self._idle: list[_Child] = []
        self._all: list[_Child] = []
        self._lock = Lock()
        self._is_ended = False

    def run(self, task: Message, on_message: Callable[[Message], Any]) -> None:
        """Have a task done by one that is idle, or by a new one.

        Raises:
            TrainingError: The process ended before the task; with its last words.
        """
        with self._lock:
            if self._is_ended:
                return
            if self._idle:
                child = self._idle.pop()
            else:
                child = _Child(self._command, self._environment())
                self._all.append(child)
        if child.do(task, on_message):
            with self._lock:
                self._idle.append(child)
        elif not self._is_ended:
            raise TrainingError(child.last_words())

    def end(self) -> None:
        """Ask all to stop and start no other; each still cleans up after itself."""
        with self._lock:
            self._is_ended = True
            for child in self._all:
                if child not in self._idle:
                    child.process.terminate()

    def close(self) -> None:
        """End all and wait for them; no thread may be waiting for one."""
        self.end()
        for child in self._all:
            child.close()

    def _environment(self) -> dict[str, str]:
        """The parent's, with what it can import and the bound on threads."""
        path = os.pathsep.join(entry for entry in sys.path if entry)
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        bound = {name: str(self._threads) for name in names}
        return {**os.environ, **bound, "PYTHONPATH": path}


def serve(do: Callable[[Any, Callable[[Message], None]], None]) -> None:
    """In a child: do every task that comes, with a function that sends a message.

    Standard output is for messages alone; a request to stop ends it like an exit.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    messages: TextIO = sys.stdout

    def send(message: Message) -> None:
        messages.write(json.dumps(message, default=_plain) + "\n")
        messages.flush()

    with contextlib.redirect_stdout(sys.stderr):
        while line := sys.stdin.readline():  # for a task may read its answers in between
            do(json.loads(line), send)
            send(_END)


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"expected plain data, got {type(value).__name__}")
