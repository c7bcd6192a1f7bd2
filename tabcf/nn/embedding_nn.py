"""The tabular network for users and items: the same forward pass, and fast scores of all items.

Dimension letters: B users, I items, H units of the first layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tabcf.contracts.inputs import Inputs, Query
from tabcf.contracts.layout import Side
from tabcf.nn.sides import SIDES, Sides
from tabcf.nn.tabular import TabularModel, in_range

__all__ = ["EmbeddingNN"]


class EmbeddingNN(TabularModel):
    """A `TabularModel` that knows which columns are the user's and which the item's.

    Args:
        cardinalities: Values of each categorical column, the unknown one included.
        n_continuous: Number of continuous features.
        d_out: Number of outputs.
        layers: Widths of the hidden layers; the fastai book's `[100, 50]` by default.
        user: Position of the user ids in `x_cat`.
        item: Position of the item ids in `x_cat`.
        cat_sides: Each categorical column's side; by default user, item, and event for others.
        cont_sides: Each continuous feature's side; event by default.
        set_sides: Each set column's side; event by default.
        widths: As in `TabularModel`, like all that follows.
        set_cardinalities: Values of each set column.
        set_widths: Their widths.
        y_range: Lowest and highest output.
        dropout: Share of hidden units dropped.
        embedding_dropout: Share of embedded values dropped.
        batch_norm: Normalise by batch.

    Shape:
        Input: `x_cat (B, C)`, `x_cont (B, F)`, bags of B rows.
        Output: `(B, d_out)`.

    Example:
        >>> model = EmbeddingNN([944, 1683], y_range=(0, 5.5))
        >>> model(torch.tensor([[1, 7], [2, 9]])).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        n_continuous: int = 0,
        d_out: int = 1,
        layers: Sequence[int] = (100, 50),
        *,
        user: int = 0,
        item: int = 1,
        cat_sides: Sequence[Side] | None = None,
        cont_sides: Sequence[Side] | None = None,
        set_sides: Sequence[Side] | None = None,
        widths: int | Sequence[int | None] | None = None,
        set_cardinalities: Sequence[int] = (),
        set_widths: int | Sequence[int | None] | None = None,
        y_range: tuple[float, float] | None = None,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__(
            cardinalities,
            n_continuous,
            d_out,
            layers,
            widths=widths,
            set_cardinalities=set_cardinalities,
            set_widths=set_widths,
            y_range=y_range,
            dropout=dropout,
            embedding_dropout=embedding_dropout,
            batch_norm=batch_norm,
        )
        self.user, self.item = user, item
        self.sides = Sides.of(
            len(self.embeddings.cardinalities),
            n_continuous,
            len(set_cardinalities),
            user=user,
            item=item,
            cat=cat_sides,
            cont=cont_sides,
            sets=set_sides,
        )
        # Which inputs of the first layer come from which side.
        widths_in = [*self.embeddings.widths, *self.set_embeddings.widths, *[1] * n_continuous]
        places = torch.arange(self.d_in).split(widths_in)
        n_cat, n_sets = len(self.sides.cat), len(self.sides.sets)
        for side in SIDES:
            cats, conts, sets = self.sides.columns(side)
            own = [*cats, *(n_cat + s for s in sets), *(n_cat + n_sets + f for f in conts)]
            chosen = torch.cat([places[i] for i in own]) if own else torch.arange(0)
            self.register_buffer(f"_{side}_places", chosen, persistent=False)

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, d_out)`: every item for every user.

        The first layer is linear in its input, so its user's and event's parts are computed once
        a user and its item's part once an item; only what follows sees all pairs. In training,
        hidden layers are normalised over all pairs, and continuous features as in evaluation: a
        side's rows are no sample of events.

        Raises:
            DataError: A part does not hold just its side's columns.
        """
        first = self.mlp[0]
        assert isinstance(first, nn.Linear)
        users = self._part(query.user, "user", first) + self._part(query.event, "event", first)
        if first.bias is not None:
            users = users + first.bias
        hidden = users[:, None] + self._part(items, "item", first)[None]
        n_users, n_items, width = hidden.shape
        raw = self.mlp[1:](hidden.view(n_users * n_items, width))
        return in_range(raw, self.y_range).view(n_users, n_items, self.d_out)

    def _part(self, inputs: Inputs, side: Side, first: nn.Linear) -> Tensor:
        """`(rows, H)`: what one side's columns add to the first layer."""
        self.sides.check(inputs, side)
        cats, conts, sets = self.sides.columns(side)
        parts = []
        if cats:
            embedded = self.embeddings.select(inputs.x_cat, cats)
            parts.append(self.embedding_dropout(embedded))
        if sets:
            parts += self.set_embeddings.select(inputs.x_sets, sets)
        if conts:
            parts.append(self._normalised(inputs.x_cont, conts))
        if not parts:
            return first.weight.new_zeros(len(inputs.x_cat), first.out_features)
        places: Tensor = getattr(self, f"_{side}_places")
        return torch.cat(parts, 1) @ first.weight.index_select(1, places).T

    def _normalised(self, x_cont: Tensor, features: list[int]) -> Tensor:
        """Some features, normalised by the running statistics."""
        norm = self.continuous_norm
        if not isinstance(norm, nn.BatchNorm1d):
            return x_cont
        assert norm.running_mean is not None and norm.running_var is not None
        return F.batch_norm(
            x_cont,
            norm.running_mean[features],
            norm.running_var[features],
            norm.weight[features],
            norm.bias[features],
            eps=norm.eps,
        )
