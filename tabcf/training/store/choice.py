"""Which tables of a training are updated by touched rows: the one place with the rule.

Touched rows cost by the look-up, a dense update by the row: so a table of many rows for each
look-up goes by touched rows. With an update that is asked for, all tables do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Literal

from tabcf.nn.rows import RowTable
from tabcf.training.optimiser import BETA2, Piece
from tabcf.training.schedules import Schedule
from tabcf.training.steps import Rate
from tabcf.training.store.replay import is_replayable

__all__ = ["UpdateName", "at_all_moments", "is_large", "tables_of", "why_dense"]

UpdateName = Literal["auto", "dense", "replay", "lazy", "adagrad"]

# Rows for each look-up of a step from which on touched rows are faster, and numbers of a table from
# which on that is worth a step's fixed costs.
_ROWS_COMPILED, _ROWS_IN_TORCH, _NUMBERS = 4, 16, 500_000


def tables_of(pieces: Sequence[Piece]) -> list[RowTable]:
    """The tables among what is trained, each once."""
    found = {id(p.parameter): p.parameter for p in pieces if p.parameter.requires_grad}
    return [table for table in found.values() if isinstance(table, RowTable)]


def is_large(table: RowTable, *, n_lookups: int) -> bool:
    """Whether touched rows are faster for a table.

    Args:
        table: Its rows.
        n_lookups: Rows that a step looks up at most.
    """
    rows = _ROWS_COMPILED if find_spec("numba") else _ROWS_IN_TORCH
    return len(table) > rows * n_lookups and table.numel() >= _NUMBERS


def why_dense(
    pieces: Sequence[Piece],
    schedule: Schedule,
    learning_rate: float,
    *,
    update: UpdateName,
) -> str | None:
    """Why no table can be updated so; None if they can.

    Args:
        pieces: All that is trained, with its decay.
        schedule: With `learning_rate`, says how large steps are.
        learning_rate: The schedule's peak.
        update: How they would be updated.
    """
    tables = tables_of(pieces)
    if not tables:
        return "its model has no embedding table that tells which rows were used"
    kinds = {table.device.type for table in tables}
    if kinds != {"cpu"}:
        return f"it runs on {kinds.pop()}, and touched rows are updated on the CPU"
    if update in ("auto", "replay"):
        own = {id(table) for table in tables}
        decay = max(piece.decay for piece in pieces if id(piece.parameter) in own)
        if not at_all_moments(
            schedule,
            learning_rate,
            lambda rate: is_replayable(rate, decay=decay, beta2=BETA2),
        ):
            return "learning rate times weight decay is too large to make up for missed steps"
    return None


def at_all_moments(schedule: Schedule, learning_rate: float, holds: Callable[[Rate], bool]) -> bool:
    """Whether something holds for a schedule's rates, at each of a hundred moments."""
    rates = []
    for percent in range(101):
        factor, beta = schedule(percent / 100)
        rates.append(Rate(learning_rate * factor, 0.9 if beta is None else beta))
    return all(holds(rate) for rate in rates)
