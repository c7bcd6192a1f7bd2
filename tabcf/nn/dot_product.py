"""Products of trained vectors, with and without biases: factorisation machines.

Dimension letters: B rows or users, I items, C categorical columns, F continuous features,
D factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.layout import Side
from tabcf.errors import DataError
from tabcf.nn.embedding import init_rows, pooled
from tabcf.nn.sides import Sides
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
        dropout: Share of factors dropped from the user's side when items are scored in training.

    Shape:
        Input: `x_cat (B, C)`, `x_cont (B, F)`, bags of B rows.
        Output: `(B, 1)`.

    Example:
        >>> DotProduct([944, 1683], factors=8)(torch.tensor([[1, 7]])).shape
        torch.Size([1, 1])
    """

    has_biases = False

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
        self._is_plain = len(self.cardinalities) == 2 and not n_continuous and not set_cardinalities
        n_rows = sum(self.cardinalities)
        self.factors = nn.Parameter(init_rows(torch.empty(n_rows, factors)))
        self.continuous_factors = nn.Parameter(init_rows(torch.empty(n_continuous, factors)))
        self.set_factors = nn.ParameterList(
            nn.Parameter(init_rows(torch.empty(n, factors))) for n in self.set_cardinalities
        )
        if self.has_biases:
            self.biases = nn.Parameter(init_rows(torch.empty(n_rows, 1)))
            self.continuous_weights = nn.Parameter(torch.zeros(n_continuous))
            self.set_biases = nn.ParameterList(
                nn.Parameter(torch.zeros(n, 1)) for n in self.set_cardinalities
            )

    _starts: Tensor

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """The sum of all pairwise products, and of the biases if there are any."""
        if x_cat.shape[1] != len(self.cardinalities):
            raise DataError(
                f"x_cat has {x_cat.shape[1]} columns, but the model has {len(self.cardinalities)}"
            )
        if self._is_plain:
            index = x_cat + self._starts
            vectors = F.embedding(index, self.factors)
            raw = (vectors[:, 0] * vectors[:, 1]).sum(1, keepdim=True)
            if self.has_biases:
                raw = raw + F.embedding(index, self.biases).sum(1)
            return in_range(raw, self.y_range)
        given = 0 if x_cont is None else x_cont.shape[1]
        if given != self.n_continuous:
            raise DataError(f"x_cont has {given} features, but the model has {self.n_continuous}")
        if x_cont is None:
            x_cont = torch.zeros(len(x_cat), 0, device=x_cat.device)
        if len(x_sets or ()) != len(self.set_cardinalities):
            raise DataError(
                f"x_sets has {len(x_sets or ())} set columns, but the model has "
                f"{len(self.set_cardinalities)}"
            )
        inputs = Inputs(x_cat, x_cont, tuple(x_sets or ()))
        everything = tuple(
            range(n) for n in (x_cat.shape[1], self.n_continuous, len(inputs.x_sets))
        )
        raw = self._terms(inputs, everything).inner
        return in_range(raw, self.y_range)

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, 1)`: every item for every user, by one matrix product."""
        user = self._terms(query.user, self.sides.columns("user"))
        event = self._terms(query.event, self.sides.columns("event"))
        item = self._terms(items, self.sides.columns("item"))
        vector = self.dropout(user.vector + event.vector)
        inner = user.inner + event.inner + (user.vector * event.vector).sum(1, keepdim=True)
        raw = vector @ item.vector.T + inner + item.inner.T
        return in_range(raw, self.y_range).unsqueeze(2)

    def _terms(self, inputs: Inputs, columns: tuple[Sequence[int], ...]) -> _Terms:
        """The sum of some columns' vectors, `(B, D)`, and their products and biases, `(B, 1)`."""
        cats, conts, sets = columns
        vectors: list[Tensor] = []
        inner = self.factors.new_zeros(len(inputs.x_cat), 1)
        if len(cats):
            index = inputs.x_cat + self._starts[list(cats)]
            vectors.extend(F.embedding(index, self.factors).unbind(1))
            if self.has_biases:
                inner = inner + F.embedding(index, self.biases).sum(1)
        if len(conts):
            own = self.continuous_factors[list(conts)]
            vectors.extend((inputs.x_cont[:, :, None] * own[None]).unbind(1))
            if self.has_biases:
                weights = self.continuous_weights[list(conts)]
                inner = inner + (inputs.x_cont @ weights).unsqueeze(1)
        for bag, column in zip(inputs.x_sets, sets, strict=True):
            vectors.append(pooled(bag, self.set_factors[column], norm=self.set_norm))
            if self.has_biases:
                inner = inner + pooled(bag, self.set_biases[column], norm=self.set_norm)
        if not vectors:
            return _Terms(self.factors.new_zeros(len(inputs.x_cat), self.n_factors), inner)
        if len(vectors) == 1:
            return _Terms(vectors[0], inner)
        stacked = torch.stack(vectors, 1)
        total = stacked.sum(1)
        # Example of three vectors: ab + ac + bc = ((a + b + c)² - a² - b² - c²) / 2.
        pairs = (total.pow(2) - stacked.pow(2).sum(1)).sum(1, keepdim=True) / 2
        return _Terms(total, inner + pairs)

    def item_vectors(self, items: Inputs) -> Tensor:
        """`(I, D)`: the sum of an item's columns' vectors."""
        return self._terms(items, self.sides.columns("item")).vector

    def bias_parameters(self) -> list[nn.Parameter]:
        """Biases, which weight decay leaves alone by default."""
        if not self.has_biases:
            return []
        return [self.biases, self.continuous_weights, *self.set_biases]

    def column_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """Which rows of which parameters belong to a categorical column."""
        start = sum(self.cardinalities[:column])
        rows = slice(start, start + self.cardinalities[column])
        tables = [self.factors, self.biases] if self.has_biases else [self.factors]
        return [(table, rows) for table in tables]

    def column_vectors(self, column: int) -> Tensor:
        """`(n, D)`: a categorical column's factors."""
        parameter, rows = self.column_rows(column)[0]
        return parameter[rows]


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

    has_biases = True

    def column_bias(self, column: int) -> Tensor:
        """`(n,)`: a categorical column's biases."""
        parameter, rows = self.column_rows(column)[1]
        return parameter[rows].squeeze(1)
