"""What a fit may take of memory: what it will need at least, what it takes, and what it took."""

from __future__ import annotations

import ctypes
import gc
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from tabcf.errors import RunError, SpecError
from tabcf.spec.memory import bytes_of

__all__ = ["Budget"]

# Bytes in memory for each event at the worst moment: its pair of ids as one number of eight bytes
# while pairs are sorted, or its time while the newest rows are found, and as much again besides.
_A_ROW = 32
# A trained number, its gradient, and two numbers of the optimiser.
_A_WEIGHT = 4
# Seconds between two looks at what is taken, which cost some ten microseconds each.
_APART = 0.5
# What is told to be enough, by what was taken.
_ENOUGH = 1.25


class Budget:
    """What a fit may take of memory, held to what it does take.

    Of the process's memory counts what only the process has, now and at its peak since the last
    look. Pages of files that are mapped do not, since they can be read again and the system takes
    them away when it needs room. Where the system does not tell, nothing is held to anything.

    Args:
        size: As it was written, such as `1.5GB`.

    Raises:
        SpecError: As much is in use already.
    """

    def __init__(self, size: str) -> None:
        self.size = size
        self._n_bytes = bytes_of(size)
        self._releases: list[Callable[[], None]] = []
        self._looked = 0.0
        # Peaks of what was done before, and the most of mapped files at any look.
        self._peak, self._mapped = _of_process("VmHWM") or 0, 0
        self._begun = [("before the fit", 0)]
        self._check_room(0, "the fit needs room")
        self.begin("by reading")

    def begin(self, doing: str) -> None:
        """Say what the fit does from now on, by which is told what took how much.

        What was freed until now goes back to the system, so that it is not taken twice.
        """
        self.check()
        _give_back()
        now = _taken()
        self._begun.append((doing, 0 if now is None else now.own))

    def releases(self, release: Callable[[], None] | None) -> None:
        """Name something that lets go of memory that can be had again."""
        if release is not None:
            self._releases.append(release)

    def check_rows(self, n: int) -> None:
        """Raise unless n events can be prepared.

        Raises:
            SpecError: Says how much they need.
        """
        self._check_room(_A_ROW * n, f"{n:,} events at {_A_ROW} bytes each while they are prepared")

    def check_model(self, model: nn.Module) -> None:
        """The same for a model's weights and those of its optimiser."""
        n_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
        n = sum(p.numel() for p in model.parameters())
        what = f"{n:,} weights with gradients and the optimiser's state"
        self._check_room(_A_WEIGHT * n_bytes, what)

    def look(self) -> None:
        """Check, if the last time is not just over; cheap enough for each step."""
        if time.monotonic() - self._looked > _APART:
            self.check()

    def check(self) -> None:
        """Raise if more is taken, also when what can be had again is let go of.

        Raises:
            RunError: Says what took how much, and what would do.
        """
        taken = _taken()
        if taken is None:
            return
        peak = self._new_peak(taken)
        if taken.own > self._n_bytes:
            self._let_go()
            taken = _taken() or taken
        elif taken.own + taken.mapped > self._n_bytes:
            self._release()
        self._looked = time.monotonic()
        own = max(taken.own, peak)
        if own > self._n_bytes:
            raise RunError(self._too_much(own, taken.mapped))

    def _new_peak(self, taken: _Taken) -> int:
        """What only the process had at a new peak of all that is in memory; 0 without one."""
        self._mapped = max(self._mapped, taken.mapped)
        peak = _of_process("VmHWM") or 0
        if peak <= self._peak:
            return 0
        self._peak = peak
        return peak - self._mapped

    def told(self) -> str | None:
        """The most that the process has had in memory, mapped files included."""
        most = _of_process("VmHWM")
        return None if most is None else f"memory: {most / 1e9:.2f} GB at most, of {self.size}"

    def _check_room(self, n_bytes: int, what: str) -> None:
        now = sum(_taken() or (0,))
        if now + n_bytes > self._n_bytes:
            self._let_go()
            now = sum(_taken() or (0,))
        if now + n_bytes > self._n_bytes:
            raise SpecError(
                [
                    f"train.memory: expected at least {(now + n_bytes) / 1e9:.2g}GB, got "
                    f"{self.size}: {what} beside the {now / 1e9:.2g}GB that are in use"
                ]
            )

    def _release(self) -> None:
        """Let go of pages that can be read again."""
        for release in self._releases:
            release()

    def _let_go(self) -> None:
        """Give back to the system all that it need not keep for the process."""
        self._release()
        gc.collect()
        _give_back()

    def _too_much(self, own: int, mapped: int) -> str:
        stops = [begun for _, begun in self._begun[1:]] + [own]
        parts = [
            f"{(stop - begun) / 1e9:.2f}GB {doing}"
            for (doing, begun), stop in zip(self._begun, stops, strict=True)
        ]
        enough = math.ceil(_ENOUGH * (own + mapped) / 1e8) / 10
        return (
            f"train.memory: expected at most {self.size}, got {own / 1e9:.2f}GB: "
            f"{', '.join(parts)}; {enough:g}GB may do (a fit that has kept states goes on from "
            "them with --resume and another --memory)"
        )


class _Taken(NamedTuple):
    """Bytes that only the process has, and bytes of files that it has mapped."""

    own: int
    mapped: int


def _taken() -> _Taken | None:
    """What the process has in memory now; None if the system does not tell."""
    total, files = _of_process("VmRSS"), _of_process("RssFile")
    if total is None:
        return None
    return _Taken(total - (files or 0), files or 0)


def _of_process(name: str) -> int | None:
    """A count of Linux's in bytes; the system's own call has the peak of the parent, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    found = re.search(rf"{name}:\s+(\d+) kB", status.read_text())
    return None if found is None else int(found[1]) * 1024


def _give_back() -> None:
    """Give back to the system what was freed."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    if _trim is not None:
        _trim(0)


def _found_trim() -> Any:
    """What gives freed memory back to the system, where the C library can do that."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None


_trim = _found_trim()
