"""The state of a table whose touched rows alone are updated, and the updates in torch.

`tabcf.training.store.compiled_rows` has the same updates as compiled code.

Dimension letters: R rows, D width, N look-ups, S touched rows, P ranges of rows, K decays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from tabcf.nn.rows import RowTable
from tabcf.training.store.ledger import Ledger, Step

__all__ = ["ADAGRAD_EPS", "RowUpdate", "RowUpdates", "State", "TorchRows", "Touched", "new_state"]

RowUpdate = Literal["replay", "lazy", "adagrad"]
ADAGRAD_EPS = 1e-8
"""Added to the denominator of row-wise Adagrad."""
_NUMBERS = 1 << 16


class State(NamedTuple):
    """A table's rows with what its update keeps of them.

    Shape:
        value: `(R, D)`: the rows.
        moments: `(R, 2, D)`: running mean of the gradients, and root of that of their squares;
            `(0, 2, D)` for Adagrad.
        square: `(R,)`: the sum of the gradients' mean squares; `(0,)` without Adagrad.
        last: `(R,)` int32: the step that a row was last brought up to; `(0,)` without replay.
        stops: `(P,)` int64: ends of the ranges of rows that have a decay of their own.
        own: `(P,)` int64: which of the decays is whose.
    """

    value: Tensor
    moments: Tensor
    square: Tensor
    last: Tensor
    stops: Tensor
    own: Tensor


class Touched(NamedTuple):
    """`(S,)` int64 rows and the sums of their gradients, `(S, D)`."""

    rows: Tensor
    gradient: Tensor


class RowUpdates(Protocol):
    """What is done to the rows of one table."""

    def collect(self, gradient: Tensor) -> Touched:
        """The rows of a sparse gradient, each once."""

    def bring_up(self, index: Tensor, ledger: Ledger) -> None:
        """Have rows make up for the steps that they missed."""

    def adamw(self, touched: Touched, step: Step, t: int, scale: float) -> None:
        """Take step t of AdamW with the touched rows, their gradients times `scale`."""

    def adagrad(self, touched: Touched, rate: float, keep: Sequence[float], scale: float) -> None:
        """Take a step of row-wise Adagrad with the touched rows."""


def new_state(
    table: RowTable, update: RowUpdate, *, stops: Sequence[int], own: Sequence[int]
) -> State:
    """The state of a table before the first step."""
    value = table.detach()
    n_rows, width = value.shape
    n_moments = 0 if update == "adagrad" else n_rows
    # numpy asks for huge pages, which halves the time of picking rows from a large array.
    return State(
        value,
        torch.from_numpy(np.zeros((n_moments, 2, width), np.float32)),
        torch.zeros(n_rows if update == "adagrad" else 0),
        torch.zeros(n_rows if update == "replay" else 0, dtype=torch.int32),
        torch.tensor(stops, dtype=torch.int64),
        torch.tensor(own, dtype=torch.int64),
    )


class TorchRows:
    """The updates in torch alone; numpy writes rows to a large array in half of torch's time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._value, self._moments = state.value.numpy(), state.moments.numpy()
        self._slot = np.zeros(len(state.value), np.int32)
        # Rows that are worked on at a time, which stay in the cache.
        self._block = max(_NUMBERS // state.value.shape[1], 1)

    def collect(self, gradient: Tensor) -> Touched:
        index, values = gradient._indices()[0].numpy(), gradient._values()
        # Each look-up leaves its number at its row; a row's last one stands for all of them.
        numbers = np.arange(len(index), dtype=np.int32)
        self._slot[index] = numbers
        last = self._slot[index]
        is_last = last == numbers
        places = torch.from_numpy((np.cumsum(is_last) - 1)[last])
        rows = torch.from_numpy(index[is_last])
        total = values.new_zeros(len(rows), values.shape[1])
        return Touched(rows, total.index_add_(0, places, values))

    def bring_up(self, index: Tensor, ledger: Ledger) -> None:
        value, moments, _, last, *_ = self._state
        rows = index.flatten().to(torch.int64)
        since = last.index_select(0, rows)
        is_behind = since < ledger.t
        rows, since = rows[is_behind], since[is_behind]
        last.index_fill_(0, rows, ledger.t)
        # A row that is named twice is worked out twice and written twice, the same each time.
        is_moved = since > 0
        self._decay(rows[~is_moved], ledger)  # the others have no momentum yet
        rows, since = rows[is_moved], since[is_moved]
        numbers = self._missed(rows, since, ledger)
        for part, missed in zip(rows.split(self._block), numbers.split(self._block), strict=True):
            kept, first, second, a, b, beta, fade = missed[:, :, None].unbind(1)
            both = moments.index_select(0, part)
            mean, root = both.unbind(1)
            moved = (root * first).add_(second).mul_(mean).div_((root + a).mul_(root + b))
            moved = value.index_select(0, part).mul_(kept).sub_(moved)
            self._value[part.numpy()] = moved.numpy()
            self._moments[part.numpy()] = both.mul_(torch.stack([beta, fade], 1)).numpy()

    def adamw(self, touched: Touched, step: Step, t: int, scale: float) -> None:
        value, moments, _, last, *_ = self._state
        rows, gradient = touched
        if scale != 1:
            gradient = gradient * scale
        keeps = self._of_rows(rows, step.keep.tolist())
        blocks = (numbers.split(self._block) for numbers in (rows, gradient, keeps))
        for part, slope, keep in zip(*blocks, strict=True):
            both = moments.index_select(0, part)
            mean, root = both.unbind(1)
            mean.mul_(step.beta1).add_(slope, alpha=1 - step.beta1)
            root.square_().mul_(step.beta2)
            root.addcmul_(slope, slope, value=1 - step.beta2).sqrt_()
            self._moments[part.numpy()] = both.numpy()
            moved = mean.div_(root.add_(step.eps)).mul_(step.size)
            moved = value.index_select(0, part).mul_(keep).sub_(moved)
            self._value[part.numpy()] = moved.numpy()
        if len(last):
            last.index_fill_(0, rows, t)

    def adagrad(self, touched: Touched, rate: float, keep: Sequence[float], scale: float) -> None:
        value, square = self._state.value, self._state.square
        rows, gradient = touched
        if scale != 1:
            gradient = gradient * scale
        total = square.index_select(0, rows).add_(gradient.square().mean(1))
        square.index_copy_(0, rows, total)
        moved = gradient * (rate / total.sqrt_().add_(ADAGRAD_EPS))[:, None]
        of_rows = self._of_rows(rows, keep)
        self._value[rows.numpy()] = value.index_select(0, rows).mul_(of_rows).sub_(moved).numpy()

    def _decay(self, rows: Tensor, ledger: Ledger) -> None:
        """Let rows make up for all steps from the first on, in which they had no gradient."""
        if len(rows):
            kept = self._missed(rows, torch.zeros(len(rows), dtype=torch.int64), ledger)[:, :1]
            value = self._state.value.index_select(0, rows).mul_(kept)
            self._value[rows.numpy()] = value.numpy()

    def _missed(self, rows: Tensor, since: Tensor, ledger: Ledger) -> Tensor:
        """`(S, 7)`: the numbers of `Missed` side by side."""
        missed = ledger.missed(self._own(rows).numpy(), since.numpy())
        return torch.from_numpy(np.stack(missed, 1))

    def _own(self, rows: Tensor) -> Tensor:
        """`(S,)`: which of the decays is whose."""
        stops, own = self._state.stops, self._state.own
        if len(stops) == 1:
            return own.expand(len(rows))
        return own[torch.bucketize(rows, stops, right=True)]

    def _of_rows(self, rows: Tensor, numbers: Sequence[float]) -> Tensor:
        """`(S, 1)`: each row's own of the numbers."""
        return torch.tensor(numbers, dtype=torch.float32)[self._own(rows)][:, None]
