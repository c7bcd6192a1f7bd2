"""How further events differ from those that a model learnt from.

Dimension letters: N events, I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tabcf.contracts.target import TargetInfo
from tabcf.data.encoder import Encoder
from tabcf.data.grown_encoder import unknown_shares
from tabcf.data.sources import Source
from tabcf.data.values import numbers
from tabcf.recommend.trained import Trained

__all__ = ["Drift", "measure_drift"]

_DRAWS = 20


@dataclass(frozen=True, slots=True)
class Drift:
    """What is new about events.

    Attributes:
        n_events: How many.
        unknown: By column the share of events with an id, a category or a value of a set that the
            model had not learnt.
        target: `mean` and `sd` of numbers, or each class's share, `was` and `now`; of an implicit
            target the share of events that count.
        popularity: Of events with items: `moved`, the share of events that would have to be of
            other items for the items' shares to be those of training (their total variation
            distance); `by chance`, what it would be for as many events drawn from training's own
            shares; and `new items`, the share of items without training events.
    """

    n_events: int
    unknown: Mapping[str, float]
    target: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    popularity: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Drift:
        """The drift that `to_json` described."""
        target = {name: (was, now) for name, (was, now) in state["target"].items()}
        return cls(**{**state, "target": target})

    def lines(self) -> list[str]:
        """It in words, a line a topic."""
        found = [
            "unknown before: "
            + ", ".join(f"{name} {share:.1%}" for name, share in self.unknown.items())
        ]
        if self.target:
            shown = (f"{name} {was:.4g} → {now:.4g}" for name, (was, now) in self.target.items())
            found.append("target: " + ", ".join(shown))
        if self.popularity:
            moved, chance = self.popularity["moved"], self.popularity["by chance"]
            found.append(
                f"popularity: {moved:.1%} of events on other items than in training "
                f"({chance:.1%} by chance alone), {self.popularity['new items']:.1%} on new ones"
            )
        return found


def measure_drift(
    trained: Trained, events: Source, is_positive: np.ndarray, *, by: Encoder
) -> Drift:
    """Compare events with the training events of a model that has not seen them.

    Args:
        trained: The model; without kept training events only shares of unknown values and, of a
            standardised target, its mean and deviation are compared.
        events: Further events.
        is_positive: `(N,)` booleans: which of them count.
        by: An encoder that knows the attributes of all whom the events name.
    """
    counted = events
    if not is_positive.all():
        frame = events.frame[is_positive].reset_index(drop=True)
        counted = Source(frame, events.name, events.is_text)
    before = None if trained.read_events is None else trained.events
    if trained.target.kind == "implicit":
        target = {}
        if before is not None:
            target = {"positive": (float(before.is_positive.mean()), float(is_positive.mean()))}
    else:
        was = None if before is None else before.learnable()
        target = _target(trained.target, was, counted)
    popularity = {}
    if trained.read_events is not None and len(counted.frame):
        popularity = _popularity(trained, counted)
    unknown = unknown_shares(trained.encoder, events, by=by)
    return Drift(len(events.frame), unknown, target, popularity)


def _target(info: TargetInfo, before: Source | None, now: Source) -> dict[str, tuple[float, float]]:
    if info.kind in ("binary", "classes"):
        if before is None:
            return {}
        was_shares, now_shares = (
            s.frame[info.columns[0]].astype(str).value_counts(normalize=True) for s in (before, now)
        )
        return {
            label: (float(was_shares.get(label, 0.0)), float(now_shares.get(label, 0.0)))
            for label in info.labels[:20]
        }
    found = {}
    for place, name in enumerate(info.columns):
        values = numbers(now.frame[name], now)
        if before is not None:
            own = numbers(before.frame[name], before)
            was = float(own.mean()), float(own.std())
        elif (info.center[place], info.scale[place]) != (0.0, 1.0):
            was = info.center[place], info.scale[place]
        else:
            continue
        label = "" if len(info.columns) == 1 else f"{name} "
        found[f"{label}mean"] = was[0], float(values.mean())
        found[f"{label}sd"] = was[1], float(values.std())
    return found


def _popularity(trained: Trained, events: Source) -> dict[str, float]:
    entity = trained.encoder.entities["item"]
    rows = entity.rows_of(events.frame[entity.plan.id], events)
    index = entity.index[rows]
    # Items that training did not have are all in one place, 0.
    was = entity.n_events[entity.row_of_index].astype(float)
    was[0] = 0.0
    was /= max(was.sum(), 1.0)
    now = np.bincount(index, minlength=len(was)) / len(index)
    rng = np.random.default_rng(trained.seed)
    drawn = rng.multinomial(len(index), was / max(was.sum(), 1e-12), size=_DRAWS) / len(index)
    return {
        "moved": float(np.abs(now - was).sum() / 2),
        "by chance": float((np.abs(drawn - was).sum(1) / 2).mean()),
        "new items": float(pd.Series(index == 0).mean()),
    }
