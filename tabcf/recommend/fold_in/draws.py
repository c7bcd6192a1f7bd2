"""Rows for newcomers of a model that is a mean over draws from a posterior: a draw in each of them.

Dimension letters: n newcomers, S draws of the model, P numbers of a row in one of them.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.layout import Layout
from tabcf.contracts.model import ColumnRows, LevelDraws, PosteriorDraws
from tabcf.contracts.table import Table
from tabcf.data.batches import gather
from tabcf.errors import DataError
from tabcf.losses.loss import Loss
from tabcf.recommend.fold_in.levels import LossOfScore
from tabcf.recommend.fold_in.pointwise import Pointwise
from tabcf.recommend.fold_in.prior import prior_of_rows
from tabcf.recommend.fold_in.rows import Rows
from tabcf.recommend.fold_in.solver import Posterior, Prior, solve
from tabcf.recommend.grown import grown_model
from tabcf.recommend.trained import Trained, column_of

__all__ = ["FoldInDraws"]


class FoldInDraws:
    """What newcomers of an entity are fitted with where the model is a mean over draws.

    Given one draw of everything else, a newcomer's row is normal and known exactly: the prior is
    the mean and the covariance of that draw's rows, which estimate those that the sampler drew them
    with, and the noise is what the sampler found. Where events are on levels it is about normal:
    its mode and the curvature there are taken (Laplace's method). A row is drawn for each draw of
    the model, so that a newcomer is then what everybody else is, and predictions have their spread.
    The errors that are added are the same for all newcomers and have mean 0 over the draws, so that
    they hardly move the mean of predictions. No strength has to be chosen.

    Args:
        trained: Its model is a mean over draws of models that are linear in the rows.
        entity: `user` or `item`.
        n_slots: Newcomers that are held at a time; more are held where more are asked for.

    Raises:
        RunError: The members do not say which rows belong to a column.
    """

    def __init__(self, trained: Trained, entity: str, *, n_slots: int = 256) -> None:
        model = trained.model
        assert isinstance(model, PosteriorDraws | LevelDraws)
        self.trained = trained
        self.entity = entity
        loss = copy.deepcopy(trained.loss).cpu().double().requires_grad_(False)
        self._rows = [
            Rows(replace(trained, model=member), entity, n_slots=1) for member in model.members
        ]
        self._losses: list[Loss] = [loss] * len(self._rows)
        if isinstance(model, LevelDraws):
            # Its value is minus a log-likelihood, so that there is no noise to divide it by.
            self._losses = [LossOfScore(loss, cuts) for cuts in model.cut_points.cpu().double()]
            self._noise, self._is_normal = 1.0, False
        else:
            self._noise, self._is_normal = 2 * max(float(model.noise), 1e-12), True
        known = trained.encoder.entities[entity]
        has_events = torch.from_numpy(known.n_events[known.row_of_index] > 0)
        has_events[0] = False
        self._priors = [_prior(rows.table(), has_events) for rows in self._rows]
        self._n_slots = n_slots

    def solve(self, table: Table, n: int) -> Posterior:
        """The rows of n newcomers from their events, as `FoldIn.solve` takes them.

        Returns:
            Rows `(n, S · P)`; their spread is that of the draws, so there is no covariance.
        """
        assert table.target is not None
        owner = table.rows[self.entity].long() - 1
        inputs = gather(table, torch.arange(len(table)))
        errors = self._errors
        found = []
        draws = zip(self._rows, self._losses, self._priors, strict=True)
        for number, (rows, loss, prior) in enumerate(draws):
            said = Pointwise(
                rows.responses(inputs),
                loss,
                table.target,
                table.weight,
                owner,
                n,
                noise=self._noise,
            )
            start = prior.mean.repeat(n, 1)
            if not self._is_normal:
                start = solve(said, prior, start).mean
            slope = said.curvature(start)
            gradient = slope.gradient + (start - prior.mean) @ prior.precision
            factor = torch.linalg.cholesky(slope.hessian + prior.precision)
            step = torch.cholesky_solve(gradient.unsqueeze(2), factor)
            drawn = torch.linalg.solve_triangular(
                factor.mT, errors[number].repeat(n, 1).unsqueeze(2), upper=True
            )
            found.append(start + (drawn - step).squeeze(2))
        return Posterior(torch.cat(found, 1), _no_covariance)

    @contextmanager
    def holding(self, values: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
        """A model that has the given rows `(n, S · P)` for the block, and their indices `(n,)`."""
        slots = self._slots
        if len(values) > slots.n:
            slots = _Slots(self.trained, self.entity, len(values))
        with slots.lock:
            slots.write(values)
            yield (
                slots.model,
                torch.arange(slots.first, slots.first + len(values), dtype=torch.int32),
            )

    @cached_property
    def _slots(self) -> _Slots:
        return _Slots(self.trained, self.entity, self._n_slots)

    @cached_property
    def _errors(self) -> Tensor:
        """`(S, P)`: standard normal, with mean 0 and variance 1 over the draws."""
        rng = Generator().manual_seed(self.trained.seed)
        shape = len(self._rows), self._rows[0].width
        errors = torch.randn(shape, generator=rng, dtype=torch.float64)
        errors -= errors.mean(0)
        return errors / errors.square().mean(0).sqrt().clamp_min(1e-12)


class _Slots:
    """A copy of the model with spare rows in each draw; of users it has no others."""

    def __init__(self, trained: Trained, entity: str, n: int) -> None:
        column = column_of(trained, entity)
        is_alone = entity == "user"
        self.n = n
        self.first = 1 if is_alone else trained.encoder.layout.categorical[column].cardinality
        self.lock = threading.Lock()
        assert isinstance(trained.model, PosteriorDraws | LevelDraws)
        built: list[nn.ModuleList] = []
        done: list[nn.Module] = []

        def build(layout: Layout) -> nn.Module:
            """The next member of one model that is built with all of them."""
            if not built:
                assert trained.build is not None
                self.model = trained.build(layout).to(trained.device).eval()
                assert isinstance(self.model, PosteriorDraws | LevelDraws)
                built.append(self.model.members)
            return built[0][len(done)]

        self._parts: list[tuple[nn.Parameter, int]] = []
        emptied = frozenset({column} if is_alone else ())
        for member in trained.model.members:
            own = replace(trained, model=member, build=build)
            grown = grown_model(own, {column: n}, emptied=emptied)
            assert isinstance(grown, ColumnRows)
            done.append(grown)
            self._parts += [(p, rows.start) for p, rows in grown.column_rows(column)]
        state = trained.model.state_dict()
        for name, buffer in self.model.named_buffers(recurse=False):
            if name in state:  # others follow from the options
                buffer.copy_(state[name])

    @torch.no_grad()
    def write(self, values: Tensor) -> None:
        """Put `(m, S · P)` rows into the first m slots."""
        widths = [int(np.prod(parameter.shape[1:])) for parameter, _ in self._parts]
        for (parameter, start), own in zip(self._parts, values.split(widths, 1), strict=True):
            place = parameter[start + self.first : start + self.first + len(values)]
            place.copy_(own.reshape(place.shape))


def _prior(rows: Tensor, has_events: Tensor) -> Prior:
    """That of one draw's rows; without any that have events it is about the unknown value's."""
    counts = torch.where(has_events, 10**9, 0)
    mean = rows[has_events].mean(0) if has_events.any() else rows[0]
    return prior_of_rows(torch.cat([mean[None], rows[1:]]), counts)


def _no_covariance() -> Tensor:
    raise DataError("rows of a mean over draws have no covariance; their spread is in predictions")
