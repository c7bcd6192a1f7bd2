"""DeepFM: pairwise products and a perceptron that share their embeddings.

Dimension letters: B rows, C categorical columns, F continuous features, S set columns, D factors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError
from tabcf.nn import ColumnEmbeddings, SetEmbeddings, TabularModel

__all__ = ["DeepFM"]


class DeepFM(nn.Module):
    """A factorisation machine plus a perceptron over the same vectors (Guo et al., 2017).

    Each column is a field with a vector and a weight: a categorical value has its own, a
    continuous feature x has x·v and x·w, and a set the sums of its values' over √n. The output is
    the sum of all weights, of the products of all pairs of fields' vectors, and of what the
    perceptron makes of the vectors side by side; its last bias is the global one.

    Args:
        cardinalities: Values of each categorical column, the unknown one (index 0) included.
        n_continuous: Number of continuous features.
        factors: Width D of all vectors.
        layers: Widths of the hidden layers.
        set_cardinalities: Values of each set column.
        y_range: Lowest and highest output, reached by a sigmoid.
        dropout: Share of hidden units dropped in training.
        batch_norm: Normalise hidden layers, and the vectors that enter the first one, by batch.

    Shape:
        Input: `x_cat (B, C)` int, `x_cont (B, F)` float32, one `Bag` of B rows a set column.
        Output: `(B, 1)`.

    Example:
        >>> model = DeepFM([10, 5], 2, factors=4, layers=[8])
        >>> model(torch.ones(3, 2, dtype=torch.long), torch.zeros(3, 2)).shape
        torch.Size([3, 1])
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        n_continuous: int = 0,
        *,
        factors: int = 16,
        layers: Sequence[int] = (64, 64),
        set_cardinalities: Sequence[int] = (),
        y_range: tuple[float, float] | None = None,
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.n_continuous = n_continuous
        self.y_range = y_range
        self.vectors = ColumnEmbeddings(cardinalities, factors)
        self.weights = ColumnEmbeddings(cardinalities, 1)
        self.set_vectors = SetEmbeddings(set_cardinalities, factors, norm="sqrt")
        self.set_weights = SetEmbeddings(set_cardinalities, 1, norm="sqrt")
        self.continuous_vectors = nn.Parameter(torch.randn(n_continuous, factors) * 0.01)
        self.continuous_weights = nn.Parameter(torch.zeros(n_continuous, 1))
        self.n_fields = len(cardinalities) + len(set_cardinalities) + n_continuous
        self.n_factors = factors
        # To the perceptron the vectors are numbers like any others.
        self.perceptron = TabularModel(
            [], self.n_fields * factors, layers=layers, dropout=dropout, batch_norm=batch_norm
        )

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """Weights, products of pairs, and the perceptron, added up."""
        given = 0 if x_cont is None else x_cont.shape[1]
        if given != self.n_continuous:
            raise DataError(f"x_cont has {given} features, but the model has {self.n_continuous}")
        vectors, weights = [self.vectors(x_cat)], [self.weights(x_cat)]
        if x_cont is not None and self.n_continuous:
            vectors.append((x_cont.unsqueeze(2) * self.continuous_vectors).flatten(1))
            weights.append(x_cont @ self.continuous_weights)
        if x_sets or self.set_vectors.cardinalities:
            vectors.append(self.set_vectors(x_sets))
            weights.append(self.set_weights(x_sets))
        # (B, fields · D)
        flat = vectors[0] if len(vectors) == 1 else torch.cat(vectors, 1)
        linear = torch.cat(weights, 1).sum(1, keepdim=True)
        raw: Tensor = linear + self._products(flat) + self.perceptron(x_cat[:, :0], flat)
        if self.y_range is None:
            return raw
        low, high = self.y_range
        return torch.sigmoid(raw) * (high - low) + low

    def bias_parameters(self) -> list[nn.Parameter]:
        """First-order weights, biases and norms, which weight decay leaves alone by default."""
        first_order = [
            *self.weights.parameters(),
            *self.set_weights.parameters(),
            self.continuous_weights,
        ]
        return first_order + self.perceptron.bias_parameters()

    def column_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """Which rows of which parameters belong to a categorical column."""
        return [self.vectors.column_rows(column), self.weights.column_rows(column)]

    def set_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """Which rows of which parameters belong to a set column."""
        tables = self.set_vectors.tables[column], self.set_weights.tables[column]
        return [(table, slice(0, len(table))) for table in tables]

    def column_vectors(self, column: int) -> Tensor:
        """`(n, D)`: a view of a categorical column's vectors."""
        return self.vectors.column_weight(column)

    def column_bias(self, column: int) -> Tensor:
        """`(n,)`: a view of a categorical column's first-order weights."""
        return self.weights.column_weight(column).squeeze(1)

    def _products(self, flat: Tensor) -> Tensor:
        """`(B, 1)`: the products of all pairs of fields, from `(B, fields · D)`.

        Example of three fields: ab + ac + bc = ((a + b + c)² - a² - b² - c²) / 2.
        """
        total = flat.view(len(flat), self.n_fields, self.n_factors).sum(1)
        squares = flat.pow(2).sum(1, keepdim=True)
        return (total.pow(2).sum(1, keepdim=True) - squares) / 2
