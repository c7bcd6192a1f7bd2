"""What a model is called with: one batch of gathered columns, or users against items.

Dimension letters: B rows, C categorical columns, F continuous features, I items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Bag", "Factored", "Inputs", "Query", "Sampled"]


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

    @property
    def lengths(self) -> Tensor:
        """`(B,)`: how many values each row has."""
        return self.offsets.diff(append=self.offsets.new_tensor([len(self.values)]))

    @property
    def row_of_value(self) -> Tensor:
        """The row of each value."""
        rows = self.offsets.new_ones(len(self.offsets)).cumsum(0) - 1
        return rows.repeat_interleave(self.lengths, output_size=len(self.values))


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


class Sampled(NamedTuple):
    """What a loss of sampled items is told beside the outputs of B events and N items of each.

    Shape:
        is_valid: `(B, N)` booleans: whether a sampled item counts; one that its user has chosen
            as well does not.
        log_q: `(B, 1 + N)`: log of how likely each item was to be sampled, the event's own item
            first; None where all were equally likely.
        target: `(B,)`: the encoded target of the events, for losses beside it; None if there is
            none.
    """

    is_valid: Tensor
    log_q: Tensor | None = None
    target: Tensor | None = None


class Factored(NamedTuple):
    """Users and items as vectors whose products are the scores.

    Shape:
        query: `(B, E)`. items: `(I, E)`.
    """

    query: Tensor
    items: Tensor
