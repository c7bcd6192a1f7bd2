"""What a model is called with: one batch of gathered columns, or users against items.

Dimension letters: B rows, C categorical columns, F continuous features, I items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Bag", "Inputs", "Query"]


class Bag(NamedTuple):
    """One set-valued column in the form that `embedding_bag` takes.

    Row b holds `values[offsets[b]:offsets[b + 1]]`; the last row runs to the end.

    Example (three rows, the second one empty):
        values  = [4, 2,  7]
        offsets = [0, 2, 2]
    """

    values: Tensor
    offsets: Tensor
    weights: Tensor | None = None


class Inputs(NamedTuple):
    """The three arguments of a model's `forward`, for all columns or for those of one side.

    Shape:
        x_cat: `(B, C)` int32 or int64.
        x_cont: `(B, F)` float32.
        x_sets: one `Bag` of B rows per set column.
    """

    x_cat: Tensor
    x_cont: Tensor
    x_sets: tuple[Bag, ...] = ()


class Query(NamedTuple):
    """For whom items are scored: B users, their events' columns and their past items.

    `history` holds item *indices* (embedding rows), never item rows.
    """

    user: Inputs
    event: Inputs
    history: Bag | None = None
