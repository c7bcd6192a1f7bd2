"""Rows for newcomers of one entity from their few events, in closed form or by a few steps.

Dimension letters: n newcomers, M events, P numbers of a row.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import Table
from tabcf.data.batches import gather, select
from tabcf.recommend.fold_in.alone import solve_alone
from tabcf.recommend.fold_in.calibration import Calibration
from tabcf.recommend.fold_in.given import OTHER
from tabcf.recommend.fold_in.pairs import N_OTHERS
from tabcf.recommend.fold_in.pointwise import Pointwise, is_scaled
from tabcf.recommend.fold_in.prior import prior_of_rows
from tabcf.recommend.fold_in.ranking import Ranking
from tabcf.recommend.fold_in.rows import Responses, Rows
from tabcf.recommend.fold_in.solver import Likelihood, Posterior, Prior, covariance, solve
from tabcf.recommend.trained import Trained

__all__ = ["FoldIn"]

# Numbers that derivatives of a block of newcomers may hold: 64 MB.
_BUDGET = 1 << 23


class FoldIn:
    """What newcomers of an entity are fitted with; made once a model, used for all of them.

    A newcomer's row is the most probable one given their events and what trained rows are like:
    the prior is a normal distribution about the row of the unknown value with the trained rows'
    covariance. How strongly it holds, and how noisy events are, is chosen on trained rows: each of
    a sample is found again from half of its events and judged by the other half. No other
    number of the model changes. Several threads may use one.

    Args:
        trained: A model that says which rows belong to a column, with its training events.
        entity: `user` or `item`.
        n_slots: Events that the model is run for together, where it has to be run.
        strength: How strongly the prior of a ranking model's rows holds, in place of what is found
            on trained rows; for rows that are only a beginning.

    Raises:
        RunError: The model cannot take newcomers, or its training events were not kept.
    """

    def __init__(
        self,
        trained: Trained,
        entity: str,
        *,
        n_slots: int = 2048,
        strength: float | None = None,
    ) -> None:
        self.trained = trained
        self.entity = entity
        # Sums over few events hang on the last digits; a model's own are enough.
        self.loss = copy.deepcopy(trained.loss).cpu().double().requires_grad_(False)
        self._rows = Rows(trained, entity, n_slots=n_slots)
        self._ranking = None if trained.loss.form == "pointwise" else Ranking(self._rows)
        values = self._rows.table()
        known = trained.encoder.entities[entity]
        n_events = torch.from_numpy(known.n_events[known.row_of_index])
        n_events[0] = 0
        self._shape = prior_of_rows(values, n_events)
        if strength is not None and self._ranking is not None:
            self.strength, self.noise = strength, 1.0
        else:
            found = Calibration(trained, entity, self._likelihood)
            self.strength, self.noise = found.of(self._shape, values)

    @cached_property
    def prior(self) -> Prior:
        """What a row is like before anything is known."""
        return Prior(self._shape.mean, self._shape.precision * self.strength)

    def solve(self, table: Table, n: int) -> Posterior:
        """The rows of n newcomers from their events; one without events has the prior's.

        Args:
            table: Encoded events, with their target if it is no implicit one; the newcomers are
                the rows 1 to n of its entity.
            n: How many newcomers.
        """
        prior = self.prior
        mean = prior.mean.repeat(n, 1)
        owner = table.rows[self.entity].numpy().astype(np.int64) - 1
        counts = np.bincount(owner, minlength=n)

        def likelihoods() -> Iterator[tuple[Tensor, Likelihood]]:
            for own, events, places in self._blocks(owner, counts):
                yield own, self._likelihood(table, own + 1, events, places, self.noise)

        def spread() -> Tensor:
            found: Tensor = prior.covariance.repeat(n, 1, 1)
            for own, likelihood in likelihoods():
                found[own] = covariance(likelihood, prior, mean[own])
            return found

        for own, likelihood in likelihoods():
            alone = likelihood.alone() if isinstance(likelihood, Pointwise) else None
            if alone is not None:
                mean[own] = torch.from_numpy(solve_alone(alone, prior))
            else:
                mean[own] = solve(likelihood, prior, mean[own]).mean
        return Posterior(mean, spread)

    def trained_rows(self) -> Tensor:
        """`(n, P)` float64: the rows that the model has, that of the unknown value first."""
        return self._rows.table()

    def responses(self, inputs: Inputs) -> Responses:
        """How outputs of the model for some events hang on the entity's row."""
        return self._rows.responses(inputs)

    def holding(self, values: Tensor) -> AbstractContextManager[tuple[nn.Module, Tensor]]:
        """A model that has the given rows `(n, P)` for the block, and their indices `(n,)`."""
        return self._rows.holding(values)

    def _likelihood(
        self, table: Table, rows: Tensor, events: Tensor, places: Tensor, noise: float
    ) -> Likelihood:
        """What some of the events say of some rows; `places` says whose each is."""
        if self._ranking is None:
            assert table.target is not None
            return Pointwise(
                self.responses(gather(table, events)),
                self.loss,
                table.target[events],
                None if table.weight is None else table.weight[events],
                places,
                len(rows),
                noise=noise,
                is_scaled=is_scaled(self.loss),
            )
        own = select(table.entities[self.entity].inputs, rows)
        other = table.rows[OTHER[self.entity]][events].long()
        weight = None if table.weight is None else table.weight[events]
        return self._ranking.likelihood(own, places, other, weight)

    def _blocks(
        self, owner: np.ndarray, counts: np.ndarray
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Newcomers with about as many events as each other, their events and whose each is."""
        by_count = np.argsort(counts, kind="stable")
        by_owner = np.argsort(owner, kind="stable")
        starts = np.cumsum(counts) - counts
        n_beside = 0 if self._ranking is None else N_OTHERS
        fewest = self._rows.width**2 + (0 if self._ranking is None else 4 * self._ranking.n_others)
        start, n = int((counts == 0).sum()), len(counts)
        while start < n:
            longest = counts[by_count[start:]] + n_beside
            sizes = np.maximum(longest * self._rows.width, fewest) * np.arange(1, len(longest) + 1)
            own = by_count[start : start + max(int((sizes <= _BUDGET).sum()), 1)]
            places = np.repeat(np.arange(len(own)), counts[own])
            within = np.arange(len(places)) - np.repeat(
                np.cumsum(counts[own]) - counts[own], counts[own]
            )
            events = by_owner[starts[own][places] + within]
            yield torch.from_numpy(own), torch.from_numpy(events), torch.from_numpy(places)
            start += len(own)
