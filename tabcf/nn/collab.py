"""The fastai book's small network over two embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.errors import DataError
from tabcf.nn.embedding import init_rows, resolve_widths
from tabcf.nn.rows import RowTable, empty_rows, lookup
from tabcf.nn.sides import Sides
from tabcf.nn.slopes import LayerSlopes, hidden_slopes
from tabcf.nn.tabular import in_range

__all__ = ["CollabNN"]


class CollabNN(nn.Module):
    """User and item vectors, which may differ in width, through one hidden layer.

    Args:
        n_users: Users, the unknown one included.
        n_items: Items, the unknown one included.
        widths: Width of the user's and of the item's vectors; by default `embedding_width`.
        n_hidden: Width of the hidden layer.
        y_range: Lowest and highest output.
        d_out: Number of outputs.

    Shape:
        Input: `x_cat (B, 2)`: user and item.
        Output: `(B, d_out)`.

    Example:
        >>> CollabNN(944, 1683, y_range=(0, 5.5))(torch.tensor([[1, 7]])).shape
        torch.Size([1, 1])
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        *,
        widths: tuple[int, int] | None = None,
        n_hidden: int = 100,
        y_range: tuple[float, float] | None = None,
        d_out: int = 1,
    ) -> None:
        super().__init__()
        d_user, d_item = resolve_widths((n_users, n_items), widths)
        self.users = RowTable(init_rows(empty_rows(n_users, d_user)))
        self.items = RowTable(init_rows(empty_rows(n_items, d_item)))
        self.layers = nn.Sequential(
            nn.Linear(d_user + d_item, n_hidden), nn.ReLU(), nn.Linear(n_hidden, d_out)
        )
        self.d_out = d_out
        self.y_range = y_range
        self._sides = Sides.of(2, 0, 0, user=0, item=1, cat=None, cont=None, sets=None)

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """Outputs for pairs."""
        if x_cat.shape[1:] != (2,) or x_sets or (x_cont is not None and x_cont.shape[1]):
            raise DataError(
                "CollabNN takes one user and one item column and nothing else; "
                "use EmbeddingNN for more columns"
            )
        users = lookup(x_cat[:, 0], self.users)
        vectors = torch.cat([users, lookup(x_cat[:, 1], self.items)], 1)
        return in_range(self.layers(vectors), self.y_range)

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, d_out)`: the hidden layer's two halves are computed once each."""
        self._sides.check(query.user, "user")
        self._sides.check(query.event, "event")
        self._sides.check(items, "item")
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        of_users, of_items = first.weight.split([self.users.shape[1], self.items.shape[1]], 1)
        user_part = lookup(query.user.x_cat[:, 0], self.users) @ of_users.T + first.bias
        item_part = lookup(items.x_cat[:, 0], self.items) @ of_items.T
        return in_range(self.layers[1:](user_part[:, None] + item_part[None]), self.y_range)

    def bias_parameters(self) -> list[nn.Parameter]:
        """Biases, which weight decay leaves alone by default."""
        return [p for p in self.parameters() if p.ndim <= 1]

    def column_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """Which rows of which parameters belong to the user (0) or the item (1) column."""
        table = (self.users, self.items)[column]
        return [(table, slice(0, len(table)))]

    def hidden_terms(
        self, column: int, x_cat: Tensor, x_cont: Tensor, x_sets: Sequence[Bag]
    ) -> tuple[Tensor, Tensor]:
        """`(w, H)` what the first layer does to one side's vector, `(B, H)` the other side."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        parts = first.weight.split([self.users.shape[1], self.items.shape[1]], 1)
        table = (self.items, self.users)[column]
        rest = F.linear(lookup(x_cat[:, 1 - column], table), parts[1 - column], first.bias)
        return parts[column].T, rest

    def from_hidden(self, hidden: Tensor) -> Tensor:
        """Outputs from what the first layer gives."""
        return in_range(self.layers[1:](hidden), self.y_range)

    def hidden_slopes(self) -> LayerSlopes | None:
        """How outputs change with what the first layer gives, by the weights of now."""
        return hidden_slopes(self.layers, self.y_range)

    def column_vectors(self, column: int) -> Tensor:
        """`(n, d)`: the users' (0) or the items' (1) vectors."""
        return (self.users, self.items)[column]
