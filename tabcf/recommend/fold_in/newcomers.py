"""Users or items that came after training, with rows of their own beside a trained model.

Dimension letters: n newcomers, P numbers of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.model import KnowsSpread
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.batches import gather, select, stack
from tabcf.data.sources import Source, read_source, source_of_frame
from tabcf.data.targets import encode_target
from tabcf.errors import DataError
from tabcf.recommend.basis import TRAINED, basis_of, cold
from tabcf.recommend.fold_in.draws import FoldInDraws
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.given import OTHER, Given, event_pairs
from tabcf.recommend.fold_in.solver import Posterior
from tabcf.recommend.index import IndexUse
from tabcf.recommend.predictor import decode_table, predict, prediction_columns, spread_of
from tabcf.recommend.recommender import OfferedItems, offered_items, recommend
from tabcf.recommend.reranking.chain import Reranking
from tabcf.recommend.trained import Past, Trained
from tabcf.recommend.users import AskedUsers

__all__ = ["Newcomers", "Resolve"]

# From re-rankers as `Run.recommend` takes them.
Resolve = Callable[[Any], Reranking | None]


class Newcomers:
    """Users or items that a trained model gives rows of their own; the model itself stays.

    Attributes:
        entity: `user` or `item`.
        ids: Their ids, n.
        basis: What is known of each: `12 events`, `cold: attributes` or `cold: average`.
        posterior: Their rows and how sure these are; None where the model has no rows to find,
            as one that scores by what users had.
    """

    def __init__(
        self,
        trained: Trained,
        given: Given,
        table: Table,
        *,
        basis: list[str],
        fold: FoldIn | FoldInDraws | None,
        posterior: Posterior | None,
        reranking: Resolve | None = None,
    ) -> None:
        self.entity = given.entity
        self.ids = given.ids
        self.basis = basis
        self.posterior = posterior
        self._trained = trained
        self._given = given
        self._table = table
        self._fold = fold
        self._reranking = reranking

    def __len__(self) -> int:
        return len(self.ids)

    def recommend(
        self,
        users: Any = None,
        *,
        k: int = 10,
        only_new: bool = False,
        candidates: Any = None,
        context: Mapping[str, Any] | None = None,
        exclude_seen: bool = True,
        where: str | None = None,
        deny: Iterable[Any] = (),
        max_per: Mapping[str, int] | None = None,
        index: IndexUse = "auto",
        rerank: Any = True,
        is_text: bool = False,
    ) -> pd.DataFrame:
        """Lists for new users, or lists that new items may be in.

        Args:
            users: For new items, whom to recommend to; new users need none.
            k: Length of each list.
            only_new: List new items alone.
            candidates: For new users, what may be listed.
            context: As for known users, like all that follow.
            exclude_seen: Leave out what a user had.
            where: Conditions on items.
            deny: Ids of items that are never listed.
            max_per: At most so many items of each value of a column.
            index: Whether the model's index makes the lists; it knows no new items.
            rerank: As `Run.recommend` takes it; by default the run's own re-rankers.
            is_text: What is given comes from a command line.

        Raises:
            DataError: `users` are given for new users, or missing for new items; or `candidates`
                for new items, or `only_new` for new users.
        """
        self._check(users=users, candidates=candidates, only_new=only_new)
        reranking = self._reranked_by(rerank)
        with self._at_work() as (trained, inputs):
            if self.entity == "user":
                rows = len(self._trained.encoder.entities["user"]) + np.arange(len(self))
                users = AskedUsers(self.ids, rows, inputs, self.basis, self._given.source)
            else:
                candidates = self._offered(trained, inputs, only_new=only_new)
            return recommend(
                trained,
                users,
                k=k,
                candidates=candidates,
                context=context,
                exclude_seen=exclude_seen,
                where=where,
                deny=deny,
                max_per=max_per,
                index=index,
                rerank=reranking,
                is_text=is_text,
            )

    def predict(self, data: Any) -> pd.DataFrame:
        """The given rows with the prediction as the last column, as `Run.predict` gives them.

        Rows of others are predicted as without newcomers. `sd` is the standard deviation that
        comes of not knowing the newcomers' rows better, in the target's units, where one number is
        predicted; the noise of a single event is not in it, unless the model says of all its
        predictions how far events are from them.

        Args:
            data: A frame or a path; without the newcomers' id column, all rows are those of the one
                newcomer.

        Raises:
            DataError: A column is missing or of another type than in training.
        """
        if isinstance(data, (str, Path)):
            source = read_source(str(data))
        else:
            source = data if isinstance(data, Source) else source_of_frame(data)
        column = self._trained.encoder.entities[self.entity].plan.id
        if column not in source.frame.columns and len(self) == 1:
            frame = source.frame.assign(**{column: self._given.source.frame[column].iloc[0]})
            source = replace(source, frame=frame)
            shown = predict(self._trained, source).drop(columns=column)
        else:
            shown = predict(self._trained, source)
        table = self._trained.encoder.encode(source, requests={self.entity: self._given.source})
        rows = table.rows[self.entity].long()
        positions = torch.nonzero(rows).squeeze(1)
        with self._at_work() as (trained, inputs):
            decoded = decode_table(trained, _of_newcomers(table, self.entity, inputs, positions))
        places = positions.numpy()
        for name, values in prediction_columns(self._trained.target, decoded).items():
            shown[name] = _overwritten(shown[name], places, values)
        owner, other = rows[positions] - 1, OTHER[self.entity]
        others = table.rows[other].long()[positions]
        index = table.entities[other].index[others]
        of_others = basis_of(self._trained.encoder, other, index, others > 0)
        basis = [
            self.basis[number] + (f"; {cold(what, other)}" if what != TRAINED else "")
            for number, what in zip(owner.tolist(), of_others, strict=True)
        ]
        shown["basis"] = _overwritten(shown["basis"], places, basis)
        deviations = self._spread(table, positions, owner)
        if deviations is None:
            return shown
        if isinstance(self._trained.model, KnowsSpread):
            shown["sd"] = _overwritten(shown["sd"], places, deviations)
            return shown
        spread = np.full(len(shown), np.nan)
        spread[places] = deviations
        shown = shown.drop(columns="sd", errors="ignore")
        shown.insert(len(shown.columns) - 1, "sd", spread)
        return shown

    @contextmanager
    def measured_on(self, events: Source) -> Iterator[tuple[Trained, Table]]:
        """The model at work and events of newcomers, who stand behind all whom it knows.

        Args:
            events: With the newcomers' ids; those of others drop out.

        Yields:
            A model that knows the newcomers and what they had, and the events as its table, with
            their target.

        Raises:
            DataError: A column is missing or of another type than in training.
        """
        encoder, entity = self._trained.encoder, self.entity
        found = encoder.encode(events, requests={entity: self._given.source})
        positions = torch.nonzero(found.rows[entity]).squeeze(1)
        target = encode_target(self._trained.target, events)
        known = encoder.tables[entity]
        with self._at_work() as (trained, inputs):
            rows = {name: own[positions] for name, own in found.rows.items()}
            rows[entity] = rows[entity] + (len(known) - 1)
            tables = {**encoder.tables, entity: EntityTable(stack(known.inputs, inputs))}
            yield (
                replace(trained, first=None),
                Table(
                    rows,
                    select(found.events, positions),
                    tables,
                    None if target is None else target[positions],
                ),
            )

    def vectors(self) -> pd.DataFrame:
        """The newcomers' rows: all that the model holds of each, one column a number.

        Raises:
            DataError: The model has no rows to find.
        """
        if self.posterior is None:
            raise DataError(f"{type(self._trained.model).__name__} finds no rows for newcomers")
        frame = pd.DataFrame(self.posterior.mean.numpy()).add_prefix("d")
        frame.insert(0, self._trained.encoder.entities[self.entity].plan.id, self.ids)
        return frame

    def __repr__(self) -> str:
        counts = pd.Series(self.basis).value_counts()
        known = ", ".join(f"{n} by {basis}" for basis, n in counts.head(4).items())
        return f"Newcomers({len(self)} {self.entity}s: {known})"

    def _check(self, *, users: Any, candidates: Any, only_new: bool) -> None:
        """Raise where arguments are of the other side's newcomers."""
        if self.entity == "user":
            if users is not None:
                raise DataError("users: expected none, since the newcomers are users")
            if only_new:
                raise DataError("only_new: goes with new items, and the newcomers are users")
            return
        if users is None:
            raise DataError("users: expected ids, since the newcomers are items")
        if candidates is not None:
            raise DataError(
                "candidates: expected none, since the newcomers are items; see only_new"
            )

    def _reranked_by(self, given: Any) -> Reranking | None:
        """Re-rankers that go by what newcomers had; how sure their rows are has no say."""
        if self._reranking is not None:
            found = self._reranking(given)
            if found is None or self.entity == "item":
                return found
            return replace(found, fold_in=lambda: None)
        if given is True or not given:
            return None
        raise DataError("rerank: re-rankers are known to newcomers of `Run.fold_in` alone")

    @contextmanager
    def _at_work(self) -> Iterator[tuple[Trained, Inputs]]:
        """A model that knows the newcomers, and their columns for it."""
        inputs = select(self._table.entities[self.entity].inputs, torch.arange(1, len(self) + 1))
        trained = replace(self._trained, past=self._past)
        if self._fold is None or self.posterior is None:
            yield trained, inputs
            return
        with self._fold.holding(self.posterior.mean) as (model, index):
            x_cat = inputs.x_cat.clone()
            x_cat[:, 0] = index
            yield replace(trained, model=model), inputs._replace(x_cat=x_cat)

    @cached_property
    def _past(self) -> Past | None:
        """What users had, with the newcomers' events."""
        past = self._trained.past
        if past is None:
            return None
        owner, other = event_pairs(self._table, self.entity)
        chosen = self._given.is_positive
        if self.entity == "user":
            n = len(self)
            positive = past.positive.with_users(owner[chosen], other[chosen], n)
            return Past(positive, past.seen.with_users(owner, other, n))
        items = len(self._trained.encoder.entities["item"]) + owner
        return Past(past.positive, past.seen.with_pairs(other, items))

    def _offered(self, trained: Trained, inputs: Inputs, *, only_new: bool) -> OfferedItems:
        """The newcomers, behind the known items unless these are not wanted."""
        entity, source = trained.encoder.entities["item"], self._given.source
        rows = len(entity) + np.arange(len(self))
        labels = None
        label = entity.plan.label
        if label is not None:
            given = source.frame.get(label, pd.Series([None] * len(self)))
            labels = ["" if pd.isna(value) else str(value) for value in given]
        if only_new:
            return OfferedItems(self.ids, labels, rows, inputs, source)
        known = offered_items(trained)
        # One that was known already is offered as what it was found to be now.
        found_anew = entity.rows_of(source.frame[entity.plan.id], source)
        kept = np.flatnonzero(~np.isin(known.rows, found_anew))
        frame = pd.concat([known.source.frame.iloc[kept], source.frame], ignore_index=True)
        return OfferedItems(
            [*(known.ids[i] for i in kept), *self.ids],
            None if labels is None else [*((known.labels or [])[i] for i in kept), *labels],
            np.concatenate([known.rows[kept], rows]),
            stack(select(known.inputs, torch.from_numpy(kept)), inputs),
            Source(frame, known.source.name, known.source.is_text),
        )

    def _spread(self, table: Table, positions: Tensor, owner: Tensor) -> np.ndarray | None:
        """`(m,)`: the spread of predicted numbers, by how they change with the row."""
        target = self._trained.target
        if isinstance(self._fold, FoldInDraws):
            with self._at_work() as (trained, inputs):
                own = _of_newcomers(table, self.entity, inputs, positions)
                return spread_of(trained, own)
        is_number = target.kind in ("regression", "rating") and len(target.columns) == 1
        if not is_number or self._fold is None or self.posterior is None:
            return None
        responses = self._fold.responses(gather(table, positions))
        raw, jacobian = responses.jacobian(self.posterior.mean[owner])
        with torch.enable_grad():
            value = self._fold.loss.decode(raw.requires_grad_(True))["value"]
            if not value.requires_grad:
                return None  # a prediction that jumps, such as the likeliest level
            (by_output,) = torch.autograd.grad(value.sum(), raw)
        slope = torch.einsum("mk,mkp->mp", by_output, jacobian)
        variance = torch.einsum("mp,mpq,mq->m", slope, self.posterior.covariance[owner], slope)
        deviation: np.ndarray = variance.clamp_min(0).sqrt().numpy()
        return deviation


def _of_newcomers(table: Table, entity: str, inputs: Inputs, positions: Tensor) -> Table:
    """The newcomers' rows of a table, with their columns."""
    blank = select(table.entities[entity].inputs, torch.zeros(1, dtype=torch.int64))
    return Table(
        {name: rows[positions] for name, rows in table.rows.items()},
        select(table.events, positions),
        {**table.entities, entity: EntityTable(stack(blank, inputs))},
    )


def _overwritten(column: pd.Series[Any], places: np.ndarray, values: Any) -> np.ndarray:
    found = column.to_numpy(copy=True)
    found[places] = values
    return found
