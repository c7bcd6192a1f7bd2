"""What re-rankers may know of items and users, looked up only when it is asked for.

Dimension letters: B users, N items of a pool, I items that may be recommended, A values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.reranking import Aspects
from tabcf.data.attributes import attribute_of
from tabcf.data.sources import Source
from tabcf.errors import DataError, RunError
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.neighbours import entity_vectors
from tabcf.recommend.reranking.spread import score_spread
from tabcf.recommend.trained import Trained

__all__ = ["ItemFacts", "UserFacts"]


@dataclass(frozen=True)
class ItemFacts:
    """What is known of the items that may be recommended.

    Attributes:
        trained: The model.
        rows: `(I,)` their item rows, 0 for new ones; items that were folded in have rows behind all
            that training knew.
        inputs: Their columns.
        source: Their attributes, one row an item.
        fold_in: Gives what finds a user's row, None for a model without such rows.
    """

    trained: Trained
    rows: np.ndarray
    inputs: Inputs
    source: Source
    fold_in: Callable[[], FoldIn | None]
    _columns: dict[str, tuple[list[str], Tensor, Tensor]] = field(default_factory=dict, init=False)

    @property
    def known_rows(self) -> np.ndarray:
        """`(I,)`: `rows`, 0 for what training did not know."""
        n_known = len(self.trained.encoder.entities["item"])
        return np.where(self.rows < n_known, self.rows, 0)

    @cached_property
    def popularity(self) -> Tensor:
        """`(I,)` float64: training events."""
        n_events = self.trained.encoder.entities["item"].n_events
        return torch.from_numpy(n_events[self.known_rows]).double()

    def vectors(self) -> Tensor:
        """`(I, E)`: vectors; an item without training has that of the unknown one."""
        vectors = entity_vectors(self.trained, "item")
        return vectors[self.inputs.x_cat[:, 0].long()]

    def weights(self, column: str | None) -> tuple[list[str], Tensor, Tensor]:
        """A column's values, and each item's weight of 1 spread over its own: offered and known.

        Returns:
            A names, `(I, A)` of the items that may be recommended and `(R, A)` by item row.

        Raises:
            DataError: There is no such column, or none was named and there are several.
        """
        name = self._column(column)
        if name not in self._columns:
            known = self.trained.encoder.entities["item"].with_blank_row()
            self.source.require([name])
            known.require([name])
            both = pd.concat([known.frame[[name]], self.source.frame[[name]]], ignore_index=True)
            attribute = attribute_of(Source(both, self.source.name), name)
            found = torch.from_numpy(attribute.of_rows).double()
            found /= found.sum(1, keepdim=True).clamp_min(1)
            n_known = len(known.frame)
            self._columns[name] = attribute.values, found[n_known:], found[:n_known]
        return self._columns[name]

    def tail(self, head: float) -> Tensor:
        """`(R,)` booleans by item row: those outside the most popular that have a share of events.

        An item without training events is in the tail.
        """
        counts = self.trained.encoder.entities["item"].n_events
        order = np.argsort(-counts, kind="stable")
        before = np.cumsum(counts[order]) - counts[order]
        is_head = np.zeros(len(counts), dtype=bool)
        is_head[order] = (before < head * counts.sum()) & (counts[order] > 0)
        return torch.from_numpy(~is_head)

    def _column(self, column: str | None) -> str:
        if column is not None:
            return column
        plan = self.trained.encoder.entities["item"].plan
        names = [n for n in self.source.frame.columns if n not in (plan.id, plan.label)]
        if len(names) != 1:
            known = ", ".join(names) or "none"
            raise DataError(
                f"rerank: say by which column of the items' table, such as `of: genres`: {known}"
            )
        return str(names[0])


@dataclass(frozen=True)
class UserFacts:
    """The same beside some users, as a pool has it.

    Attributes:
        items: What is known of the items.
        rows: `(B,)` the users' rows, 0 for unknown ones.
        inputs: The users' columns.
        events: The event's columns for each user.
    """

    items: ItemFacts
    rows: np.ndarray
    inputs: Inputs
    events: Inputs

    @property
    def popularity(self) -> Tensor:
        return self.items.popularity

    def vectors(self) -> Tensor:
        return self.items.vectors()

    def aspects(self, column: str | None) -> Aspects:
        values, offered, known = self.items.weights(column)
        return Aspects(values, offered > 0, self._had(known))

    def tail(self, head: float) -> Aspects:
        is_tail = self.items.tail(head)
        known = torch.stack([~is_tail, is_tail], 1).double()
        known[0] = 0
        had = self._had(known)
        # Of a user without a past nothing is known but what everybody's events are like.
        everyone = torch.tensor([head, 1 - head], dtype=torch.float64)
        had = torch.where(had.sum(1, keepdim=True) > 0, had, everyone)
        offered = is_tail[torch.from_numpy(self.items.known_rows).long()]
        return Aspects(["head", "tail"], torch.stack([~offered, offered], 1), had)

    def spread(self, columns: Tensor, scores: Tensor, *, kind: str) -> Tensor:
        if kind != "events":
            found = self._of_posterior(columns)
            if found is not None:
                return found
            if kind == "posterior":
                model = type(self.items.trained.model).__name__
                raise RunError(
                    f"rerank: {model} says nothing of how sure it is of these users' rows, or "
                    "predicts by jumps; use `spread: events`"
                )
        counts = self.items.popularity[columns.clamp_min(0)]
        is_there = columns >= 0
        own = scores.double().where(is_there, torch.nan)
        off = (own - own.nanmean(1, keepdim=True)).square()
        deviation = off.nanmean(1, keepdim=True).sqrt().nan_to_num(0.0)
        return deviation / (1 + counts).sqrt()

    def _of_posterior(self, columns: Tensor) -> Tensor | None:
        """By what is not known of the users; None where the model has no rows of users to find."""
        fold = self.items.fold_in()
        if fold is None:
            return None
        sides = (self.inputs, self.items.inputs, self.events)
        return score_spread(self.items.trained, fold, self.rows, sides, columns)

    def _had(self, known: Tensor) -> Tensor:
        """`(B, A)`: how a weight by item row is spread over what the users had."""
        past = self.items.trained.past
        if past is None:
            return known.new_zeros(len(self.rows), known.shape[1])
        had = past.positive.of_users(self.rows)
        sums = embedding_bag(had.values.long(), known, had.offsets, mode="sum")
        return sums / sums.sum(1, keepdim=True).clamp_min(torch.finfo(sums.dtype).tiny)
