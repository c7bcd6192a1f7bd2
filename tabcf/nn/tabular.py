"""The generic tabular network: embed, concatenate, and a multi-layer perceptron.

Dimension letters: B rows, C categorical columns, F continuous features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError
from tabcf.nn.embedding import ColumnEmbeddings, SetEmbeddings
from tabcf.nn.slopes import LayerSlopes, hidden_slopes

__all__ = ["BatchNorm", "TabularModel", "in_range"]


def in_range(x: Tensor, y_range: tuple[float, float] | None) -> Tensor:
    """Squeeze into a range by a sigmoid; None leaves the values as they are."""
    if y_range is None:
        return x
    low, high = y_range
    return torch.sigmoid(x) * (high - low) + low


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes a batch of one row, as the last one of an epoch may be.

    One row has no spread: it is normalised by the running statistics and leaves them alone.

    Shape:
        Input: `(B, H)`.
        Output: `(B, H)`.

    Example:
        >>> BatchNorm(3).train()(torch.ones(1, 3)).shape
        torch.Size([1, 3])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch in training, by the running statistics otherwise."""
        if len(x) == 1:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


class TabularModel(nn.Module):
    """Embeddings, sets and normalised numbers, concatenated, through an MLP.

    A hidden layer is Linear (without bias when a BatchNorm follows) → ReLU → BatchNorm →
    Dropout, as in fastai; the last one is Linear alone.

    Args:
        cardinalities: Values of each categorical column, the unknown one (index 0) included.
        n_continuous: Number of continuous features.
        d_out: Number of outputs.
        layers: Widths of the hidden layers.
        widths: Width of all embeddings or of each; by default `embedding_width`.
        set_cardinalities: Values of each set column.
        set_widths: Their widths.
        y_range: Lowest and highest output, reached by a sigmoid.
        dropout: Share of hidden units dropped in training.
        embedding_dropout: Share of the categorical columns' embedded values dropped in training.
        batch_norm: Normalise continuous inputs and hidden layers by batch.

    Shape:
        Input: `x_cat (B, C)` int, `x_cont (B, F)` float32, one `Bag` of B rows a set column.
        Output: `(B, d_out)`.

    Example:
        >>> model = TabularModel([10, 5], 2, d_out=1, layers=[8])
        >>> model(torch.ones(4, 2, dtype=torch.long), torch.zeros(4, 2)).shape
        torch.Size([4, 1])
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        n_continuous: int = 0,
        d_out: int = 1,
        layers: Sequence[int] = (200, 100),
        *,
        widths: int | Sequence[int | None] | None = None,
        set_cardinalities: Sequence[int] = (),
        set_widths: int | Sequence[int | None] | None = None,
        y_range: tuple[float, float] | None = None,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.embeddings = ColumnEmbeddings(cardinalities, widths)
        self.set_embeddings = SetEmbeddings(set_cardinalities, set_widths)
        self.n_continuous = n_continuous
        self.d_out = d_out
        self.y_range = y_range
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.continuous_norm: nn.Module = (
            BatchNorm(n_continuous) if batch_norm and n_continuous else nn.Identity()
        )
        self.d_in = self.embeddings.d_out + self.set_embeddings.d_out + n_continuous
        if not self.d_in:
            raise DataError("a model needs at least one column; got none")
        parts: list[nn.Module] = []
        d = self.d_in
        for width in layers:
            parts.append(nn.Linear(d, width, bias=not batch_norm))
            parts.append(nn.ReLU(inplace=True))
            if batch_norm:
                parts.append(BatchNorm(width))
            if dropout:
                parts.append(nn.Dropout(dropout))
            d = width
        parts.append(nn.Linear(d, d_out))
        self.mlp = nn.Sequential(*parts)

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """Raw outputs, or outputs in `y_range`."""
        return in_range(self.mlp(self.features(x_cat, x_cont, x_sets)), self.y_range)

    def features(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """`(B, d_in)`: embeddings in column order, sets, continuous features."""
        vectors: Sequence[Tensor] = ()
        if self.set_embeddings.cardinalities or x_sets:
            vectors = (self.set_embeddings(x_sets),)
        return self.joined(x_cat, x_cont, vectors)

    def joined(self, x_cat: Tensor, x_cont: Tensor | None, set_vectors: Sequence[Tensor]) -> Tensor:
        """The same with the vectors of sets."""
        given = 0 if x_cont is None else x_cont.shape[1]
        if given != self.n_continuous:
            raise DataError(f"x_cont has {given} features, but the model has {self.n_continuous}")
        embedded = self.embeddings(x_cat)
        parts = [self.embedding_dropout(embedded) if self.embedding_dropout.p else embedded]
        parts += set_vectors
        if self.n_continuous:
            parts.append(self.continuous_norm(x_cont))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def bias_parameters(self) -> list[nn.Parameter]:
        """Biases and norms, which weight decay leaves alone by default."""
        return [p for p in self.parameters() if p.ndim <= 1]

    def column_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """Which rows of which parameters belong to a categorical column."""
        return [self.embeddings.column_rows(column)]

    def hidden_terms(
        self, column: int, x_cat: Tensor, x_cont: Tensor, x_sets: Sequence[Bag]
    ) -> tuple[Tensor, Tensor]:
        """`(w, H)` what the first layer does to a column's embedding, `(B, H)` all the rest."""
        first = self.mlp[0]
        assert isinstance(first, nn.Linear)
        start = sum(self.embeddings.widths[:column])
        own = slice(start, start + self.embeddings.widths[column])
        x_cat = x_cat.clone()
        x_cat[:, column] = 0
        features = self.features(x_cat, x_cont, x_sets).clone()
        features[:, own] = 0
        return first.weight[:, own].T, first(features)

    def from_hidden(self, hidden: Tensor) -> Tensor:
        """Outputs from what the first layer gives; the first activation overwrites it."""
        return in_range(self.mlp[1:](hidden), self.y_range)

    def hidden_slopes(self) -> LayerSlopes | None:
        """How outputs change with what the first layer gives; None if a subclass's layers differ.

        It knows the weights of now.
        """
        return hidden_slopes(self.mlp, self.y_range)

    def set_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """Which rows of which parameters belong to a set column."""
        table = self.set_embeddings.tables[column]
        return [(table, slice(0, len(table)))]

    def column_vectors(self, column: int) -> Tensor:
        """`(n, d)`: a categorical column's embedding."""
        return self.embeddings.column_weight(column)
