"""A fit that several processes do together, and who starts them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Launch", "Launched", "Message"]

Message = Mapping[str, Any]
"""Plain data, as JSON has them."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A fit that is to be done by several processes, all at a time.

    Attributes:
        size: How many.
        task: What `work` needs, which is the same for all.
        work: In each process `work(rank, task, send)` does its part, and returns when that is
            done; `send` takes messages. It is a function of a module, so that processes on other
            machines can import it. Where `torch.distributed` has joined the processes, it uses
            that; else they meet through a file, which goes on one machine.
        hear: `hear(rank, message)` takes the messages of all processes, from one thread or
            several. One with the key `failed` says that the process gave up: the others will wait
            in vain, and are to be ended.
        threads: How many threads each may use.
    """

    size: int
    task: Message
    work: Callable[[int, Message, Callable[[Message], None]], None]
    hear: Callable[[int, Message], None]
    threads: int = 1


class Launched(Protocol):
    """Starts the processes of a launch, and waits for them."""

    def __call__(self, launch: Launch, options: Any) -> Mapping[int, str]:
        """Have `launch.work` done in `launch.size` processes, and end all of them.

        Args:
            launch: The fit.
            options: The engine's, as its record has them.

        Returns:
            Of each process that ended before its work did, how it ended, in a line; of those that
            were ended since another one failed, nothing.

        Raises:
            RunError: They cannot be started; says what to do.
        """
