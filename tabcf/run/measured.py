"""What a run is worth on given rows: the part of `Run` that measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from tabcf.contracts.table import Table
from tabcf.data.events import is_positive
from tabcf.data.sources import as_source
from tabcf.errors import RunError
from tabcf.evaluation.evaluate import evaluate, rank_for
from tabcf.evaluation.groups import Evaluated, group_metrics
from tabcf.evaluation.learning_curve import learning_curve
from tabcf.evaluation.lists import relevant_items
from tabcf.evaluation.replay import Replay
from tabcf.evaluation.users import user_metrics
from tabcf.run.contents import RunContents
from tabcf.run.in_blocks import batches_of, encoded, is_large

__all__ = ["Measured"]


class Measured(RunContents):
    """Metrics of given rows, of newcomers and of interviews, and those of the test rows."""

    def evaluate(self, data: Any, *, retrieve: bool = True) -> Evaluated:
        """The spec's metrics on the given rows, which must have the target.

        Of an implicit target, the rows that its `positive` rule holds for are the relevant ones.
        For ranking metrics, what a user had in training is left out of their list.

        Args:
            data: A frame, or a path to a file; a large one goes through memory in blocks.
            retrieve: Whether the first stage, if there is one, finds the items of the lists;
                without it the model ranks the whole catalogue.

        Returns:
            The metrics by name; its `groups` has those of warm and cold users and items apart, as
            `evaluate_groups` gives them.
        """
        table = self._table(data)
        ranker = self._ranker(retrieve)
        found = evaluate(ranker, table, self.metrics, seen=ranker.seen)
        if ranker.past is None:
            return Evaluated(found, pd.DataFrame)
        measure = partial(group_metrics, ranker, table, self.metrics, seen=ranker.seen)
        return Evaluated(found, measure)

    def evaluate_users(self, data: Any, *, retrieve: bool = True) -> pd.DataFrame:
        """The same for each user of the rows.

        Returns:
            The user's id, `n_train` events in training, `n_rows`, `n_relevant` items to find, one
            column a ranking metric, and `rmse` and `mae` where numbers are predicted. A user
            without relevant items has `n_relevant` 0 and no metrics: NaN.

        Raises:
            RunError: The run has no users.
        """
        if "user" not in self.trained.encoder.entities:
            raise RunError("evaluate_users needs the entity user, which this run has not")
        source, is_counted, table = self._encode(data)
        ranker = self._ranker(retrieve)
        ranked = rank_for(ranker, table, self.metrics, seen=ranker.seen)
        return user_metrics(ranker, source, is_counted, table, self.metrics, ranked)

    def evaluate_groups(self, data: Any, *, retrieve: bool = True) -> pd.DataFrame:
        """The same for rows of users and items with training events, `warm`, and without.

        Returns:
            One row a group that has any: `group` (`warm`, `cold user`, `cold item` or
            `cold both`), `n_rows`, `n_lists` where there are ranking metrics, and the metrics.

        Raises:
            RunError: The run has no users or no items.
        """
        table = self._table(data)
        ranker = self._ranker(retrieve)
        return group_metrics(ranker, table, self.metrics, seen=ranker.seen)

    def count_users(self, data: Any) -> tuple[int, int]:
        """How many users the rows have, and how many of them no ranking metric measures.

        Those have nothing to find: no positive row, or only of items that they had in training or
        that nobody knows, or they are unknown themselves.
        """
        self.trained.require_entities("count_users")
        users, _ = relevant_items(self._table(data), self.trained.seen)
        column = self.trained.encoder.entities["user"].plan.id
        batches = batches_of(data) if is_large(data) else [as_source(data)]
        ids = [batch.frame[column].dropna().unique() for batch in batches]
        n_users = len(pd.unique(np.concatenate(ids)))
        return n_users, n_users - len(users)

    def _table(self, data: Any) -> Table:
        """Rows that count as numbers; those of large files are kept on disk."""
        has_sets = any(column.side == "event" for column in self.trained.encoder.layout.sets)
        if has_sets or not is_large(data):
            return self._encode(data)[2]
        implicit = self.spec.target.implicit
        return encoded(self.trained, batches_of(data), implicit.positive if implicit else None)

    def learning_curve(
        self,
        events: Any,
        *,
        entity: Literal["user", "item"] = "user",
        at: Sequence[int] = (0, 1, 2, 5, 10, 20),
        by: str | None = "timestamp",
    ) -> pd.DataFrame:
        """What the run is worth for newcomers by how many of their events it is told.

        Newcomers are those without training events who have more than max(`at`) events. Their
        first n events are folded in, for each n, and the spec's metrics are measured on the same
        later ones, those behind the first max(`at`).

        Args:
            events: A frame or a path, as in training; rows of trained users or items drop out.
            entity: Who is new.
            at: The numbers n of events.
            by: The column that says which events are the first; None takes the rows as they come.

        Returns:
            One row a number: `n`, `n_users` or `n_items` newcomers, and the metrics. Where they
            have attributes, each metric stands a second time, `without attributes`.

        Raises:
            DataError: Nobody is new, or has events enough; or a column is missing.
            RunError: The run has no users and items, or its model cannot take newcomers.
        """
        self.trained.require_entities("learning_curve")
        source = as_source(events)
        return learning_curve(
            self.trained,
            self._newcomers_folding(entity),
            source,
            self.metrics,
            entity=entity,
            is_positive=self._positive(source),
            at=at,
            by=by,
        )

    def replay_interviews(
        self,
        data: Any,
        *,
        selectors: Sequence[str | Mapping[str, Any]] = (),
        at: Sequence[int] = (1, 3, 5, 10, 20),
        n_halvings: int = 1,
        seed: int = 0,
    ) -> Replay:
        """What selectors are worth: interviews with users of given rows whom the run never saw.

        Half of a user's rows, drawn at random, is what they can answer; on the other half RMSE is
        measured, or NDCG@10 where the target is no number. A question about any other item of the
        catalogue is answered with "don't know".

        Args:
            data: A frame or a path to a file; rows of users with training events are left out.
            selectors: As for `interview`; by default all that suit the model.
            at: Numbers of questions after which to measure; 0 is before the first one.
            n_halvings: How often each user's rows are halved anew; a user's figures are means.
            seed: Of the halves, the same ones for every selector, and of what selectors draw.

        Returns:
            Figures of each user; its `summary()` has means and paired intervals.

        Raises:
            DataError: A column is missing, or all users have training events.
        """
        from tabcf.run.onboarding import replay_interviews

        self.trained.require_entities("replay_interviews")
        source, implicit = as_source(data), self.spec.target.implicit
        return replay_interviews(
            self,
            self._newcomers_folding("user"),
            source,
            is_positive(source, implicit.positive if implicit else None),
            selectors=selectors,
            shared=self._selectors,
            at=at,
            n_halvings=n_halvings,
            seed=seed,
        )

    @property
    def test_rows(self) -> str:
        """Says which rows it was tested on; empty without users."""
        return self.report.test_rows

    @property
    def test_table(self) -> dict[str, Mapping[str, float]]:
        """Test metrics by what was tested: the run, its first stage alone, and the baselines.

        Where the split gives some events of those who test, the run stands there for new users and
        items before and after it is told these.
        """
        table = {self.label: self.report.test}
        if self.first_stage is not None:
            table[f"{self.first_stage.label} alone"] = self.report.first_stage
        told = {f"{self.label}, {who}": metrics for who, metrics in self.report.told.items()}
        return table | told | dict(self.report.baselines)

    @property
    def test_groups(self) -> pd.DataFrame:
        """Test metrics of rows of warm and cold users and items, as `evaluate_groups` has them.

        Without test rows, users or items there is no row.
        """
        return pd.DataFrame(list(self.report.groups))
