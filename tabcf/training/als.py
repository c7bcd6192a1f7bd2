"""Factors for implicit feedback by alternating least squares; knows no model but `DotProduct`.

Dimension letters: R rows of one side, N events, B rows of a block, L events of its longest row,
D factors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from tabcf.contracts.definitions import FitProblem
from tabcf.errors import TrainingError
from tabcf.nn import DotProduct
from tabcf.training.neighbours import interactions

__all__ = ["solve_ials"]

# Floats that a block's events or its matrices may hold: 16 MB, of which some copies are made.
_BUDGET = 1 << 22


@torch.no_grad()
def solve_ials(
    model: DotProduct,
    problem: FitProblem,
    rng: Generator,
    *,
    l2: float,
    unobserved_weight: float,
    nu: float,
    sweeps: int,
    init_scale: float,
) -> None:
    """Write the factors that explain events by ones and all pairs by zeros (Hu et al., 2008).

    With s the product of a user's and an item's factors, each half of a sweep finds the lowest

        Σ_events w (1 - s)² + unobserved_weight · Σ_pairs s² + Σ_rows penalty · |factors|²

    over one side, exactly. The penalty of a user's row is `l2 · (n + unobserved_weight ·
    n_items)^nu` for events of summed weight n, that of an item's with the number of users, as
    in Rendle et al. (2021), "Revisiting the Performance of iALS". An event that occurs twice
    counts twice, as in all losses here. A user without training has the mean of all users'
    factors, an item without training has zeros, the lowest for it.

    Args:
        model: Its factors are overwritten; it has users and items alone, and no `y_range`.
        problem: The training events and where users and items are in `x_cat`.
        rng: Draws the items' first factors.
        l2: The penalty's scale.
        unobserved_weight: What a pair counts, beside 1 for an event.
        nu: How the penalty grows with events; 0 is the same for all rows, 1 one for each event.
        sweeps: How often both sides are solved.
        init_scale: Standard deviation of the first factors times √D, so that the first scores
            do not hang on the width.

    Raises:
        TrainingError: The penalty is too small for the arithmetic.
    """
    layout = problem.layout
    assert layout.user is not None and layout.item is not None
    users, items = model.column_vectors(layout.user), model.column_vectors(layout.item)
    of_user, of_item = _sides(problem, device=users.device)
    users.zero_()
    items.zero_()
    drawn = torch.randn(len(of_item.rows), model.n_factors, generator=rng)
    items[of_item.rows] = (drawn * (init_scale / model.n_factors**0.5)).to(items)
    for _ in range(sweeps):
        for side, own, other in ((of_user, users, items), (of_item, items, users)):
            pairs = unobserved_weight * (len(other) - 1)
            gram = unobserved_weight * (other.T @ other)
            _solve_side(side, own, other, gram, l2 * (side.weights + pairs) ** nu)
    users[0] = users[of_user.rows].mean(0)


@dataclass(frozen=True, slots=True)
class _Side:
    """The events of one side's rows, those with the most events first.

    Attributes:
        rows: `(R,)`; which rows of the factors have events.
        weights: `(R,)`; the sum of their events' weights.
        counts: `(R,)`, falling.
        starts: `(R,)`; the events of row r are `starts[r]` to `starts[r] + counts[r]`.
        other: `(N,)`; the other side's row of each event.
        weight: `(N,)`.
    """

    rows: Tensor
    weights: Tensor
    counts: Tensor
    starts: Tensor
    other: Tensor
    weight: Tensor

    @classmethod
    def of(cls, own: Tensor, other: Tensor, weight: Tensor) -> _Side:
        order = torch.argsort(own, stable=True)
        rows, counts = torch.unique_consecutive(own[order], return_counts=True)
        weights = torch.zeros(int(rows[-1]) + 1, device=own.device).index_add_(0, own, weight)[rows]
        starts = counts.cumsum(0) - counts
        longest = torch.argsort(counts, descending=True, stable=True)
        return cls(
            rows[longest],
            weights[longest],
            counts[longest],
            starts[longest],
            other[order],
            weight[order],
        )

    def blocks(self, d: int) -> Iterator[slice]:
        """Rows of not too unequal length, so that padding is at most a half."""
        falling, start = (-self.counts).cpu(), 0
        while start < len(falling):
            longest = -int(falling[start])
            end = int(torch.searchsorted(falling, -(longest // 2), right=True))
            fitting = _BUDGET // (d * max(longest, d))
            stop = min(end, start + max(fitting, 1))
            yield slice(start, stop)
            start = stop


def _sides(problem: FitProblem, *, device: torch.device) -> tuple[_Side, _Side]:
    """The events by users and by items, without those of an unknown user or item."""
    users, items = interactions(problem.train)
    weight = problem.train.weight
    if weight is None:
        weight = torch.ones(len(users))
    is_known = (users > 0) & (items > 0)
    users, items, weight = (part[is_known].to(device) for part in (users, items, weight))
    return _Side.of(users, items, weight), _Side.of(items, users, weight)


def _solve_side(side: _Side, own: Tensor, other: Tensor, gram: Tensor, penalty: Tensor) -> None:
    """Each row's ridge regression, `(gram + Σ w·v·vᵀ + penalty·I) row = Σ w·v`, block by block.

    v are the other side's factors. A row too long for the budget is summed in pieces.
    """
    d = own.shape[1]
    for block in side.blocks(d):
        counts, starts = side.counts[block], side.starts[block]
        n, longest = len(counts), int(counts[0])
        normal = gram.expand(n, d, d).clone()
        normal.diagonal(dim1=1, dim2=2).add_(penalty[block, None])
        right = own.new_zeros(n, d, 1)
        for places in torch.arange(longest, device=own.device).split(max(_BUDGET // (n * d), 1)):
            at = (starts[:, None] + places).clamp_(max=len(side.other) - 1)
            root = side.weight[at].masked_fill_(places >= counts[:, None], 0.0).sqrt_()
            # With x = √w·v the sums are xᵀx and xᵀ√w; padding has w = 0.
            x = other[side.other[at]].mul_(root[:, :, None])
            normal.baddbmm_(x.mT, x)
            right.baddbmm_(x.mT, root[:, :, None])
        lower, failed = torch.linalg.cholesky_ex(normal)
        if failed.any():
            raise TrainingError("ials: no unique solution in single precision; raise l2")
        own[side.rows[block]] = torch.cholesky_solve(right, lower).squeeze(2)
