"""A trained model with all that it needs to answer, in memory or in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from tabcf.audit.choice import Choice
from tabcf.audit.findings import Audit
from tabcf.audit.policies import compare_policies
from tabcf.audit.result import LoopResult
from tabcf.contracts.model import ColumnRows, PosteriorDraws
from tabcf.contracts.selector import Selector
from tabcf.contracts.table import Table
from tabcf.data.conditions import columns_of, matching
from tabcf.data.events import is_positive
from tabcf.data.plans import ColumnPlan
from tabcf.data.sources import Source, as_source
from tabcf.errors import DataError, RunError
from tabcf.evaluation.evaluate import Metric, evaluate, rank_for
from tabcf.evaluation.groups import Evaluated, group_metrics, has_cold_rows
from tabcf.evaluation.learning_curve import learning_curve
from tabcf.evaluation.lists import relevant_items
from tabcf.evaluation.replay import Replay
from tabcf.evaluation.users import user_metrics
from tabcf.inspection.biases import bias_table
from tabcf.inspection.embeddings import embedding_table
from tabcf.inspection.inspector import Course, Inspector
from tabcf.inspection.layers import Summary, summarise
from tabcf.plugin.registry import Registry
from tabcf.recommend.fold_in.draws import FoldInDraws
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.given import read_given
from tabcf.recommend.fold_in.newcomers import Newcomers, check_learnable, fold_in
from tabcf.recommend.index import IndexInfo, IndexUse, KeptIndex, build_index
from tabcf.recommend.neighbours import Closeness, similar
from tabcf.recommend.onboarding.interview import Interview
from tabcf.recommend.predictor import predict
from tabcf.recommend.recommender import recommend
from tabcf.recommend.reranking.chain import Reranking
from tabcf.recommend.trained import Trained
from tabcf.run.auditing import audit_policies
from tabcf.run.growth import Growth
from tabcf.run.prepare import encode_rows
from tabcf.run.rerank import policy_name, resolve_reranking
from tabcf.run.results import FitReport
from tabcf.run.versioned import Versioned
from tabcf.run.versions import version_folder
from tabcf.spec.records import Spec

__all__ = ["Run"]


class Run(Versioned):
    """What `fit` returns and `load` reads.

    Attributes:
        name: The spec's name.
        spec: The spec, resolved.
        report: Metrics, baselines and the course of the training.
        trained: The model with its encoder; what the methods here delegate to.
        users: Test metrics of each user as `evaluate_users` gives them; None without users or
            test rows.
        first_stage: The run that finds the items of its lists, where the spec has `retrieve`.
        folder: Where it is saved, None as long as it is only in memory.
        version: Which of the folder's versions it is.
        growth: What the extension or update that made it came to; None for a fit.
    """

    def __init__(
        self,
        *,
        name: str,
        spec: Spec,
        registry: Registry,
        plans: Sequence[ColumnPlan],
        trained: Trained,
        report: FitReport,
        metrics: Sequence[Metric],
        mean_targets: Mapping[str, np.ndarray],
        users: pd.DataFrame | None = None,
        first_stage: Run | None = None,
        folder: Path | None = None,
        version: int = 1,
        growth: Growth | None = None,
    ) -> None:
        self.name = name
        self.spec = spec
        self.registry = registry
        self.plans = tuple(plans)
        self.trained = trained
        self.report = report
        self.metrics = tuple(metrics)
        self.mean_targets = dict(mean_targets)
        self.users = users
        self.first_stage = first_stage
        self.folder = folder
        self.version = version
        self.growth = growth
        self._fold_ins: dict[str, FoldIn] = {}
        self._selectors: dict[str, Selector] = {}
        self._draws: dict[str, FoldInDraws] = {}

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

    def evaluate(self, data: Any, *, retrieve: bool = True) -> Evaluated:
        """The spec's metrics on the given rows, which must have the target.

        Of an implicit target, the rows that its `positive` rule holds for are the relevant ones.
        For ranking metrics, what a user had in training is left out of their list.

        Args:
            data: A frame, or a path to a file.
            retrieve: Whether the first stage, if there is one, finds the items of the lists;
                without it the model ranks the whole catalogue.

        Returns:
            The metrics by name; its `groups` has those of warm and cold users and items apart, as
            `evaluate_groups` gives them.
        """
        _, _, table = self._encode(data)
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
        _, _, table = self._encode(data)
        ranker = self._ranker(retrieve)
        return group_metrics(ranker, table, self.metrics, seen=ranker.seen)

    def count_users(self, data: Any) -> tuple[int, int]:
        """How many users the rows have, and how many of them no ranking metric measures.

        Those have nothing to find: no positive row, or only of items that they had in training or
        that nobody knows, or they are unknown themselves.
        """
        self.trained.require_entities("count_users")
        source, _, table = self._encode(data)
        users, _ = relevant_items(table, self.trained.seen)
        n_users = source.frame[self.trained.encoder.entities["user"].plan.id].nunique()
        return n_users, n_users - len(users)

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
                `candidates`, `where`, `deny`, `max_per` and a first stage is given, which an index
                cannot heed.
            rerank: Re-rankers as a spec names them, such as `"mmr"` or
                `{"calibrated": {"of": "genres"}}`, several in a list; the spec's own by default,
                none with False.

        Returns:
            One row a recommendation: user id, `rank`, item id, label, `score`, with a re-ranker
            that explores `propensity`, and `basis` (`trained`, `attributes` or `average`: what the
            user's part rests on).
        """
        return recommend(
            self.trained,
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

    def reranking(self, given: Any = True) -> Reranking | None:
        """Re-rankers ready to use, as `recommend` takes them; None for none.

        Raises:
            SpecError: A name is unknown or an option is wrong.
        """
        named = self.spec.rerank if given is True else None if given is False else given
        return resolve_reranking(self.registry, named, fold_in=lambda: self.folding("user"))

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

    @property
    def index(self) -> IndexInfo | None:
        """What the run's approximate index of items is made of and how much it finds, if any."""
        return None if self.trained.index is None else self.trained.index.info

    def build_index(
        self, *, recall: float = 0.95, m: int = 16, ef_construction: int = 100, ef: int = 64
    ) -> IndexInfo:
        """Build an approximate index of all items, which `recommend` then may use.

        It belongs to the run in memory: `save` writes it with the run, and `save_index` adds it to
        the folder of a run that is saved already. Metrics are always those of exact lists.

        Args:
            recall: Share of the exact lists that is to be found, 0 to 1, for a sample of the
                run's users; `ef` is doubled until it is reached.
            m: Edges of an item; more find more and take more memory.
            ef_construction: Items kept in view while building; more find more and build more
                slowly.
            ef: Items kept in view in a search at first.

        Returns:
            What it is made of, with the recall that was measured.

        Raises:
            DataError: The model's scores are no products of vectors, an option is out of range,
                or the recall cannot be reached.
            MissingExtraError: hnswlib is not installed.
        """
        built = build_index(
            self.trained,
            recall=recall,
            m=m,
            ef_construction=ef_construction,
            ef=ef,
            seed=self.trained.seed,
        )
        self.trained = replace(self.trained, index=KeptIndex.of(built))
        return built.info

    def save_index(self) -> Path:
        """Add the index to the folder of the saved run, in place of any other.

        Killed in between, it leaves the folder as it was.

        Raises:
            RunError: The run is not saved or has no index, or its folder has other weights, cannot
                be written or is being changed by another process.
        """
        from tabcf.run.kept_index import add_index

        return add_index(self)

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
            self.folding("user"),
            selector,
            shared=self._selectors,
            attributes=attributes,
            resume=resume,
            is_text=is_text,
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
            self.folding("user"),
            source,
            is_positive(source, implicit.positive if implicit else None),
            selectors=selectors,
            shared=self._selectors,
            at=at,
            n_halvings=n_halvings,
            seed=seed,
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

    def simulate(
        self,
        policies: Sequence[Any] = ("model", "popular", "random"),
        *,
        rounds: int = 10,
        k: int = 10,
        seeds: Sequence[int] = (0,),
        groups: Sequence[str] = (),
        utility: Run | pd.DataFrame | None = None,
        share: float = 0.02,
        activity: pd.Series[Any] | None = None,
        choice: Choice | None = None,
        state: str | Path | None = None,
        max_users: int | None = None,
        on_round: Callable[[str, int, int], None] | None = None,
    ) -> LoopResult:
        """What would become of users and items if choices from lists were what is learnt from.

        Users, items and first interactions are those of the training events. In each round the
        model is fitted again on all interactions so far: a solved one anew, a trained one from
        its weights of the round before, for a tenth of its epochs.

        Args:
            policies: Who takes part, each in a world of its own: `model`, the model's own lists,
                `popular` and `random`; re-rankers as `recommend` takes them, such as
                `{"calibrated": {"of": "genres"}}`; or a mapping with options of `train`, such as
                `{"train": {"user_weights": 0.5}}`, and perhaps `rerank`.
            rounds: How many.
            k: Length of the lists.
            seeds: A world each, for each policy; figures spread over them.
            groups: Groups to watch: `item.genres=Animation`, whose members are the users with at
                least twice the usual share of such items, or `user.gender=F`, whose items are
                those at least twice as usual among members as among others.
            utility: A run whose scores, standardised for each user, are what items are worth to
                them, or a frame of users by items; by default a dot product of another seed
                (`ials`) on the same events.
            share: How many interactions a round would add if everyone took all that they look for,
                as a share of the first ones; each user's part is in proportion to their own.
            activity: How many items each user would take in a round, by id, in place of `share`.
            choice: How users choose from a list.
            state: A file that finished worlds are kept in, and beside it the one at work; a
                simulation that was cut off goes on from there with the round that was not done.
            max_users: Only so many users, drawn with the run's seed.
            on_round: Is told policy, seed and round after each.

        Raises:
            RunError: The target is not implicit, the run has no users and items or has two stages,
                `utility` does not know them all, or the file is of another simulation.
            DataError: A policy, a group or a number is not as it should be.
            SpecError: The options of a policy are not, or do not suit the run.
        """
        from tabcf.run.feedback import simulate_run

        return simulate_run(
            self,
            policies,
            rounds=rounds,
            k=k,
            seeds=seeds,
            groups=groups,
            utility=utility,
            share=share,
            activity=activity,
            choice=choice,
            state=None if state is None else Path(state),
            max_users=max_users,
            on_round=on_round,
        )

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

    def audit(
        self,
        groups: Iterable[str] | None = None,
        *,
        k: int = 10,
        data: Any = None,
        find_groups: bool = False,
        min_share: float = 0.01,
        rerank: Any = True,
    ) -> Audit:
        """What lists do to groups of users and items: whose share in them is larger than in data.

        Args:
            groups: Attributes such as `user.occupation` or `item.genres`, a group for each value,
                or `item.genres=Horror` alone; by default all that have at most 50 values.
            k: Length of the lists, which everyone with training events is given.
            data: A frame or a path to rows that were kept from training, for accuracy by group.
            find_groups: Look for groups of heavy users too that no attribute names: users whose
                items are alike by the named columns of items, or by all.
            min_share: Groups with a smaller share of the training events are left out.
            rerank: As `recommend` takes it.

        Returns:
            Figures over all, by group and by taste; `print` shows the most telling ones.

        Raises:
            DataError: There is no such attribute or value.
            RunError: The run has no users and items.
        """
        found = audit_policies(
            self.trained,
            {"served": self.reranking(rerank)},
            groups=groups,
            find=find_groups,
            k=k,
            held=None if data is None else self._encode(data)[2],
            min_share=min_share,
        )
        return found["served"]

    def compare_policies(
        self,
        policies: Iterable[Any],
        groups: Iterable[str] | None = None,
        *,
        k: int = 10,
        data: Any = None,
        find_groups: bool = False,
        min_share: float = 0.01,
    ) -> pd.DataFrame:
        """The model's own lists beside what re-rankers make of them: accuracy against fairness.

        Args:
            policies: Re-rankers, each as `recommend` takes them.
            groups: As for `audit`, like all that follow.
            k: Length of the lists.
            data: Rows that were kept from training.
            find_groups: Look for groups too.
            min_share: The smallest share of a group.

        Returns:
            One row a policy, `model` first: `policy`, `ndcg` and `recall` of held rows, the largest
            `amplification` of any `group`, that for `others` than its members, `gini`, `coverage`,
            `popularity_lift` and `tail`.
        """
        named = {"model": None} | {policy_name(p): self.reranking(p) for p in policies}
        audits = audit_policies(
            self.trained,
            named,
            groups=groups,
            find=find_groups,
            k=k,
            held=None if data is None else self._encode(data)[2],
            min_share=min_share,
        )
        return compare_policies(audits)

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

    @property
    def files(self) -> Path | None:
        """The folder with the files of its version, None as long as it is only in memory."""
        return None if self.folder is None else version_folder(self.folder, self.version)

    def placed(self, folder: Path) -> None:
        """Say where it is saved by now."""
        from tabcf.run.folder import FIRST_STAGE

        self.folder = folder
        if self.first_stage is not None:
            self.first_stage.placed(version_folder(folder, self.version) / FIRST_STAGE)

    def become(self, other: Run) -> None:
        """Be another version of the same run from now on."""
        self.__dict__.update(other.__dict__)

    @staticmethod
    def check_free(folder: Path) -> None:
        """Raise if a run cannot be written there."""
        if folder.exists():
            raise RunError(f"{folder}: already exists; runs are never overwritten")

    @property
    def label(self) -> str:
        """What makes its lists: `dot_product`, or `ials, then dot_product`."""
        model = self.spec.model.name
        return model if self.first_stage is None else f"{self.first_stage.label}, then {model}"

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
        index = f", {self.index}" if self.index else ""
        fitted = f"{self.label}, fitted on {self.report.fitted_on}"
        return f"Run({self.name}: {fitted}{test}{index}{where})"

    def _repr_html_(self) -> str:
        """A notebook shows the test metrics beside the baselines."""
        table = pd.DataFrame.from_dict(self.test_table, orient="index").to_html(
            float_format="{:.4f}".format
        )
        if has_cold_rows(self.test_groups):
            table += self.test_groups.to_html(index=False, float_format="{:.4f}".format)
        index = f"<p>{self.index}</p>" if self.index else ""
        return f"<p><b>{self.name}</b>, fitted on {self.report.fitted_on}; test:</p>{table}{index}"

    def folding(self, entity: str) -> FoldIn | None:
        """What finds newcomers' rows; None where the model has none of users."""
        if entity == "user" and not isinstance(self.trained.model, ColumnRows):
            return None
        if entity not in self._fold_ins:
            self._fold_ins[entity] = FoldIn(self.trained, entity)
        return self._fold_ins[entity]

    def _newcomers_folding(self, entity: str) -> FoldIn | FoldInDraws | None:
        """The same, also of a model that is a mean over draws, whose rows have no covariance."""
        if not isinstance(self.trained.model, PosteriorDraws):
            return self.folding(entity)
        if entity not in self._draws:
            self._draws[entity] = FoldInDraws(self.trained, entity)
        return self._draws[entity]

    def _ranker(self, retrieve: bool) -> Trained:
        """The model with its first stage, or without it."""
        return self.trained if retrieve else replace(self.trained, first=None)

    def _positive(self, events: Source) -> np.ndarray:
        """Which events count; all of them where nothing says which are positive."""
        implicit = self.spec.target.implicit
        rule = implicit.positive if implicit is not None else None
        if rule is None or not set(columns_of(rule)) <= set(events.frame.columns):
            return np.ones(len(events.frame), dtype=bool)
        return matching(events, rule, where="target.implicit.positive")

    def _encode(self, data: Any) -> tuple[Source, np.ndarray, Table]:
        """Rows, which of them count, and those as numbers."""
        source, implicit = as_source(data), self.spec.target.implicit
        is_counted = is_positive(source, implicit.positive if implicit else None)
        counted = source
        if not is_counted.all():
            frame = source.frame[is_counted].reset_index(drop=True)
            counted = Source(frame, source.name, source.is_text)
        return source, is_counted, encode_rows(self.trained.encoder, self.trained.target, counted)
