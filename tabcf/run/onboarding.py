"""Interviews with a run's new users, and selectors by their names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from tabcf.contracts.definitions import SelectorDefinition
from tabcf.contracts.model import ColumnRows
from tabcf.contracts.options import Options
from tabcf.contracts.selector import PastAnswers, Selector
from tabcf.data.sources import Source
from tabcf.errors import DataError, RunError
from tabcf.evaluation.replay import Replay, replay
from tabcf.recommend.fold_in.draws import FoldInDraws
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.onboarding.gain import InformationGain, new_users
from tabcf.recommend.onboarding.interview import FORMAT, Interview
from tabcf.recommend.onboarding.past import past_answers
from tabcf.recommend.onboarding.rehearsal import Interviews
from tabcf.spec.alone import component_alone
from tabcf.spec.wording import did_you_mean

if TYPE_CHECKING:
    from tabcf.run.contents import RunContents

__all__ = ["Named", "Shared", "replay_interviews", "selector_names", "start_interview"]

Named = str | Mapping[str, Any]
Shared = dict[str, Selector]
# What asks where nobody says who: the second one for models that have no rows to find.
_DEFAULT, _WITHOUT_ROWS = "rehearsed", "tree"


class _SavedAnswer(Options):
    """A question and its answer."""

    item: int | str
    answer: float | str | None


class _Saved(Options):
    """What `Interview.save` wrote."""

    format: int
    run: str
    selector: str | dict[str, Any]
    attributes: dict[str, Any]
    is_text: bool
    answers: tuple[_SavedAnswer, ...]


def selector_names(run: RunContents) -> list[str]:
    """The selectors that suit a run's model and its target."""
    kind, has_rows = run.trained.target.kind, _has_rows(run)
    return run.registry.names_where(
        "selector",
        lambda other: kind in other.targets and (has_rows or not other.needs_posterior),
    )


def start_interview(
    run: RunContents,
    fold: FoldIn | FoldInDraws | None,
    selector: Named | None = None,
    *,
    shared: Shared,
    attributes: Mapping[str, Any] | None = None,
    resume: str | Path | None = None,
    is_text: bool = False,
) -> Interview:
    """An interview with a new user; see `Run.interview`.

    Args:
        run: The run.
        fold: What finds new users' rows; None for a model without.
        selector: Who chooses the questions.
        shared: Selectors that were built for all users of the run; others are added.
        attributes: The user's attributes by column.
        resume: A file of `Interview.save`, whose answers come first.
        is_text: The attributes come from a command line.
    """
    saved = None if resume is None else _read(Path(resume))
    if saved is not None:
        selector = saved.selector if selector is None else selector
        is_text = is_text if attributes else saved.is_text
        attributes = attributes or saved.attributes
    if selector is None:
        selector = _DEFAULT if _has_rows(run) else _WITHOUT_ROWS
    attributes = dict(attributes or {})
    entity = run.trained.encoder.entities["user"]
    known = [name for name in entity.frame.columns if name != entity.plan.id]
    for name in attributes:
        if name not in known:
            hint = did_you_mean(name, known) or ";"
            listed = ", ".join(known) or "none"
            raise DataError(f"attributes: users have no '{name}'{hint} known: {listed}")
    given = Source(pd.DataFrame([attributes]), "attributes", is_text)
    user = new_users(entity, 1, given if attributes else None)
    build = _builder(run, selector, shared)
    interview = Interview(
        run.trained,
        build(_with_gain(run, fold, user, seed=run.trained.seed)),
        fold,
        user,
        about={
            "run": run.name,
            "selector": selector,
            "attributes": attributes,
            "is_text": is_text,
        },
    )
    for given_answer in () if saved is None else saved.answers:
        try:
            interview.answer(given_answer.item, given_answer.answer)
        except DataError as error:
            raise DataError(f"{resume}: {error}") from None
    return interview


def replay_interviews(
    run: RunContents,
    fold: FoldIn | FoldInDraws | None,
    events: Source,
    is_positive: np.ndarray,
    *,
    selectors: Sequence[Named],
    shared: Shared,
    at: Sequence[int],
    n_halvings: int,
    seed: int,
) -> Replay:
    """Interviews with users of given events; see `Run.replay_interviews`."""
    names = selectors or selector_names(run)
    named = {str(given): _builder(run, given, shared) for given in names}

    def built(name: str, users: Source, seed: int) -> Selector:
        return named[name](_with_gain(run, fold, users, seed=seed))

    return replay(
        run.trained,
        fold,
        events,
        is_positive,
        {name: partial(built, name) for name in named},
        at=at,
        n_halvings=n_halvings,
        seed=seed,
    )


def _with_gain(
    run: RunContents, fold: FoldIn | FoldInDraws | None, users: Source, *, seed: int
) -> PastAnswers:
    past = past_answers(run.trained, seed=seed)
    if not isinstance(fold, FoldIn):
        return past
    return replace(
        past,
        gain=InformationGain(fold, past, users),
        rehearse=lambda pool, n: Interviews(fold, past, pool=pool, n=n),
    )


def _builder(run: RunContents, given: Named, shared: Shared) -> Callable[[PastAnswers], Selector]:
    """What builds a selector by its name and options, or gives the one that all users share.

    Raises:
        SpecError: There is none of that name, or an option is wrong.
        RunError: The selector needs rows of new users, which the model has not, or another kind of
            target.
    """
    component = component_alone("selector", given, run.registry, where="selector")
    definition: SelectorDefinition
    definition, options, *_ = run.registry.resolve("selector", component)
    kind, known = run.trained.target.kind, ", ".join(selector_names(run))
    if known and kind not in definition.targets:
        raise RunError(
            f"selector: {component.name} takes targets of kind "
            f"{', '.join(sorted(definition.targets))}, and this run's is {kind}; choose one of "
            f"{known}"
        )
    if definition.needs_posterior and not _has_rows(run):
        raise RunError(
            f"selector: {component.name} needs rows of new users, and "
            f"{type(run.trained.model).__name__} has none; choose one of {known}"
        )
    if not definition.is_shared:
        return lambda past: definition.build(past, options)
    key = f"{component.name} {options.model_dump_json()}"

    def of_all(past: PastAnswers) -> Selector:
        if key not in shared:
            shared[key] = definition.build(past, options)
        return shared[key]

    return of_all


def _has_rows(run: RunContents) -> bool:
    return isinstance(run.trained.model, ColumnRows)


def _read(path: Path) -> _Saved:
    try:
        saved = _Saved.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, ValidationError) as error:
        first = str(error).splitlines()
        raise DataError(f"{path}: expected a saved interview; {' '.join(first[:3])}") from None
    if saved.format != FORMAT:
        raise DataError(f"{path}: expected format {FORMAT}, got {saved.format}")
    return saved
