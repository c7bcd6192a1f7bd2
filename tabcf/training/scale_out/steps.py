"""Steps that several processes take together, each with some rows of every batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tabcf.nn.rows import RowTable
from tabcf.training.objectives import Objective
from tabcf.training.optimiser import Piece
from tabcf.training.scale_out.group import Group, gone_noticed
from tabcf.training.scale_out.norms import Filling
from tabcf.training.scale_out.parts import Part, part_of
from tabcf.training.steps import Optimiser, Rate, one_by_one, single
from tabcf.training.store.optimiser import StoreOptimiser
from tabcf.training.store.rows import RowUpdate

__all__ = ["RankOptimiser", "RankSteps", "averaged"]


class RankOptimiser(StoreOptimiser):
    """The same over this process' rows of its tables, with norms of gradients over all of them.

    Args:
        group: The processes.
        pieces: All that is trained, of tables what this process has of them.
        tables: Those that are spread over the processes.
        update: How their touched rows are updated.
    """

    def __init__(
        self,
        group: Group,
        pieces: Sequence[Piece],
        tables: Iterable[RowTable],
        *,
        update: RowUpdate,
    ) -> None:
        super().__init__(pieces, tables, update=update)
        self._group = group

    def squares(self, tables: Sequence[RowTable]) -> float:
        """Sum of squares of these tables' gradients, over all processes."""
        return float(self._group.sum(torch.tensor(super().squares(tables), dtype=torch.float64)))


class _Lowered(nn.Module):
    """An objective as a module, for DDP, which averages the gradients of what goes through one.

    Only what every process has a copy of is a parameter of it.
    """

    def __init__(self, objective: Objective, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self.copied = nn.ParameterList(parameters)
        self._objective = objective

    def forward(self, batch: Any) -> Tensor:
        return self._objective.loss(batch)


def averaged(
    objective: Objective, parameters: Iterable[nn.Parameter], shared: Iterable[nn.Parameter]
) -> Callable[[Any], Tensor]:
    """An objective's loss of a batch, whose gradients are the mean over all processes.

    Args:
        objective: What is lowered.
        parameters: All that is trained.
        shared: Those among them of which each process has a part, and no copy.
    """
    own = {id(parameter) for parameter in shared}
    copied = [p for p in parameters if p.requires_grad and id(p) not in own]
    if not copied:
        return objective.loss
    # What the first step uses is what all steps use, which is also how unused weights are found.
    return DistributedDataParallel(_Lowered(objective, copied), static_graph=True)


@dataclass(frozen=True, slots=True)
class RankSteps:
    """Forward, backward and update by torch, of each process' rows of the same batches.

    Attributes:
        group: The processes.
        objective: Draws the batches, the same ones everywhere.
        lowered: Gives the loss of some rows, with gradients that are the mean of all processes'.
        clip_norm: Gradients are scaled down to this norm.
        clipped: Each of these on its own.
    """

    group: Group
    objective: Objective
    lowered: Callable[[Any], Tensor]
    optimiser: Optimiser
    filling: Filling
    clip_norm: float | None = None
    clipped: Sequence[nn.Module] = ()

    @property
    def n_steps(self) -> int:
        return self.objective.n_steps

    def epoch(
        self, rates: Sequence[Rate], rng: Generator, *, skip: int = 0
    ) -> Iterator[Sequence[float]]:
        """One step at a time."""
        return one_by_one(self.objective, rates, rng, skip, self._take)

    def _take(self, batch: Any, rate: Rate) -> float:
        is_own = isinstance(batch, Part)
        part = batch if is_own else part_of(batch, self.group.rank, self.group.size)
        self.filling.is_blank = part.is_blank
        with gone_noticed():
            loss = single(self.lowered(part.batch))
            value = float(self.group.sum(loss.detach().double() * part.share))
            if math.isfinite(value):
                # DDP takes the mean over processes, which is to be the sum of their shares.
                (loss * (part.share * self.group.size)).backward()
                if self.clip_norm is not None:
                    for module in self.clipped:
                        self.optimiser.clip(module.parameters(), self.clip_norm)
                self.optimiser.step(rate.learning_rate, beta1=rate.beta1)
        return value

    def settle(self) -> None:
        """Have the optimiser catch up with rows that it did not touch."""
        self.optimiser.settle()

    def state(self) -> dict[str, Tensor]:
        """The optimiser's."""
        return self.optimiser.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.optimiser.load_state(state)
