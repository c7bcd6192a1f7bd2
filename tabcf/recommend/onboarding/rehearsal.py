"""Interviews with training users, as if the run had never seen them.

Dimension letters: n interviews, Q items that may be asked about, I items, P numbers of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabcf.contracts.selector import PastAnswers
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.onboarding.learning import Beliefs, Choices, Learning, Values
from tabcf.recommend.onboarding.outputs import outputs_of
from tabcf.recommend.onboarding.quality import Errors, Lists, Quality
from tabcf.recommend.onboarding.rankings import popularity

__all__ = ["Interviews"]

# Items that stand for the catalogue at most, the most popular ones.
_MOST_ITEMS = 3_000


class Interviews:
    """Training users who answer with half of their events and are judged by the other half.

    Their rows are found as fold-in finds those of new users, one step an answer, from nothing:
    their own trained rows are not looked at. What items are like was learnt from them too.

    Args:
        fold: What finds rows of new users.
        past: What training users said.
        pool: So many of the most popular items may be asked about.
        n: How many interviews; with more than there are users, each has several, with other halves.

    Attributes:
        items: Q ids, the most popular first.
        answers: `(n, Q)` float64 as selectors see answers; NaN where the item is not known.
    """

    def __init__(self, fold: FoldIn, past: PastAnswers, *, pool: int, n: int) -> None:
        counts = popularity(past)
        catalogue = np.lexsort([-counts])[: min(_MOST_ITEMS, int((counts > 0).sum()))]
        asked = catalogue[:pool]
        self.items: Sequence[Any] = [past.items[place] for place in asked]
        number = np.full(len(past.items), -1)
        number[catalogue] = np.arange(len(catalogue))
        owner, row, is_first = _halves(past, number[past.item] >= 0, n)
        item, value = number[past.item[row]], past.value[row]
        n = int(owner.max(initial=-1)) + 1
        self.answers = np.full((n, len(asked)), np.nan)
        is_asked = is_first & (item < len(asked))
        self.answers[owner[is_asked], item[is_asked]] = value[is_asked]
        outputs = outputs_of(fold, torch.from_numpy(catalogue + 1))
        self._beliefs = Beliefs(fold, n)
        self._encoded = self._as_targets(past)
        is_implicit = past.target.kind == "implicit"
        self._learning: Learning = Choices(outputs) if is_implicit else Values(fold, outputs)
        is_held = ~is_first
        self._quality: Quality
        if past.target.kind in ("rating", "regression"):
            self._quality = Errors(
                outputs,
                torch.from_numpy(owner[is_held]),
                torch.from_numpy(item[is_held]),
                torch.from_numpy(value[is_held]),
                n,
            )
        else:
            there = np.zeros((2, n, len(catalogue)), dtype=bool)
            is_liked = is_held & (value > 0.5)
            there[0, owner[is_liked], item[is_liked]] = True
            there[1, owner[is_first], item[is_first]] = True
            self._quality = Lists(outputs, *map(torch.from_numpy, there))

    def __len__(self) -> int:
        return len(self.answers)

    def gains(self) -> np.ndarray:
        """`(n, Q)` float64: how much better each would be served after the answer to one more item.

        The gain is in the metric that interviews are judged by: RMSE of numbers, NDCG@10 of lists.
        It is 0 where the item is not known.
        """
        users, items = torch.from_numpy(np.stack(np.nonzero(~np.isnan(self.answers))))
        steps = self._learning.steps(self._beliefs, users, items, self._encoded[users, items])
        everybody = torch.arange(len(self))
        before = self._quality(everybody, self._beliefs.mean)
        after = self._quality(users, self._beliefs.mean[users] + steps)
        gains = np.zeros(self.answers.shape)
        gains[users, items] = (after - before[users]).numpy()
        return gains

    def ask(self, columns: np.ndarray) -> None:
        """Ask each about one item `(n,)` by its column; -1 for no question."""
        everybody = np.arange(len(self))
        is_known = (columns >= 0) & ~np.isnan(self.answers[everybody, columns])
        users, items = (torch.from_numpy(a[is_known]) for a in (everybody, columns))
        if len(users):
            self._learning.learn(self._beliefs, users, items, self._encoded[users, items])

    def quality(self) -> float:
        """The mean metric as it stands: NDCG@10, or minus the RMSE."""
        return float(self._quality(torch.arange(len(self)), self._beliefs.mean).mean())

    def _as_targets(self, past: PastAnswers) -> Tensor:
        """The answers as the loss has them."""
        values = torch.from_numpy(self.answers).nan_to_num()
        if past.target.kind in ("rating", "regression"):
            values = (values - past.target.center[0]) / past.target.scale[0]
        return values


def _halves(
    past: PastAnswers, is_usable: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of past answers by interview: whose each is, which row, and if it is answered with.

    Users with fewer than two usable answers are left out.
    """
    rows = np.flatnonzero(is_usable)
    counts = np.bincount(past.user[rows], minlength=past.n_users)
    rows = rows[counts[past.user[rows]] >= 2]
    rng = np.random.default_rng(past.seed)
    owners, found, firsts = [np.empty(0, dtype=np.int64)], [rows[:0]], [np.empty(0, dtype=bool)]
    users, n_before = rng.permutation(np.unique(past.user[rows])), 0
    while n_before < n and len(users):
        number = np.full(past.n_users, -1)
        drawn = users[: n - n_before]
        number[drawn] = n_before + np.arange(len(drawn))
        own = rng.permutation(rows[number[past.user[rows]] >= 0])
        own = own[np.argsort(number[past.user[own]], kind="stable")]
        owner = number[past.user[own]]
        place = np.arange(len(own)) - np.searchsorted(owner, owner)
        owners.append(owner)
        found.append(own)
        firsts.append(place < counts[past.user[own]] // 2)
        n_before += len(drawn)
    return np.concatenate(owners), np.concatenate(found), np.concatenate(firsts)
