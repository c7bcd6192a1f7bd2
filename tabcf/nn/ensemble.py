"""Several models of one kind that answer together: the mean of what each says.

Dimension letters: M members, B rows or users, I items, E width of a member's factored score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.errors import DataError
from tabcf.nn.dot_product import DotProduct
from tabcf.nn.look_up import can_be_looked_up_once, products_in_turn

__all__ = ["DotProductEnsemble", "DotProductMean", "each_product"]


def each_product(
    members: Sequence[DotProduct],
    x_cat: Tensor,
    x_cont: Tensor | None,
    x_sets: Sequence[Bag] | None,
) -> Tensor:
    """`(M, B, 1)`: what each member's forward pass gives; all have the same columns, no range."""
    if x_sets and all(map(can_be_looked_up_once, members)):
        return products_in_turn(members, x_cat, x_cont, x_sets)
    return torch.stack([member(x_cat, x_cont, x_sets) for member in members])


class DotProductMean(nn.Module):
    """What means of products of vectors have in common; all members have the same columns.

    Scores of all items stay one matrix product: a mean of products is the product of the members'
    vectors side by side.
    """

    members: nn.ModuleList

    def dot_products(self) -> list[DotProduct]:
        """The members."""
        return [member for member in self.members if isinstance(member, DotProduct)]

    @property
    def is_linear(self) -> bool:
        """Whether scores are products themselves: they are, without a `y_range`."""
        return self.dot_products()[0].is_linear

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, 1)`: every item for every user, by one matrix product."""
        return self.outputs(self.query_factors(query) @ self.item_factors(items).T).unsqueeze(2)

    def score_candidates(self, query: Query, items: Inputs) -> Tensor:
        """`(B, N, 1)`: other items for each user, N each, by small products."""
        asked, given = self.query_factors(query), self.item_factors(items)
        given = given.view(len(asked), -1, given.shape[1])
        return self.outputs(torch.bmm(given, asked.unsqueeze(2)))

    def query_factors(self, query: Query) -> Tensor:
        """`(B, M · E)`, over M."""
        parts = [member.query_factors(query) for member in self.dot_products()]
        return torch.cat(parts, 1) / len(parts)

    def item_factors(self, items: Inputs) -> Tensor:
        """`(I, M · E)`."""
        return torch.cat([member.item_factors(items) for member in self.dot_products()], 1)

    def outputs(self, products: Tensor) -> Tensor:
        """What products of these vectors come to: themselves, or within the range."""
        return self.dot_products()[0].outputs(products)

    def column_vectors(self, column: int) -> Tensor:
        """`(n, M · D)`: a categorical column's vectors in all members, side by side."""
        return torch.cat([member.column_vectors(column) for member in self.dot_products()], 1)


class DotProductEnsemble(DotProductMean):
    """The mean of products of vectors over draws from a posterior.

    Args:
        members: Models of the same columns, without a `y_range`.
        bounds: Lowest and highest output of single events, which are cut off there; rankings are
            not.

    Attributes:
        noise: The variance of a single event about its expectation, 0 where it is not known.

    Shape:
        Input: `x_cat (B, C)`, `x_cont (B, F)`, bags of B rows.
        Output: `(B, 1)`.

    Example:
        >>> pair = [DotProduct([3, 4], factors=2) for _ in range(2)]
        >>> DotProductEnsemble(pair)(torch.tensor([[1, 2]])).shape
        torch.Size([1, 1])
    """

    noise: Tensor

    def __init__(
        self, members: Iterable[DotProduct], *, bounds: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if not len(self.members) or any(not member.is_linear for member in self.dot_products()):
            raise DataError("members: expected at least one model, all without a y_range")
        self.bounds = bounds
        self.register_buffer("noise", torch.zeros(()))

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """The mean of the members' outputs, within the bounds."""
        return self._within(each_product(self.dot_products(), x_cat, x_cont, x_sets).mean(0))

    @torch.no_grad()
    def take(self, draws: Iterable[float]) -> None:
        """Make the members one draw each; a draw writes the first member and gives a precision."""
        first, variances = self.dot_products()[0], []
        for member, precision in zip([*self.dot_products()[1:], None], draws, strict=True):
            variances.append(1 / precision)
            if member is not None:
                member.load_state_dict(first.state_dict())
        self.noise.fill_(sum(variances) / len(variances))

    def spread(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """`(B, 1)`: the standard deviation of an event: of the members' outputs, and the noise."""
        outputs = each_product(self.dot_products(), x_cat, x_cont, x_sets)
        return (outputs.var(0, unbiased=False) + self.noise).sqrt()

    def _within(self, outputs: Tensor) -> Tensor:
        return outputs if self.bounds is None else outputs.clamp(*self.bounds)
