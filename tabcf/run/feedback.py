"""A run in a simulated feedback loop: its model learns from what is chosen from its own lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tabcf.audit.choice import Choice
from tabcf.audit.loop import Policy, simulate
from tabcf.audit.loop_policies import PopularPolicy, RandomPolicy
from tabcf.audit.result import LoopResult
from tabcf.errors import DataError
from tabcf.run.population import Simulated, population_of
from tabcf.run.refitting import Refitting, ServedPolicy
from tabcf.run.rerank import policy_name, resolve_reranking
from tabcf.spec.read import read_spec
from tabcf.spec.records import Spec

if TYPE_CHECKING:
    from tabcf.run.contents import RunContents

__all__ = ["POLICIES", "simulate_run"]

POLICIES = ("model", "popular", "random")

_BASELINES: dict[str, Callable[[], Policy]] = {"popular": PopularPolicy, "random": RandomPolicy}
_VARIANT = {"train", "rerank"}


def simulate_run(
    run: RunContents,
    policies: Sequence[Any] = POLICIES,
    *,
    rounds: int = 10,
    k: int = 10,
    seeds: Sequence[int] = (0,),
    groups: Sequence[str] = (),
    utility: RunContents | pd.DataFrame | None = None,
    share: float = 0.02,
    activity: pd.Series[Any] | None = None,
    choice: Choice | None = None,
    state: Path | None = None,
    max_users: int | None = None,
    on_round: Callable[[str, int, int], None] | None = None,
) -> LoopResult:
    """See `Run.simulate`, which this is."""
    simulated = Simulated.of(run, max_users=max_users)
    return simulate(
        population_of(simulated, share=share, groups=groups, utility=utility, activity=activity),
        _made(simulated, policies),
        rounds=rounds,
        k=k,
        seeds=seeds,
        choice=choice,
        state=state,
        settings=run.spec.model_dump_json(),
        on_round=on_round,
    )


def _made(simulated: Simulated, policies: Sequence[Any]) -> dict[str, Callable[[], Policy]]:
    """What makes each policy, by name; those that train alike share their first fit."""
    made: dict[str, Callable[[], Policy]] = {}
    fits: list[Refitting] = []
    for given in policies:
        name = policy_name(given)
        if name in made:
            raise DataError(f"policies: {name} is named twice")
        if name in _BASELINES:
            made[name] = _BASELINES[name]
            continue
        spec = _spec_of(simulated.run, given)
        refitting = next((f for f in fits if f.spec.train == spec.train), None)
        if refitting is None:
            refitting = Refitting(simulated, spec, _epochs(simulated.run, given))
            fits.append(refitting)
        registry = simulated.run.registry
        reranking = resolve_reranking(registry, spec.rerank, fold_in=lambda: None)
        made[name] = partial(ServedPolicy, refitting, reranking)
    return made


def _epochs(run: RunContents, given: Any) -> int:
    """As many as the run took, unless the policy says how many."""
    own = given.get("train", {}) if isinstance(given, Mapping) else {}
    return int(own.get("epochs", run.report.best_epoch or run.spec.train.epochs))


def _spec_of(run: RunContents, given: Any) -> Spec:
    """The run's spec with a policy's options of training, and with its re-rankers alone.

    Raises:
        DataError: There is no such policy.
        SpecError: An option or a re-ranker is not as it should be, or does not suit the run.
    """
    known = run.registry.names("reranker")
    if isinstance(given, str) and given != "model" and given not in known:
        raise DataError(
            f"policies: no '{given}'; known: {', '.join((*POLICIES, *sorted(known)))}, or a "
            "mapping such as {train: {user_weights: 0.5}}"
        )
    tree = run.spec.model_dump(mode="json")
    if given == "model":
        return run.spec.model_copy(update={"rerank": None})
    is_variant = isinstance(given, Mapping) and given.keys() and given.keys() <= _VARIANT
    changes = dict(given) if is_variant else {"rerank": given}
    train = changes.get("train", {})
    if not isinstance(train, Mapping):
        raise DataError(f"policies: train: expected a mapping of options, got {train!r}")
    rerank = changes.get("rerank")
    tree |= {"train": {**tree["train"], **train}, "rerank": rerank}
    items = list(run.trained.encoder.entities["item"].frame.columns)
    return read_spec(tree, run.registry, columns={"item": items}).spec
