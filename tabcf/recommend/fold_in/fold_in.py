"""Rows for newcomers of one entity from their few events, in closed form or by a few steps.

Dimension letters: n newcomers, M events, P numbers of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.table import Table
from tabcf.data.batches import gather, select
from tabcf.data.targets import encode_target
from tabcf.recommend.fold_in.pairs import N_OTHERS
from tabcf.recommend.fold_in.pointwise import Pointwise
from tabcf.recommend.fold_in.prior import prior_of_rows
from tabcf.recommend.fold_in.ranking import Ranking
from tabcf.recommend.fold_in.slots import Slots
from tabcf.recommend.fold_in.solver import Likelihood, Posterior, Prior, solve
from tabcf.recommend.trained import Trained

__all__ = ["FoldIn"]

# Numbers that derivatives of a block of newcomers may hold: 64 MB.
_BUDGET = 1 << 23
# Trained rows that the strength of the prior is tried on, and events of each at most.
_N_TRIED, _MOST_EVENTS = 100, 40
_GIVEN = (1, 2, 5, 10, 20)
_OTHER = {"user": "item", "item": "user"}
_STRENGTHS = (64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)


class FoldIn:
    """What newcomers of an entity are fitted with; made once a model, used for all of them.

    A newcomer's row is the most probable one given their events and what trained rows are like:
    the prior is a normal distribution about the row of the unknown value with the trained rows'
    covariance. How strongly it holds, and how noisy events are, is chosen on trained rows: each of
    a sample is found again from half of its events and judged by the other half. No other
    number of the model changes.

    Args:
        trained: A model that says which rows belong to a column, with its training events.
        entity: `user` or `item`.
        n_slots: Events that are looked at together.

    Raises:
        RunError: The model cannot take newcomers, or its training events were not kept.
    """

    def __init__(self, trained: Trained, entity: str, *, n_slots: int = 2048) -> None:
        self.trained = trained
        self.entity = entity
        self.slots = Slots(trained, entity, n_slots)
        rows = self.slots.trained_rows()
        known = trained.encoder.entities[entity]
        n_events = torch.from_numpy(known.n_events[known.row_of_index])
        n_events[0] = 0
        self._shape = prior_of_rows(rows, n_events)
        self._ranking = Ranking(trained, entity)
        self._n_beside = 0 if trained.loss.form == "pointwise" else N_OTHERS
        self.strength, self.noise = self._calibrated()

    @property
    def prior(self) -> Prior:
        """What a row is like before anything is known."""
        return Prior(self._shape.mean, self._shape.precision * self.strength)

    def solve(self, table: Table, rows: Tensor) -> Posterior:
        """The rows of newcomers from the events of a table.

        Args:
            table: Encoded events, with their target if it is no implicit one.
            rows: `(n,)` int64: the newcomers' rows in the table's entity; one without events has
                the prior's mean.
        """
        n, mean = len(rows), self._shape.mean.repeat(len(rows), 1)
        covariance = torch.linalg.inv(self.prior.precision).repeat(n, 1, 1)
        owner = _numbered(table.rows[self.entity].long(), rows)
        for own, events, places in self._blocks(owner, n):
            likelihood = self._likelihood(table, rows[own], events, places, self.noise)
            found = solve(likelihood, self.prior, mean[own])
            mean[own], covariance[own] = found
        return Posterior(mean, covariance)

    @contextmanager
    def holding(self, values: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
        """A model that has the given rows `(n, P)` for the block, and their indices `(n,)`."""
        if len(values) > len(self.slots):
            self.slots = Slots(self.trained, self.entity, len(values))
        with self.slots.holding(values) as index:
            yield self.slots.model, index

    def _likelihood(
        self, table: Table, rows: Tensor, events: Tensor, places: Tensor, noise: float
    ) -> Likelihood:
        """What some of the events say of some rows; `places` says whose each is."""
        if self.trained.loss.form == "pointwise":
            assert table.target is not None
            weight = None if table.weight is None else table.weight[events]
            inputs, target = gather(table, events), table.target[events]
            return Pointwise(
                self.slots,
                self.trained.loss,
                inputs,
                target,
                weight,
                places,
                len(rows),
                noise=noise,
            )
        own = select(table.entities[self.entity].inputs, rows)
        other = table.rows[_OTHER[self.entity]][events].long()
        return self._ranking.likelihood(self.slots, own, places, other)

    def _blocks(self, owner: Tensor, n: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Newcomers with about as many events as each other, their events and whose each is."""
        counts = torch.bincount(owner, minlength=n)
        by_count = torch.argsort(counts, stable=True)
        order = torch.argsort(owner, stable=True)
        starts = counts.cumsum(0) - counts
        start = int((counts == 0).sum())
        while start < n:
            longest = counts[by_count[start:]] + self._n_beside
            sizes = longest * torch.arange(1, len(longest) + 1) * self.slots.width
            size = max(int((sizes <= _BUDGET).sum()), 1)
            own = by_count[start : start + size]
            places = torch.repeat_interleave(torch.arange(len(own)), counts[own])
            within = torch.arange(len(places)) - torch.repeat_interleave(
                counts[own].cumsum(0) - counts[own], counts[own]
            )
            yield own, order[starts[own][places] + within], places
            start += size

    def _calibrated(self) -> tuple[float, float]:
        """How strongly the prior holds and how noisy events are, as trained rows say."""
        sample = self._sample()
        if sample is None:
            return 1.0, 1.0
        given, held = sample.given, sample.held
        is_number = (
            self.trained.target.kind in ("regression", "rating")
            and self.trained.loss.form == "pointwise"
        )
        start = self._shape.mean.repeat(len(sample.rows), 1)

        def likelihood_of(events: Tensor, noise: float = 1.0) -> Likelihood:
            places = _numbered(sample.table.rows[self.entity][events].long(), sample.rows)
            return self._likelihood(sample.table, sample.rows, events, places, noise)

        probe = likelihood_of(held)
        noise = max(2 * probe.judged(start, probe), 1e-12) if is_number else 1.0
        likelihood = likelihood_of(given, noise)
        best, lowest, at = 1.0, float("inf"), start
        for strength in _STRENGTHS:
            prior = Prior(self._shape.mean, self._shape.precision * strength)
            at = solve(likelihood, prior, at, with_covariance=False).mean
            loss = probe.judged(at, likelihood)
            if loss < lowest:
                best, lowest = strength, loss
        if not is_number:
            return best, 1.0
        # The rows depend on strength times noise; the noise alone is the spread that remains.
        remaining = max(2 * lowest, 1e-12)
        return best * noise / remaining, remaining

    def _sample(self) -> _Sample | None:
        """Events of some trained rows, a half to find them by and a half to judge them by."""
        trained, entity = self.trained, self.trained.encoder.entities[self.entity]
        events = trained.events.learnable()
        rows = trained.encoder.encode_ids(events)[self.entity]
        rng = Generator().manual_seed(trained.seed)
        order = torch.randperm(len(rows), generator=rng).numpy()
        counts = np.bincount(rows, minlength=len(entity))
        counts[0] = 0
        fitting = np.flatnonzero(counts >= 4)
        if len(fitting) < 5:
            return None
        drawn = torch.randperm(len(fitting), generator=rng).numpy()[:_N_TRIED]
        chosen = np.sort(fitting[drawn])
        number = np.full(len(entity), -1)
        number[chosen] = np.arange(len(chosen))
        order = order[number[rows[order]] >= 0]
        order = order[np.argsort(number[rows[order]], kind="stable")]
        own = number[rows[order]]
        place = np.arange(len(own)) - np.searchsorted(own, own)
        order, own, place = (a[place < _MOST_EVENTS] for a in (order, own, place))
        frame = events.frame.iloc[order].reset_index(drop=True)
        source = type(events)(frame, events.name, events.is_text)
        table = trained.encoder.encode(source)
        target = encode_target(trained.target, source)
        # New ones come with few events and with many: 1, 2, 5, 10 and 20 are given in turn.
        n_given = np.resize(_GIVEN, len(chosen))[own]
        is_given = torch.from_numpy(place < np.minimum(n_given, counts[chosen][own] // 2))
        return _Sample(
            Table(table.rows, table.events, table.entities, target),
            torch.from_numpy(chosen),
            torch.nonzero(is_given).squeeze(1),
            torch.nonzero(~is_given).squeeze(1),
        )


@dataclass(frozen=True, slots=True)
class _Sample:
    """Events of some trained rows, and the places of the given and of the held ones."""

    table: Table
    rows: Tensor
    given: Tensor
    held: Tensor


def _numbered(rows: Tensor, chosen: Tensor) -> Tensor:
    """The place of each row among the chosen ones, which are all different; all must be there."""
    order = torch.argsort(chosen)
    return order[torch.searchsorted(chosen[order], rows)]
