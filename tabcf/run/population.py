"""A run's users and items as a population to simulate.

Dimension letters: U users, I items, M interactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from tabcf.audit.population import Group, Population
from tabcf.contracts.target import TargetInfo
from tabcf.data.batches import select
from tabcf.data.sources import Source
from tabcf.data.values import sets
from tabcf.errors import DataError, RunError
from tabcf.recommend.scores import score_blocks
from tabcf.recommend.trained import Trained
from tabcf.run.prepare import Events
from tabcf.run.stage import Stage
from tabcf.run.train import continue_stage
from tabcf.spec.records import Component, Spec

if TYPE_CHECKING:
    from tabcf.run.contents import RunContents

__all__ = ["Simulated", "all_scores", "population_of"]

# How many times the usual share of a kind makes a user a member, or an item the members' own.
_LIFT = 2.0
# What finds tastes where no run says them.
_TASTE = "ials"


@dataclass(frozen=True, slots=True)
class Simulated:
    """Which of a run's users, items and events take part; numbers are places in these.

    Attributes:
        run: The run.
        user_rows: `(U,)` int32 rows, rising: users with training events.
        item_rows: `(I,)` int32 rows, rising: items with training events of these users.
        first: Those events, each pair once.
        users: `(M,)` int64 places of users in `first`. items: `(M,)` places of items.
    """

    run: RunContents
    user_rows: np.ndarray
    item_rows: np.ndarray
    first: Source
    users: np.ndarray
    items: np.ndarray

    @classmethod
    def of(cls, run: RunContents, *, max_users: int | None = None) -> Simulated:
        """All users and items that the run learnt from, or users drawn with the run's seed.

        Raises:
            RunError: The run has no users and items, no events, or cannot learn from choices.
        """
        run.trained.require_entities("simulate")
        if run.trained.target.kind != "implicit":
            raise RunError(
                f"simulate: this run predicts a {run.trained.target.kind}, and a simulated choice "
                "says only that somebody took an item; fit with `target: {implicit: {}}`"
            )
        if run.first_stage is not None:
            raise RunError(
                "simulate: this run has two stages, and one model is fitted in each round; fit "
                "without `retrieve`"
            )
        if max_users is not None and max_users < 2:
            raise DataError(f"max_users: expected at least 2, got {max_users}")
        first = run.trained.events.learnable()
        rows = run.trained.encoder.encode_ids(first)
        pairs = pd.DataFrame({"user": rows["user"], "item": rows["item"]})
        user_rows = np.unique(rows["user"])
        user_rows = user_rows[user_rows > 0]
        if max_users is not None and max_users < len(user_rows):
            rng = np.random.default_rng(run.spec.seed)
            user_rows = np.sort(rng.choice(user_rows, max_users, replace=False))
        is_kept = ~pairs.duplicated() & pairs["user"].isin(user_rows) & (pairs["item"] > 0)
        kept = pairs[is_kept.to_numpy()]
        item_rows = np.unique(kept["item"])
        frame = first.frame[is_kept.to_numpy()].reset_index(drop=True)
        return cls(
            run,
            user_rows.astype(np.int32),
            item_rows.astype(np.int32),
            Source(frame, first.name, first.is_text),
            np.searchsorted(user_rows, kept["user"]),
            np.searchsorted(item_rows, kept["item"]),
        )

    def events(self, users: np.ndarray, items: np.ndarray) -> Events:
        """The first events, and those of users and items behind them, whose columns are unknown.

        Args:
            users: `(N,)` places of users, the M of the first events first.
            items: `(N,)` places of items.
        """
        run, n_first, n = self.run, len(self.users), len(users)
        rows = np.concatenate([np.arange(n_first), np.full(n - n_first, -1)])
        frame = self.first.frame.reindex(rows).reset_index(drop=True)
        implicit = run.spec.target.implicit
        if implicit is not None and implicit.weight is not None:
            frame[implicit.weight] = frame[implicit.weight].fillna(frame[implicit.weight].median())
        entities = run.trained.encoder.entities
        for name, chosen in (("user", self.user_rows[users]), ("item", self.item_rows[items])):
            frame[entities[name].plan.id] = entities[name].ids.values[chosen - 1]
        return Events(
            Source(frame, self.first.name, self.first.is_text),
            np.zeros(n, dtype=np.int8),
            np.ones(n, dtype=bool),
            TargetInfo("implicit"),
            run.plans,
            (),
            {
                name: (entity.plan, Source(entity.frame, entity.plan.name, entity.is_text))
                for name, entity in entities.items()
            },
        )


def population_of(
    simulated: Simulated,
    *,
    share: float,
    groups: Sequence[str] = (),
    utility: RunContents | pd.DataFrame | None = None,
    activity: pd.Series[Any] | None = None,
) -> Population:
    """Tastes, activity and groups of a run's users.

    Args:
        simulated: Who and what takes part.
        share: Of the first interactions that all users together would take in a round, each in
            proportion to their own number of them.
        groups: `item.COLUMN=VALUE` or `user.COLUMN=VALUE`. A group of items has as members the
            users with at least twice the usual share of them; a group of users has as items those
            that are at least twice as usual among members as among others.
        utility: A run whose scores are the users' tastes, or a frame of them, users by items; by
            default a dot product, fitted on the same events by alternating least squares with
            another seed.
        activity: How many items each user would take in a round, by id, in place of `share`.

    Raises:
        DataError: A group has no such column or value, or nobody is a member.
        RunError: The other run does not know everybody.
    """
    if not 0 < share <= 1:
        raise DataError(f"share: expected a number above 0 and at most 1, got {share}")
    counts = np.bincount(simulated.users, minlength=len(simulated.user_rows))
    return Population(
        _standardised(_tastes(simulated, utility)),
        simulated.users,
        simulated.items,
        counts * share if activity is None else _activity(simulated, activity),
        tuple(_group(simulated, text) for text in groups),
    )


def all_scores(trained: Trained, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """`(U, I)` float32: scores of user rows `(U,)` for item rows `(I,)`."""
    tables = trained.encoder.tables
    blocks = score_blocks(
        trained,
        select(tables["user"].inputs, torch.from_numpy(users)),
        trained.encoder.events_with({}, users),
        select(tables["item"].inputs, torch.from_numpy(items)),
        history=trained.history_of(users),
    )
    scores: np.ndarray = torch.cat([scores for _, scores in blocks]).numpy()
    return scores


def _tastes(simulated: Simulated, other: RunContents | pd.DataFrame | None) -> np.ndarray:
    run = simulated.run
    if isinstance(other, pd.DataFrame):
        return _tastes_of_frame(simulated, other)
    if other is None:
        stage = Stage.of(_taste_spec(run.spec), run.registry, _ids_alone(simulated))
        return all_scores(continue_stage(stage), simulated.user_rows, simulated.item_rows)
    other.trained.require_entities("utility")
    rows = []
    for name, own in (("user", simulated.user_rows), ("item", simulated.item_rows)):
        ids = run.trained.encoder.entities[name].ids.values_of(own)
        entity = other.trained.encoder.entities[name]
        found = entity.rows_of_ids(ids)
        n_unknown = int((entity.index[found] == 0).sum())
        if n_unknown:
            raise RunError(
                f"utility: {other.name} has not learnt from {n_unknown} of {len(own)} {name}s of "
                f"{run.name}; fit it on all events"
            )
        rows.append(found)
    return all_scores(other.trained, rows[0], rows[1])


def _tastes_of_frame(simulated: Simulated, frame: pd.DataFrame) -> np.ndarray:
    entities = simulated.run.trained.encoder.entities
    users = entities["user"].ids.values_of(simulated.user_rows)
    items = entities["item"].ids.values_of(simulated.item_rows)
    own = frame.iloc[
        _places("utility", "user", users, frame.index),
        _places("utility", "item", items, frame.columns),
    ]
    if not all(pd.api.types.is_numeric_dtype(dtype) for dtype in own.dtypes):
        raise DataError("utility: expected numbers in all columns")
    return own.to_numpy(dtype=np.float64)


def _activity(simulated: Simulated, activity: pd.Series[Any]) -> np.ndarray:
    users = simulated.run.trained.encoder.entities["user"].ids.values_of(simulated.user_rows)
    own = activity.iloc[_places("activity", "user", users, activity.index)]
    if not pd.api.types.is_numeric_dtype(own.dtype):
        raise DataError(f"activity: expected numbers, got {own.dtype}")
    return own.to_numpy(dtype=np.float64)


def _places(name: str, what: str, ids: list[Any], given: pd.Index[Any]) -> np.ndarray:
    """Where ids stand in what was given by id."""
    if not given.is_unique:
        twice = given[given.duplicated()].tolist()[0]
        raise DataError(f"{name}: expected each {what} once, got {twice!r} several times")
    places = given.get_indexer(pd.Index(ids))
    n_missing = int((places < 0).sum())
    if n_missing:
        raise DataError(
            f"{name}: has nothing for {n_missing} of {len(ids)} {what}s, such as "
            f"{ids[int(places.argmin())]!r}"
        )
    return places


def _taste_spec(spec: Spec) -> Spec:
    own = {
        "model": Component.model_validate(_TASTE),
        "fit": None,
        "loss": None,
        "negatives": None,
        "unknown": None,
        "metrics": None,
        "columns": {},
        "entities": {
            name: spec.entities[name].model_copy(update={"columns": {}})
            for name in ("user", "item")
        },
        "seed": spec.seed + 1,
        "track": (),
    }
    single = {"early_stopping": None, "ensemble": 1, "average": None}
    train = spec.train.model_copy(update=single)
    return spec.model_copy(update={**own, "train": train})


def _ids_alone(simulated: Simulated) -> Events:
    events = simulated.events(simulated.users, simulated.items)
    return Events(
        events.source,
        events.part,
        events.is_positive,
        events.target,
        (),
        (),
        {name: events.entities[name] for name in ("user", "item")},
    )


def _standardised(scores: np.ndarray) -> np.ndarray:
    """Each user's scores with mean 0 and standard deviation 1, so that all choose as sharply."""
    values = scores.astype(np.float64)
    values -= values.mean(1, keepdims=True)
    spread = values.std(1, keepdims=True)
    return values / np.where(spread > 0, spread, 1.0)


def _group(simulated: Simulated, text: str) -> Group:
    side, _, rest = text.partition(".")
    column, sign, value = rest.partition("=")
    if side not in ("user", "item") or not column or not sign or not value:
        raise DataError(
            f"groups: expected such as item.genres=Animation or user.gender=F, got {text!r}"
        )
    entity = simulated.run.trained.encoder.entities[side]
    source = Source(entity.frame, f"the table of {side}", entity.is_text)
    source.require([column])
    rows = simulated.user_rows if side == "user" else simulated.item_rows
    has = _having(entity.frame[column].iloc[rows - 1], value)
    n_users, n_items = len(simulated.user_rows), len(simulated.item_rows)
    users, items = simulated.users, simulated.items
    if side == "item":
        of_group = np.bincount(users, weights=has[items], minlength=n_users)
        own_share = of_group / np.bincount(users, minlength=n_users).clip(min=1)
        members, own_items = own_share >= _LIFT * has[items].mean(), has
    else:
        is_member = has[users]
        among, beside = (
            np.bincount(items[chosen], minlength=n_items) / max(chosen.sum(), 1)
            for chosen in (is_member, ~is_member)
        )
        members, own_items = has, (among > 0) & (among >= _LIFT * beside)
    if not has.any() or not members.any() or members.all():
        raise DataError(
            f"groups: {text}: {has.sum()} of {len(has)} {side}s have it, and {members.sum()} of "
            f"{n_users} users are members; expected some, but not all"
        )
    return Group(text, members, own_items)


def _having(series: pd.Series, value: str) -> np.ndarray:
    """`(N,)` booleans: which cells are a value, or a set with it."""
    if pd.api.types.is_numeric_dtype(series.dtype):
        try:
            return np.asarray(series.to_numpy() == float(value), dtype=bool)
        except ValueError:
            return np.zeros(len(series), dtype=bool)
    held, offsets = sets(series, separator="|")
    hits = np.concatenate([[0], np.cumsum([each == value for each in held])])
    return np.asarray(hits[offsets[1:]] > hits[offsets[:-1]], dtype=bool)
