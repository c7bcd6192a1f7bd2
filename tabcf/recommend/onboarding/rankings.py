"""Selectors that ask everybody about the same items in the same order, or at random.

Dimension letters: I items, C kinds of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from tabcf.contracts.selector import Answers, PastAnswers

__all__ = [
    "FixedOrder",
    "RandomOrder",
    "by_score",
    "entropy0",
    "helf",
    "log_pop_entropy",
    "popularity",
]

# Ratings on more levels than this are put into as many groups of about equal size.
_MOST_KINDS = 10


class FixedOrder:
    """Asks about items in one order, whatever the answers."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items

    def select(self, k: int, asked: Sequence[Any], answers: Answers) -> list[Any]:
        done = set(asked)
        return list(islice((item for item in self._items if item not in done), k))


class RandomOrder:
    """Asks about any item with the same chance, drawn anew at each call."""

    def __init__(self, past: PastAnswers) -> None:
        self._items = past.items
        self._rng = np.random.default_rng(past.seed)

    def select(self, k: int, asked: Sequence[Any], answers: Answers) -> list[Any]:
        order = (self._items[place] for place in self._rng.permutation(len(self._items)))
        done = set(asked)
        return list(islice((item for item in order if item not in done), k))


def by_score(past: PastAnswers, score: np.ndarray) -> FixedOrder:
    """Highest `(I,)` score first; of equal ones the more popular, then the earlier item."""
    order = np.lexsort([-popularity(past), -score])
    return FixedOrder([past.items[place] for place in order])


def popularity(past: PastAnswers) -> np.ndarray:
    """`(I,)`: how many training users had each item."""
    return np.bincount(past.item, minlength=len(past.items)).astype(np.float64)


def entropy0(past: PastAnswers, *, unrated_weight: float) -> np.ndarray:
    """`(I,)` bits: the entropy of answers with "unrated" as one of them (Rashid et al., 2008).

    `-(1 / Σ w_i) Σ w_i p_i log2 p_i` over the unrated, with weight `unrated_weight`, and the kinds
    of answers, with weight 1 each; p are shares of all training users. Plain entropy prefers items
    that hardly anybody knows.

    A. M. Rashid, G. Karypis and J. Riedl, *Learning preferences of new users in recommender
    systems: an information theoretic approach*, SIGKDD Explorations 10(2), 2008.

    Example: of four users two had the item and gave 1 and 5. Shares 1/2, 1/4, 1/4; with a weight of
    1 each and two kinds the score is (1/2 + 1/2 + 1/2) / 3 = 1/2.
    """
    counts = _counts(past)
    shares = np.concatenate([past.n_users - counts.sum(1, keepdims=True), counts], 1)
    shares /= max(past.n_users, 1)
    weights = np.concatenate([[unrated_weight], np.ones(counts.shape[1])])
    score: np.ndarray = (_surprise(shares) * weights).sum(1) / weights.sum()
    return score


def log_pop_entropy(past: PastAnswers) -> np.ndarray:
    """`(I,)`: log2 of the popularity times the entropy of its answers (Rashid et al., 2002).

    A. M. Rashid et al., *Getting to know you: learning new user preferences in recommender
    systems*, IUI 2002. An item that one user had, or whose users all say the same, scores 0.
    """
    score: np.ndarray = np.log2(popularity(past).clip(1)) * _entropy(_counts(past))
    return score


def helf(past: PastAnswers) -> np.ndarray:
    """`(I,)` in [0, 1]: the harmonic mean of entropy and log frequency (Rashid et al., 2008).

    `2 f h / (f + h)` with `f = log n / log U`, n of U users having the item, and `h` the entropy
    of its answers over its highest possible value.
    """
    counts = _counts(past)
    frequency = np.log(popularity(past).clip(1)) / np.log(max(past.n_users, 2))
    entropy = _entropy(counts) / np.log2(max(counts.shape[1], 2))
    mean: np.ndarray = 2 * frequency * entropy / np.maximum(frequency + entropy, 1e-12)
    return mean


def _counts(past: PastAnswers) -> np.ndarray:
    """`(I, C)`: how often each kind of answer was given to each item."""
    known, kind = np.unique(past.value, return_inverse=True)
    if len(known) > _MOST_KINDS:
        inner = np.quantile(past.value, np.linspace(0, 1, _MOST_KINDS + 1)[1:-1])
        kind = np.searchsorted(inner, past.value, side="right")
    n_kinds = min(max(len(known), 1), _MOST_KINDS)
    cells = np.bincount(past.item * n_kinds + kind, minlength=len(past.items) * n_kinds)
    return cells.reshape(-1, n_kinds).astype(np.float64)


def _entropy(counts: np.ndarray) -> np.ndarray:
    """`(I,)` bits of rows of counts; 0 for a row of zeros."""
    bits: np.ndarray = _surprise(counts / counts.sum(1, keepdims=True).clip(1)).sum(1)
    return bits


def _surprise(shares: np.ndarray) -> np.ndarray:
    """`-p log2 p`, 0 where p is 0."""
    return -shares * np.log2(np.where(shares > 0, shares, 1.0))
