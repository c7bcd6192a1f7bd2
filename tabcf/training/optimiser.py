"""AdamW with one decay per group, over whole parameters or over row ranges of them.

The same numbers as `torch.optim.AdamW(fused=True)`; a `torch.optim` optimiser would import
`torch._dynamo`, more than a second of CPU a process, and has one decay a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

__all__ = ["BETA2", "EPS", "AdamW", "Decay", "Piece", "decay_groups"]

BETA2 = 0.99
"""Decay of the running mean of squared gradients."""
EPS = 1e-5
"""Added to the denominator; fastai's, since rare rows have tiny gradients."""


@dataclass(frozen=True, slots=True)
class Decay:
    """Decoupled weight decay: `default`, or a number of its own for a column's embedding rows."""

    default: float
    by_column: Mapping[str, float] = field(default_factory=dict)
    on_biases: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a parameter (all of them if None) that share a decay."""

    parameter: nn.Parameter
    rows: slice | None
    decay: float


def decay_groups(
    parameters: Iterable[nn.Parameter],
    biases: Iterable[nn.Parameter],
    columns: Mapping[str, Sequence[tuple[nn.Parameter, slice]]],
    decay: Decay,
) -> list[Piece]:
    """Give each parameter, or rows of it, its decay.

    Args:
        parameters: All that is trained.
        biases: Those among them that are biases or norms.
        columns: A column's embedding rows, by the column's name.
        decay: The numbers.
    """
    bias_ids = {id(parameter) for parameter in biases}
    special: dict[int, list[tuple[slice, float]]] = {}
    for name, number in decay.by_column.items():
        for parameter, rows in columns[name]:
            special.setdefault(id(parameter), []).append((rows, number))
    pieces: list[Piece] = []
    for parameter in parameters:
        is_kept = id(parameter) in bias_ids and not decay.on_biases
        default = 0.0 if is_kept else decay.default
        ranges = [] if is_kept else sorted(special.get(id(parameter), []), key=lambda r: r[0].start)
        if not ranges:
            pieces.append(Piece(parameter, None, default))
            continue
        at = 0
        for rows, number in ranges:
            if rows.start > at:
                pieces.append(Piece(parameter, slice(at, rows.start), default))
            pieces.append(Piece(parameter, rows, number))
            at = rows.stop
        if at < len(parameter):
            pieces.append(Piece(parameter, slice(at, len(parameter)), default))
    return pieces


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019) on all rows at each step.

    A row that a batch did not touch goes on decaying and moving by its momentum, as in torch.

    Args:
        pieces: What is trained, from `decay_groups`.
        beta2: Decay of the squared gradients' mean.
        eps: Added to the denominator.
    """

    def __init__(self, pieces: Sequence[Piece], *, beta2: float = BETA2, eps: float = EPS) -> None:
        self._beta2 = beta2
        self._eps = eps
        self._parameters = list({id(p.parameter): p.parameter for p in pieces}.values())
        self._groups: dict[float, _Group] = {}
        for piece in pieces:
            self._groups.setdefault(piece.decay, _Group()).add(piece)

    def clip(self, parameters: Iterable[nn.Parameter], max_norm: float) -> None:
        """Scale the gradients of these parameters down to a norm, all together."""
        nn.utils.clip_grad_norm_(parameters, max_norm)

    def settle(self) -> None:
        """Nothing to do: every step goes over all rows."""

    @torch.no_grad()
    def step(self, learning_rate: float, *, beta1: float = 0.9) -> None:
        """Update every parameter that has a gradient, and clear the gradients."""
        for decay, group in self._groups.items():
            used = [i for i, p in enumerate(group.pieces) if p.parameter.grad is not None]
            if not used:
                continue
            torch._foreach_add_([group.steps[i] for i in used], 1.0)
            torch._fused_adamw_(
                [group.values[i] for i in used],
                [_rows(group.pieces[i].parameter.grad, group.pieces[i].rows) for i in used],
                [group.means[i] for i in used],
                [group.squares[i] for i in used],
                [],
                [group.steps[i] for i in used],
                lr=learning_rate,
                beta1=beta1,
                beta2=self._beta2,
                weight_decay=decay,
                eps=self._eps,
                amsgrad=False,
                maximize=False,
            )
        for parameter in self._parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Moments and counts of steps, by number of group and piece; they go on changing."""
        return {
            f"{number}.{at}.{name}": value
            for number, group in enumerate(self._groups.values())
            for name, values in group.state.items()
            for at, value in enumerate(values)
        }

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the moments that `state` gave for the same pieces."""
        for name, value in self.state().items():
            value.copy_(state[name])


class _Group:
    """Pieces of one decay with their state, as lists that one fused call takes."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.values: list[Tensor] = []
        self.means: list[Tensor] = []
        self.squares: list[Tensor] = []
        self.steps: list[Tensor] = []

    @property
    def state(self) -> dict[str, list[Tensor]]:
        return {"mean": self.means, "square": self.squares, "step": self.steps}

    def add(self, piece: Piece) -> None:
        value = _rows(piece.parameter.detach(), piece.rows)
        self.pieces.append(piece)
        self.values.append(value)
        self.means.append(torch.zeros_like(value))
        self.squares.append(torch.zeros_like(value))
        self.steps.append(torch.zeros((), dtype=torch.float32, device=value.device))


def _rows(tensor: Tensor | None, rows: slice | None) -> Tensor:
    assert tensor is not None
    return tensor if rows is None else tensor[rows]
