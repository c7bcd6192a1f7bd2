"""Sweeps over all columns: draws from a posterior, or the most probable weights.

Dimension letters: see `tabcf.training.gibbs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor

from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.inputs import Bag
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.batches import batches_in_order
from tabcf.errors import SpecError, TrainingError
from tabcf.nn.dot_product import DotProductBias
from tabcf.training.gibbs.columns import Categorical, Column, Events, Number
from tabcf.training.gibbs.likelihoods import Likelihood, NormalNoise, OrderedProbit
from tabcf.training.gibbs.priors import ColumnPrior, Expected, FixedPrior, Normal, Priors
from tabcf.training.gibbs.sets import SetColumn

__all__ = ["Draw", "GibbsEngine", "draw_posterior", "solve_als"]

GibbsEngine = Literal["auto", "compiled", "torch"]

# Sweeps after which sums are taken anew, so that rounding does not pile up.
_REFRESH = 8
# Events of all columns and sweeps from which on loading compiled code, a second, is won back.
_LONG = 20_000_000


class Draw(NamedTuple):
    """What a draw has beside the model's weights.

    Attributes:
        precision: Of an event about its score.
        cut_points: Of a latent number, K - 1 or none.
    """

    precision: float
    cut_points: tuple[float, ...] = ()


class _Kinds(NamedTuple):
    """What builds columns of one value an event, and sets."""

    categorical: Callable[[Tensor, int, Tensor, ColumnPrior], Column]
    set: Callable[..., Column]


def _kinds(engine: GibbsEngine, model: DotProductBias, problem: FitProblem, sweeps: int) -> _Kinds:
    """Columns in torch, or with compiled loops.

    Raises:
        SpecError: These are asked for, and numba is not installed.
    """
    n_columns = len(model.cardinalities) + len(model.set_cardinalities)
    is_long = len(problem.train) * sweeps * n_columns >= _LONG
    if engine == "torch" or (engine == "auto" and not is_long):
        return _Kinds(Categorical, SetColumn)
    try:
        from tabcf.training.gibbs.compiled_columns import CompiledCategorical, CompiledSet
    except ImportError:
        if engine == "auto":
            return _Kinds(Categorical, SetColumn)
        hint = "compiled loops need numba: pip install 'tabcf[fast]'"
        raise SpecError([f"fit.engine: {hint}"]) from None
    return _Kinds(CompiledCategorical, CompiledSet)


class _State:
    """All columns, and what they add up to."""

    def __init__(self, columns: list[Column], likelihood: Likelihood) -> None:
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
            own = column.added()
            square = own[:, 1:].square().sum(1)
            total = own.clone() if total is None else total.add_(own)
            squares = square if squares is None else squares + square
        assert total is not None and squares is not None
        score = total[:, 0] + 0.5 * (total[:, 1:].square().sum(1) - squares)
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

    def prior() -> ColumnPrior:
        found = ColumnPrior.flat(width, wide)
        believed.append(found)
        return found

    likelihood: Likelihood
    if n_levels:
        likelihood = OrderedProbit(_levels(problem), n_levels)
    else:
        likelihood = NormalNoise(problem.train.target.float(), wide)
    state = _built(
        model,
        problem,
        likelihood,
        normal,
        priors.init_scale,
        prior,
        kinds=_kinds(engine, model, problem, sweeps),
    )
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
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            raise _lost(sweep) from None
        if not 0 < likelihood.precision < torch.inf or not state.is_finite():
            raise _lost(sweep)
        draw = Draw(likelihood.precision, likelihood.cut_points)
        if on_sweep is not None:
            on_sweep(sweep, draw)
        if sweep in kept_at:
            _write(model, state.columns)
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
    l2: float,
    l2_bias: float,
    init_scale: float = 0.1,
    engine: GibbsEngine = "auto",
) -> None:
    """Write the weights that squared errors and a ridge penalty are lowest at, column by column.

    Each column's rows are solved exactly given all others: what `draw_posterior` draws, at its
    most probable, for priors that stay. Errors are of the target as it is encoded.

    Args:
        model: A linear factorisation machine with biases; its weights are overwritten.
        problem: Encoded training events.
        rng: Of the first vectors.
        sweeps: How often all columns are solved.
        l2: Penalty of each number of a vector.
        l2_bias: Penalty of each bias.
        init_scale: Standard deviation of the first vectors.
        engine: Whether loops over events are compiled; by `auto` where that is won back.
    """
    penalty = torch.full((model.n_factors + 1,), float(l2))
    penalty[0] = l2_bias

    def prior() -> ColumnPrior:
        return FixedPrior(torch.zeros_like(penalty), penalty, Priors())

    assert problem.train.target is not None
    likelihood = NormalNoise(problem.train.target.float(), Priors())
    state = _built(
        model,
        problem,
        likelihood,
        Normal(rng),
        init_scale,
        prior,
        kinds=_kinds(engine, model, problem, sweeps),
    )
    for _ in range(sweeps):
        state.sweep(Expected(rng))
    _write(model, state.columns)


def _built(
    model: DotProductBias,
    problem: FitProblem,
    likelihood: Likelihood,
    normal: Normal,
    init_scale: float,
    prior: Callable[[], ColumnPrior],
    *,
    kinds: _Kinds,
) -> _State:
    train = problem.train
    width = model.n_factors + 1

    def first(n: int) -> Tensor:
        rows = init_scale * normal.like((n, width))
        rows[:, 0] = 0
        return rows

    columns: list[Column] = []
    inputs = [*batches_in_order(_without_sets(train), 1 << 16)]
    x_cat = torch.cat([part.x_cat for part in inputs]).long()
    x_cont = torch.cat([part.x_cont for part in inputs])
    for number, n in enumerate(model.cardinalities):
        columns.append(kinds.categorical(x_cat[:, number], n, first(n), prior()))
    for number in range(model.n_continuous):
        columns.append(Number(x_cont[:, number], first(1), prior()))
    number = 0
    for name, bags in _bags_by_table(train):
        owner = torch.arange(len(train)) if name is None else train.rows[name].long()
        for bag in bags:
            n = model.set_cardinalities[number]
            columns.append(kinds.set(bag, owner, n, first(n), prior(), norm=model.set_norm))
            number += 1
    return _State(columns, likelihood)


def _without_sets(train: Table) -> Table:
    """The same events with one value a column alone."""
    entities = {
        name: EntityTable(table.inputs._replace(x_sets=()))
        for name, table in train.entities.items()
    }
    return Table(train.rows, train.events._replace(x_sets=()), entities, train.target)


def _bags_by_table(train: Table) -> Iterator[tuple[str | None, tuple[Bag, ...]]]:
    """Set columns in the order of the model: users', items', the events', further entities'."""
    roles = [name for name in train.entities if name in ("user", "item")]
    for name in roles:
        yield name, train.entities[name].inputs.x_sets
    yield None, train.events.x_sets
    for name in train.entities:
        if name not in roles:
            yield name, train.entities[name].inputs.x_sets


def _write(model: DotProductBias, columns: list[Column]) -> None:
    """The columns' rows as the model's weights."""
    start, n_categorical = 0, len(model.cardinalities)
    for column, n in zip(columns, model.cardinalities, strict=False):
        model.biases[start : start + n] = column.rows[:, :1]
        model.factors[start : start + n] = column.rows[:, 1:]
        start += n
    for number, column in enumerate(columns[n_categorical : n_categorical + model.n_continuous]):
        model.continuous_weights[number] = column.rows[0, 0]
        model.continuous_factors[number] = column.rows[0, 1:]
    sets = columns[n_categorical + model.n_continuous :]
    for number, column in enumerate(sets):
        model.set_biases[number].copy_(column.rows[:, :1])
        model.set_factors[number].copy_(column.rows[:, 1:])
