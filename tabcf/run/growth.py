"""What an extension or an update of a run came to; plain data that a version keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tabcf.evaluation.drift import Drift
from tabcf.evaluation.evaluate import describe

__all__ = ["Growth"]


@dataclass(frozen=True, slots=True)
class Growth:
    """What came of `extend` or `update`.

    Attributes:
        kind: Which of the two.
        n_events: Events that were taken.
        added: How many values came to each column that grew: users, items, categories.
        rested: What the rows of new users and items were found from: `events`, or `average`.
        before: The run's metrics on the given events, measured before it learnt from any of them.
        after: The same afterwards, on the same events: how far they were learnt, and no measure of
            events to come.
        drift: How the given events differ from those of training; None where none were given.
        epochs: Passes over the rows; 0 for an extension and a model that was solved anew.
        n_replayed: Events of before that were learnt from again.
        notes: What else there is to know.
        seconds: Wall time.
        cpu_seconds: CPU time over all threads.
        version: Of the run's folder; None for a run in memory.
    """

    kind: Literal["extend", "update"]
    n_events: int
    added: Mapping[str, int]
    rested: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    drift: Drift | None = None
    epochs: int = 0
    n_replayed: int = 0
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    version: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Growth:
        """What `to_json` described."""
        drift = None if state["drift"] is None else Drift.from_json(state["drift"])
        return cls(**{**state, "drift": drift, "notes": tuple(state["notes"])})

    @property
    def summary(self) -> str:
        """One line, for a list of versions."""
        grown = ", ".join(f"{n:,} new in {name}" for name, n in self.added.items())
        return f"{self.n_events:,} events" + (f"; {grown}" if grown else "")

    def __str__(self) -> str:
        """All of it, a line a topic."""
        lines = [f"{self.kind}: {self.summary}"]
        if self.version is not None:
            lines[0] += f"; version {self.version}"
        found = [f"{name} from {what}" for name, what in self.rested.items()]
        if found:
            lines.append("rows of the new: " + ", ".join(found))
        if self.epochs:
            lines.append(f"{self.epochs} epochs, {self.n_replayed:,} earlier events replayed")
        if self.drift is not None:
            lines += self.drift.lines()
        if self.before:
            lines.append(f"these events, before learning from them: {describe(self.before)}")
            lines.append(f"the same events, afterwards: {describe(self.after)}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, f"{self.cpu_seconds:.1f} CPU-s"])
