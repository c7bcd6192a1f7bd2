"""The next question is the one whose answer tells most of the user's row, if there is one.

Dimension letters: n new users, m items of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tabcf.contracts.selector import Answers, PastAnswers
from tabcf.recommend.onboarding.knowledge import Knowledge
from tabcf.recommend.onboarding.rankings import FixedOrder, by_score, popularity

__all__ = ["DOptimal"]


class DOptimal:
    """Greedy D-optimal design, times how likely the user knows the item.

    A rating shrinks the volume of what is believed of a user's row; the information gained is half
    the log of the factor by which the covariance's determinant falls (the D-criterion of optimal
    design: A. C. Atkinson, A. N. Donev and R. D. Tobias, *Optimum Experimental Designs, with SAS*,
    2007, chapter 10; for a factor model's users N. Rubens, D. Kaplan and M. Sugiyama in the
    *Recommender Systems Handbook*, 2011, chapter 23). A question about an unknown item gains
    nothing, so that the expected gain is the gain times the probability of an answer.

    Several questions at a time are chosen one after another, each as if the ones before it got the
    item's mean answer.

    Args:
        past: Training answers, with a gain.
        pool: Only so many of the most popular items are weighed; the rest comes behind them, by
            popularity.
        smoothing: How little a user is like any single training user, as `Knowledge` has it.
    """

    def __init__(self, past: PastAnswers, *, pool: int, smoothing: float) -> None:
        assert past.gain is not None
        self._gain = past.gain
        counts = popularity(past)
        places = np.lexsort([-counts])[:pool]
        self._pool = [past.items[place] for place in places]
        self._column = {item: column for column, item in enumerate(self._pool)}
        self._knowledge = Knowledge(past, places, smoothing=smoothing)
        sums = np.bincount(past.item, weights=past.value, minlength=len(past.items))
        overall = past.value.mean() if len(past.value) else 0.0
        means = np.where(counts > 0, sums / counts.clip(1), overall)
        self._mean = dict(zip(self._pool, means[places].tolist(), strict=True))
        # A model of choices learns nothing from a dislike.
        is_implicit = past.target.kind == "implicit"
        self._learnt = means[places] if is_implicit else np.ones(len(places))
        self._behind: FixedOrder = by_score(past, counts)

    def select(self, k: int, asked: Sequence[Any], answers: Answers) -> list[Any]:
        return self.select_many(k, [asked], [answers])[0]

    def select_many(
        self, k: int, asked: Sequence[Sequence[Any]], answers: Sequence[Answers]
    ) -> list[list[Any]]:
        knows = np.zeros((len(asked), len(self._pool)), dtype=bool)
        knows_not = np.zeros_like(knows)
        for user, (items, own) in enumerate(zip(asked, answers, strict=True)):
            for item, answer in zip(items, own, strict=True):
                if item in self._column:
                    (knows_not if answer is None else knows)[user, self._column[item]] = True
        probability = self._knowledge(knows, knows_not) * self._learnt
        is_done = knows | knows_not
        chosen: list[list[Any]] = [[] for _ in asked]
        for _ in range(min(k, len(self._pool))):
            gain = self._gain(*self._as_if_answered(asked, answers, chosen), self._pool)
            score = np.where(is_done, -np.inf, probability * gain)
            for user, column in enumerate(score.argmax(1).tolist()):
                if not is_done[user, column]:
                    is_done[user, column] = True
                    chosen[user].append(self._pool[column])
        return [
            found + self._behind.select(k - len(found), [*items, *found], ())
            for items, found in zip(asked, chosen, strict=True)
        ]

    def _as_if_answered(
        self,
        asked: Sequence[Sequence[Any]],
        answers: Sequence[Answers],
        chosen: Sequence[Sequence[Any]],
    ) -> tuple[list[list[Any]], list[list[float | None]]]:
        """The interviews with the chosen questions behind, each with its item's mean answer."""
        items = [[*own, *more] for own, more in zip(asked, chosen, strict=True)]
        values = [
            [*own, *(self._mean[item] for item in more)]
            for own, more in zip(answers, chosen, strict=True)
        ]
        return items, values
