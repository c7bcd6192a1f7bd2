"""What a model may be able to do beyond `forward`; each ability is optional and asked for by type.

A model without them still trains and predicts; what needs a missing one says so by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from tabcf.contracts.inputs import Bag, Inputs, Query

__all__ = [
    "AdditiveScorer",
    "CandidateScorer",
    "ColumnBiases",
    "ColumnRows",
    "ColumnVectors",
    "FactoredScorer",
    "HiddenRows",
    "HiddenSlopes",
    "IgnoresUsers",
    "ItemScorer",
    "KnowsBiases",
    "KnowsMembers",
    "KnowsSpread",
    "LevelDraws",
    "LinearRows",
    "PosteriorDraws",
    "ReadsHistory",
    "SetRows",
]


@runtime_checkable
class KnowsBiases(Protocol):
    """Names the parameters that are biases or norms, which are not decayed by default."""

    def bias_parameters(self) -> list[nn.Parameter]: ...


@runtime_checkable
class ColumnRows(Protocol):
    """Says which rows of which parameters belong to categorical column c, bias rows included.

    Row 0 of each range is the column's unknown value.
    """

    def column_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]: ...


@runtime_checkable
class LinearRows(Protocol):
    """Its outputs are `outputs(rest + slope · row)` in what it holds of one value of a column.

    `row` has the value's numbers in the order of `column_rows`; in evaluation mode.

    Shape:
        row_terms: slope `(B, P)` and rest `(B, 1)`, whatever the column holds in `x_cat`.
        outputs: `(..., 1)` from `(..., 1)`, rising.
    """

    def row_terms(
        self, column: int, x_cat: Tensor, x_cont: Tensor, x_sets: Sequence[Bag]
    ) -> tuple[Tensor, Tensor]: ...

    def outputs(self, products: Tensor) -> Tensor: ...


@runtime_checkable
class HiddenRows(Protocol):
    """What it holds of one value of a column enters a hidden layer linearly, the same in each row.

    Its outputs are `from_hidden(rest + row @ weight)`, `row` having the value's numbers in the
    order of `column_rows`; in evaluation mode.

    Shape:
        hidden_terms: weight `(P, H)` and rest `(B, H)`, whatever the column holds in `x_cat`.
        from_hidden: `(B, K)` from `(B, H)`, which it may overwrite.
    """

    def hidden_terms(
        self, column: int, x_cat: Tensor, x_cont: Tensor, x_sets: Sequence[Bag]
    ) -> tuple[Tensor, Tensor]: ...

    def from_hidden(self, hidden: Tensor) -> Tensor: ...


@runtime_checkable
class HiddenSlopes(HiddenRows, Protocol):
    """It also knows by hand how its outputs change with the hidden layer's values.

    Shape:
        hidden_slopes: a function from `(B, H)`, which it leaves alone, to outputs `(B, K)` and
            their derivatives `(B, K, H)`, by the weights of when it was asked for; in evaluation
            mode. None where the model has layers that it does not know by hand.
    """

    def hidden_slopes(self) -> Callable[[Tensor], tuple[Tensor, Tensor]] | None: ...


@runtime_checkable
class SetRows(Protocol):
    """Says which rows of which parameters belong to set column c, bias rows included."""

    def set_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]: ...


@runtime_checkable
class ItemScorer(Protocol):
    """Scores all items of a block for users without expanding pairs.

    Shape:
        Output: `(B, I, d_out)`, B users of the query, I items.
    """

    def score_items(self, query: Query, items: Inputs) -> Tensor: ...


@runtime_checkable
class CandidateScorer(Protocol):
    """Scores some items for each user, other ones for each.

    Shape:
        Input: B users of the query, and the columns of B · N items, N in a row for each user.
        Output: `(B, N, d_out)`.
    """

    def score_candidates(self, query: Query, items: Inputs) -> Tensor: ...


@runtime_checkable
class FactoredScorer(Protocol):
    """Gives vectors whose products are the scores, up to a rising function: `outputs`.

    Shape:
        query_factors: `(B, E)`. item_factors: `(I, E)`.
    """

    @property
    def is_linear(self) -> bool:
        """Whether the products are the scores themselves."""

    def query_factors(self, query: Query) -> Tensor: ...

    def item_factors(self, items: Inputs) -> Tensor: ...

    def outputs(self, products: Tensor) -> Tensor: ...


@runtime_checkable
class ReadsHistory(Protocol):
    """Scores a user by the items that they had, `query.history`, and by nothing of their own.

    A new user needs no row in such a model.
    """

    @property
    def reads_history(self) -> bool:
        """Always true."""


@runtime_checkable
class IgnoresUsers(Protocol):
    """Says the same to all users, known or not, so that nothing can be learnt of a new one."""

    @property
    def ignores_users(self) -> bool:
        """Always true."""


@runtime_checkable
class PosteriorDraws(Protocol):
    """The mean over models of the same columns, each of them a draw from the posterior.

    Attributes:
        members: The draws; each says which rows are a column's and is linear in them.
        noise: The variance of a single event about its expectation, `()`.
    """

    members: nn.ModuleList
    noise: Tensor


@runtime_checkable
class LevelDraws(Protocol):
    """The same where events are on levels, which part where a latent number passes cut-points.

    The latent number is a member's score and noise of N(0, 1).

    Attributes:
        members: The draws; each says which rows are a column's and is linear in them.
        cut_points: `(S, K - 1)`: those of each draw.
    """

    members: nn.ModuleList
    cut_points: Tensor


@runtime_checkable
class AdditiveScorer(Protocol):
    """Splits its score, before any range, into terms that add up to it.

    Each term goes with the positions of one or two columns: categorical ones first, then continuous
    and set ones, counted on: `(0,)` is the bias of the first column, `(0, 1)` the product of the
    first two.

    Shape:
        Each term: `(B,)`.
    """

    def terms(self, inputs: Inputs) -> list[tuple[tuple[int, ...], Tensor]]: ...


@runtime_checkable
class KnowsSpread(Protocol):
    """Says how far an event may lie from its prediction: `(B, 1)` standard deviations."""

    def spread(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor: ...


@runtime_checkable
class KnowsMembers(Protocol):
    """Answers by the mean of several models, and gives what each of them says.

    Shape:
        Output: `(M, B, K)`, M members.
    """

    def each(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor: ...


@runtime_checkable
class ColumnVectors(Protocol):
    """Gives a categorical column's trained vectors, `(n, d)`, row 0 being the unknown value."""

    def column_vectors(self, column: int) -> Tensor: ...


@runtime_checkable
class ColumnBiases(Protocol):
    """Gives a categorical column's trained biases, `(n,)`, row 0 being the unknown value's."""

    def column_bias(self, column: int) -> Tensor: ...
