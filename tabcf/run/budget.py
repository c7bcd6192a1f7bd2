"""What a fit may take of memory, what it will need at least, and what it took."""

from __future__ import annotations

import re
from pathlib import Path

from torch import nn

from tabcf.errors import SpecError
from tabcf.spec.memory import bytes_of

__all__ = ["check_model", "check_rows", "taken"]

# Bytes in memory for each event at the worst moment: its pair of ids as one number of eight bytes
# while pairs are sorted, or its time while the newest rows are found, and as much again besides.
_A_ROW = 32
# A trained number, its gradient, and two numbers of the optimiser.
_A_WEIGHT = 4


def check_rows(budget: str, n: int) -> None:
    """Raise unless n events can be prepared within a budget.

    Raises:
        SpecError: Says how much they need.
    """
    _check(budget, _A_ROW * n, f"{n:,} events at {_A_ROW} bytes each while they are prepared")


def check_model(budget: str, model: nn.Module) -> None:
    """The same for a model's weights and those of its optimiser."""
    n_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    n = sum(p.numel() for p in model.parameters())
    _check(budget, _A_WEIGHT * n_bytes, f"{n:,} weights with gradients and the optimiser's state")


def taken() -> int | None:
    """The most that this process has had in memory, mapped files included; None if unknown."""
    return _of_process("VmHWM")


def _check(budget: str, n_bytes: int, what: str) -> None:
    now = _of_process("VmRSS") or 0
    if now + n_bytes > bytes_of(budget):
        raise SpecError(
            [
                f"train.memory: expected at least {(now + n_bytes) / 1e9:.2g}GB, got {budget}: "
                f"{what} beside the {now / 1e9:.2g}GB that are in use"
            ]
        )


def _of_process(name: str) -> int | None:
    """A count of Linux's in bytes; the system's own call has the peak of the parent, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    found = re.search(rf"{name}:\s+(\d+) kB", status.read_text())
    return None if found is None else int(found[1]) * 1024
