"""Interviews that are replayed with users whom a run has never seen.

Half of a user's rows is what they can answer, the other half is what is to be predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from tabcf.contracts.selector import Selector, SelectsForMany
from tabcf.data.sources import Source
from tabcf.data.values import category_values, numbers
from tabcf.errors import DataError
from tabcf.evaluation.compare import compare_users
from tabcf.metrics.lists import ndcg_at_k
from tabcf.recommend.fold_in.draws import FoldInDraws
from tabcf.recommend.fold_in.finding import fold_in
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.given import read_given
from tabcf.recommend.onboarding.past import answers_of
from tabcf.recommend.trained import Trained

__all__ = ["Replay", "replay"]

# Builds a selector for users with these attributes, and a seed.
Builder = Callable[[Source, int], Selector]
_RMSE, _NDCG, _K = "rmse", "ndcg@10", 10
_SELECTOR, _N_ASKED, _N_KNOWN = "selector", "n_asked", "n_known"
_REFERENCE = "popularity"


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of replayed interviews.

    Attributes:
        metric: `rmse` of the ratings that are held back, or `ndcg@10` of the list.
        users: One row a selector, number of questions and user: `selector`, `n_asked`, the user's
            id, `n_known` of the items asked about that the user knew, and the metric.
    """

    metric: str
    users: pd.DataFrame

    def summary(self, *, against: str | None = None, seed: int = 0) -> pd.DataFrame:
        """Means over users, and paired differences to one selector with 95 % intervals.

        Args:
            against: The selector that the others are compared with; `popularity` by default, or
                the first one where that was not replayed.
            seed: Of the resamples of users.

        Returns:
            One row a selector and number of questions: `selector`, `n_asked`, `n_users`, `n_known`
            on average, the metric, `difference` to the other selector's, and `low` and `high`, as
            `tabcf compare` has them; NaN for that selector itself.

        Raises:
            DataError: That selector was not replayed.
        """
        names = self.users[_SELECTOR].unique().tolist()
        if against is None:
            against = _REFERENCE if _REFERENCE in names else names[0]
        if against not in names:
            raise DataError(f"against: '{against}' was not replayed; known: {', '.join(names)}")
        cells = dict(iter(self.users.groupby([_SELECTOR, _N_ASKED], sort=False)))
        rows = []
        for (name, n_asked), cell in cells.items():
            row = {
                _SELECTOR: name,
                _N_ASKED: n_asked,
                "n_users": int(cell[self.metric].notna().sum()),
                _N_KNOWN: cell[_N_KNOWN].mean(),
                self.metric: cell[self.metric].mean(),
                **dict.fromkeys(("difference", "low", "high"), float("nan")),
            }
            if name != against:
                first, second = (
                    frame.drop(columns=[_SELECTOR, _N_ASKED])
                    for frame in (cells[against, n_asked], cell)
                )
                compared = compare_users(first, second, [self.metric], seed=seed).iloc[0]
                row |= {name: compared[name] for name in ("difference", "low", "high")}
            rows.append(row)
        return pd.DataFrame(rows)


def replay(
    trained: Trained,
    fold: FoldIn | FoldInDraws | None,
    events: Source,
    is_positive: np.ndarray,
    builders: Mapping[str, Builder],
    *,
    at: Sequence[int],
    n_halvings: int = 1,
    seed: int = 0,
) -> Replay:
    """Ask users about items of the whole catalogue, and predict what was held back.

    A user knows an item only if it is in the half of their rows that they can answer; any other
    question costs as much and tells nothing but that. Halves and seeds are the same for every
    selector. What they could have answered and were not asked is not listed.

    Args:
        trained: The model.
        fold: What finds the users' rows; None for a model without.
        events: Rows of users; those of users with training events are left out.
        is_positive: `(N,)`: with an implicit target, which events count.
        builders: The selectors by name.
        at: Numbers of questions after which to measure; 0 is before the first one.
        n_halvings: How often each user's rows are halved anew; a user's figures are means.
        seed: Of the halves and of what selectors draw.

    Raises:
        DataError: A column is missing, no user is new, or `at` is no list of numbers.
    """
    at = sorted(set(at))
    if not at or at[0] < 0 or n_halvings < 1:
        raise DataError("at: expected numbers of questions, and at least one halving")
    unseen, is_positive = _of_unseen(trained, events, is_positive)
    metric = _RMSE if trained.target.kind in ("rating", "regression") else _NDCG
    found = []
    for number in range(n_halvings):
        halves = _Halves(trained, unseen, is_positive, seed + number)
        for name, build in builders.items():
            selector = build(halves.people, seed + number)
            for n_asked, is_told in halves.interviewed(selector, at):
                cell = {
                    _SELECTOR: name,
                    _N_ASKED: n_asked,
                    halves.user: halves.ids,
                    _N_KNOWN: np.bincount(halves.owner[is_told], minlength=len(halves.ids)),
                    metric: halves.measured(fold, is_told, metric),
                }
                found.append(pd.DataFrame(cell))
    users = pd.concat(found, ignore_index=True)
    by = [_SELECTOR, _N_ASKED, users.columns[2]]
    return Replay(metric, users.groupby(by, sort=False).mean().reset_index())


class _Known(NamedTuple):
    """An item that a user can answer about: which row says so, and what it says."""

    row: int
    value: float


class _Halves:
    """Some users' rows in two halves.

    Attributes:
        user: The column of user ids.
        ids: Their n ids.
        people: Their ids and attributes, one row each.
        owner: `(M,)` whose each row of the first half is, in `range(n)`.
    """

    def __init__(
        self, trained: Trained, source: Source, is_positive: np.ndarray, seed: int
    ) -> None:
        self._trained = trained
        entities = trained.encoder.entities
        self.user, self._item = entities["user"].plan.id, entities["item"].plan.id
        owner, ids = pd.factorize(source.frame[self.user])
        self.ids: list[Any] = ids.tolist()
        order = np.random.default_rng(seed).permutation(len(owner))
        order = order[np.argsort(owner[order], kind="stable")]
        sorted_owner = owner[order]
        place = np.arange(len(order)) - np.searchsorted(sorted_owner, sorted_owner)
        is_first = place < np.bincount(owner)[sorted_owner] // 2
        first, second = order[is_first], order[~is_first]
        self.owner, self._held_owner = owner[first], owner[second]
        columns = [self.user, self._item, *trained.target.columns]
        given = source.frame[columns].iloc[first].reset_index(drop=True)
        self._given = Source(given, source.name, source.is_text)
        self._held = source.frame.iloc[second].reset_index(drop=True)
        self._is_positive, self._held_positive = is_positive[first], is_positive[second]
        values = answers_of(trained.target, self._given, self._is_positive)
        self._known: list[dict[Any, _Known]] = [{} for _ in self.ids]
        for row, (number, item) in enumerate(zip(self.owner, given[self._item], strict=True)):
            self._known[number][item] = _Known(row, float(values[row]))

    @property
    def people(self) -> Source:
        entity = self._trained.encoder.entities["user"]
        rows = entity.ids.index_of(self.ids)
        frame = entity.with_blank_row().frame.iloc[rows].reset_index(drop=True)
        return Source(frame.assign(**{self.user: self.ids}), "replayed users", entity.is_text)

    def interviewed(
        self, selector: Selector, at: Sequence[int]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """After each number of questions, `(M,)` which rows of the first half were told."""
        asked: list[list[Any]] = [[] for _ in self.ids]
        answers: list[list[float | None]] = [[] for _ in self.ids]
        is_told = np.zeros(len(self.owner), dtype=bool)
        for n_asked in range(at[-1] + 1):
            if n_asked in at:
                yield n_asked, is_told.copy()
            if n_asked == at[-1]:
                return
            for number, chosen in enumerate(_next(selector, asked, answers)):
                for item in chosen:
                    known = self._known[number].get(item)
                    asked[number].append(item)
                    answers[number].append(None if known is None else known.value)
                    if known is not None:
                        is_told[known.row] = True

    def measured(
        self, fold: FoldIn | FoldInDraws | None, is_told: np.ndarray, metric: str
    ) -> np.ndarray:
        """`(n,)`: the metric of each user on the second half."""
        given = read_given(
            self._trained,
            "user",
            self._given,
            is_positive=is_told & self._is_positive,
            attributes=self.people,
        )
        newcomers = fold_in(self._trained, given, fold)
        n = len(self.ids)
        if metric == _RMSE:
            predicted = newcomers.predict(self._held)["prediction"].to_numpy(dtype=np.float64)
            column = self._trained.target.columns[0]
            off = predicted - numbers(self._held[column], self._given)
            squares = np.bincount(self._held_owner, weights=off**2, minlength=n)
            return np.sqrt(squares / np.bincount(self._held_owner, minlength=n))
        lists = newcomers.recommend(k=_K)
        number = pd.Index(self.ids).get_indexer(pd.Index(lists[self.user]))
        items = self._trained.encoder.entities["item"]
        is_relevant = self._held_positive & (items.rows_of_ids(self._held[self._item]) > 0)
        owner, held = self._held_owner[is_relevant], self._held[self._item][is_relevant]
        relevant = pd.MultiIndex.from_arrays([owner, held]).unique()
        is_hit = pd.MultiIndex.from_arrays([number, lists[self._item]]).isin(relevant)
        hits = torch.zeros(n, _K, dtype=torch.bool)
        hits[number, lists["rank"].to_numpy() - 1] = torch.from_numpy(is_hit)
        n_relevant = np.bincount(np.asarray(relevant.get_level_values(0)), minlength=n)
        return ndcg_at_k(hits, torch.from_numpy(n_relevant)).double().numpy()


def _next(
    selector: Selector, asked: Sequence[Sequence[Any]], answers: Sequence[Sequence[float | None]]
) -> Sequence[Sequence[Any]]:
    if isinstance(selector, SelectsForMany):
        return selector.select_many(1, asked, answers)
    return [selector.select(1, own, said) for own, said in zip(asked, answers, strict=True)]


def _of_unseen(
    trained: Trained, events: Source, is_positive: np.ndarray
) -> tuple[Source, np.ndarray]:
    """Rows of users without training events who have at least two, ids as the run knows them."""
    entities = trained.encoder.entities
    events.require([*(e.plan.id for e in entities.values()), *trained.target.columns])
    rows = trained.encoder.encode_ids(events)
    frame = events.frame.copy(deep=False)
    is_usable = entities["user"].index[rows["user"]] == 0
    for name in ("user", "item"):
        column, kind = entities[name].plan.id, entities[name].ids.kind
        found = category_values(frame[column], events, kind=kind)
        frame[column] = found.values
        is_usable &= ~found.is_missing
    users = frame[entities["user"].plan.id]
    is_usable &= (
        (users[is_usable].map(users[is_usable].value_counts()) >= 2)
        .reindex(users.index, fill_value=False)
        .to_numpy()
    )
    if not is_usable.any():
        raise DataError(
            f"{events.name}: no user is new to the run and has two rows; it was fitted on "
            f"{trained.encoder.entities['user'].n_events.astype(bool).sum():,} users"
        )
    kept = frame[is_usable].reset_index(drop=True)
    return Source(kept, events.name, events.is_text), is_positive[is_usable]
