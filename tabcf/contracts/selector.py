"""Who chooses which items a new user is asked about, and what that is learnt from.

Dimension letters: U training users, I items, N answers of training users, n new users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tabcf.contracts.target import TargetInfo

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Answers", "Gain", "PastAnswers", "Rehearsal", "Selector", "SelectsForMany"]

# One answer a question, in the order of the questions; None where a user does not know the item.
Answers = Sequence[float | None]
# How much answers would tell: of n users' questions, their answers, and m ids, `(n, m)` nats.
Gain = Callable[[Sequence[Sequence[Any]], Sequence[Answers], Sequence[Any]], "np.ndarray"]


class Selector(Protocol):
    """Chooses the next questions of an interview."""

    def select(self, k: int, asked: Sequence[Any], answers: Answers) -> Sequence[Any]:
        """Up to k ids of items that were not asked about, the best question first.

        Args:
            k: How many.
            asked: Ids of the items that the user was asked about, in order.
            answers: What they said.
        """


@runtime_checkable
class SelectsForMany(Protocol):
    """Chooses for many users at once, which is faster than one by one."""

    def select_many(
        self, k: int, asked: Sequence[Sequence[Any]], answers: Sequence[Answers]
    ) -> Sequence[Sequence[Any]]: ...


class Rehearsal(Protocol):
    """Interviews with training users, whose rows are found from their answers alone.

    Half of a user's events is what they can answer; by the other half it is judged how well they
    are served.

    Dimension letters: n interviews, Q items that may be asked about.

    Attributes:
        items: Q ids.
        answers: `(n, Q)` what each would say; NaN where they do not know the item.
    """

    items: Sequence[Any]
    answers: np.ndarray

    def gains(self) -> np.ndarray:
        """`(n, Q)` float64: how much better each would be served after one more answer.

        In NDCG@10 of lists, or in RMSE of predictions where the target is a number; 0 where the
        item is not known.
        """

    def ask(self, columns: np.ndarray) -> None:
        """Ask each about one item `(n,)` by its column; -1 for no question."""


@dataclass(frozen=True, slots=True)
class PastAnswers:
    """What training users said of items; each pair once.

    Answers are numbers: the rating, or 1 and 0 for the positive class and the other one, for like
    and dislike.

    Attributes:
        items: I ids: all that may be asked about, those without training events too.
        n_users: U.
        user: `(N,)` int64 in `range(U)`.
        item: `(N,)` int64: the answer's place in `items`.
        value: `(N,)` float64.
        target: What the run predicts. Where it is implicit, not to have an item says something too.
        seed: Where a selector's draws come from.
        gain: How much new users' answers would tell of their rows, in nats, from the posterior of
            fold-in; None where the model has no rows to find.
        rehearse: Starts interviews with training users: how many of the most popular items may be
            asked about, and how many interviews; None as `gain` is.
    """

    items: Sequence[Any]
    n_users: int
    user: np.ndarray
    item: np.ndarray
    value: np.ndarray
    target: TargetInfo
    seed: int = 0
    gain: Gain | None = None
    rehearse: Callable[[int, int], Rehearsal] | None = None
