"""A run in a simulated feedback loop: its model learns from what is chosen from its own lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tabcf.audit.choice import Choice
from tabcf.audit.loop import Policy, simulate
from tabcf.audit.loop_policies import PopularPolicy, RandomPolicy, ScoresPolicy
from tabcf.audit.result import LoopResult
from tabcf.errors import DataError
from tabcf.recommend.trained import Trained
from tabcf.run.population import Simulated, all_scores, population_of
from tabcf.run.train import Stage, continue_stage

if TYPE_CHECKING:
    from tabcf.run.run import Run

__all__ = ["POLICIES", "simulate_run"]

POLICIES = ("model", "popular", "random")

# A trained model goes on for a tenth of its epochs in each round.
_CONTINUED = 10


def simulate_run(
    run: Run,
    policies: Sequence[str] = POLICIES,
    *,
    rounds: int = 10,
    k: int = 10,
    seeds: Sequence[int] = (0,),
    groups: Sequence[str] = (),
    utility: Run | None = None,
    share: float = 0.02,
    choice: Choice | None = None,
    state: Path | None = None,
    max_users: int | None = None,
    on_round: Callable[[str, int, int], None] | None = None,
) -> LoopResult:
    """See `Run.simulate`, which this is."""
    unknown = [name for name in policies if name not in POLICIES]
    if unknown:
        raise DataError(f"policies: no '{unknown[0]}'; known: {', '.join(POLICIES)}")
    simulated = Simulated.of(run, max_users=max_users)
    refitting = _Refitting(simulated)
    made: dict[str, Callable[[], Policy]] = {
        "model": lambda: ScoresPolicy(refitting.policy()),
        "popular": PopularPolicy,
        "random": RandomPolicy,
    }
    return simulate(
        population_of(simulated, share=share, groups=groups, utility=utility),
        {name: made[name] for name in policies},
        rounds=rounds,
        k=k,
        seeds=seeds,
        choice=choice,
        state=state,
        settings=run.spec.model_dump_json(),
        on_round=on_round,
    )


@dataclass(frozen=True)
class _Refitting:
    """A run's spec, fitted again in each round of each world."""

    simulated: Simulated

    @cached_property
    def first(self) -> Trained:
        """The fit on the first interactions, with which every world begins."""
        users, items = self.simulated.users, self.simulated.items
        return continue_stage(self._stage(users, items), epochs=self._epochs)

    def policy(self) -> Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]:
        """One world's `learn`: the first fit, then on from the weights of the round before."""
        simulated = self.simulated
        trained: Trained | None = None

        def learn(users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            nonlocal trained
            if trained is None:
                trained = self.first
            else:
                stage = self._stage(users, items)
                seed = int(rng.integers(2**31))
                stage = replace(stage, spec=stage.spec.model_copy(update={"seed": seed}))
                epochs = max(round(self._epochs / _CONTINUED), 1)
                trained = continue_stage(stage, trained, epochs=epochs)
            return all_scores(trained, simulated.user_rows, simulated.item_rows)

        return learn

    @property
    def _epochs(self) -> int:
        run = self.simulated.run
        return run.report.best_epoch or run.spec.train.epochs

    def _stage(self, users: np.ndarray, items: np.ndarray) -> Stage:
        spec = self.simulated.run.spec
        train = spec.train.model_copy(update={"early_stopping": None})
        return Stage.of(
            spec.model_copy(update={"train": train}),
            self.simulated.run.registry,
            self.simulated.events(users, items),
        )
