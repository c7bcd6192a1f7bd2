"""The squared error of all pairs of a user and an item, without scoring them all.

Dimension letters: B users, I items, E width of the vectors whose products are scores.
"""

from __future__ import annotations

from torch import Tensor

from tabcf.contracts.inputs import Bag, Factored
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError
from tabcf.losses.loss import Loss, weighted_mean

__all__ = ["ImplicitMSE"]


class ImplicitMSE(Loss):
    """Chosen items should score 1, and all items 0 with a small weight (Hu et al., 2008).

    A user's loss is `Σ chosen (1 - s)² + unobserved_weight · Σ all s²`, over the number of their
    chosen items. The second sum is `qᵀ (VᵀV) q` for a user's vector q and the items' vectors V:
    its cost grows with I · E², not with B · I (Bayer et al., 2017).

    Shape:
        raw: a `Factored`: `(B, E)`, `(I, E)`.
        target: a `Bag` of B rows of item columns.
        decode: `(..., 1)` to `score` `(...)`.

    Example:
        >>> import torch
        >>> loss = ImplicitMSE(TargetInfo("implicit"), unobserved_weight=0.5)
        >>> vectors = Factored(torch.tensor([[1.0]]), torch.tensor([[1.0], [2.0]]))
        >>> loss(vectors, Bag(torch.tensor([0]), torch.tensor([0])))  # 0² + 0.5 (1² + 2²)
        tensor(2.5000)
    """

    form = "factored"

    def __init__(self, target: TargetInfo, *, unobserved_weight: float = 0.1) -> None:
        super().__init__(d_out=1)
        if not unobserved_weight > 0:
            problem = f"expected a positive number, got {unobserved_weight}"
            raise SpecError([f"loss.implicit_mse.unobserved_weight: {problem}"])
        self.unobserved_weight = unobserved_weight

    def forward(self, raw: Factored, target: Bag, weight: Tensor | None = None) -> Tensor:
        """The mean over users."""
        query, items = raw
        n_users = len(query)
        user = target.row_of_value
        scores = (query.index_select(0, user) * items.index_select(0, target.values)).sum(1)
        each = (1 - scores).pow(2)
        if target.weights is not None:
            each = each * target.weights
        chosen = query.new_zeros(n_users).index_add(0, user, each)
        everything = ((query @ (items.T @ items)) * query).sum(1)
        counts = target.lengths.clamp_min(1).to(query.dtype)
        return weighted_mean((chosen + self.unobserved_weight * everything) / counts, weight)

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """The output itself."""
        return {"score": raw.squeeze(-1)}
