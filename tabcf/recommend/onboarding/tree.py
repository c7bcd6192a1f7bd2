"""Questions as a decision tree: each next item follows from what was said of the ones before.

Dimension letters: U training users, Q items that may be asked about, I items that are predicted.
"""

from __future__ import annotations

import numpy as np

from tabcf.contracts.selector import PastAnswers, Selector
from tabcf.recommend.onboarding.nodes import Branch, Node, Walk
from tabcf.recommend.onboarding.rankings import popularity

__all__ = ["Tree"]

# Training users and items to predict that the tree is learnt from at most: 3 matrices of 40 MB.
_MOST_USERS, _MOST_ITEMS = 5_000, 2_000
# An item's mean among a node's users counts n / (n + 10), and its mean in the node above the rest.
_STRENGTH = 10.0


class Tree(Walk):
    """A tree with the branches like, dislike and "don't know" (Golbandi, Koren and Lempel, 2011).

    Each node's item is the one whose three branches leave the least squared error when every rating
    is predicted by its item's mean among the branch's users, drawn towards the mean in the node
    above. What an implicit target predicts is who likes an item, not to have it being a 0.

    N. Golbandi, Y. Koren and R. Lempel, *Adaptive bootstrapping of recommender systems using
    decision trees*, WSDM 2011.

    Args:
        past: Training answers.
        depth: Questions from the root to a leaf.
        pool: Only so many of the most popular items may be asked about.
        least_users: A node with fewer training users is a leaf.
        like: An answer of at least this is a like; the mean of all answers by default.
        behind: Who asks behind the leaves.
    """

    def __init__(
        self,
        past: PastAnswers,
        *,
        depth: int,
        pool: int,
        least_users: int,
        like: float | None,
        behind: Selector,
    ) -> None:
        if like is None:
            like = float(past.value.mean()) if len(past.value) else 0.0
        super().__init__(_Growing(past, like, pool, least_users).root(depth), like, behind)


class _Growing:
    """Training answers as matrices, and the nodes that they come to."""

    def __init__(self, past: PastAnswers, like: float, pool: int, least_users: int) -> None:
        n_users = min(past.n_users, _MOST_USERS)
        drawn = np.random.default_rng(past.seed).permutation(past.n_users)[:n_users]
        order = np.lexsort([-popularity(past)])
        known = np.unique(past.item)
        order = order[np.isin(order, known)]
        number, column = np.full(past.n_users, -1), np.full(len(past.items), -1)
        number[drawn] = np.arange(n_users)
        column[order[:_MOST_ITEMS]] = np.arange(len(order[:_MOST_ITEMS]))
        user, item = number[past.user], column[past.item]
        is_used = (user >= 0) & (item >= 0)
        user, item, value = user[is_used], item[is_used], past.value[is_used].astype(np.float32)
        shape = (n_users, int(column.max(initial=-1)) + 1)
        # Which answers are to be predicted, and what they are.
        self._is_there = np.zeros(shape, dtype=np.float32)
        self._is_there[user, item] = 1.0
        self._value = np.zeros(shape, dtype=np.float32)
        self._value[user, item] = value
        likes = np.zeros(shape, dtype=np.float32)
        likes[user, item] = value >= like
        self._likes = likes[:, :pool]
        self._dislikes = self._is_there[:, :pool] - self._likes
        if past.target.kind == "implicit":
            self._is_there = np.ones(shape, dtype=np.float32)
        else:
            # Errors are the same about any centre, and rounding is least about the middle.
            self._value -= self._is_there * value.mean() if len(value) else 0.0
        self._items = [past.items[place] for place in order[:pool]]
        self._least_users = least_users

    def root(self, depth: int) -> Node | None:
        counts, sums = self._is_there.sum(0), self._value.sum(0)
        mean = sums / counts.clip(1)
        return self._node(np.arange(len(self._value)), mean, depth, frozenset())

    def _node(
        self, users: np.ndarray, above: np.ndarray, depth: int, asked: frozenset[int]
    ) -> Node | None:
        """The best question for some users, and the nodes below; None for a leaf.

        Args:
            users: Numbers of training users.
            above: `(I,)` each item's mean in the node above.
            depth: Questions that may still come.
            asked: Columns of the items on the way here.
        """
        if depth == 0 or len(users) < max(self._least_users, 2) or not self._items:
            return None
        answers = self._sums(np.ones((len(users), 1), dtype=np.float32), users)
        before, mean = _error(answers, above)
        liked = self._sums(self._likes[users], users)
        disliked = self._sums(self._dislikes[users], users)
        unknown = tuple(a - b - c for a, b, c in zip(answers, liked, disliked, strict=True))
        parts = [_error(part, mean[0])[0] for part in (liked, disliked, unknown)]
        error = np.sum(parts, axis=0)
        error[list(asked)] = np.inf
        best = int(error.argmin())
        if error[best] >= before[0]:
            return None
        likes, dislikes = self._likes[users, best] > 0, self._dislikes[users, best] > 0
        branches: dict[Branch, np.ndarray] = {
            "like": likes,
            "dislike": dislikes,
            "unknown": ~(likes | dislikes),
        }
        below = {
            branch: self._node(users[is_there], mean[0], depth - 1, asked | {best})
            for branch, is_there in branches.items()
        }
        return Node(self._items[best], below)

    def _sums(self, groups: np.ndarray, users: np.ndarray) -> tuple[np.ndarray, ...]:
        """`(G, I)` numbers, sums and squares of the answers of each of `(U, G)` groups of users."""
        there, value = self._is_there[users], self._value[users]
        return groups.T @ there, groups.T @ value, groups.T @ (value * value)


def _error(sums: tuple[np.ndarray, ...], above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(G,)` squared errors about means that are drawn towards those above, and `(G, I)` these."""
    count, total, square = sums
    mean = (total + _STRENGTH * above) / (count + _STRENGTH)
    error = (square - 2 * mean * total + mean * mean * count).sum(1, dtype=np.float64)
    return error, mean
