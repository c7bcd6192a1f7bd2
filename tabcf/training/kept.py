"""A training's state as named tensors and plain data, and as one file of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tabcf.training.state import Averaged, Best, EpochReport, TrainingState

__all__ = ["GROUPS_OF_WEIGHTS", "UNREADABLE", "packed", "read_file", "unpacked", "write_file"]

GROUPS_OF_WEIGHTS = ("weights.", "best.", "averaged.")
"""What the names of weights begin with, of those now, of the best epoch, and of their mean."""
UNREADABLE = (OSError, SafetensorError, ValueError, KeyError)
"""What reading a file raises that is no whole state."""
_ABOUT = "tabcf"


def packed(state: TrainingState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A state's tensors by name, and the rest of it as plain data."""
    tensors = {f"weights.{name}": value for name, value in state.weights.items()}
    tensors |= {f"steps.{name}": value for name, value in state.steps.items()}
    tensors |= {f"torch.{name}": value for name, value in state.rng_torch.items()}
    tensors |= {"rng_epoch": state.rng_epoch, "rng": state.rng}
    tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64)
    best = None
    if state.best is not None:
        tensors |= {f"best.{name}": value for name, value in state.best.weights.items()}
        best = {"epoch": state.best.epoch, "value": state.best.value}
    if state.averaged is not None:
        tensors |= {f"averaged.{name}": value for name, value in state.averaged.weights.items()}
    plain = {
        "epoch": state.epoch,
        "seconds": state.seconds,
        "reports": [asdict(report) for report in state.reports],
        "best": best,
        "averaged": None if state.averaged is None else state.averaged.n,
    }
    return tensors, plain


def unpacked(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> TrainingState:
    """The state that `packed` gave these of.

    Raises:
        KeyError: Something is missing.
    """

    def group(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}

    best = plain["best"]
    return TrainingState(
        plain["epoch"],
        tensors["losses"].tolist(),
        plain["seconds"],
        [EpochReport(**report) for report in plain["reports"]],
        group("weights."),
        group("steps."),
        tensors["rng_epoch"],
        tensors["rng"],
        group("torch."),
        None if best is None else Best(best["epoch"], best["value"], group("best.")),
        None if plain["averaged"] is None else Averaged(plain["averaged"], group("averaged.")),
    )


def write_file(tensors: Mapping[str, Tensor], about: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain data as one file that is there as a whole or not at all."""
    scratch = path.with_suffix(".scratch")
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
        scratch,
        metadata={_ABOUT: json.dumps(about)},
    )
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    scratch.replace(path)


def read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read such a file."""
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()[_ABOUT])
        return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 - no dict
