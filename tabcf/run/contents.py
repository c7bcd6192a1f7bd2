"""What a run is made of, and what its other parts find in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from tabcf.contracts.model import ColumnRows, LevelDraws, PosteriorDraws
from tabcf.contracts.selector import Selector
from tabcf.contracts.table import Table
from tabcf.data.conditions import matching
from tabcf.data.events import is_positive
from tabcf.data.plans import ColumnPlan
from tabcf.data.sources import Source, as_source
from tabcf.evaluation.evaluate import Metric
from tabcf.plugin.registry import Registry
from tabcf.recommend.fold_in.draws import FoldInDraws
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.reranking.chain import Reranking
from tabcf.recommend.trained import Trained
from tabcf.run.growth import Growth
from tabcf.run.prepare import encode_rows
from tabcf.run.rerank import resolve_reranking
from tabcf.run.results import FitReport
from tabcf.run.versions import version_folder
from tabcf.spec.conditions import columns_of
from tabcf.spec.records import Spec

if TYPE_CHECKING:
    from tabcf.run.run import Run

__all__ = ["RunContents"]


class RunContents:
    """A trained model with its spec, its registry and its report.

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

    def folding(self, entity: str) -> FoldIn | None:
        """What finds newcomers' rows; None where the model has none of users."""
        if entity == "user" and not isinstance(self.trained.model, ColumnRows):
            return None
        if entity not in self._fold_ins:
            self._fold_ins[entity] = FoldIn(self.trained, entity)
        return self._fold_ins[entity]

    def _newcomers_folding(self, entity: str) -> FoldIn | FoldInDraws | None:
        """The same, also of a model that is a mean over draws, whose rows have no covariance."""
        if not isinstance(self.trained.model, PosteriorDraws | LevelDraws):
            return self.folding(entity)
        if entity not in self._draws:
            self._draws[entity] = FoldInDraws(self.trained, entity)
        return self._draws[entity]

    def reranking(self, given: Any = True) -> Reranking | None:
        """Re-rankers ready to use, as `recommend` takes them; None for none.

        Raises:
            SpecError: A name is unknown or an option is wrong.
        """
        named = self.spec.rerank if given is True else None if given is False else given
        return resolve_reranking(self.registry, named, fold_in=lambda: self.folding("user"))

    @property
    def label(self) -> str:
        """What makes its lists: `dot_product`, or `ials, then dot_product`."""
        model = self.spec.model.name
        return model if self.first_stage is None else f"{self.first_stage.label}, then {model}"

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

    @property
    def _run(self) -> Run:
        """The run that all parts make up."""
        return cast("Run", self)

    def _ranker(self, retrieve: bool) -> Trained:
        """The model with its first stage as that is by now, or without it."""
        first = self.trained.first
        if not retrieve or first is None or self.first_stage is None:
            return replace(self.trained, first=None) if first is not None else self.trained
        return replace(self.trained, first=replace(first, trained=self.first_stage.trained))

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
