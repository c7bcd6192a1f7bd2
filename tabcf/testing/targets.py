"""Made-up targets of every kind, with rows and predictions that go with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Bag
from tabcf.contracts.target import TargetInfo, TargetKind

__all__ = ["N_ITEMS", "TWO_NUMBERS", "perfect_prediction", "positives", "target_of", "target_rows"]

N_ITEMS = 9

_TARGETS: dict[TargetKind, TargetInfo] = {
    "regression": TargetInfo("regression", ("y",), center=(2.0,), scale=(3.0,)),
    "rating": TargetInfo(
        "rating", ("y",), levels=(1.0, 2.0, 3.0, 4.0, 5.0), center=(3.0,), scale=(1.2,)
    ),
    "binary": TargetInfo("binary", ("y",), labels=("no", "yes")),
    "classes": TargetInfo("classes", ("y",), labels=("a", "b", "c")),
    "implicit": TargetInfo("implicit"),
}
TWO_NUMBERS = TargetInfo("regression", ("y", "z"), center=(2.0, -1.0), scale=(3.0, 0.5))


def target_of(kind: TargetKind) -> TargetInfo:
    """A fitted target of a kind."""
    return _TARGETS[kind]


def target_rows(kind: TargetKind, n: int, rng: Generator) -> Tensor:
    """`(n,)` encoded targets, as a table holds them."""
    info = _TARGETS[kind]
    if kind == "regression":
        return torch.randn(n, generator=rng)
    if kind == "rating":
        level = torch.randint(0, len(info.levels), (n,), generator=rng)
        return (torch.tensor(info.levels)[level] - info.center[0]) / info.scale[0]
    if kind == "classes":
        return torch.arange(n) % len(info.labels)
    if kind == "binary":
        return (torch.arange(n) % 2).float()
    return torch.ones(n)


def positives(n: int, rng: Generator) -> Bag:
    """Of n users, the item columns that each of them chose: one to three."""
    lengths = torch.arange(n) % 3 + 1
    values = torch.cat([torch.randperm(N_ITEMS, generator=rng)[: int(k)] for k in lengths])
    return Bag(values, torch.cumsum(lengths, 0) - lengths)


def perfect_prediction(kind: TargetKind, target: Tensor) -> dict[str, Any]:
    """What a loss would decode if the model knew all, and how sure of it the model would be."""
    info = _TARGETS[kind]
    if kind in ("regression", "rating"):
        value = target * info.scale[0] + info.center[0]
        found = {"value": value, "sd": torch.full_like(value, 0.1)}
        if kind == "rating":
            level = (value[:, None] - torch.tensor(info.levels)).abs().argmin(1)
            chosen = torch.nn.functional.one_hot(level, len(info.levels)).float()
            found["probabilities"] = 0.96 * chosen + 0.04 / len(info.levels)
        return found
    if kind == "binary":
        return {"probability": target.clamp(0.01, 0.99)}
    chosen = torch.nn.functional.one_hot(target, len(info.labels)).float()
    return {"probabilities": 0.97 * chosen + 0.01}
