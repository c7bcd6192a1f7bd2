"""An optimiser for models with large embedding tables: touched rows there, AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tabcf.errors import TrainingError
from tabcf.nn.rows import RowTable
from tabcf.training.optimiser import BETA2, EPS, AdamW, Piece
from tabcf.training.steps import Rate
from tabcf.training.store.ledger import Ledger
from tabcf.training.store.replay import is_replayable
from tabcf.training.store.rows import RowUpdate, RowUpdates, State, TorchRows, Touched, new_state

__all__ = ["StoreOptimiser", "row_updates"]

# Rows that are settled at a time.
_CHUNK = 1 << 16


def row_updates(state: State, *, compiled: bool | None = None) -> RowUpdates:
    """The updates as compiled code where numba is installed, otherwise in torch.

    Args:
        state: What is updated.
        compiled: Insist on one of the two.
    """
    if compiled is False:
        return TorchRows(state)
    try:
        from tabcf.training.store.compiled_rows import CompiledRows
    except ImportError:
        if compiled:
            raise
        return TorchRows(state)
    return CompiledRows(state)


class StoreOptimiser:
    """Updates only the rows that a step looked up in some tables, and all other weights by AdamW.

    From its making to its end the tables' rows are to be read by `lookup` alone, as all of tabcf's
    models do; `settle` before anything else reads them, such as a saved file.

    Args:
        pieces: All that is trained, with its decay, from `decay_groups`.
        tables: Those among them whose touched rows alone are updated.
        update: How. `replay` is AdamW with what rows missed made up for; `lazy` is AdamW without
            that; `adagrad` is row-wise Adagrad, with one number of state a row.
        compiled: With numba, or without it; by default with it where it is installed.
        eps: Added to AdamW's denominators.

    Example:
        >>> table = RowTable(torch.ones(1000, 2))
        >>> optimiser = StoreOptimiser([Piece(table, None, 0.0)], [table], update="lazy")
        >>> lookup(torch.tensor([3, 5]), table).sum().backward()
        >>> optimiser.step(0.1)
        >>> table[3:6].sum(1)
        tensor([1.8000, 2.0000, 1.8000], grad_fn=<SumBackward1>)
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        tables: Iterable[RowTable],
        *,
        update: RowUpdate = "replay",
        compiled: bool | None = None,
        eps: float = EPS,
    ) -> None:
        chosen = list(tables)
        own = {id(table) for table in chosen}
        self._rest = AdamW([piece for piece in pieces if id(piece.parameter) not in own], eps=eps)
        self._tables = [
            _KeptTable(
                table,
                [piece for piece in pieces if piece.parameter is table],
                update=update,
                compiled=compiled,
                eps=eps,
            )
            for table in chosen
        ]

    def clip(self, parameters: Iterable[nn.Parameter], max_norm: float) -> None:
        """Scale the gradients of these parameters down to a norm, all together."""
        chosen = list(parameters)
        ids = {id(parameter) for parameter in chosen}
        tables = [kept for kept in self._tables if id(kept.table) in ids]
        own = {id(kept.table) for kept in tables}
        dense = [p.grad for p in chosen if p.grad is not None and id(p) not in own]
        squares = sum(float(gradient.square().sum()) for gradient in dense)
        squares += self.squares([kept.table for kept in tables])
        scale = max_norm / (math.sqrt(squares) + 1e-6)
        if scale < 1:
            for gradient in dense:
                gradient.mul_(scale)
            for kept in tables:
                kept.scale = scale

    def squares(self, tables: Sequence[RowTable]) -> float:
        """Sum of squares of these tables' gradients."""
        ids = {id(table) for table in tables}
        return sum(kept.collect() for kept in self._tables if id(kept.table) in ids)

    @torch.no_grad()
    def step(self, learning_rate: float, *, beta1: float = 0.9) -> None:
        """Update every parameter that has a gradient, and clear the gradients.

        Args:
            learning_rate: Of this step; of Adagrad as well.
            beta1: AdamW's first beta.
        """
        rate = Rate(learning_rate, beta1)
        for kept in self._tables:
            kept.step(rate)
        self._rest.step(learning_rate, beta1=beta1)

    def settle(self) -> None:
        """Bring all rows up to date, before they are read otherwise than by `lookup`."""
        for kept in self._tables:
            kept.settle()

    def state(self) -> dict[str, Tensor]:
        """What the next step needs of those before, beside the parameters; it goes on changing."""
        found = {f"rest.{name}": value for name, value in self._rest.state().items()}
        for number, kept in enumerate(self._tables):
            found |= {f"{number}.{name}": value for name, value in kept.state().items()}
        return found

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from such a state of the same pieces and tables; parameters are loaded first."""
        self._rest.load_state(_part(state, "rest."))
        for number, kept in enumerate(self._tables):
            kept.load_state(_part(state, f"{number}."))


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in state.items() if n.startswith(prefix)}


class _KeptTable:
    """One table, the state of its rows, and its gradient of the step at hand."""

    def __init__(
        self,
        table: RowTable,
        pieces: Sequence[Piece],
        *,
        update: RowUpdate,
        compiled: bool | None,
        eps: float,
    ) -> None:
        self.table = table
        self.scale = 1.0
        self._update = update
        self._decays = sorted({piece.decay for piece in pieces})
        stops = [len(table) if p.rows is None else p.rows.stop for p in pieces]
        own = [self._decays.index(piece.decay) for piece in pieces]
        self._state = new_state(table, update, stops=stops, own=own)
        self._rows = row_updates(self._state, compiled=compiled)
        self._ledger = Ledger(self._decays, beta2=BETA2, eps=eps)
        self._touched: Touched | None = None
        self._is_settled = True
        table.keep(self)

    @torch.no_grad()
    def bring_up(self, index: Tensor) -> None:
        """Have rows make up for the steps that they missed."""
        if not self._is_settled:
            self._rows.bring_up(index, self._ledger)

    def collect(self) -> float:
        """Sum up the gradient of each row; gives the sum of squares of all."""
        gradient = self.table.grad
        if gradient is None:
            return 0.0
        if not gradient.is_sparse:
            raise TrainingError(
                "a table whose touched rows alone are updated has a dense gradient: its rows were "
                "read otherwise than by `lookup`; train it with `update: dense`"
            )
        self._touched = self._rows.collect(gradient)
        return float(self._touched.gradient.square().sum())

    def step(self, rate: Rate) -> None:
        """Take a step with the rows that have a gradient."""
        if self.table.grad is None:
            return
        if self._touched is None:
            self.collect()
        touched, scale = self._touched, self.scale
        assert touched is not None
        self.table.grad, self._touched, self.scale = None, None, 1.0
        if self._update == "adagrad":
            keep = [1 - rate.learning_rate * decay for decay in self._decays]
            self._rows.adagrad(touched, rate.learning_rate, keep, scale)
            return
        if self._update == "replay":
            if not is_replayable(rate, decay=self._decays[-1], beta2=BETA2):
                raise TrainingError(
                    f"what rows miss cannot be made up for: the learning rate "
                    f"{rate.learning_rate:.3g} times the weight decay {self._decays[-1]:.3g} is "
                    "more than momentum forgets in a step; take `update: dense` or `lazy`"
                )
            self._is_settled = False
        step = self._ledger.add(rate)
        self._rows.adamw(touched, step, self._ledger.t, scale)

    def settle(self) -> None:
        """Bring all rows up to date."""
        if self._is_settled:
            return
        n_rows = len(self.table)
        for start in range(0, n_rows, _CHUNK):
            self.bring_up(torch.arange(start, min(start + _CHUNK, n_rows)))
        self._is_settled = True

    def state(self) -> dict[str, Tensor]:
        """What is kept of rows and of steps."""
        rows, steps = self._state._asdict(), self._ledger.state()
        found = {name: rows[name] for name in ("moments", "square", "last")}
        found |= {f"steps.{name}": value for name, value in steps.items()}
        return found | {"is_settled": torch.tensor(self._is_settled)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for name, value in self.state().items():
            if name in ("moments", "square", "last"):
                value.copy_(state[name])
        self._ledger.load_state(_part(state, "steps."))
        self._is_settled = bool(state["is_settled"])
