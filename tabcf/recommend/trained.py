"""What answering needs of a trained model; knows neither specs nor folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Bag
from tabcf.contracts.layout import Layout
from tabcf.contracts.target import TargetInfo
from tabcf.data.batches import mapped
from tabcf.data.encoder import Encoder
from tabcf.data.pairs import stands_in
from tabcf.data.sources import Source
from tabcf.errors import RunError
from tabcf.losses.loss import Loss

if TYPE_CHECKING:
    from tabcf.recommend.index import KeptIndex

__all__ = [
    "FirstStage",
    "History",
    "Past",
    "Trained",
    "TrainingEvents",
    "column_of",
    "ranking_value",
]


@dataclass(frozen=True)
class History:
    """Which items each user had in training: `(user row, item row)` pairs, each once.

    Attributes:
        items: Item rows, users in row order.
        bounds: `(n_users + 1,)`; user row u had `items[bounds[u]:bounds[u + 1]]`.
    """

    items: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of_pairs(cls, users: np.ndarray, items: np.ndarray, n_users: int) -> History:
        """Sort and deduplicate pairs; row 0, somebody unknown, has no history."""
        span = int(items.max(initial=0)) + 1
        return cls.of_parts([(users, items)], len(users), n_users=n_users, n_items=span)

    @classmethod
    def of_parts(
        cls, parts: Iterable[tuple[np.ndarray, np.ndarray]], n: int, *, n_users: int, n_items: int
    ) -> History:
        """The same of pairs that come in parts, n at most, by the numbers of rows there are."""
        pairs, n_known = np.empty(n, np.int64), 0
        for users, items in parts:
            found = users.astype(np.int64)
            found *= n_items
            found += items
            found = found[(users > 0) & (items > 0)]
            pairs[n_known : n_known + len(found)] = found
            n_known += len(found)
        pairs = pairs[:n_known]
        # In place: pairs may be the largest thing in memory.
        pairs.sort()
        is_first = np.ones(len(pairs), dtype=bool)
        np.not_equal(pairs[1:], pairs[:-1], out=is_first[1:])
        pairs = pairs[is_first]
        bounds = np.searchsorted(pairs, np.arange(n_users + 1) * n_items)
        pairs %= n_items
        return cls(pairs.astype(np.int32), bounds)

    def of_users(self, users: np.ndarray) -> Bag:
        """The users' item rows as a bag."""
        parts = [self.items[self.bounds[u] : self.bounds[u + 1]] for u in users]
        lengths = np.array([len(part) for part in parts], dtype=np.int64)
        values = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        return Bag(torch.from_numpy(values), torch.from_numpy(np.cumsum(lengths) - lengths))

    def with_users(self, owner: np.ndarray, items: np.ndarray, n: int) -> History:
        """The same with n more users behind the others, who had these items."""
        more = History.of_pairs(owner + 1, items, n + 1)
        return History(
            np.concatenate([self.items, more.items]),
            np.concatenate([self.bounds, self.bounds[-1] + more.bounds[2:]]),
        )

    def with_pairs(self, users: np.ndarray, items: np.ndarray) -> History:
        """The same with further items of known users."""
        own_users, own_items = self.pairs()
        return History.of_pairs(
            np.concatenate([own_users, users]),
            np.concatenate([own_items, items]),
            len(self.bounds) - 1,
        )

    def holds(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """`(n,)` booleans: which pairs of a user row and an item row are among them."""
        own = torch.from_numpy(self.items), torch.from_numpy(self.bounds)
        wanted = torch.from_numpy(users).long(), torch.from_numpy(items)
        found: np.ndarray = stands_in(*own, *wanted).numpy()
        return found

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """User rows and item rows, one pair an entry."""
        users = np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))
        return users, self.items


@dataclass(frozen=True, slots=True)
class Past:
    """What users had in training.

    Attributes:
        positive: The events learnt from; a model may score by them.
        seen: All events, those that were not positive included; lists leave them out.
    """

    positive: History
    seen: History


@dataclass(frozen=True, slots=True)
class TrainingEvents:
    """The events that a model was fitted on, as they were read.

    Attributes:
        source: All of them, those that were not positive included.
        is_positive: `(N,)` booleans: which of them were learnt from.
    """

    source: Source
    is_positive: np.ndarray

    def learnable(self) -> Source:
        """Those that were learnt from."""
        if self.is_positive.all():
            return self.source
        frame = self.source.frame[self.is_positive].reset_index(drop=True)
        return Source(frame, self.source.name, self.source.is_text)


@dataclass(frozen=True, slots=True)
class FirstStage:
    """A model that finds n items for each user, which another one puts into order."""

    trained: Trained
    n: int = 200


@dataclass(frozen=True)
class Trained:
    """A model in evaluation mode with its encoder, its target and its loss, which decodes.

    Attributes:
        past: What users had in training, where there are users and items.
        seed: Where orders of ties and samples come from.
        read_events: Gives the training events; None where they were not kept.
        read_blocks: Gives them some at a time, where they are on disk.
        build: Gives an untrained model of the same kind for a layout; the key to growing.
        first: What finds the items of its lists; without it they are of all items.
        index: An approximate index of the items, if one was built.
        weight: The column of events that says what each counts, if one does.
    """

    encoder: Encoder
    model: nn.Module
    loss: Loss
    target: TargetInfo
    past: Past | None = None
    seed: int = 0
    read_events: Callable[[], TrainingEvents] | None = None
    read_blocks: Callable[[], Iterator[TrainingEvents]] | None = None
    build: Callable[[Layout], nn.Module] | None = None
    first: FirstStage | None = None
    index: KeptIndex | None = None
    weight: str | None = None

    @cached_property
    def events(self) -> TrainingEvents:
        """The training events.

        Raises:
            RunError: They were not kept.
        """
        if self.read_events is None:
            raise RunError(
                "this run has no training events; only runs of users and items keep them"
            )
        return self.read_events()

    def event_blocks(self) -> Iterator[TrainingEvents]:
        """The training events, some at a time where they are on disk, else all at once."""
        if self.read_blocks is None:
            yield self.events
        else:
            yield from self.read_blocks()

    @cached_property
    def event_rows(self) -> dict[str, np.ndarray]:
        """Each training event's row in each entity's table, `(N,)` int32.

        Raises:
            RunError: The training events were not kept.
        """
        return self.encoder.encode_ids(self.events.source)

    @property
    def seen(self) -> History | None:
        """What each user had in training and is not offered again."""
        return None if self.past is None else self.past.seen

    @cached_property
    def device(self) -> torch.device:
        """Where the weights are."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    def history_of(self, users: np.ndarray) -> Bag | None:
        """The past items of users by their rows, as item indices, which is what models know.

        Items without training events drop out.
        """
        if self.past is None:
            return None
        index = self.encoder.tables["item"].index
        return mapped(self.past.positive.of_users(users), torch.where(index > 0, index, -1))

    def require_entities(self, what: str) -> None:
        """Raise unless the run has both users and items."""
        missing = [name for name in ("user", "item") if name not in self.encoder.entities]
        if missing:
            raise RunError(
                f"{what} needs the entities user and item; missing: {', '.join(missing)}"
            )


def column_of(trained: Trained, entity: str) -> int:
    """Position of an entity's ids in `x_cat`.

    Raises:
        RunError: The run has no such entity.
    """
    for position, column in enumerate(trained.encoder.layout.categorical):
        if column.entity == entity:
            return position
    known = ", ".join(trained.encoder.entities) or "none"
    raise RunError(f"this run has no entity '{entity}'; known: {known}")


def ranking_value(decoded: dict[str, Tensor]) -> Tensor:
    """The number to rank by: a rating, a score, or a probability."""
    for name in ("value", "score", "probability"):
        if name in decoded:
            return decoded[name]
    raise RunError(
        "this run predicts one of several classes, which gives no order of items; "
        "recommending needs a rating, a probability or an implicit target"
    )
