"""Sweeps over all columns: draws from a posterior, or the most probable weights.

Dimension letters: see `tabcf.training.gibbs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from tabcf.contracts.definitions import FitProblem
from tabcf.errors import TrainingError
from tabcf.nn.dot_product import DotProductBias
from tabcf.training.gibbs.building import GibbsEngine, build_columns
from tabcf.training.gibbs.columns import Column, Events, squares_of
from tabcf.training.gibbs.likelihoods import Likelihood, NormalNoise, OrderedProbit
from tabcf.training.gibbs.priors import ColumnPrior, Expected, FixedPrior, Normal, Priors

__all__ = ["Draw", "GibbsEngine", "draw_posterior", "solve_als"]

# Sweeps after which sums are taken anew, so that rounding does not pile up.
_REFRESH = 8


class Draw(NamedTuple):
    """What a draw has beside the model's weights.

    Attributes:
        precision: Of an event about its score.
        cut_points: Of a latent number, K - 1 or none.
    """

    precision: float
    cut_points: tuple[float, ...] = ()


class _State:
    """All columns, and what they add up to."""

    def __init__(self, columns: Sequence[Column], likelihood: Likelihood) -> None:
        self.columns = columns
        self.likelihood = likelihood
        self.events = self._summed()
        self._n_sweeps = 0

    def sweep(self, normal: Normal) -> None:
        """Draw every column once."""
        if self._n_sweeps % _REFRESH == 0:
            self.events = self._summed()
        self._n_sweeps += 1
        self.events.target = self.likelihood.target
        for column in self.columns:
            column.redraw(self.events, self.likelihood.precision, normal)

    def is_finite(self) -> bool:
        """Whether all scores are numbers."""
        return bool(torch.isfinite(self.events.score.sum()))

    def _summed(self) -> Events:
        total = squares = None
        for column in self.columns:
            own, square = column.added(), column.squares()
            total = own.clone() if total is None else total.add_(own)
            squares = square if squares is None else squares + square
        assert total is not None and squares is not None
        score = total[:, 0] + 0.5 * (squares_of(total) - squares)
        return Events(total, score, self.likelihood.target)


@torch.no_grad()
def draw_posterior(
    model: DotProductBias,
    problem: FitProblem,
    rng: Generator,
    *,
    sweeps: int,
    burn_in: int,
    keep: int,
    priors: Priors | None = None,
    n_levels: int = 0,
    engine: GibbsEngine = "auto",
    on_sweep: Callable[[int, Draw], None] | None = None,
) -> Iterator[Draw]:
    """Write one draw after another into a model; gives what it has beside weights when it is kept.

    A set column leaves no training event's own value out, as in SVD++ (Koren, 2008).

    Args:
        model: A linear factorisation machine with biases; its weights are overwritten.
        problem: Encoded training events with a standardised target, or one on levels.
        rng: Of all draws.
        sweeps: Draws of all columns.
        burn_in: Sweeps before the first kept one; in the first half of them priors are wider.
        keep: How many are kept, spread evenly over the sweeps after the burn-in.
        priors: What is believed before any data.
        n_levels: For an ordered probit, all levels of the target; 0 for normal noise.
        engine: Whether loops over events are compiled; by `auto` where that is won back.
        on_sweep: Is told the number of each sweep and what it drew beside weights.

    Raises:
        TrainingError: A draw is no longer finite.
    """
    priors = priors or Priors()
    normal = Normal(rng)
    width = model.n_factors + 1
    assert problem.train.target is not None
    # The noise of events that are fitted all but exactly stays within what float32 can tell.
    wide = priors.widened()
    believed: list[ColumnPrior] = []

    def prior(column: str) -> ColumnPrior:
        found = ColumnPrior.flat(width, wide)
        believed.append(found)
        return found

    likelihood: Likelihood
    if n_levels:
        likelihood = OrderedProbit(_levels(problem), n_levels)
    else:
        likelihood = NormalNoise(problem.train.target.float(), wide)
    columns = build_columns(
        model,
        problem,
        normal,
        init_scale=priors.init_scale,
        prior=prior,
        engine=engine,
        sweeps=sweeps,
    )
    state = _State(columns.drawn, likelihood)
    after = max(sweeps - burn_in, 1)
    kept_at = {burn_in + (number + 1) * after // keep for number in range(min(keep, after))}
    for sweep in range(1, sweeps + 1):
        if sweep == burn_in // 2 + 1:
            for own in believed:
                own.of = priors
        try:
            state.sweep(normal)
            likelihood.draw(state.events.score, normal)
        except TrainingError:
            raise _lost(sweep) from None
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # torch does not declare it
            raise _lost(sweep) from None
        if not 0 < likelihood.precision < torch.inf or not state.is_finite():
            raise _lost(sweep)
        draw = Draw(likelihood.precision, likelihood.cut_points)
        if on_sweep is not None:
            on_sweep(sweep, draw)
        if sweep in kept_at:
            columns.write(model)
            yield draw


def _lost(sweep: int) -> TrainingError:
    return TrainingError(
        f"gibbs: a draw of sweep {sweep} is not finite; are a column's values far from 0, or is a "
        "prior far from any data?"
    )


def _levels(problem: FitProblem) -> Tensor:
    """`(N,)`: the number of each event's level."""
    assert problem.train.target is not None
    info = problem.target
    levels = torch.tensor(info.levels, dtype=torch.float64)
    value = problem.train.target.double() * info.scale[0] + info.center[0]
    return torch.bucketize(value, (levels[1:] + levels[:-1]) / 2)


@torch.no_grad()
def solve_als(
    model: DotProductBias,
    problem: FitProblem,
    rng: Generator,
    *,
    sweeps: int,
    l2: Mapping[str, float],
    l2_bias: float,
    init_scale: float = 0.1,
    engine: GibbsEngine = "auto",
) -> None:
    """Write the weights that squared errors and a ridge penalty are lowest at, column by column.

    Each column's rows are solved exactly given all others, those of a set's values together or, in
    compiled loops, one after another: what `draw_posterior` draws, at its most probable, for priors
    that stay. Errors are of the target as it is encoded.

    Args:
        model: A linear factorisation machine with biases; its weights are overwritten.
        problem: Encoded training events.
        rng: Of the first vectors.
        sweeps: How often all columns are solved.
        l2: Penalty of each number of a vector, by column, and `default` for all others.
        l2_bias: Penalty of each bias.
        init_scale: Standard deviation of the first vectors.
        engine: Whether loops over events are compiled; by `auto` where that is won back.
    """
    by_column = dict(l2)
    default = by_column.pop("default", 0.0)

    def prior(column: str) -> ColumnPrior:
        penalty = torch.full((model.n_factors + 1,), by_column.get(column, default))
        penalty[0] = l2_bias
        return FixedPrior(torch.zeros_like(penalty), penalty, Priors())

    assert problem.train.target is not None
    likelihood = NormalNoise(problem.train.target.float(), Priors())
    columns = build_columns(
        model,
        problem,
        Normal(rng),
        init_scale=init_scale,
        prior=prior,
        engine=engine,
        sweeps=sweeps,
    )
    state = _State(columns.drawn, likelihood)
    for _ in range(sweeps):
        state.sweep(Expected(rng))
    columns.write(model)
