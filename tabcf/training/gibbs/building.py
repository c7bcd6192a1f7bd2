"""A model's columns as they are drawn, and their rows as its weights.

Dimension letters: see `tabcf.training.gibbs`; O rows of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import Table
from tabcf.errors import SpecError
from tabcf.nn.dot_product import DotProductBias
from tabcf.training.gibbs.columns import Categorical, Column, Holder, Number, SingleColumn
from tabcf.training.gibbs.priors import ColumnPrior, Normal
from tabcf.training.gibbs.sets import SetColumn, bag_matrix

__all__ = ["Columns", "GibbsEngine", "build_columns"]

GibbsEngine = Literal["auto", "compiled", "torch"]

# Events of all columns and sweeps from which on loading compiled code, a second, is won back.
_LONG = 20_000_000
# Numbers that sums over an entity's events may have where its columns could do without: 256 MB.
_MOST_SUMS = 1 << 26


@dataclass(frozen=True, slots=True)
class Columns:
    """What is drawn, in this order, and whose rows are a model's weights, in the model's order."""

    drawn: list[Column] = field(default_factory=list)
    categorical: list[Holder] = field(default_factory=list)
    numbers: list[Holder] = field(default_factory=list)
    sets: list[Holder] = field(default_factory=list)

    def write(self, model: DotProductBias) -> None:
        """The columns' rows as the model's weights."""
        if self.categorical:
            rows = torch.cat([column.rows for column in self.categorical])
            model.biases.copy_(rows[:, :1])
            model.factors.copy_(rows[:, 1:])
        for number, column in enumerate(self.numbers):
            model.continuous_weights[number] = column.rows[0, 0]
            model.continuous_factors[number] = column.rows[0, 1:]
        for number, column in enumerate(self.sets):
            model.set_biases[number].copy_(column.rows[:, :1])
            model.set_factors[number].copy_(column.rows[:, 1:])


@dataclass(frozen=True, slots=True)
class _Group:
    """The columns of one table: an entity's, or the events' own.

    Attributes:
        owner: `(N,)` int64: which of the O rows each event has.
        is_events: Whether the rows are the events.
        inputs: The columns.
    """

    owner: Tensor
    is_events: bool
    inputs: Inputs


class _Start(NamedTuple):
    """How columns start: names, how many rows, the first ones, and what is believed of them."""

    categorical: Iterator[tuple[str, int]]
    numbers: Iterator[str]
    sets: Iterator[tuple[str, int]]
    first: Callable[[int], Tensor]
    prior: Callable[[str], ColumnPrior]
    width: int
    norm: str


def build_columns(
    model: DotProductBias,
    problem: FitProblem,
    normal: Normal,
    *,
    init_scale: float,
    prior: Callable[[str], ColumnPrior],
    engine: GibbsEngine,
    sweeps: int,
) -> Columns:
    """All columns of a model with random first vectors.

    Args:
        model: Says how many rows each column has.
        problem: Encoded events and the columns' names.
        normal: Random numbers.
        init_scale: Standard deviation of the first vectors.
        prior: Gives the prior of a column by its name.
        engine: Whether loops over events are compiled; by `auto` where that is won back.
        sweeps: How often all columns will be drawn.

    Raises:
        SpecError: Compiled loops are asked for, and numba is not installed.
    """
    train, layout = problem.train, problem.layout
    n_columns = len(model.cardinalities) + len(model.set_cardinalities)
    is_long = len(train) * sweeps * n_columns >= _LONG
    loops = _compiled(engine, is_long=is_long)

    width = model.n_factors + 1

    def first(n: int) -> Tensor:
        rows = init_scale * normal.like((n, width))
        rows[:, 0] = 0
        return rows

    start = _Start(
        zip([c.name for c in layout.categorical], model.cardinalities, strict=True),
        iter([c.name for c in layout.continuous]),
        zip([c.name for c in layout.sets], model.set_cardinalities, strict=True),
        first,
        prior,
        width,
        model.set_norm,
    )
    columns = Columns()
    for group in _groups(train):
        if loops is None:
            _add(columns, group, start)
        else:
            _add_compiled(columns, group, start, loops)
    return columns


def _compiled(engine: GibbsEngine, *, is_long: bool) -> ModuleType | None:
    """The columns with compiled loops, if these are to be used."""
    if engine == "torch" or (engine == "auto" and not is_long):
        return None
    try:
        from tabcf.training.gibbs import compiled_columns
    except ImportError:
        if engine == "auto":
            return None
        hint = "compiled loops need numba: pip install 'tabcf[fast]'"
        raise SpecError([f"fit.engine: {hint}"]) from None
    return compiled_columns


def _groups(train: Table) -> Iterator[_Group]:
    """Tables in the order of the model: users', items', the events', further entities'."""
    entities = train.entities
    sides = [name for name in entities if name in ("user", "item")]
    further = [name for name in entities if name not in sides]
    for name in [*sides, None, *further]:
        if name is None:
            yield _Group(torch.arange(len(train)), True, train.events)
        else:
            yield _Group(train.rows[name].long(), False, entities[name].inputs)


def _add(columns: Columns, group: _Group, start: _Start) -> None:
    """Add a table's columns, in torch."""
    _add_single(columns, group, start, Categorical)
    for bag in group.inputs.x_sets:
        name, n = next(start.sets)
        norm = start.norm
        column = SetColumn(bag, group.owner, n, start.first(n), start.prior(name), norm=norm)
        columns.sets.append(column)
        columns.drawn.append(column)


def _add_single(
    columns: Columns,
    group: _Group,
    start: _Start,
    kind: Callable[[Tensor, int, Tensor, ColumnPrior], SingleColumn],
) -> None:
    """Add columns of one value, each by itself."""
    for values in group.inputs.x_cat.long().unbind(1):
        name, n = next(start.categorical)
        column = kind(values[group.owner], n, start.first(n), start.prior(name))
        columns.categorical.append(column)
        columns.drawn.append(column)
    for values in group.inputs.x_cont.unbind(1):
        own = start.prior(next(start.numbers))
        number = Number(values[group.owner], start.first(1), own)
        columns.numbers.append(number)
        columns.drawn.append(number)


def _add_compiled(columns: Columns, group: _Group, start: _Start, loops: ModuleType) -> None:
    """Add a table's columns, those of an entity together where there are several."""
    inputs, n_owners = group.inputs, len(group.inputs.x_cat)
    n_events = torch.bincount(group.owner, minlength=n_owners)

    def owned(name: str, matrix: Tensor) -> Holder:
        first = start.first(matrix.shape[1])
        column: Holder = loops.OwnedColumn(matrix, n_events, first, start.prior(name))
        return column

    together: list[Holder] = []
    if _is_drawn_together(group, start):
        for values in inputs.x_cat.long().unbind(1):
            name, n = next(start.categorical)
            columns.categorical.append(owned(name, _one_each(values, torch.ones(n_owners), n)))
            together.append(columns.categorical[-1])
        for values in inputs.x_cont.unbind(1):
            none = torch.zeros(n_owners, dtype=torch.long)
            columns.numbers.append(owned(next(start.numbers), _one_each(none, values, 1)))
            together.append(columns.numbers[-1])
    else:
        _add_single(columns, group, start, loops.CompiledCategorical)
    for bag in inputs.x_sets:
        name, n = next(start.sets)
        columns.sets.append(owned(name, bag_matrix(bag, n, norm=start.norm)))
        together.append(columns.sets[-1])
    if together:
        columns.drawn.append(loops.CompiledEntity(group.owner, together))


def _is_drawn_together(group: _Group, start: _Start) -> bool:
    """Whether columns of one value are drawn from sums over their owners' events.

    For a single column these would be no gain, and for columns of the events as many as events.
    """
    x_cat, x_cont, x_sets = group.inputs
    n_columns = x_cat.shape[1] + x_cont.shape[1] + len(x_sets)
    is_small = len(x_cat) * start.width**2 <= _MOST_SUMS
    return not group.is_events and n_columns > 1 and (is_small or len(x_sets) > 0)


def _one_each(values: Tensor, weights: Tensor, n: int) -> Tensor:
    """`(O, n)`, sparse: a number in each row."""
    indices = torch.stack([torch.arange(len(values)), values])
    with torch.sparse.check_sparse_tensor_invariants(enable=True):
        return torch.sparse_coo_tensor(indices, weights, (len(values), n)).coalesce()
