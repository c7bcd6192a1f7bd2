"""Products of trained vectors, with and without biases: factorisation machines.

Dimension letters: B rows or users, I items, C categorical columns, F continuous features,
D factors.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.layout import Side
from tabcf.errors import DataError
from tabcf.nn.embedding import check_columns, init_rows, pooled
from tabcf.nn.look_up import can_be_looked_up_once, products_by_one_look_up
from tabcf.nn.rows import RowTable, empty_rows, lookup
from tabcf.nn.sides import Columns, Sides
from tabcf.nn.tabular import in_range

__all__ = ["DotProduct", "DotProductBias"]


class _Terms(NamedTuple):
    """What some columns come to: the sum of their vectors, and all terms within them."""

    vector: Tensor
    inner: Tensor


class DotProduct(nn.Module):
    """The sum of products of all pairs of columns' vectors.

    With a user and an item column alone that is the dot product of matrix factorisation; with
    more columns it is a factorisation machine (Rendle, 2010). A continuous feature x counts as
    the vector x·v, a set as the sum of its vectors over √n, or their mean.

    Args:
        cardinalities: Values of each categorical column, the unknown one included.
        n_continuous: Number of continuous features.
        factors: Width D of all vectors.
        user: Position of the user ids in `x_cat`.
        item: Position of the item ids in `x_cat`.
        cat_sides: Each categorical column's side; by default user, item, and event for others.
        cont_sides: Each continuous feature's side; event by default.
        set_sides: Each set column's side; event by default.
        set_cardinalities: Values of each set column.
        set_norm: `sqrt` or `mean`.
        y_range: Lowest and highest output, reached by a sigmoid.
        dropout: Share of the user's and the event's factors that does not meet the item's, in
            training.

    Attributes:
        is_plain: Whether there is nothing but two columns of ids.

    Shape:
        Input: `x_cat (B, C)`, `x_cont (B, F)`, bags of B rows.
        Output: `(B, 1)`.

    Example:
        >>> DotProduct([944, 1683], factors=8)(torch.tensor([[1, 7]])).shape
        torch.Size([1, 1])
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        n_continuous: int = 0,
        *,
        factors: int = 50,
        user: int = 0,
        item: int = 1,
        cat_sides: Sequence[Side] | None = None,
        cont_sides: Sequence[Side] | None = None,
        set_sides: Sequence[Side] | None = None,
        set_cardinalities: Sequence[int] = (),
        set_norm: str = "sqrt",
        y_range: tuple[float, float] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.cardinalities = tuple(int(n) for n in cardinalities)
        self.set_cardinalities = tuple(int(n) for n in set_cardinalities)
        self.n_continuous = n_continuous
        self.n_factors = factors
        self.y_range = y_range
        self.set_norm = set_norm
        self.user, self.item = user, item
        self.dropout = nn.Dropout(dropout)
        if factors < 1:
            raise DataError(f"factors: expected a positive integer, got {factors}")
        if set_norm not in ("sqrt", "mean"):
            raise DataError(f"set_norm: expected sqrt or mean, got {set_norm!r}")
        self.sides = Sides.of(
            len(self.cardinalities),
            n_continuous,
            len(self.set_cardinalities),
            user=user,
            item=item,
            cat=cat_sides,
            cont=cont_sides,
            sets=set_sides,
        )
        # One table: first the rows of all categorical columns, column after column.
        starts = torch.tensor([0, *self.cardinalities[:-1]]).cumsum(0)
        self.register_buffer("_starts", starts.to(torch.int32), persistent=False)
        self.is_plain = len(self.cardinalities) == 2 and not n_continuous and not set_cardinalities
        n_rows = sum(self.cardinalities)
        self.factors = RowTable(init_rows(empty_rows(n_rows, factors)))
        self.continuous_factors = nn.Parameter(init_rows(torch.empty(n_continuous, factors)))
        self.set_factors = nn.ParameterList(
            RowTable(init_rows(empty_rows(n, factors))) for n in self.set_cardinalities
        )

    _starts: Tensor

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """The sum of all pairwise products, and of the biases if there are any."""
        return in_range(self.products(x_cat, x_cont, x_sets), self.y_range)

    def products(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """`(B, 1)`: the same before any range."""
        self.check(x_cat, x_cont, x_sets)
        if self.is_plain and not (self.training and self.dropout.p):
            return self._plain(self.rows_of(x_cat))
        if self.training and x_sets and not self.dropout.p and can_be_looked_up_once(self):
            return products_by_one_look_up([self], x_cat, x_cont, x_sets)[0]
        if x_cont is None:
            x_cont = self.factors.new_zeros(len(x_cat), 0)
        inputs = Inputs(x_cat, x_cont, tuple(x_sets or ()))
        if self.training and self.dropout.p:
            item = self._terms(*_part(inputs, self.sides.columns("item")))
            query = self._terms(*_part(inputs, self.sides.columns("user", "event")))
            between: Tensor = (self.dropout(query.vector) * item.vector).sum(1, keepdim=True)
            return between + query.inner + item.inner
        return self._terms(inputs, self.sides.columns("user", "item", "event")).inner

    def check(self, x_cat: Tensor, x_cont: Tensor | None, x_sets: Sequence[Bag] | None) -> None:
        """Raise `DataError` unless there are as many columns of each kind as the model has."""
        check_columns(x_cat, len(self.cardinalities))
        given = 0 if x_cont is None else x_cont.shape[1]
        if given != self.n_continuous:
            raise DataError(f"x_cont has {given} features, but the model has {self.n_continuous}")
        if len(x_sets or ()) != len(self.set_cardinalities):
            raise DataError(
                f"x_sets has {len(x_sets or ())} set columns, but the model has "
                f"{len(self.set_cardinalities)}"
            )

    def tables(self) -> tuple[Tensor, ...]:
        """What `rows_of` counts rows of, `(n, D)`."""
        return (self.factors,)

    def continuous_tables(self) -> tuple[Tensor, ...]:
        """`(F, D)`."""
        return (self.continuous_factors,)

    def set_tables(self, column: int) -> tuple[Tensor, ...]:
        """`(n, D)` of a set column."""
        return (self.set_factors[column],)

    def rows_of(self, x_cat: Tensor) -> Tensor:
        """`(B, C)`: which rows of `factors` all categorical columns' values have."""
        return x_cat + self._starts

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, 1)`: every item for every user, by one matrix product.

        Raises:
            DataError: A part does not hold just its side's columns.
        """
        asked, item = self._query_terms(query), self._item_terms(items)
        raw = self.dropout(asked.vector) @ item.vector.T + asked.inner + item.inner.T
        return in_range(raw, self.y_range).unsqueeze(2)

    def score_candidates(self, query: Query, items: Inputs) -> Tensor:
        """`(B, N, 1)`: other items for each user, N each, by small products."""
        asked, item = self._query_terms(query), self._item_terms(items)
        n_users = len(asked.vector)
        vectors = item.vector.view(n_users, -1, self.n_factors)
        between = torch.bmm(vectors, self.dropout(asked.vector).unsqueeze(2)).squeeze(2)
        raw = between + asked.inner + item.inner.view(n_users, -1)
        return in_range(raw, self.y_range).unsqueeze(2)

    @property
    def is_linear(self) -> bool:
        """Whether scores are products themselves: they are, without a `y_range`."""
        return self.y_range is None

    def query_factors(self, query: Query) -> Tensor:
        """`(B, D + 2)`: vectors whose products with `item_factors` are the scores."""
        asked = self._query_terms(query)
        ones = torch.ones_like(asked.inner)
        return torch.cat([self.dropout(asked.vector), asked.inner, ones], 1)

    def item_factors(self, items: Inputs) -> Tensor:
        """`(I, D + 2)`."""
        item = self._item_terms(items)
        return torch.cat([item.vector, torch.ones_like(item.inner), item.inner], 1)

    def outputs(self, products: Tensor) -> Tensor:
        """What products of these vectors come to: themselves, or within the range."""
        return in_range(products, self.y_range)

    def terms(self, inputs: Inputs) -> list[tuple[tuple[int, ...], Tensor]]:
        """The products of all pairs of columns' vectors, each `(B,)`: together the score."""
        vectors = self._column_vectors(inputs)
        pairs = itertools.combinations(range(len(vectors)), 2)
        return [((a, b), (vectors[a] * vectors[b]).sum(1)) for a, b in pairs]

    def row_terms(
        self, column: int, x_cat: Tensor, x_cont: Tensor, x_sets: Sequence[Bag]
    ) -> tuple[Tensor, Tensor]:
        """`(B, D)` what a column's row is multiplied by, and `(B, 1)` what is added to that."""
        cats, conts, sets = self.sides.columns("user", "item", "event")
        others = Columns([c for c in cats if c != column], conts, sets)
        return self._terms(*_part(Inputs(x_cat, x_cont, tuple(x_sets)), others))

    def user_vectors(self, query: Query) -> Tensor:
        """`(B, D)`: the sum of a user's and an event's columns' vectors."""
        return self._query_terms(query).vector

    def item_vectors(self, items: Inputs) -> Tensor:
        """`(I, D)`: the sum of an item's columns' vectors."""
        return self._item_terms(items).vector

    def bias_parameters(self) -> list[nn.Parameter]:
        """Biases, which weight decay leaves alone by default."""
        return []

    def column_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """Which rows of which parameters belong to a categorical column."""
        return [(self.factors, self._rows(column))]

    def set_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """Which rows of which parameters belong to a set column."""
        return [(self.set_factors[column], slice(0, self.set_cardinalities[column]))]

    def column_vectors(self, column: int) -> Tensor:
        """`(n, D)`: a view of a categorical column's factors."""
        return self.factors[self._rows(column)]

    def _column_vectors(self, inputs: Inputs) -> list[Tensor]:
        """`(B, D)` of each column: categorical, continuous and set ones."""
        rows = self.rows_of(inputs.x_cat)
        found = list(lookup(rows, self.factors).unbind(1))
        found += [
            x[:, None] * v for x, v in zip(inputs.x_cont.T, self.continuous_factors, strict=True)
        ]
        pairs = zip(inputs.x_sets, self.set_factors, strict=True)
        return found + [pooled(bag, table, norm=self.set_norm) for bag, table in pairs]

    def _plain(self, rows: Tensor) -> Tensor:
        """`(B, 1)` from `(B, 2)` rows of the table."""
        left, right = lookup(rows, self.factors).unbind(1)
        return (left * right).sum(1, keepdim=True)

    def _query_terms(self, query: Query) -> _Terms:
        self.sides.check(query.user, "user")
        self.sides.check(query.event, "event")
        user = self._terms(query.user, self.sides.columns("user"))
        event = self._terms(query.event, self.sides.columns("event"))
        between = (user.vector * event.vector).sum(1, keepdim=True)
        return _Terms(user.vector + event.vector, user.inner + event.inner + between)

    def _item_terms(self, items: Inputs) -> _Terms:
        self.sides.check(items, "item")
        return self._terms(items, self.sides.columns("item"))

    def _terms(self, inputs: Inputs, columns: Columns) -> _Terms:
        """The sum of some columns' vectors, `(B, D)`, and their products, `(B, 1)`."""
        if len(columns.cat) == 1 and not columns.cont and not columns.sets:
            own = lookup(self._table_rows(inputs, columns).squeeze(1), self.factors)
            return _Terms(own, own.new_zeros(len(own), 1))
        total = self.factors.new_zeros(len(inputs.x_cat), self.n_factors)
        squares = self.factors.new_zeros(len(inputs.x_cat), 1)
        if columns.cat:
            vectors = lookup(self._table_rows(inputs, columns), self.factors)
            total = total + vectors.sum(1)
            squares = squares + vectors.pow(2).sum((1, 2)).unsqueeze(1)
        if columns.cont:
            own = self.continuous_factors[columns.cont]
            total = total + inputs.x_cont @ own
            squares = squares + inputs.x_cont.pow(2) @ own.pow(2).sum(1, keepdim=True)
        for bag, column in zip(inputs.x_sets, columns.sets, strict=True):
            vector = pooled(bag, self.set_factors[column], norm=self.set_norm)
            total = total + vector
            squares = squares + vector.pow(2).sum(1, keepdim=True)
        if sum(map(len, columns)) < 2:
            return _Terms(total, torch.zeros_like(squares))
        # Example of three vectors: ab + ac + bc = ((a + b + c)² - a² - b² - c²) / 2.
        return _Terms(total, (total.pow(2).sum(1, keepdim=True) - squares) / 2)

    def _table_rows(self, inputs: Inputs, columns: Columns) -> Tensor:
        """`(B, C)`: rows of the one table for some categorical columns."""
        starts = self._starts
        if len(columns.cat) < len(self.cardinalities):
            starts = starts[columns.cat]
        return inputs.x_cat + starts

    def _rows(self, column: int) -> slice:
        start = sum(self.cardinalities[:column])
        return slice(start, start + self.cardinalities[column])


def _part(inputs: Inputs, columns: Columns) -> tuple[Inputs, Columns]:
    """Some columns of a batch, with their positions."""
    part = Inputs(
        inputs.x_cat[:, columns.cat],
        inputs.x_cont[:, columns.cont],
        tuple(inputs.x_sets[s] for s in columns.sets),
    )
    return part, columns


class DotProductBias(DotProduct):
    """A `DotProduct` with a bias for each value of each column.

    Takes the same arguments. A continuous feature has a weight, a set the pooled biases of its
    values. As in the fastai book there is no global bias: the users' and the items' biases hold
    the mean.

    Shape:
        Input: `x_cat (B, C)`, `x_cont (B, F)`, bags of B rows.
        Output: `(B, 1)`.

    Example:
        >>> DotProductBias([944, 1683], y_range=(0, 5.5))(torch.tensor([[1, 7]])).shape
        torch.Size([1, 1])
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        n_continuous: int = 0,
        *,
        factors: int = 50,
        user: int = 0,
        item: int = 1,
        cat_sides: Sequence[Side] | None = None,
        cont_sides: Sequence[Side] | None = None,
        set_sides: Sequence[Side] | None = None,
        set_cardinalities: Sequence[int] = (),
        set_norm: str = "sqrt",
        y_range: tuple[float, float] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            cardinalities,
            n_continuous,
            factors=factors,
            user=user,
            item=item,
            cat_sides=cat_sides,
            cont_sides=cont_sides,
            set_sides=set_sides,
            set_cardinalities=set_cardinalities,
            set_norm=set_norm,
            y_range=y_range,
            dropout=dropout,
        )
        self.biases = RowTable(init_rows(empty_rows(sum(self.cardinalities), 1)))
        self.continuous_weights = nn.Parameter(torch.zeros(n_continuous))
        self.set_biases = nn.ParameterList(
            RowTable(torch.zeros(n, 1)) for n in self.set_cardinalities
        )

    def row_terms(
        self, column: int, x_cat: Tensor, x_cont: Tensor, x_sets: Sequence[Bag]
    ) -> tuple[Tensor, Tensor]:
        """The same with a one for the row's bias: `(B, D + 1)` and `(B, 1)`."""
        slope, rest = super().row_terms(column, x_cat, x_cont, x_sets)
        return torch.cat([slope, torch.ones_like(rest)], 1), rest

    def tables(self) -> tuple[Tensor, ...]:
        """The vectors, and the biases `(n, 1)`."""
        return self.factors, self.biases

    def continuous_tables(self) -> tuple[Tensor, ...]:
        """The same of continuous features."""
        return self.continuous_factors, self.continuous_weights[:, None]

    def set_tables(self, column: int) -> tuple[Tensor, ...]:
        """The same of a set column."""
        return self.set_factors[column], self.set_biases[column]

    def column_bias(self, column: int) -> Tensor:
        """`(n,)`: a view of a categorical column's biases."""
        return self.biases[self._rows(column)].squeeze(1)

    def terms(self, inputs: Inputs) -> list[tuple[tuple[int, ...], Tensor]]:
        """The columns' biases, then the products of all pairs of vectors, each `(B,)`."""
        biases = list(lookup(self.rows_of(inputs.x_cat), self.biases).squeeze(2).unbind(1))
        biases += list((inputs.x_cont * self.continuous_weights).unbind(1))
        for bag, table in zip(inputs.x_sets, self.set_biases, strict=True):
            biases.append(pooled(bag, table, norm=self.set_norm).squeeze(1))
        return [((c,), bias) for c, bias in enumerate(biases)] + super().terms(inputs)

    def bias_parameters(self) -> list[nn.Parameter]:
        """Biases, which weight decay leaves alone by default."""
        return [self.biases, self.continuous_weights, *self.set_biases]

    def column_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """Which rows of which parameters belong to a categorical column."""
        return [*super().column_rows(column), (self.biases, self._rows(column))]

    def set_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """Which rows of which parameters belong to a set column."""
        rows = slice(0, self.set_cardinalities[column])
        return [*super().set_rows(column), (self.set_biases[column], rows)]

    def _plain(self, rows: Tensor) -> Tensor:
        return super()._plain(rows) + lookup(rows, self.biases).sum(1)

    def _terms(self, inputs: Inputs, columns: Columns) -> _Terms:
        vector, inner = super()._terms(inputs, columns)
        if columns.cat:
            inner = inner + lookup(self._table_rows(inputs, columns), self.biases).sum(1)
        if columns.cont:
            weights = self.continuous_weights[columns.cont]
            inner = inner + (inputs.x_cont @ weights).unsqueeze(1)
        for bag, column in zip(inputs.x_sets, columns.sets, strict=True):
            inner = inner + pooled(bag, self.set_biases[column], norm=self.set_norm)
        return _Terms(vector, inner)
