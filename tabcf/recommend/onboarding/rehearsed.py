"""The questions that served training users best, in interviews rehearsed with them.

Dimension letters: n interviews, Q items that may be asked about.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tabcf.contracts.selector import PastAnswers, Rehearsal
from tabcf.recommend.onboarding.nodes import BRANCHES, Branch, Node, Walk
from tabcf.recommend.onboarding.rankings import FixedOrder, by_score, popularity

__all__ = ["Rehearsed"]

# What is below a node, the branch that leads there, and the interviews that took it.
_Group = tuple[dict[Branch, Node | None], Branch, np.ndarray]


class Rehearsed(Walk):
    """Greedy: each question is the one whose answer helped most, "don't know" helping nobody.

    What is counted is the run's own metric after its own fold-in, on what training users had not
    answered with, so that an item that everybody praises, or hardly anybody knows, is not asked
    about. Greedy sets of items for all users are in N. Golbandi, Y. Koren and R. Lempel, *On
    bootstrapping recommender systems*, CIKM 2010; here an answer, or none, leads to a next question
    of its own, chosen by the interviews that went the same way, drawn towards all of them.

    Args:
        past: Training answers, with a rehearsal.
        depth: Questions that are rehearsed. Behind them the items come that helped most in the end,
            then all others by popularity.
        pool: So many of the most popular items may be asked about.
        interviews: How many are rehearsed.
        strength: All interviews count as so many times their number beside those that went the
            same way.
        like: An answer of at least this is a like; the mean of all answers by default.
    """

    def __init__(
        self,
        past: PastAnswers,
        *,
        depth: int,
        pool: int,
        interviews: int,
        strength: float,
        like: float | None,
    ) -> None:
        assert past.rehearse is not None
        if like is None:
            like = float(past.value.mean()) if len(past.value) else 0.0
        rehearsal = past.rehearse(pool, interviews)
        growing = _Growing(rehearsal, like, strength)
        root = growing.root(depth)
        order = [rehearsal.items[column] for column in np.argsort(-growing.last, kind="stable")]
        known = set(order)
        rest = by_score(past, popularity(past)).select(len(past.items), (), ())
        behind = FixedOrder([*order, *(item for item in rest if item not in known)])
        super().__init__(root, like, behind)


class _Growing:
    """All branches together, one question at a time.

    Attributes:
        last: `(Q,)` how much each item helped on average, when it was looked at last.
    """

    def __init__(self, rehearsal: Rehearsal, like: float, strength: float) -> None:
        self._rehearsal = rehearsal
        answers = rehearsal.answers
        self._strength = strength * len(answers)
        with np.errstate(invalid="ignore"):
            likes = answers >= like
        # By place in `BRANCHES`.
        self._branch = np.where(np.isnan(answers), 2, np.where(likes, 0, 1))
        self._was_asked = np.zeros(answers.shape, dtype=bool)
        self.last = np.zeros(answers.shape[1])

    def root(self, depth: int) -> Node | None:
        n, n_items = self._rehearsal.answers.shape
        if not n or not n_items:
            return None
        top: dict[Branch, Node | None] = {}
        groups: list[_Group] = [(top, BRANCHES[0], np.arange(n))]
        for _ in range(min(depth, n_items)):
            columns = np.full(n, -1)
            below: list[_Group] = []
            for (above, branch, interviews), column in zip(groups, self._best(groups), strict=True):
                node = above[branch] = Node(self._rehearsal.items[column], {})
                columns[interviews] = column
                self._was_asked[interviews, column] = True
                for part, own in self._parts(interviews, column):
                    node.below[part] = None
                    below += [(node.below, part, own)] if len(own) else []
            self._rehearsal.ask(columns)
            groups = below
        return top[BRANCHES[0]]

    def _best(self, groups: list[_Group]) -> list[int]:
        """The column of the best question of each group."""
        gains = self._rehearsal.gains()
        gains[self._was_asked] = 0.0
        n_open = (~self._was_asked).sum(0)
        self.last = gains.sum(0) / n_open.clip(1)
        found = []
        for _, _, interviews in groups:
            total = gains[interviews].sum(0) + self._strength * self.last
            score = total / (len(interviews) + self._strength)
            score[self._was_asked[interviews[0]]] = -np.inf
            found.append(int(score.argmax()))
        return found

    def _parts(self, interviews: np.ndarray, column: int) -> Iterator[tuple[Branch, np.ndarray]]:
        """The interviews by what was said."""
        said = self._branch[interviews, column]
        for place, branch in enumerate(BRANCHES):
            yield branch, interviews[said == place]
