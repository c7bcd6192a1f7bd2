"""What a fused step sees of a training: rows of one table, and blocks of events that use them.

Which trainings can be seen so is said in `tabcf.training.engine`.

Dimension letters: E events of a block, N items drawn for each event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.table import Table
from tabcf.data.batches import gather, hidden
from tabcf.data.order import shuffled
from tabcf.losses import BPR, MAE, MSE, Huber
from tabcf.nn import DotProduct, DotProductBias
from tabcf.training.objectives import PointwiseObjective
from tabcf.training.ranking import SampledObjective

__all__ = ["FORMS", "Block", "Form", "PairProblem", "pair_problem"]

Form = Literal["mse", "mae", "huber", "bpr"]
# Exactly these classes: a subclass may compute something else.
FORMS: dict[type[nn.Module], Form] = {MSE: "mse", MAE: "mae", Huber: "huber", BPR: "bpr"}


class Block(NamedTuple):
    """Events of whole batches, one batch's behind the other's.

    Shape:
        ids: `(E, 2 + N)` int32 rows of the table: the user's (or the left column's), the item's,
            and those of items drawn for the event; -1 for one that does not count.
        target, weight: `(E,)` float32, or None.
    """

    ids: Tensor
    target: Tensor | None
    weight: Tensor | None


@dataclass(frozen=True, slots=True)
class PairProblem:
    """A training of one table whose rows are multiplied in pairs.

    Attributes:
        factors: `(R, D)`.
        biases: `(R, 1)`, or None.
        n_left: Rows of the first column; those of the second one follow.
        y_range: The outputs' range, reached by a sigmoid.
        form: The loss.
        delta: Where the Huber loss turns straight.
        l2: Factor of the squares of the rows that an event uses.
        batch_size: Events a step.
        n_events: Events an epoch.
        n_drawn: Items drawn for each event.
        blocks: An epoch's blocks.
    """

    factors: nn.Parameter
    biases: nn.Parameter | None
    n_left: int
    y_range: tuple[float, float] | None
    form: Form
    delta: float
    l2: float
    batch_size: int
    n_events: int
    n_drawn: int
    blocks: Callable[[Generator], Iterator[Block]]

    @property
    def n_steps(self) -> int:
        """Steps an epoch."""
        return -(-self.n_events // self.batch_size)


def pair_problem(objective: PointwiseObjective | SampledObjective) -> PairProblem:
    """The same training as the objective's, for one that can be fused."""
    model, loss = objective.model, objective.loss_module
    assert isinstance(model, DotProduct)
    l2, n_drawn = 0.0, 0
    if isinstance(objective, PointwiseObjective):
        l2 = objective.l2
        blocks = _rated_blocks(objective, model)
    else:
        n_drawn = objective.sampler.n
        blocks = _drawn_blocks(objective, model)
    return PairProblem(
        factors=model.factors,
        biases=model.biases if isinstance(model, DotProductBias) else None,
        n_left=model.cardinalities[0],
        y_range=model.y_range,
        form=FORMS[type(loss)],
        delta=loss.delta if isinstance(loss, Huber) else 1.0,
        l2=l2,
        batch_size=objective.batch_size,
        n_events=len(objective.table),
        n_drawn=n_drawn,
        blocks=blocks,
    )


def _starts(model: DotProduct) -> Tensor:
    """Where each column's rows begin."""
    return torch.tensor([0, model.cardinalities[0]], dtype=torch.int32)


def _rated_blocks(
    objective: PointwiseObjective, model: DotProduct
) -> Callable[[Generator], Iterator[Block]]:
    """The batches of a pointwise objective, from ids that are gathered once for each of its parts.

    Rows in memory are one part, also over all epochs.
    """
    starts = _starts(model)

    def pairs_of(table: Table) -> Tensor:
        """One number a pair: numbers are picked ten times as fast as rows of two."""
        ids = torch.empty(len(table), 2, dtype=torch.int32)
        if set(table.entities) == {"user", "item"}:  # whose ids the two columns are then
            for column, (name, entity) in enumerate(table.entities.items()):
                ids[:, column] = (entity.index + starts[column]).index_select(0, table.rows[name])
        else:
            torch.add(gather(table, torch.arange(len(table))).x_cat, starts, out=ids)
        return ids.view(torch.int64).squeeze(1)

    found = objective.table, None if objective.table.release else pairs_of(objective.table)

    def blocks(rng: Generator) -> Iterator[Block]:
        table, pairs = found
        order = shuffled(objective.table, objective.batch_size, rng, objective.chunks)
        for part, positions in order:
            if pairs is None or part is not table:
                table, pairs = part, pairs_of(part)
            ids = pairs.index_select(0, positions).view(torch.int32).view(-1, 2)
            if any(objective.masking):
                ids = torch.where(hidden(ids.shape, objective.masking, rng), starts, ids)
            target, weight = part.target, part.weight
            assert target is not None
            yield Block(
                ids,
                target.index_select(0, positions),
                None if weight is None else weight.index_select(0, positions),
            )

    return blocks


def _drawn_blocks(
    objective: SampledObjective, model: DotProduct
) -> Callable[[Generator], Iterator[Block]]:
    """The events of a sampled objective, with items drawn for a block at a time."""
    starts = _starts(model)
    entities = objective.table.entities
    user_ids = entities["user"].index + starts[model.user]
    item_ids = entities["item"].index.index_select(0, objective.catalogue.rows)
    item_ids = item_ids + starts[model.item]

    def blocks(rng: Generator) -> Iterator[Block]:
        order = shuffled(objective.table, objective.batch_size, rng, objective.chunks)
        for table, positions in order:
            own, drawn = objective.drawn(table, positions, rng)
            others = item_ids.index_select(0, drawn.columns.flatten()).view_as(drawn.columns)
            users = table.rows["user"].index_select(0, positions)
            pairs = user_ids.index_select(0, users), item_ids.index_select(0, own)
            ids = torch.stack([*pairs, *others.masked_fill(~drawn.is_valid, -1).unbind(1)], 1)
            weight = table.weight
            yield Block(ids, None, None if weight is None else weight.index_select(0, positions))

    return blocks
