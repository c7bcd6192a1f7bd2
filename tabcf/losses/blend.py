"""Several losses of one output, added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tabcf.contracts.inputs import Sampled
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError
from tabcf.losses.loss import Loss

__all__ = ["Sum"]


class Sum(Loss):
    """A weighted sum of losses that read the same outputs.

    Beside a loss of sampled items, one of single events reads the outputs of the events' own items
    and their target: a blend of how an item is rated and how it is ranked.

    Args:
        target: What is predicted, the same for all parts.
        parts: Factors and losses; the factors need not add up to 1. Predictions are decoded by
            the first loss.

    Raises:
        SpecError: There are no parts, a factor is negative, or widths of the output differ.

    Example:
        >>> import torch
        >>> from tabcf.losses import MAE, MSE
        >>> target = TargetInfo("regression", ("y",))
        >>> loss = Sum(target, [(0.8, MSE(target)), (0.2, MAE(target))])
        >>> loss(torch.tensor([[2.0]]), torch.tensor([0.0]))  # 0.8 * 4 + 0.2 * 2
        tensor(3.6000)
    """

    def __init__(self, target: TargetInfo, parts: Sequence[tuple[float, Loss]]) -> None:
        if not parts:
            raise SpecError(["loss.sum: expected at least one loss, got none"])
        super().__init__(d_out=parts[0][1].d_out)
        for factor, part in parts:
            if not factor >= 0:
                raise SpecError([f"loss.sum: expected factors of at least 0, got {factor}"])
            if part.d_out != self.d_out:
                problem = (
                    "loss.sum: all losses must read the same outputs; "
                    f"{type(parts[0][1]).__name__} reads {self.d_out}, "
                    f"{type(part).__name__} {part.d_out}"
                )
                raise SpecError([problem])
        forms = {part.form for _, part in parts}
        if len(forms) > 1 and forms != {"pointwise", "sampled"}:
            raise SpecError([f"loss.sum: losses of the forms {', '.join(sorted(forms))}"])
        self.form = "pointwise" if forms == {"pointwise"} else max(forms)
        self.factors = tuple(float(factor) for factor, _ in parts)
        self.parts = nn.ModuleList(part for _, part in parts)

    def forward(self, raw: Any, target: Any, weight: Tensor | None = None) -> Tensor:
        """The factors times the parts' losses, added up."""
        total: Any = 0.0
        for factor, part in zip(self.factors, self.parts, strict=True):
            if isinstance(target, Sampled) and getattr(part, "form", "") == "pointwise":
                value = part(raw[:, :1], target.target, weight)
            else:
                value = part(raw, target, weight)
            total = total + factor * value
        result: Tensor = total
        return result

    def decode(self, raw: Tensor) -> dict[str, Tensor]:
        """What the first part makes of the output."""
        first = self.parts[0]
        assert isinstance(first, Loss)
        return first.decode(raw)
