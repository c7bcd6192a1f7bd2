"""Draws from the posterior of a factorisation machine, column by column.

With all other columns fixed the score of an event is linear in one column's rows: a bias, and the
product of its vector with the sum of all others'. For a categorical column the rows are independent
given the rest, each a small Bayesian linear regression of width D + 1, drawn for all rows at once.
A set's rows are not: they are drawn together, by conjugate gradients on a perturbed system. Priors
of each column, and the noise, are drawn anew in each sweep (Rendle, 2013, "Scaling factorization
machines to relational data"; Salakhutdinov and Mnih, 2008).

Dimension letters: N events, R rows of a column, D factors, W = D + 1 numbers of a row (the bias
first), L events of the longest row of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Generator, Tensor

from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.inputs import Bag
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.batches import batches_in_order
from tabcf.errors import TrainingError
from tabcf.nn.dot_product import DotProductBias

__all__ = ["Priors", "draw_posterior", "solve_als"]

# Numbers that a block of padded events may hold: 16 MB.
_BUDGET = 1 << 22
# Steps of conjugate gradients at most, and how much smaller than at first what is left must be.
_CG_STEPS, _CG_TOLERANCE = 60, 1e-4


@dataclass(frozen=True, slots=True)
class Priors:
    """What is believed before any data, as in libFM and myFM.

    Attributes:
        init_scale: Standard deviation of the first vectors.
        shape: Of the gamma priors on precisions; 1 is a weak one.
        rate: Of the same.
        mean_strength: How many rows the prior mean of a column's mean, 0, counts for.
    """

    init_scale: float = 0.1
    shape: float = 1.0
    rate: float = 1.0
    mean_strength: float = 1.0


class _Column(Protocol):
    """One column's rows `(R, W)`, what they add to each event, and how they are drawn."""

    rows: Tensor

    def added(self) -> Tensor:
        """`(N, W)`: the bias and the vector that each event gets from it."""

    def draw(self, others: Tensor, rest: Tensor, noise: float, normal: _Normal) -> None:
        """Draw all rows, given the sum of the other vectors `(N, D)` and what is left `(N,)`."""

    def prior(self) -> _ColumnPrior:
        """The column's own prior."""


@dataclass(slots=True)
class _Normal:
    """Normal and gamma numbers of one generator."""

    rng: Generator

    def like(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.rng)

    def gamma(self, shape: Tensor, rate: Tensor) -> Tensor:
        """Gamma numbers with a seed of their own, since torch draws these without a generator."""
        seed = int(torch.randint(0, 2**31 - 1, (), generator=self.rng))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn: Tensor = torch._standard_gamma(shape.double())
        return (drawn / rate.double()).float()


class _Expected(_Normal):
    """Every normal number is its mean: what is drawn is the most probable."""

    def like(self, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape)


@dataclass(slots=True)
class _ColumnPrior:
    """A column's rows are N(mean, 1 / precision), number by number.

    Shape:
        mean, precision: `(W,)`.
    """

    mean: Tensor
    precision: Tensor
    of: Priors

    @classmethod
    def flat(cls, width: int, of: Priors) -> _ColumnPrior:
        return cls(torch.zeros(width), torch.ones(width), of)

    def draw(self, rows: Tensor, normal: _Normal) -> None:
        """Draw precision and mean given the rows `(R, W)`."""
        n, of = len(rows), self.of
        off = rows - self.mean
        shape = torch.full_like(self.mean, of.shape + 0.5 * (n + 1))
        rate = of.rate + 0.5 * (off.pow(2).sum(0) + of.mean_strength * self.mean.pow(2))
        self.precision = normal.gamma(shape, rate)
        weight = n + of.mean_strength
        spread = (weight * self.precision).rsqrt()
        self.mean = rows.sum(0) / weight + spread * normal.like(tuple(self.mean.shape))


class _FixedPrior(_ColumnPrior):
    """A prior that no rows change."""

    def draw(self, rows: Tensor, normal: _Normal) -> None:
        """Leave it as it is."""


def _regressions(
    gram: Tensor, moment: Tensor, prior: _ColumnPrior, noise: float, normal: _Normal
) -> Tensor:
    """`(R, W)` draws of Bayesian linear regressions with the same prior.

    Args:
        gram: `(R, W, W)`: sums of outer products of features.
        moment: `(R, W)`: sums of features times what is to be explained.
        prior: Of all rows.
        noise: The precision of an event.
        normal: Random numbers.
    """
    precision = noise * gram + torch.diag(prior.precision)
    factor = torch.linalg.cholesky(precision)
    right = noise * moment + prior.precision * prior.mean
    mean = torch.cholesky_solve(right.unsqueeze(2), factor)
    off = torch.linalg.solve_triangular(
        factor.mT, normal.like((len(moment), moment.shape[1], 1)), upper=True
    )
    drawn: Tensor = (mean + off).squeeze(2)
    return drawn


class _Categorical:
    """A column of one value an event."""

    def __init__(self, index: Tensor, n: int, first: Tensor, prior: _ColumnPrior) -> None:
        self.rows = first
        self._index = index
        self._prior = prior
        self._blocks = list(_padded_blocks(index, n, first.shape[1]))
        is_met = torch.zeros(n, dtype=torch.bool)
        is_met[index] = True
        self._met = torch.nonzero(is_met).squeeze(1)
        self._unmet = torch.nonzero(~is_met).squeeze(1)

    def added(self) -> Tensor:
        return self.rows.index_select(0, self._index)

    def prior(self) -> _ColumnPrior:
        return self._prior

    def draw(self, others: Tensor, rest: Tensor, noise: float, normal: _Normal) -> None:
        features = torch.cat([others.new_ones(len(others), 1), others, rest[:, None]], 1)
        features = torch.cat([features, features.new_zeros(1, features.shape[1])])
        width = self.rows.shape[1]
        self._prior.draw(self.rows[self._met], normal)
        for rows, places in self._blocks:
            own = features.index_select(0, places.flatten()).view(*places.shape, width + 1)
            # A padded place is a row of zeros: it adds nothing to either sum.
            own[..., 0] *= (places < len(others)).to(own)
            products = own.mT @ own
            self.rows[rows] = _regressions(
                products[:, :width, :width], products[:, :width, width], self._prior, noise, normal
            )
        # Nobody has seen these; they are as the prior has them, at its mean.
        self.rows[self._unmet] = self._prior.mean


class _Number:
    """A continuous feature: one row, times the feature."""

    def __init__(self, values: Tensor, first: Tensor, prior: _ColumnPrior) -> None:
        self.rows = first
        self._values = values
        self._prior = prior

    def added(self) -> Tensor:
        return self._values[:, None] * self.rows

    def prior(self) -> _ColumnPrior:
        return self._prior

    def draw(self, others: Tensor, rest: Tensor, noise: float, normal: _Normal) -> None:
        self._prior.draw(self.rows, normal)
        features = torch.cat([others.new_ones(len(others), 1), others], 1) * self._values[:, None]
        gram, moment = features.T @ features, features.T @ rest
        self.rows = _regressions(gram[None], moment[None], self._prior, noise, normal)


class _Set:
    """A column of several values a row of an entity, or of the events: their sum over √n.

    With the matrix B of owners by values, 1 / √n where an owner has a value, an owner's added row
    is `B V`. The precision of all values' rows together is `noise · Bᵀ G B + prior`, G holding each
    owner's gram matrix: never formed, only multiplied by.
    """

    def __init__(
        self, bag: Bag, owner: Tensor, n: int, first: Tensor, prior: _ColumnPrior, *, norm: str
    ) -> None:
        self.rows = first
        self._owner = owner
        self._prior = prior
        lengths = bag.lengths.clamp_min(1).float()
        weight = lengths.rsqrt() if norm == "sqrt" else lengths.reciprocal()
        rows = bag.row_of_value
        shape = (len(bag.offsets), n)
        indices = torch.stack([rows, bag.values.long()])
        values = weight.index_select(0, rows)
        with torch.sparse.check_sparse_tensor_invariants(enable=True):
            self._matrix = torch.sparse_coo_tensor(indices, values, shape).coalesce()
        if shape[0] * shape[1] <= 1 << 22:
            self._matrix = self._matrix.to_dense()
        self._transposed = self._matrix.T.contiguous() if not self._matrix.is_sparse else None
        self._blocks = list(_padded_blocks(owner, len(bag.offsets), first.shape[1]))

    def added(self) -> Tensor:
        return (self._matrix @ self.rows).index_select(0, self._owner)

    def prior(self) -> _ColumnPrior:
        return self._prior

    def draw(self, others: Tensor, rest: Tensor, noise: float, normal: _Normal) -> None:
        self._prior.draw(self.rows, normal)
        width, n_owners = self.rows.shape[1], self._matrix.shape[0]
        features = torch.cat([others.new_ones(len(others), 1), others], 1)
        gram = self._grams(features, n_owners)
        # A draw from N(A⁻¹ b, A⁻¹) solves A x = b + e with e of covariance A: each event and each
        # prior number brings its own noise.
        scaled = noise * rest + noise**0.5 * normal.like((len(rest),))
        per_owner = torch.zeros(n_owners, width).index_add_(
            0, self._owner, features * scaled[:, None]
        )
        precision, mean = self._prior.precision, self._prior.mean
        right = self._back(per_owner) + precision * mean
        right = right + precision.sqrt() * normal.like(tuple(self.rows.shape))

        def product(values: Tensor) -> Tensor:
            of_owners = torch.bmm(gram, (self._matrix @ values).unsqueeze(2)).squeeze(2)
            return noise * self._back(of_owners) + precision * values

        self.rows = _conjugate_gradients(product, right, self.rows, precision)

    def _back(self, per_owner: Tensor) -> Tensor:
        """`(R, W)`: Bᵀ times something of the owners."""
        if self._transposed is not None:
            return self._transposed @ per_owner
        return self._matrix.T @ per_owner

    def _grams(self, features: Tensor, n_owners: int) -> Tensor:
        width = features.shape[1]
        padded = torch.cat([features, features.new_zeros(1, width)])
        gram = features.new_zeros(n_owners, width, width)
        for rows, places in self._blocks:
            own = padded.index_select(0, places.flatten()).view(*places.shape, width)
            gram[rows] = own.mT @ own
        return gram


def _conjugate_gradients(
    product: Callable[[Tensor], Tensor], right: Tensor, start: Tensor, scale: Tensor
) -> Tensor:
    """Solve `product(x) = right`, preconditioned by a diagonal `scale` `(W,)`."""
    found = start
    left = right - product(found)
    ready = left / scale
    way = ready
    size = (left * ready).sum()
    goal = _CG_TOLERANCE**2 * size
    for _ in range(_CG_STEPS):
        if size <= goal:
            break
        along = product(way)
        step = size / (way * along).sum()
        found = found + step * way
        left = left - step * along
        ready = left / scale
        bigger = (left * ready).sum()
        way = ready + bigger / size * way
        size = bigger
    return found


def _padded_blocks(index: Tensor, n: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows with about as many events as each other, and the events `(B, L)`, N where none."""
    counts = torch.bincount(index, minlength=n)
    order = torch.argsort(index, stable=True)
    starts = counts.cumsum(0) - counts
    by_count = torch.argsort(counts, descending=True, stable=True)
    by_count = by_count[counts[by_count] > 0]
    start = 0
    while start < len(by_count):
        longest = int(counts[by_count[start]])
        is_near = counts[by_count[start:]] * 2 >= longest
        size = min(int(is_near.sum()), max(_BUDGET // (longest * (width + 1)), 1))
        rows = by_count[start : start + size]
        within = torch.arange(longest)[None]
        places = (starts[rows][:, None] + within).clamp_max(len(index) - 1)
        places = torch.where(within < counts[rows][:, None], order[places], len(index))
        yield rows, places
        start += size


@dataclass(slots=True)
class _State:
    """All columns, and what they add up to."""

    columns: list[_Column]
    target: Tensor
    noise: float = 1.0
    added: list[Tensor] = field(default_factory=list)

    def refresh(self) -> None:
        """What each column adds, anew, so that rounding does not pile up."""
        self.added = [column.added() for column in self.columns]

    def sweep(self, normal: _Normal) -> Tensor:
        """Draw every column once; gives what the score lacks of each target, `(N,)`."""
        self.refresh()
        total = torch.stack(self.added).sum(0)
        score = _scores(self.added, total)
        for number, column in enumerate(self.columns):
            own = self.added[number]
            others = total[:, 1:] - own[:, 1:]
            without = score - own[:, 0] - (own[:, 1:] * others).sum(1)
            column.draw(others, self.target - without, self.noise, normal)
            new = column.added()
            score = without + new[:, 0] + (new[:, 1:] * others).sum(1)
            total = total - own + new
            self.added[number] = new
        return self.target - score

    def draw_noise(self, error: Tensor, normal: _Normal, priors: Priors) -> None:
        """Draw the noise's precision given what the score lacks."""
        shape = torch.tensor([priors.shape + 0.5 * len(error)])
        rate = torch.tensor([priors.rate + 0.5 * float(error.double().pow(2).sum())])
        self.noise = float(normal.gamma(shape, rate))


def _scores(added: list[Tensor], total: Tensor) -> Tensor:
    """`(N,)`: biases, and all pairs of vectors."""
    squares = torch.stack([own[:, 1:].pow(2).sum(1) for own in added]).sum(0)
    return total[:, 0] + 0.5 * (total[:, 1:].pow(2).sum(1) - squares)


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
    on_sweep: Callable[[int, float], None] | None = None,
) -> Iterator[float]:
    """Write one draw after another into a model; gives the noise's precision at each that is kept.

    A set column leaves no training event's own value out, as in SVD++ (Koren, 2008).

    Args:
        model: A linear factorisation machine with biases; its weights are overwritten.
        problem: Encoded training events with a standardised target.
        rng: Of all draws.
        sweeps: Draws of all columns.
        burn_in: Sweeps before the first kept one.
        keep: How many are kept, spread evenly over the sweeps after the burn-in.
        priors: What is believed before any data.
        on_sweep: Is told the number of each sweep and the noise's precision.

    Raises:
        TrainingError: A draw is no longer finite.
    """
    priors = priors or Priors()
    normal = _Normal(rng)
    width = model.n_factors + 1
    state = _built(
        model, problem, normal, priors.init_scale, lambda: _ColumnPrior.flat(width, priors)
    )
    after = max(sweeps - burn_in, 1)
    kept_at = {burn_in + (number + 1) * after // keep for number in range(min(keep, after))}
    for sweep in range(1, sweeps + 1):
        state.draw_noise(state.sweep(normal), normal, priors)
        if not state.noise > 0 or not torch.isfinite(state.added[0]).all():
            raise TrainingError(
                f"gibbs: a draw of sweep {sweep} is not finite; is a column's values far from 0?"
            )
        if on_sweep is not None:
            on_sweep(sweep, state.noise)
        if sweep in kept_at:
            _write(model, state.columns)
            yield state.noise


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
    """
    penalty = torch.full((model.n_factors + 1,), float(l2))
    penalty[0] = l2_bias

    def prior() -> _ColumnPrior:
        return _FixedPrior(torch.zeros_like(penalty), penalty, Priors())

    state = _built(model, problem, _Normal(rng), init_scale, prior)
    for _ in range(sweeps):
        state.sweep(_Expected(rng))
    _write(model, state.columns)


def _built(
    model: DotProductBias,
    problem: FitProblem,
    normal: _Normal,
    init_scale: float,
    prior: Callable[[], _ColumnPrior],
) -> _State:
    train = problem.train
    assert train.target is not None
    width = model.n_factors + 1

    def first(n: int) -> Tensor:
        rows = init_scale * normal.like((n, width))
        rows[:, 0] = 0
        return rows

    columns: list[_Column] = []
    inputs = [*batches_in_order(_without_sets(train), 1 << 16)]
    x_cat = torch.cat([part.x_cat for part in inputs]).long()
    x_cont = torch.cat([part.x_cont for part in inputs])
    for number, n in enumerate(model.cardinalities):
        columns.append(_Categorical(x_cat[:, number], n, first(n), prior()))
    for number in range(model.n_continuous):
        columns.append(_Number(x_cont[:, number], first(1), prior()))
    number = 0
    for name, bags in _bags_by_table(train):
        owner = torch.arange(len(train)) if name is None else train.rows[name].long()
        for bag in bags:
            n = model.set_cardinalities[number]
            columns.append(_Set(bag, owner, n, first(n), prior(), norm=model.set_norm))
            number += 1
    return _State(columns, train.target.float())


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


def _write(model: DotProductBias, columns: list[_Column]) -> None:
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
