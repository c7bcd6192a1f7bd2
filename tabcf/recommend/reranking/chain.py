"""Re-rankers one behind the other, and what lists come to by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.reranking import Pool, Rerank
from tabcf.data.batches import select
from tabcf.errors import DataError
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.reranking.facts import ItemFacts, UserFacts
from tabcf.recommend.topk import Lists

__all__ = ["Reranking", "Step", "UserSide"]

# Users at a time: a pool of 100 items by 1,000 values of an attribute takes 50 MB.
_USERS = 64


@dataclass(frozen=True, slots=True)
class Step:
    """One re-ranker.

    Attributes:
        name: What it is called.
        rerank: What it does with a pool.
        n: How many of a list's first items it looks at; the others drop out.
        explores: Whether it leaves something to chance and says how likely each place was.
        seed: Where its draws come from; the run's seed if None.
    """

    name: str
    rerank: Rerank
    n: int
    explores: bool = False
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Reranking:
    """Re-rankers in the order in which they are applied.

    Attributes:
        steps: At least one; only the last may explore.
        fold_in: Gives what finds a user's row, None for a model without such rows.

    Raises:
        DataError: Another re-ranker stands behind one that explores.
    """

    steps: tuple[Step, ...]
    fold_in: Callable[[], FoldIn | None] = lambda: None

    def __post_init__(self) -> None:
        """Refuse what would make propensities untrue."""
        for step in self.steps[:-1]:
            if step.explores:
                raise DataError(
                    f"rerank: {step.name} says how likely each item was to come to its place, "
                    "which another re-ranker behind it would change; name it last"
                )

    @property
    def n(self) -> int:
        """How many of a model's first items are looked at."""
        return self.steps[0].n

    @property
    def explores(self) -> bool:
        """Whether anything is left to chance."""
        return self.steps[-1].explores

    def reranked(
        self,
        blocks: Iterable[Lists],
        items: ItemFacts,
        users: UserSide,
        *,
        k: int,
        n: int,
    ) -> Iterator[Lists]:
        """Lists in their new order, with the scores that the model gave.

        Args:
            blocks: The model's lists.
            items: What is known of the items.
            users: Whose lists they are.
            k: Length that is asked for.
            n: Length of what is given back: k, or more where some of it is left out later.
        """
        rngs = [
            Generator().manual_seed(items.trained.seed if step.seed is None else step.seed)
            for step in self.steps
        ]
        for block in blocks:
            for own in torch.arange(len(block.columns)).split(_USERS):
                at = slice(block.users.start + int(own[0]), block.users.start + int(own[-1]) + 1)
                facts = users.facts(items, at)
                part = Lists(at, block.columns[own], block.scores[own])
                yield self._reranked(part, facts, rngs, k=k, n=n)

    def _reranked(
        self, lists: Lists, facts: UserFacts, rngs: list[Generator], *, k: int, n: int
    ) -> Lists:
        is_empty = lists.columns < 0
        scores = lists.scores.double().masked_fill(is_empty, -torch.inf)
        pool = Pool(lists.columns, scores, facts, k)
        for step, rng in zip(self.steps, rngs, strict=True):
            pool = pool.first(max(step.n, k))
            n_given = pool.columns.shape[1]
            width = min(n, n_given) if step is self.steps[-1] else n_given
            pool = step.rerank(pool, width, rng).first(width)
        return Lists(lists.users, pool.columns, _scores_of(lists, pool.columns), pool.propensities)


@dataclass(frozen=True, slots=True)
class UserSide:
    """Whose lists are put into another order: rows, columns and events of U users."""

    rows: np.ndarray
    inputs: Inputs
    events: Inputs

    def facts(self, items: ItemFacts, users: slice) -> UserFacts:
        """What is known of some of them."""
        own = torch.arange(users.start, users.stop)
        return UserFacts(
            items, self.rows[users], select(self.inputs, own), select(self.events, own)
        )


def _scores_of(lists: Lists, columns: Tensor) -> Tensor:
    """The scores that the model gave to items that now stand elsewhere."""
    is_same = columns.unsqueeze(2) == lists.columns.unsqueeze(1)
    return lists.scores.gather(1, is_same.to(torch.int8).argmax(2))
