"""Several processes that train one model, by `torch.distributed`.

Every process draws the same batches and takes some rows of each. Tables that one process would
update by touched rows are spread over the processes by rows, with the state of their updates; of
all other weights every process has a copy, and DDP averages the gradients.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tabcf.errors import SpecError
from tabcf.nn.members import Ensemble
from tabcf.nn.rows import RowTable
from tabcf.training.engine import Engine, chosen_tables
from tabcf.training.ensemble import in_one_pass
from tabcf.training.kept import GROUPS_OF_WEIGHTS
from tabcf.training.objectives import Objective, PointwiseObjective
from tabcf.training.optimiser import AdamW, Piece
from tabcf.training.scale_out import states
from tabcf.training.scale_out.exchange import Spread, own_rows
from tabcf.training.scale_out.group import Group
from tabcf.training.scale_out.norms import Filling, by_whole_batch
from tabcf.training.scale_out.own import OwnRows
from tabcf.training.scale_out.seam import How
from tabcf.training.scale_out.shards import Shards
from tabcf.training.scale_out.steps import RankOptimiser, RankSteps, averaged
from tabcf.training.steps import Optimiser
from tabcf.training.store.choice import tables_of, why_dense
from tabcf.training.store.rows import RowUpdate

__all__ = ["TogetherRanks"]

_Value = TypeVar("_Value")
_ABOUT = "about.json"
# What a touched-row update keeps of each row.
_OF_ROWS = ("moments", "square", "last")


class TogetherRanks:
    """This process as one of several.

    Args:
        group: All of them.
    """

    ending = ".ranks"

    def __init__(self, group: Group) -> None:
        self._group = group
        self._shards = Shards(group, [])
        self._names: Mapping[str, int] = {}

    @property
    def rank(self) -> int:
        return self._group.rank

    @property
    def size(self) -> int:
        return self._group.size

    @contextmanager
    def wrap(
        self, objective: Objective, model: nn.Module, loss: nn.Module, how: How
    ) -> Iterator[Engine]:
        """Steps that all take together.

        Raises:
            SpecError: What is asked for goes with one process alone.
        """
        _check(objective, model, how)
        pieces = how.decays(model)
        lowered, clipped = objective, [model]
        if isinstance(model, Ensemble):
            lowered, clipped = in_one_pass(objective, model), list(model.members)
        tables = _spread_tables(lowered, pieces, how)
        # Before anything is drawn in training, such as dropout, and after the weights were.
        torch.manual_seed(torch.initial_seed() + self.rank)
        shards = self._shards = Shards(self._group, tables)
        spread = shards.names(model)
        self._names = _names(tables, spread)
        # A state may be gone on from by fewer or more processes, so it does not say how many.
        note = "eager: processes share the rows of every batch"
        if isinstance(objective, OwnRows):
            note = f"eager: each process has training rows of its own; processes: {self.size}"
        optimiser: Optimiser
        own = shards.pieces(pieces)
        if tables:
            rule: RowUpdate = how.update if how.update in ("lazy", "adagrad") else "replay"
            optimiser = RankOptimiser(self._group, own, tables, update=rule)
            rows = ", ".join(f"{n:,}" for n in sorted(spread.values()))
            note = f"{note}, and tables of {rows} rows; touched rows by {rule}"
        else:
            optimiser = AdamW(own)
        filling = Filling()
        parameters = {id(piece.parameter): piece.parameter for piece in pieces}.values()
        with by_whole_batch(model, self._group, filling):
            steps = RankSteps(
                self._group,
                lowered,
                averaged(lowered, parameters, tables),
                optimiser,
                filling,
                how.clip_norm,
                clipped,
            )
            yield Engine(steps, note)
        shards.put_together()
        self._shards, self._names = Shards(self._group, []), {}

    def first(self, work: Callable[[], _Value]) -> _Value:
        with self._shards.whole() if self._shards.tables else nullcontext():
            return self._group.first(work)

    def told(self, value: _Value) -> _Value:
        return self._group.told(value)

    def sum(self, counts: np.ndarray) -> np.ndarray:
        total: np.ndarray = self._group.sum(torch.from_numpy(counts.copy())).numpy()
        return total

    def all(self, value: _Value) -> Sequence[_Value]:
        return self._group.all(value)

    def dealt(self, values: Sequence[_Value] | None) -> _Value:
        return self._group.dealt(values)

    def collected(self, own: Iterator[_Value], owners: Sequence[int]) -> Iterator[_Value]:
        return self._group.collected(own, owners)

    def save(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any], path: Path) -> None:
        """Keep a state as a folder, to which each process writes a file."""
        size, scratch = self._group.size, path.with_suffix(".scratch")
        if self.rank == 0:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            (scratch / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        self._group.wait()
        named = {_own_name(name, self.rank): value for name, value in tensors.items()}
        n_rows = {
            name: n
            for name, n in self._names.items()
            if name in named and len(named[name]) == _length(own_rows(n, self.rank, size))
        }
        states.save(named, n_rows, scratch)
        if self.rank == 0:
            for file in scratch.iterdir():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            scratch.replace(path)
        self._group.wait()

    def load(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
        found = states.load(self._group, path, self._names)
        own = {
            _plain_name(name): value
            for name, value in found.items()
            if _own_name(_plain_name(name), self.rank) == name
        }
        # Processes that were not there have drawn nothing yet.
        own.setdefault("torch.cpu", torch.get_rng_state())
        return own, about


def _check(objective: Objective, model: nn.Module, how: How) -> None:
    """Raise for what several processes cannot do.

    Raises:
        SpecError: Says what, and what else to do.
    """
    if how.engine == "fused":
        raise SpecError(
            ["train.engine: fused steps are taken by one process; leave it out with train.workers"]
        )
    if how.acceleration.setting is not None:
        raise SpecError(
            [f"{how.acceleration.setting}: goes with one process; leave it out with train.workers"]
        )
    devices = {parameter.device.type for parameter in model.parameters()}
    if devices - {"cpu"}:
        raise SpecError(
            [
                f"train.workers: several processes train on the CPU, and train.device is "
                f"{devices.pop()}; set it to cpu"
            ]
        )
    if not isinstance(objective, PointwiseObjective):
        return
    if objective.l2 and objective.table.weight is not None:
        raise SpecError(
            ["train.l2: does not go with weights of events and train.workers; use weight_decay"]
        )


def _spread_tables(objective: Objective, pieces: Sequence[Piece], how: How) -> list[RowTable]:
    """The tables that are spread: those of touched rows, and those of so many rows.

    Of other large tables every step would send the whole gradient.
    """
    found = chosen_tables(how.update, objective, pieces, how.schedule, how.learning_rate)
    if how.spread_rows is None:
        return found
    large = [t for t in tables_of(pieces) if len(t) >= how.spread_rows and not _in(t, found)]
    if large:
        reason = "train.update is dense" if how.update == "dense" else None
        reason = reason or why_dense(pieces, how.schedule, how.learning_rate, update=how.update)
        if reason is not None:
            raise SpecError([f"train.shard: only touched rows can be spread, but {reason}"])
    return [table for table in tables_of(pieces) if _in(table, found) or _in(table, large)]


def _in(table: RowTable, tables: Sequence[RowTable]) -> bool:
    """Whether it is one of them; `in` would compare numbers."""
    return any(table is other for other in tables)


def _names(tables: Sequence[RowTable], spread: Mapping[str, int]) -> dict[str, int]:
    """The names that parts of tables have in a state, with the number of rows of the whole."""
    found = {f"{group}model.{name}": n for name, n in spread.items() for group in GROUPS_OF_WEIGHTS}
    for number, table in enumerate(tables):
        assert isinstance(table.holder, Spread)
        found |= {f"steps.{number}.{name}": table.holder.n_rows for name in _OF_ROWS}
    return found


def _own_name(name: str, rank: int) -> str:
    """A tensor's name among those of all processes; each has random generators of its own."""
    return f"torch.{rank}.{name.removeprefix('torch.')}" if name.startswith("torch.") else name


def _plain_name(name: str) -> str:
    """The name without the number of the process."""
    if not name.startswith("torch."):
        return name
    _, _, rest = name.split(".", 2)
    return f"torch.{rest}"


def _length(rows: slice) -> int:
    length: int = rows.stop - rows.start
    return length
