"""Recommenders that take part in a simulation.

Dimension letters: U users, I items, K places of a list, M interactions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from tabcf.training.closed_form import ease_weights

__all__ = [
    "Learn",
    "PopularPolicy",
    "RandomPolicy",
    "Rerank",
    "Reranked",
    "ScoresPolicy",
    "ease_scores",
    "top_lists",
]

# From users and items of all interactions, `(M,)` each, to scores `(U, I)`.
Learn = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
# From scores `(U, I)`, what was seen `(U, I)`, and K to lists `(U, K)`.
Rerank = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


class RandomPolicy:
    """Any items that a user has not had, all being as likely."""

    def learn(self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> None:
        """Nothing."""

    def lists(self, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        """`(U, k)` items."""
        return top_lists(rng.random(seen.shape), seen, k, rng)


class PopularPolicy:
    """The items that were chosen most often, and that a user has not had."""

    def __init__(self) -> None:
        self._items = np.zeros(0, dtype=np.int64)

    def learn(self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> None:
        """Keep what was chosen."""
        self._items = items

    def lists(self, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        """`(U, k)` items; equally popular ones in the same random order for everyone."""
        counts = np.bincount(self._items, minlength=seen.shape[1])
        scores = counts + rng.random(len(counts))
        return top_lists(np.broadcast_to(scores, seen.shape), seen, k, rng)


class ScoresPolicy:
    """The items with the highest scores.

    Attributes:
        scores: `(U, I)`, of the last round.

    Args:
        learn: Gives scores from interactions; called once a round.
    """

    def __init__(self, learn: Learn) -> None:
        self._learn = learn
        self.scores = np.zeros((0, 0))

    def learn(self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> None:
        """Score all pairs."""
        self.scores = self._learn(users, items, rng)

    def lists(self, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        """`(U, k)` items; ties in random order."""
        return top_lists(self.scores, seen, k, rng)


class Reranked:
    """Another policy's scores, put into lists by something else than their order.

    Args:
        policy: What scores.
        rerank: What makes lists, of items not seen, of scores.
    """

    def __init__(self, policy: ScoresPolicy, rerank: Rerank) -> None:
        self._policy = policy
        self._rerank = rerank

    def learn(self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> None:
        """As the other policy learns."""
        self._policy.learn(users, items, rng)

    def lists(self, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        """`(U, k)` items."""
        return self._rerank(self._policy.scores, seen, k)


def top_lists(scores: np.ndarray, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """`(U, k)` items with the highest scores, none seen, ties in random order; -1 where none.

    Example:
        >>> seen = np.array([[True, False, False]])
        >>> top_lists(np.array([[3.0, 1.0, 2.0]]), seen, 3, np.random.default_rng(0))
        array([[ 2,  1, -1]])
    """
    order = np.argsort(rng.random(scores.shape), axis=1)
    shuffled = np.take_along_axis(np.where(seen, -np.inf, scores), order, axis=1)
    places = np.argsort(-shuffled, axis=1, kind="stable")[:, :k]
    lists = np.take_along_axis(order, places, axis=1)
    lists[np.take_along_axis(seen, lists, axis=1)] = -1
    return np.pad(lists, ((0, 0), (0, k - lists.shape[1])), constant_values=-1)


def ease_scores(n_users: int, n_items: int, *, l2: float = 10.0) -> Learn:
    """EASE (Steck, 2019) on the matrix of interactions, as `learn` of a `ScoresPolicy`.

    Args:
        n_users: U.
        n_items: I.
        l2: Ridge; low by default, for the small populations that are simulated without a run.
    """

    def learn(users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        had = torch.zeros(n_users, n_items, dtype=torch.float64)
        had[torch.from_numpy(users), torch.from_numpy(items)] = 1.0
        gram = had.T @ had
        scores: np.ndarray = (had @ ease_weights(gram, torch.full((n_items,), l2))).numpy()
        return scores

    return learn
