"""A trained model with all that it needs to answer, in memory or in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from tabcf.data.sources import Source, as_source
from tabcf.errors import DataError, RunError
from tabcf.evaluation.groups import has_cold_rows
from tabcf.inspection.biases import bias_table
from tabcf.inspection.embeddings import embedding_table
from tabcf.inspection.inspector import Course, Inspector
from tabcf.inspection.layers import Summary, summarise
from tabcf.recommend.fold_in.finding import check_learnable, fold_in
from tabcf.recommend.fold_in.given import read_given
from tabcf.recommend.fold_in.newcomers import Newcomers
from tabcf.recommend.index import IndexUse
from tabcf.recommend.neighbours import Closeness, similar
from tabcf.recommend.onboarding.interview import Interview
from tabcf.recommend.predictor import predict
from tabcf.recommend.recommender import recommend
from tabcf.run.audited import Audited
from tabcf.run.in_blocks import batches_of, write_frames
from tabcf.run.indexed import Indexed
from tabcf.run.measured import Measured
from tabcf.run.versioned import Versioned

__all__ = ["Run"]


class Run(Measured, Audited, Indexed, Versioned):
    """What `fit` returns and `load` reads.

    Its attributes are those of `RunContents`. What it is worth is measured in `Measured`, what its
    lists do to groups in `Audited`, and `Versioned` has it grow.
    """

    def predict(
        self, data: Any, *, distribution: bool = False, interval: float | None = None
    ) -> pd.DataFrame:
        """The given rows with the prediction as the last column.

        Args:
            data: A frame, or a path to a file; columns are found by name.
            distribution: Whether to show the probability of each of a rating's levels.
            interval: The share that a central interval should hold, such as 0.9.

        Returns:
            The frame's columns, then `basis` where ids are involved (`trained`, or which entity
            is unknown), `sd` after draws from a posterior, with `distribution` `sd`, `mode` (the
            likeliest level) and `P(level)` of each, with `interval` `low` and `high`,
            probabilities where there are classes, and `prediction`.

        Raises:
            DataError: A column is missing or of another type than in training.
            RunError: There is no distribution of levels, or no spread.
        """
        return predict(self.trained, as_source(data), distribution=distribution, interval=interval)

    def predict_to(
        self,
        path: str | Path,
        data: Any,
        *,
        distribution: bool = False,
        interval: float | None = None,
    ) -> int:
        """Write what `predict` gives to a file, in blocks of rows that alone are in memory.

        Args:
            path: A `.csv` or `.parquet` file that does not exist.
            data: As in `predict`; a file may be larger than memory.
            distribution: The same.
            interval: The same.

        Returns:
            The number of rows.

        Raises:
            DataError: As in `predict`, or the file cannot be written.
        """
        frames = (
            predict(self.trained, batch, distribution=distribution, interval=interval)
            for batch in batches_of(data)
        )
        return write_frames(frames, path)

    def recommend(
        self,
        users: Any,
        *,
        k: int = 10,
        candidates: Any = None,
        context: Mapping[str, Any] | None = None,
        exclude_seen: bool = True,
        where: str | None = None,
        deny: Iterable[Any] = (),
        max_per: Mapping[str, int] | None = None,
        retrieve: Run | bool = True,
        n_retrieved: int | None = None,
        index: IndexUse = "auto",
        rerank: Any = True,
    ) -> pd.DataFrame:
        """The k items with the highest scores for each user.

        Args:
            users: An id, ids, or a frame of attributes for users who may be new.
            k: Length of each list.
            candidates: Ids of items, or a frame of attributes of new ones; all known by default.
            context: Values of event columns, such as `{"timestamp": 881250949}`; those not given
                count as unknown.
            exclude_seen: Leave out what a user had in training.
            where: Conditions on items, such as `year >= 1990 and genres has Comedy`.
            deny: Ids of items that are never listed.
            max_per: At most so many items of each value of a column, such as `{"genres": 3}`.
            retrieve: Whether the run's first stage, if it has one, finds the items that its model
                puts into order; or another run that finds them, such as a dot product before a
                network with event columns.
            n_retrieved: How many it finds; by default as the spec says, and 200 of another run.
            index: Whether the run's index makes the lists, if it has one: nearly the exact ones,
                and sooner. True demands it, False rejects it. "auto" takes it from 100,000 items
                on, for lists no longer than those that its recall was measured for, where none of
                `candidates`, `where`, `deny` and `max_per` is given, which an index cannot heed.
                Where a first stage finds the items, this goes for that one's index and the number
                of items that it finds; only `candidates` stand against it, and conditions that
                leave out more than 1,000 items have these found exactly.
            rerank: Re-rankers as a spec names them, such as `"mmr"` or
                `{"calibrated": {"of": "genres"}}`, several in a list; the spec's own by default,
                none with False.

        Returns:
            One row a recommendation: user id, `rank`, item id, label, `score`, with a re-ranker
            that explores `propensity`, and `basis` (`trained`, `attributes` or `average`: what the
            user's part rests on).
        """
        return recommend(
            self._ranker(retrieve=True),
            users,
            k=k,
            candidates=candidates,
            context=context,
            exclude_seen=exclude_seen,
            where=where,
            deny=deny,
            max_per=max_per,
            retrieve=retrieve.trained if isinstance(retrieve, Run) else retrieve,
            n_retrieved=n_retrieved,
            index=index,
            rerank=self.reranking(rerank),
        )

    def fold_in(
        self,
        interactions: Any = None,
        *,
        entity: Literal["user", "item"] = "user",
        attributes: Any = None,
    ) -> Newcomers:
        """Users or items that came after training, known by a few events, without training anew.

        A newcomer's row of embeddings and biases is the most probable one given their events and
        what trained rows are like; nothing else changes, so everyone else's predictions stay the
        same to the bit. Users of models that score by what they had, such as `ease`, need no row.
        Whoever was trained already is found anew from their training events and these together.

        Args:
            interactions: A frame or a path: the ids, and the target unless it is implicit. Without
                the newcomers' id column all rows are those of one newcomer, `new`. Missing event
                columns count as unknown.
            entity: What the newcomers are.
            attributes: A frame or a path: their attributes by id.

        Returns:
            The newcomers, with `recommend`, `predict` and `vectors`.

        Raises:
            DataError: A column is missing or of another type than in training.
            RunError: The run has no users and items, or its model cannot take newcomers.

        Example:
            >>> ratings = pd.DataFrame({"item_id": [50, 181], "rating": [5, 4]})
            >>> run.fold_in(ratings).recommend(k=5)  # doctest: +SKIP
        """
        self.trained.require_entities("fold_in")
        if interactions is None and attributes is None:
            raise DataError("fold_in: expected interactions, attributes or both")
        if interactions is None:
            other = self.trained.encoder.entities["item" if entity == "user" else "user"]
            columns = [other.plan.id, *self.trained.target.columns]
            events = Source(pd.DataFrame(columns=columns), "no interactions")
        else:
            events = as_source(interactions)
        given = read_given(
            self.trained,
            entity,
            events,
            is_positive=self._positive(events),
            attributes=None if attributes is None else as_source(attributes),
        )
        folding = self._newcomers_folding(entity)
        if given.is_positive.any():
            check_learnable(self.trained, entity, folding)
        return fold_in(self.trained, given, folding, reranking=self.reranking)

    def interview(
        self,
        selector: str | Mapping[str, Any] | None = None,
        *,
        attributes: Mapping[str, Any] | None = None,
        resume: str | Path | None = None,
        is_text: bool = False,
    ) -> Interview:
        """Questions for a new user, whose list changes with every answer.

        Args:
            selector: Who chooses the questions, such as `"tree"` or `{"tree": {"depth": 4}}`; by
                default `rehearsed`, or `tree` where the model has no rows of users.
            attributes: What is known of the user, such as `{"age": 30}`.
            resume: A file that `Interview.save` wrote; its selector and attributes hold where none
                are given.
            is_text: The attributes come from a command line.

        Returns:
            The interview, with `ask`, `answer`, `undo`, `recommend`, `ratings` and `save`.

        Raises:
            DataError: Users have no such attribute, or the file does not fit the run.
            RunError: The run cannot take new users, or the selector does not suit its model.
            SpecError: There is no such selector, or an option is wrong.
        """
        from tabcf.run.onboarding import start_interview

        self.trained.require_entities("interview")
        return start_interview(
            self,
            self._newcomers_folding("user"),
            selector,
            shared=self._selectors,
            attributes=attributes,
            resume=resume,
            is_text=is_text,
        )

    def similar(
        self, entity: str, id: Any, k: int = 10, *, metric: Closeness = "cosine"
    ) -> pd.DataFrame:
        """The k items (or users) nearest to one, by their trained vectors."""
        return similar(self.trained, entity, id, k, metric=metric)

    def embeddings(self, entity: str) -> pd.DataFrame:
        """Trained vectors by id, with `count`, the number of training events behind each."""
        return embedding_table(self.trained, entity)

    def biases(self, entity: str) -> pd.DataFrame:
        """Trained biases by id, highest first, beside mean target and number of events."""
        return bias_table(self.trained, entity, mean_target=self.mean_targets.get(entity))

    @property
    def inspection(self) -> Inspector:
        """What can be seen inside: factors, biases, the crosstab, why a score is what it is."""
        train = self.spec.train
        schedule = self.registry.resolve("schedule", train.schedule)
        course = Course(
            self.report.epochs,
            schedule.definition.build(schedule.options),
            train.learning_rate,
            self.report.n_steps * len(self.report.epochs),
            train.weight_decay,
        )
        return Inspector(
            self.trained,
            course,
            fold_in=self.folding,
            encode=lambda data: self._encode(data)[2],
            mean_targets=self.mean_targets,
        )

    def summary(self) -> Summary:
        """The model's layers: shapes, parameters, and the column of each embedding."""
        return summarise(self.trained.model, self.trained.encoder.layout)

    def save(self, folder: str | Path) -> Path:
        """Write the run to a folder, which must not exist; nothing is ever left half-written."""
        from tabcf.run.folder import save

        home = save(self, Path(folder))
        self.version = 1
        self.placed(home)
        return home

    @staticmethod
    def check_free(folder: Path) -> None:
        """Raise if a run cannot be written there."""
        if folder.exists():
            raise RunError(f"{folder}: already exists; runs are never overwritten")

    @property
    def advice(self) -> str | None:
        """A line on what its lists are good for, None where there is nothing to say."""
        if self.trained.target.kind != "rating" or "item" not in self.trained.encoder.entities:
            return None
        return (
            "this run predicts ratings; sorted by them, lists are usually worse than plain "
            "popularity: train with `target: {implicit: {}}` to recommend"
        )

    def __repr__(self) -> str:
        from tabcf.evaluation.evaluate import describe

        where = f", saved in {self.folder}" if self.folder else ""
        test = f", test {describe(self.report.test)}" if self.report.test else ""
        index = "".join(f", {line}" for line in self.indices)
        fitted = f"{self.label}, fitted on {self.report.fitted_on}"
        return f"Run({self.name}: {fitted}{test}{index}{where})"

    def _repr_html_(self) -> str:
        """A notebook shows the test metrics beside the baselines."""
        table = pd.DataFrame.from_dict(self.test_table, orient="index").to_html(
            float_format="{:.4f}".format
        )
        if has_cold_rows(self.test_groups):
            table += self.test_groups.to_html(index=False, float_format="{:.4f}".format)
        index = "".join(f"<p>{line}</p>" for line in self.indices)
        return f"<p><b>{self.name}</b>, fitted on {self.report.fitted_on}; test:</p>{table}{index}"
