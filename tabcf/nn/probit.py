"""Probabilities of ordered levels by cut-points of a score, the mean over several models.

Dimension letters: M members, B rows or users, I items, K levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.special import erfc

from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.errors import DataError
from tabcf.nn.dot_product import DotProduct
from tabcf.nn.ensemble import each_product

__all__ = ["OrderedProbitEnsemble", "level_probabilities"]

_ROOT_HALF = 0.5**0.5


class OrderedProbitEnsemble(nn.Module):
    """An ordered probit over draws from a posterior: `P(level ≤ k) = mean of Φ(cut_k - score)`.

    Its outputs are log probabilities, so that a cross-entropy decodes them. A list's scores are
    expectations over levels: these are no products of vectors.

    Args:
        members: Models of the same columns, without a `y_range`.
        levels: All K levels as the target is encoded, rising.

    Attributes:
        cut_points: `(M, K - 1)`.

    Shape:
        Input: `x_cat (B, C)`, `x_cont (B, F)`, bags of B rows.
        Output: `(B, K)`.

    Example:
        >>> pair = [DotProduct([3, 4], factors=2) for _ in range(2)]
        >>> OrderedProbitEnsemble(pair, levels=(-1, 0, 1))(torch.tensor([[1, 2]])).exp().sum()
        tensor(1.0000, grad_fn=<SumBackward0>)
    """

    cut_points: Tensor
    _levels: Tensor

    def __init__(self, members: Iterable[DotProduct], *, levels: Sequence[float]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if not len(self.members) or any(not member.is_linear for member in self._each()):
            raise DataError("members: expected at least one model, all without a y_range")
        if len(levels) < 2:
            raise DataError(f"levels: expected at least two, got {len(levels)}")
        n_cuts = len(levels) - 1
        even = torch.linspace(-1, 1, n_cuts) if n_cuts > 1 else torch.zeros(1)
        self.register_buffer("cut_points", even.repeat(len(self.members), 1))
        self.register_buffer("_levels", torch.tensor(levels).float(), persistent=False)

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """Log probabilities of the levels."""
        return self._log_mean(each_product(self._each(), x_cat, x_cont, x_sets))

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, K)`: log probabilities of every item's levels for every user."""
        return self._log_mean(member.score_items(query, items) for member in self._each())

    def spread(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: Sequence[Bag] | None = None
    ) -> Tensor:
        """`(B, 1)`: the standard deviation of an event about its expectation."""
        probabilities = self(x_cat, x_cont, x_sets).exp()
        off = self._levels - (probabilities @ self._levels)[:, None]
        variance: Tensor = (probabilities * off.square()).sum(1, keepdim=True)
        return variance.sqrt()

    def column_vectors(self, column: int) -> Tensor:
        """`(n, M · D)`: a categorical column's vectors in all members, side by side."""
        return torch.cat([member.column_vectors(column) for member in self._each()], 1)

    @torch.no_grad()
    def take(self, draws: Iterable[Sequence[float]]) -> None:
        """Make the members one draw each; a draw writes the first member and gives cut-points."""
        first = self._each()[0]
        for number, (member, cuts) in enumerate(zip([*self._each()[1:], None], draws, strict=True)):
            # The first member is written anew by each draw, and keeps the last one.
            place = number + 1 if member is not None else 0
            self.cut_points[place] = torch.tensor(cuts)
            if member is not None:
                member.load_state_dict(first.state_dict())

    def _each(self) -> list[DotProduct]:
        return [member for member in self.members if isinstance(member, DotProduct)]

    def _log_mean(self, scores: Iterable[Tensor]) -> Tensor:
        """The log of the members' mean probabilities, `(..., K)` from `(..., 1)` each."""
        total: Tensor | None = None
        for score, cuts in zip(scores, self.cut_points, strict=True):
            own = level_probabilities(cuts - score)
            total = own if total is None else total + own
        assert total is not None
        # A level out of all members' reach keeps the smallest normal number: its log is finite.
        return (total / len(self.cut_points)).clamp_min(torch.finfo(total.dtype).tiny).log()


def level_probabilities(cuts: Tensor) -> Tensor:
    """`(..., K)`: what a standard normal number has between rising cut-points `(..., K - 1)`.

    Example:
        >>> level_probabilities(torch.tensor([0.0]))
        tensor([0.5000, 0.5000])
    """
    # Not torch.special.ndtr, which is 0 far below 0.
    below = nn.functional.pad(0.5 * erfc(cuts * -_ROOT_HALF), (1, 0))
    above = nn.functional.pad(0.5 * erfc(cuts * _ROOT_HALF), (0, 1))
    below = nn.functional.pad(below, (0, 1), value=1.0)
    above = nn.functional.pad(above, (1, 0), value=1.0)
    # Above 0 the difference is taken of the upper tails, which are small numbers there.
    is_high = nn.functional.pad(cuts, (1, 0), value=-1.0) > 0
    return torch.where(is_high, -above.diff(dim=-1), below.diff(dim=-1))
