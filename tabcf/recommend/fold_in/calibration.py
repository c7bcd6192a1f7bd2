"""How strongly what trained rows are like holds, and how noisy events are, as trained rows say.

Dimension letters: P numbers of a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Generator, Tensor

from tabcf.contracts.table import Table
from tabcf.data.targets import encode_target
from tabcf.data.weights import event_weights
from tabcf.recommend.fold_in.given import OTHER
from tabcf.recommend.fold_in.pointwise import Pointwise
from tabcf.recommend.fold_in.solver import Likelihood, Prior, solve
from tabcf.recommend.trained import Trained

__all__ = ["Calibration"]

# Trained rows that are tried, and events of each at most; with fewer rows nothing can be chosen.
_N_TRIED, _MOST_EVENTS, _FEWEST = 100, 40, 5
# New ones come with few events and with many: these are given in turn.
_GIVEN = (1, 2, 5, 10, 20)
# From the strongest on; so many in a row that do worse than the best end the search.
_STRENGTHS = tuple(2.0**power for power in range(6, -11, -1))
_PATIENCE = 2
# With few events to judge by all strengths look alike, and the best of them is chance: one that is
# 2^d off counts as d² / 2 events worse.
_PER_DOUBLING = 0.5
# Training events whose noise is measured where there are too few rows to try.
_MOST_MEASURED = 10_000


class Calibration:
    """Finds some trained rows again from half of their events and judges by the other half.

    Args:
        trained: The model with its training events.
        entity: Whose rows.
        likelihood: What some events of a table say of some rows: the table, the rows in its
            entity, the events, the place of each event's owner among the rows, and the noise.
    """

    def __init__(
        self,
        trained: Trained,
        entity: str,
        likelihood: Callable[[Table, Tensor, Tensor, Tensor, float], Likelihood],
    ) -> None:
        self._trained = trained
        self._entity = entity
        self._likelihood = likelihood

    def of(self, shape: Prior, values: Tensor) -> tuple[float, float]:
        """The factor of the prior's precision, and what losses are divided by.

        Args:
            shape: What rows are like, up to that factor.
            values: `(n, P)` the trained rows, that of the unknown value first.
        """
        sample = self._sample()
        if sample is None:
            return 1.0, self._noise_of_training(values)
        rows, at = sample.rows, shape.mean.repeat(len(sample.rows), 1)

        def said_by(events: Tensor, noise: float = 1.0) -> Likelihood:
            places = _numbered(sample.table.rows[self._entity][events].long(), rows)
            return self._likelihood(sample.table, rows, events, places, noise)

        held = said_by(sample.held)
        noise = _scale(held, at)
        given = said_by(sample.given, noise)
        best, lowest, found, n_worse = 1.0, float("inf"), at, 0
        for strength in _STRENGTHS:
            at = solve(given, Prior(shape.mean, shape.precision * strength), at).mean
            doubt = _PER_DOUBLING * math.log2(strength) ** 2 / len(sample.held)
            loss = held.judged(at, given)
            loss += doubt * abs(loss)
            n_worse += 1
            if loss < lowest:
                best, lowest, found, n_worse = strength, loss, at, 0
            if n_worse > _PATIENCE and best < _STRENGTHS[0]:
                break
        # The rows depend on strength times noise; the noise alone is the spread that remains.
        remaining = max(_scale(held, found), 1e-3 * noise)
        return best * noise / remaining, remaining

    def _noise_of_training(self, values: Tensor) -> float:
        """How far training events are from what the model says of them."""
        trained = self._trained
        n = int(trained.events.is_positive.sum())
        rng = Generator().manual_seed(trained.seed)
        table = self._encoded(torch.randperm(n, generator=rng)[:_MOST_MEASURED].numpy())
        index = table.entities[self._entity].index[table.rows[self._entity].long()].long()
        chosen, places = index.unique(return_inverse=True)
        said = self._likelihood(table, chosen, torch.arange(len(table)), places, 1.0)
        return _scale(said, values[chosen])

    def _sample(self) -> _Sample | None:
        """Events of some trained rows, a half to find them by and a half to judge them by."""
        trained = self._trained
        rows = trained.event_rows[self._entity][trained.events.is_positive]
        rng = Generator().manual_seed(trained.seed)
        order = torch.randperm(len(rows), generator=rng).numpy()
        chosen = _with_several(rows[self._is_usual])
        if len(chosen) >= _FEWEST:
            order = order[self._is_usual[order]]
        else:
            chosen = _with_several(rows)
        if len(chosen) < _FEWEST:
            return None
        drawn = torch.randperm(len(chosen), generator=rng).numpy()[:_N_TRIED]
        chosen = np.sort(chosen[drawn])
        number = np.full(len(trained.encoder.entities[self._entity]), -1)
        number[chosen] = np.arange(len(chosen))
        order = order[number[rows[order]] >= 0]
        order = order[np.argsort(number[rows[order]], kind="stable")]
        own = number[rows[order]]
        counts = np.bincount(own, minlength=len(chosen))
        place = np.arange(len(own)) - np.searchsorted(own, own)
        order, own, place = (a[place < _MOST_EVENTS] for a in (order, own, place))
        n_given = np.resize(_GIVEN, len(chosen))[own]
        is_given = torch.from_numpy(place < np.minimum(n_given, counts[own] // 2))
        return _Sample(
            self._encoded(order),
            torch.from_numpy(chosen),
            torch.nonzero(is_given).squeeze(1),
            torch.nonzero(~is_given).squeeze(1),
        )

    @cached_property
    def _is_usual(self) -> np.ndarray:
        """`(N,)` booleans: the half of the training events whose other side has the most of them.

        The other side's rows were fitted to the events that are tried here, so that these seem
        easier to predict than those of anybody new, the more so the fewer events such a row has.
        """
        trained, other = self._trained, OTHER[self._entity]
        rows = trained.event_rows[other][trained.events.is_positive]
        n_events = np.bincount(rows)[rows]
        is_usual: np.ndarray = n_events >= np.median(n_events) if len(rows) else n_events > 0
        return is_usual

    def _encoded(self, places: np.ndarray) -> Table:
        """Some of the training events that were learnt from, as numbers."""
        trained, events = self._trained, self._trained.events.learnable()
        source = replace(events, frame=events.frame.iloc[places].reset_index(drop=True))
        return replace(
            trained.encoder.encode(source),
            target=encode_target(trained.target, source),
            weight=event_weights(source, trained.weight),
        )


def _with_several(rows: np.ndarray) -> np.ndarray:
    """Rows with events enough to find them by some and judge them by others; row 0 is nobody's."""
    counts = np.bincount(rows, minlength=1)
    counts[0] = 0
    return np.flatnonzero(counts >= 4)


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


def _scale(said: Likelihood, values: Tensor) -> float:
    """What makes the events likeliest that losses are divided by, given the rows."""
    return said.scale(values) if isinstance(said, Pointwise) else 1.0
