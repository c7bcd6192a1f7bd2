"""The whole sampler: parameters and data from the prior stay as they are; compiled loops agree."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Generator

from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.layout import CategoricalColumn, ContinuousColumn, Layout
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError
from tabcf.nn.dot_product import DotProductBias
from tabcf.training.gibbs import building, draw_posterior, sets
from tabcf.training.gibbs.building import build_columns
from tabcf.training.gibbs.columns import Categorical, Column, Number
from tabcf.training.gibbs.compiled_columns import CompiledCategorical, CompiledEntity, OwnedColumn
from tabcf.training.gibbs.likelihoods import NormalNoise, OrderedProbit
from tabcf.training.gibbs.priors import ColumnPrior, FixedPrior, Normal, Priors
from tabcf.training.gibbs.sets import SetColumn, bag_matrix
from tabcf.training.gibbs.sweeps import _State

PRIORS = Priors(shape=6.0, rate=4.0, mean_strength=2.0)
N, W = 24, 3
# Five owners; the last has no value, the fourth no event, and so the last category none.
BAG = Bag(torch.tensor([1, 2, 2, 3, 0, 1, 3]), torch.tensor([0, 2, 4, 6, 7]))
OWNER = torch.tensor([0, 1, 2, 4, 1, 2] * 4)
CATEGORY = torch.tensor([0, 1, 1, 2, 0])
NUMBER = torch.tensor([0.5, -1.0, 0.0, 2.0, 1.5])
SIZES = (3, 3, 1, 4)


class Built(NamedTuple):
    """What is drawn, and each column's rows and prior."""

    drawn: list[Column]
    columns: list[Any]
    priors: list[ColumnPrior]


def _prior(normal: Normal, kind: type[ColumnPrior]) -> ColumnPrior:
    """A column's prior from its own prior."""
    shape = torch.full((W,), PRIORS.shape)
    precision = normal.gamma(shape, torch.full((W,), PRIORS.rate))
    mean = normal.like((W,)) * (PRIORS.mean_strength * precision).rsqrt()
    return kind(mean, precision, PRIORS)


def _columns(engine: str, normal: Normal, *, kind: type[ColumnPrior] = ColumnPrior) -> Built:
    """A category of the events; an entity's category, number and set; drawn from their priors."""
    priors = [_prior(normal, kind) for _ in SIZES]
    first = [
        prior.mean + normal.like((n, W)) * prior.precision.rsqrt()
        for prior, n in zip(priors, SIZES, strict=True)
    ]
    index = torch.arange(N) // 2 % 3
    if engine == "torch":
        columns: list[Any] = [
            Categorical(index, 3, first[0], priors[0]),
            Categorical(CATEGORY[OWNER], 3, first[1], priors[1]),
            Number(NUMBER[OWNER], first[2], priors[2]),
            SetColumn(BAG, OWNER, 4, first[3], priors[3], norm="sqrt"),
        ]
        return Built(columns, columns, priors)
    n_events = torch.bincount(OWNER, minlength=5)
    category = torch.nn.functional.one_hot(CATEGORY).float().to_sparse().coalesce()
    number = NUMBER[:, None].to_sparse().coalesce()
    parts = [category, number, bag_matrix(BAG, 4, norm="sqrt")]
    owned = [
        OwnedColumn(part, n_events, first[k + 1], priors[k + 1]) for k, part in enumerate(parts)
    ]
    by_event = CompiledCategorical(index, 3, first[0], priors[0])
    return Built([by_event, CompiledEntity(OWNER, owned)], [by_event, *owned], priors)


def _cut_points(normal: Normal) -> torch.Tensor:
    """Two cut-points from their prior, over a fine grid."""
    grid = np.arange(-6, 6, 0.08)
    pairs = np.array(list(itertools.combinations(grid, 2)))
    mass = np.diff(scipy.stats.norm.cdf(pairs), axis=1)[:, 0]
    ends = scipy.stats.norm.cdf(pairs[:, 0]) * scipy.stats.norm.sf(pairs[:, 1])
    weight = torch.from_numpy(np.sqrt(mass * ends))
    place = torch.multinomial(weight, 1, generator=normal.rng)
    cuts = torch.from_numpy(pairs)[place[0]] + 0.08 * (normal.uniform(2) - 0.5)
    return cuts.sort().values


def _places(seed: int, engine: str, likelihood: str) -> list[float]:
    """Parameters and data from the prior, three sweeps; where each number lies in its prior.

    The parameters are a draw from their posterior given the data. What leaves the posterior as it
    is turns them into another one: over many seeds again the prior.
    """
    normal = Normal(Generator().manual_seed(seed))
    built = _columns(engine, normal)
    state = _State(built.drawn, NormalNoise(torch.zeros(N), PRIORS))
    score = state.events.score
    if likelihood == "normal":
        noise = NormalNoise(torch.zeros(N), PRIORS)
        shape = torch.tensor([PRIORS.shape])
        noise.precision = float(normal.gamma(shape, torch.tensor([PRIORS.rate])))
        noise.target = score + noise.precision**-0.5 * normal.like((N,))
        state.likelihood = noise
    else:
        cuts = _cut_points(normal)
        latent = (score + normal.like((N,))).double()
        probit = OrderedProbit(torch.bucketize(latent, cuts), 3)
        probit._cuts, probit.target = cuts, latent.float()
        state.likelihood = probit
    for _ in range(3):
        state.sweep(normal)
        state.likelihood.draw(state.events.score, normal)
    precision = scipy.stats.gamma(PRIORS.shape, scale=1 / PRIORS.rate)
    places = []
    for column, prior in zip(built.columns, built.priors, strict=True):
        root = prior.precision.sqrt()
        scaled = PRIORS.mean_strength**0.5 * prior.mean * root
        places += [
            float(precision.cdf(prior.precision[0])),
            float(precision.cdf(prior.precision[1])),
        ]
        places += scipy.stats.norm.cdf(scaled[:2].numpy()).tolist()
        off = ((column.rows[0] - prior.mean) * root)[:2]
        places += scipy.stats.norm.cdf(off.numpy()).tolist()
    if likelihood == "normal":
        places.append(float(precision.cdf(state.likelihood.precision)))
    else:
        places.append(state.likelihood.cut_points[1] - state.likelihood.cut_points[0])
    return places


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("likelihood", ["normal", "ordered_probit"])
def test_what_comes_from_the_prior_stays_there(engine: str, likelihood: str) -> None:
    """Ranks within the prior are uniform (Geweke, 2004; Talts et al., 2018)."""
    found = np.array([_places(seed, engine, likelihood) for seed in range(100)])
    assert np.isfinite(found).all()
    chances = [scipy.stats.kstest(own, "uniform").pvalue for own in found[:, :24].T]
    if likelihood == "normal":
        chances.append(scipy.stats.kstest(found[:, 24], "uniform").pvalue)
    else:
        normal = Normal(Generator().manual_seed(99))
        gaps = [float(_cut_points(normal).diff()) for _ in range(400)]
        chances.append(scipy.stats.kstest(found[:, 24], gaps).pvalue)
    # 25 chances, uniform themselves: the least is below 0.0004 once in a hundred runs.
    assert min(chances) > 4e-4
    assert scipy.stats.kstest(chances, "uniform").pvalue > 1e-3


def _scores(rows: list[torch.Tensor]) -> torch.Tensor:
    """`(N,)` float64, from rows of all columns, as the model is defined: pair by pair."""
    weights = bag_matrix(BAG, 4, norm="sqrt").to_dense().double()
    vectors = [
        rows[0][torch.arange(N) // 2 % 3],
        rows[1][CATEGORY][OWNER],
        (NUMBER.double()[:, None] * rows[2])[OWNER],
        (weights @ rows[3])[OWNER],
    ]
    score = sum(vector[:, 0] for vector in vectors)
    for left, right in itertools.combinations(vectors, 2):
        score = score + (left[:, 1:] * right[:, 1:]).sum(1)
    assert isinstance(score, torch.Tensor)
    return score


def test_each_row_is_drawn_from_its_conditional() -> None:
    """Against regressions on all events, one row after another, from the same random numbers."""
    built = _columns("compiled", Normal(Generator().manual_seed(5)), kind=FixedPrior)
    rows = [column.rows.double() for column in built.columns]
    target, noise = torch.linspace(-1, 2, N), 1.7
    likelihood = NormalNoise(target, PRIORS)
    likelihood.precision = noise
    state = _State(built.drawn, likelihood)
    state.sweep(Normal(Generator().manual_seed(6)))
    drawn = Normal(Generator().manual_seed(6))
    for own, prior in zip(rows, built.priors, strict=True):
        mean, precision = prior.mean.double(), torch.diag(prior.precision.double())
        for row, error in zip(own, drawn.like(tuple(own.shape)).double(), strict=True):
            row.zero_()
            without = _scores(rows)
            slopes = []
            for d in range(W):
                row[d] = 1
                slopes.append(_scores(rows) - without)
                row[d] = 0
            features = torch.stack(slopes, 1)
            if not features.any():
                row.copy_(mean)  # nobody has seen it
                continue
            hessian = noise * features.T @ features + precision
            right = noise * features.T @ (target - without) + precision @ mean
            factor = torch.linalg.cholesky(hessian)
            off = torch.linalg.solve_triangular(factor.T, error[:, None], upper=True)[:, 0]
            row.copy_(torch.linalg.solve(hessian, right) + off)
    for own, column in zip(rows, built.columns, strict=True):
        torch.testing.assert_close(column.rows.double(), own, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(state.events.score.double(), _scores(rows), atol=1e-4, rtol=1e-4)


def test_sums_of_many_sweeps_stay_those_of_the_rows() -> None:
    normal = Normal(Generator().manual_seed(5))
    built = _columns("compiled", normal)
    state = _State(built.drawn, NormalNoise(torch.linspace(-1, 1, N), PRIORS))
    for _ in range(23):
        state.sweep(normal)
        state.likelihood.draw(state.events.score, normal)
    found, anew = state.events, state._summed()
    torch.testing.assert_close(found.score, anew.score, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.total, anew.total, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("is_small", [True, False])
@pytest.mark.parametrize("width", [0, 30])
def test_conjugate_gradients_find_the_solution(
    monkeypatch: pytest.MonkeyPatch, is_small: bool, width: int
) -> None:
    """Against the whole system, with more owners than values and with fewer."""
    if not is_small:
        monkeypatch.setattr(sets, "_MOST_RANK", 0)
        monkeypatch.setattr(sets, "_MOST_DENSE", 0)
    monkeypatch.setattr(sets, "_CG_TOLERANCE", 1e-6)
    rng = Generator().manual_seed(1)
    n_values = 5 + width
    values = torch.randint(0, n_values, (40,), generator=rng)
    bag = Bag(values, torch.arange(0, 40, 4), torch.rand(40, generator=rng) + 0.5)
    n_events = torch.tensor([3, 0, 5, 8, 1, 2, 9, 4, 4, 30])
    features = [torch.randn(int(n), W, generator=rng) for n in n_events]
    gram = torch.stack([own.T @ own for own in features])
    moment = torch.stack([own.sum(0) for own in features])
    prior = ColumnPrior(torch.tensor([0.1, -0.3, 0.2]), torch.tensor([2.0, 1.0, 5.0]), PRIORS)
    start = torch.randn(n_values, W, generator=rng)
    system = sets.SetSystem(bag, n_events, n_values, start, prior, norm="mean")
    normal = Normal(Generator().manual_seed(3))
    system.draw(gram, moment, 0.8, normal)
    weights = torch.zeros(10, n_values)
    weights.index_put_((torch.arange(40) // 4, values), bag.weights / 4, accumulate=True)
    drawn = Normal(Generator().manual_seed(3)).like((n_values, W))
    right = weights.T @ moment + prior.precision * prior.mean + prior.precision.sqrt() * drawn
    precision = 0.8 * torch.einsum("or,os,owv->rwsv", weights, weights, gram)
    precision = precision.reshape(n_values * W, n_values * W)
    precision = precision + torch.diag(prior.precision.repeat(n_values))
    expected = torch.linalg.solve(precision.double(), right.flatten().double())
    torch.testing.assert_close(system.rows.flatten().double(), expected, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(system.of_owner, weights @ system.rows, atol=1e-4, rtol=1e-4)


def _problem(n: int) -> Any:
    """Users with a category and a number, items, and an event's category."""
    rng = Generator().manual_seed(0)

    def entity(*sizes: int, n_numbers: int) -> EntityTable:
        index = torch.arange(5)
        more = [torch.randint(0, size, (5,), generator=rng) for size in sizes]
        numbers = torch.randn(5, n_numbers, generator=rng)
        return EntityTable(Inputs(torch.stack([index, *more], 1).int(), numbers))

    rows = {name: torch.randint(1, 5, (n,), generator=rng).int() for name in ("user", "item")}
    events = Inputs(torch.randint(1, 4, (n, 1), generator=rng).int(), torch.zeros(n, 0))
    entities = {"user": entity(3, n_numbers=1), "item": entity(n_numbers=0)}
    table = Table(rows, events, entities, target=torch.randn(n, generator=rng))
    names = ("user_id", "user.kind", "item_id", "place")
    layout = Layout(
        tuple(CategoricalColumn(name, "event", 0) for name in names),
        (ContinuousColumn("user.age", "user"),),
    )
    return FitProblem(table, layout, TargetInfo("regression", ("y",)))


def _model() -> DotProductBias:
    return DotProductBias([5, 3, 5, 4], factors=2, n_continuous=1)


def _built(engine: Any, sweeps: int) -> Any:
    return build_columns(
        _model(),
        _problem(50),
        Normal(Generator().manual_seed(0)),
        init_scale=0.1,
        prior=lambda name: ColumnPrior.flat(3, PRIORS),
        engine=engine,
        sweeps=sweeps,
    )


def test_long_fits_are_compiled_and_short_ones_are_not() -> None:
    assert isinstance(_built("auto", 10).categorical[0], Categorical)
    assert isinstance(_built("torch", 300_000).categorical[0], Categorical)
    for built in (_built("auto", 300_000), _built("compiled", 1)):
        kinds = [type(column) for column in built.drawn]
        assert kinds == [CompiledEntity, CompiledCategorical, CompiledCategorical]
        assert [len(column.rows) for column in built.categorical] == [5, 3, 5, 4]


def test_many_owners_are_drawn_by_their_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_MOST_SUMS", 4)
    kinds = [type(column) for column in _built("compiled", 1).drawn]
    assert kinds == [*[CompiledCategorical] * 2, Number, *[CompiledCategorical] * 2]


def test_without_numba_there_is_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tabcf.training.gibbs.compiled_columns", None)
    monkeypatch.delattr("tabcf.training.gibbs.compiled_columns")
    with pytest.raises(SpecError, match=r"fit.engine: compiled .*pip install 'tabcf\[fast\]'"):
        _built("compiled", 1)
    assert isinstance(_built("auto", 300_000).categorical[0], Categorical)


@pytest.mark.parametrize("n_levels", [0, 3])
def test_engines_give_the_same_draws(n_levels: int) -> None:
    """A whole fit, its weights and what it draws beside them."""
    found = []
    problem = _problem(60)
    info = TargetInfo("rating", ("y",), (-1.0, 0.0, 1.0))
    problem = replace(problem, target=info) if n_levels else problem
    for engine in ("torch", "compiled"):
        model = _model()
        draws = draw_posterior(
            model,
            problem,
            Generator().manual_seed(7),
            sweeps=12,
            burn_in=4,
            keep=3,
            n_levels=n_levels,
            engine=engine,
        )
        beside = [(draw.precision, *draw.cut_points) for draw in draws]
        found.append((torch.tensor(beside), model.factors.detach().clone()))
    torch.testing.assert_close(found[0], found[1], atol=2e-3, rtol=2e-3)
