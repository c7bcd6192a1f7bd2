"""What is to be predicted, as far as losses, models and metrics need to know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["TargetInfo", "TargetKind"]

TargetKind = Literal["regression", "rating", "binary", "classes", "implicit"]


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """A fitted target.

    * `regression`: one or more numbers; the encoded target is `(value - center) / scale`.
    * `rating`: a number on one of the `levels`; encoded like a regression target.
    * `binary`, `classes`: `labels` in order; binary's second label is the positive one.
    * `implicit`: an observed event is a positive; there is no column.

    `center` and `scale` hold one number per target column and are 0 and 1 where the model's
    output range already is the target's own.
    """

    kind: TargetKind
    columns: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    center: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
