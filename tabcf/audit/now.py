"""What a recommender's lists are like now: for groups, for tastes and over all.

Dimension letters: U users with lists, K places of a list, R rows of an entity table, M events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from tabcf.audit.findings import Audit
from tabcf.audit.groups import AuditGroup
from tabcf.metrics.catalogue import coverage_at_k, gini_at_k
from tabcf.metrics.lists import ndcg_at_k, recall_at_k
from tabcf.recommend.trained import History, Trained

__all__ = ["Held", "UserLists", "audit"]

# The most popular items that together have this share of training events are the head.
_HEAD = 0.8
# Users are called niche and mainstream by the lowest and highest fifth of their share of the head.
_FIFTH = 0.2


@dataclass(frozen=True, slots=True)
class UserLists:
    """What is listed for whom, each user once.

    Shape:
        users: `(U,)` user rows. items: `(U, K)` int64 item rows, best first; 0 where a list is
            short.
    """

    users: np.ndarray
    items: np.ndarray


@dataclass(frozen=True, slots=True)
class Held:
    """Rows that were kept from training.

    Attributes:
        relevant: What each user has to find, which they had not in training.
        errors: `(2, R)` by user row, where numbers are predicted: the sum of squared errors of
            predictions, and of how many.
    """

    relevant: History
    errors: np.ndarray | None = None


def audit(
    trained: Trained,
    lists: UserLists,
    groups: Sequence[AuditGroup],
    *,
    n_small: int = 0,
    held: Held | None = None,
) -> Audit:
    """Compare what is listed with what people had.

    Events are pairs of a user and an item that training learnt from, each counted once; users count
    by their events in shares of data, and by their places in shares of lists.

    Args:
        trained: The model.
        lists: Whose lists are looked at.
        groups: Whose share is watched.
        n_small: How many groups were left out, to be said.
        held: What was kept from training.
    """
    facts = _facts(trained, lists, held)
    everyone = np.ones(facts.n_rows, dtype=bool)
    return Audit(
        lists.items.shape[1],
        dict(_overall(facts)) | _accuracy(facts, everyone),
        pd.DataFrame([row for group in groups for row in _group_rows(facts, group)]),
        pd.DataFrame([*_taste_rows(facts)]),
        n_small,
        None if held is None else int((facts.n_relevant == 0).sum()),
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """Events, lists, and how well each list finds what is held.

    Shape:
        had_users, had_items: `(M,)` rows. n_events: `(R,)` by user row. popularity, is_tail: by
        item row. n_relevant, ndcg, recall: `(U,)`.
    """

    lists: UserLists
    held: Held | None
    had_users: np.ndarray
    had_items: np.ndarray
    n_events: np.ndarray
    popularity: np.ndarray
    is_tail: np.ndarray
    n_relevant: np.ndarray
    ndcg: np.ndarray
    recall: np.ndarray

    @property
    def n_rows(self) -> int:
        """R of users."""
        return len(self.n_events)

    def shares(self, weight: np.ndarray, users: np.ndarray) -> tuple[float, float]:
        """The mean of `weight`, by item row, over events and over places of some users.

        `users` is `(R,)` booleans.
        """
        listed = self.lists.items[users[self.lists.users]]
        return (
            _mean(weight[self.had_items[users[self.had_users]]]),
            _mean(weight[listed[listed > 0]]),
        )

    def popularities(self, users: np.ndarray) -> tuple[float, float]:
        """Means over some users of the mean popularity of their own items, and of those listed."""
        rows = self.lists.users[users[self.lists.users]]
        sums = np.bincount(
            self.had_users, weights=self.popularity[self.had_items], minlength=self.n_rows
        )
        listed = self.lists.items[users[self.lists.users]]
        n_listed = (listed > 0).sum(1)
        totals = np.where(listed > 0, self.popularity[listed], 0.0).sum(1)
        own = sums[rows][self.n_events[rows] > 0] / self.n_events[rows][self.n_events[rows] > 0]
        return _mean(own), _mean(totals[n_listed > 0] / n_listed[n_listed > 0])


def _facts(trained: Trained, lists: UserLists, held: Held | None) -> _Facts:
    assert trained.past is not None
    users, items = trained.past.positive.pairs()
    n_events = np.bincount(users, minlength=len(trained.encoder.entities["user"]))
    counts = np.bincount(items, minlength=len(trained.encoder.entities["item"]))
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    is_tail = np.ones(len(counts), dtype=bool)
    is_tail[order] = (before >= _HEAD * counts.sum()) | (counts[order] == 0)
    popularity = counts / max((n_events > 0).sum(), 1)
    n_relevant, hits = _found(lists, held)
    at = torch.from_numpy(hits), torch.from_numpy(n_relevant)
    return _Facts(
        lists,
        held,
        users,
        items,
        n_events,
        popularity,
        is_tail,
        n_relevant,
        ndcg_at_k(*at).numpy(),
        recall_at_k(*at).numpy(),
    )


def _found(lists: UserLists, held: Held | None) -> tuple[np.ndarray, np.ndarray]:
    """How many held items each user has, `(U,)`, and which places have one, `(U, K)`."""
    n_relevant = np.zeros(len(lists.users), dtype=np.int64)
    hits = np.zeros(lists.items.shape, dtype=bool)
    if held is None:
        return n_relevant, hits
    items, bounds = held.relevant.items, held.relevant.bounds
    for place, user in enumerate(lists.users):
        own = items[bounds[user] : bounds[user + 1]]
        n_relevant[place] = len(own)
        hits[place] = np.isin(lists.items[place], own)
    return n_relevant, hits


def _accuracy(facts: _Facts, users: np.ndarray) -> dict[str, float]:
    """How well some users' lists find what is held; nothing where nothing is."""
    if facts.held is None:
        return {}
    chosen = users[facts.lists.users] & (facts.n_relevant > 0)
    found: dict[str, float] = {
        "n_lists": int(chosen.sum()),
        "ndcg": _mean(facts.ndcg[chosen]),
        "recall": _mean(facts.recall[chosen]),
    }
    if facts.held.errors is not None:
        squares, counts = facts.held.errors[:, users].sum(1)
        found["rmse"] = float(np.sqrt(_ratio(squares, counts)))
    return found


def _overall(facts: _Facts) -> Iterator[tuple[str, float]]:
    listed = torch.from_numpy(facts.lists.items) - 1
    events = torch.from_numpy(facts.had_items.astype(np.int64))[:, None] - 1
    n_items = len(facts.popularity) - 1
    yield "n_users", len(facts.lists.users)
    yield "n_items", n_items
    yield "n_events", len(facts.had_items)
    yield "gini", float(gini_at_k(listed, n_items))
    yield "gini_data", float(gini_at_k(events, n_items))
    yield "coverage", float(coverage_at_k(listed, n_items))
    everyone = np.ones(facts.n_rows, dtype=bool)
    popularity_data, popularity = facts.popularities(everyone)
    yield "popularity", popularity
    yield "popularity_data", popularity_data
    yield "popularity_lift", _ratio(popularity, popularity_data) - 1
    tail_data, tail = facts.shares(facts.is_tail.astype(np.float64), everyone)
    yield "tail", tail
    yield "tail_data", tail_data


def _group_rows(facts: _Facts, group: AuditGroup) -> Iterator[dict[str, object]]:
    everyone = np.ones(facts.n_rows, dtype=bool)
    for name, users in (("all", everyone), ("members", group.members), ("others", ~group.members)):
        share_data, share_recommended = facts.shares(group.items, users)
        yield {
            "group": group.name,
            "users": name,
            "n_users": int(users[facts.lists.users].sum()),
            "share_data": share_data,
            "share_recommended": share_recommended,
            "amplification": _ratio(share_recommended, share_data),
            **_accuracy(facts, users),
        }


def _taste_rows(facts: _Facts) -> Iterator[dict[str, object]]:
    """Users by how much of the head they had (Abdollahpouri et al., 2019)."""
    in_head = np.bincount(facts.had_users[~facts.is_tail[facts.had_items]], minlength=facts.n_rows)
    head = in_head / np.maximum(facts.n_events, 1)
    order = facts.lists.users[np.argsort(head[facts.lists.users], kind="stable")]
    size = int(_FIFTH * len(order))
    parts = np.split(order, [size, len(order) - size])
    for name, rows in zip(("niche", "diverse", "mainstream"), parts, strict=True):
        users = np.zeros(facts.n_rows, dtype=bool)
        users[rows] = True
        popularity_data, popularity = facts.popularities(users)
        tail_data, tail = facts.shares(facts.is_tail.astype(np.float64), users)
        yield {
            "users": name,
            "n_users": len(rows),
            "head_data": 1 - tail_data,
            "head": 1 - tail,
            "popularity_data": popularity_data,
            "popularity": popularity,
            "popularity_lift": _ratio(popularity, popularity_data) - 1,
            **_accuracy(facts, users),
        }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _ratio(above: float, below: float) -> float:
    return above / below if below else float("nan")
