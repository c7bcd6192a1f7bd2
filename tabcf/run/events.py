"""What a spec's data come to on the way to a fit: events that are read and split, and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tabcf.contracts.table import Table
from tabcf.contracts.target import TargetInfo
from tabcf.data.encoder import Encoder
from tabcf.data.entities import EntityPlan
from tabcf.data.infer import ColumnGuess
from tabcf.data.parts import GIVEN, TEST, TRAIN, VALID
from tabcf.data.plans import ColumnPlan
from tabcf.data.source import Source
from tabcf.data.spool import Spool
from tabcf.recommend.trained import Past, TrainingEvents
from tabcf.run.budget import Budget

__all__ = ["Encoded", "Events", "Own"]


@dataclass(frozen=True, slots=True)
class Events:
    """All events of a spec, read and split; nothing is fitted yet.

    Attributes:
        source: The events, duplicates merged.
        part: `(N,)` int8: 0 train, 1 valid, 2 test, 3 given.
        is_positive: `(N,)`: with an implicit target, which events count; else all.
        target: The target's kind and values, not yet scaled.
        plans: The model's columns.
        guesses: How `columns: auto` typed a plain table, empty otherwise.
        entities: Each entity with its own table.
        spool: The events on disk, where they go through memory in blocks; `source` then is read
            from there where it is looked at.
        budget: What the fit may take of memory then.
    """

    source: Source
    part: np.ndarray
    is_positive: np.ndarray
    target: TargetInfo
    plans: tuple[ColumnPlan, ...]
    guesses: tuple[ColumnGuess, ...]
    entities: Mapping[str, tuple[EntityPlan, Source | None]]
    spool: Spool | None = None
    budget: Budget | None = None

    def are_of(self, *parts: int) -> np.ndarray:
        """`(N,)` booleans: the events of some parts."""
        found = np.zeros(len(self.part), dtype=bool)
        for part in parts:
            found |= self.part == part
        return found

    def are_learnable(self, *parts: int) -> np.ndarray:
        """`(N,)` booleans: the positive ones of these."""
        found: np.ndarray = self.are_of(*parts) & self.is_positive
        return found

    def rows(self, *parts: int) -> Source:
        """The events of some parts, all of them, positive or not."""
        return self._taken(self.are_of(*parts))

    def learnable(self, *parts: int) -> Source:
        """The positive events of some parts."""
        return self._taken(self.are_learnable(*parts))

    def training(self, *parts: int) -> TrainingEvents:
        """The events of the parts that a model is fitted on."""
        return TrainingEvents(self.rows(*parts), self.is_positive[self.are_of(*parts)])

    def training_blocks(self, *parts: int) -> Iterator[TrainingEvents]:
        """The same, some at a time where they are on disk."""
        if self.spool is None:
            yield self.training(*parts)
            return
        chosen, n = self.are_of(*parts), 0
        is_positive = self.is_positive[chosen]
        for block in self.spool.blocks(chosen):
            yield TrainingEvents(block, is_positive[n : n + len(block.frame)])
            n += len(block.frame)

    def _taken(self, is_chosen: np.ndarray) -> Source:
        if self.spool is not None:
            return self.spool.taken(is_chosen)
        return self.source.taken(np.flatnonzero(is_chosen))

    def count(self, part: int) -> int:
        """Number of positive events of a part."""
        return int(((self.part == part) & self.is_positive).sum())

    def counts(self) -> dict[str, int]:
        """Number of positive events of each part by its name; `given` only where there are any."""
        named = {"train": TRAIN, "valid": VALID, "test": TEST, "given": GIVEN}
        found = {name: self.count(part) for name, part in named.items()}
        return found if found["given"] else {n: c for n, c in found.items() if n != "given"}


@dataclass(frozen=True, slots=True)
class Own:
    """Training rows that one of several processes has: `table`, and how many each one has."""

    table: Table
    lengths: Sequence[int]
    rank: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """What was learnt from the training rows, and those rows as numbers.

    `past` has what each user had in training, if there are users and items; `parts` are those of
    the split that the rows are of. Where each of several processes learns from rows of its own,
    `own` are these, and `train` has those of all of them in the first process alone.
    """

    encoder: Encoder
    target: TargetInfo
    train: Table
    past: Past | None
    parts: tuple[int, ...]
    own: Own | None = None

    @property
    def learnt(self) -> Table:
        """The rows that this process learns from."""
        return self.train if self.own is None else self.own.table
