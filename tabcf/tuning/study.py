"""Trials kept by Optuna in a file of JSON lines, so that they outlive the process.

Each trial has a sampler of its own, seeded with the search's seed and the number of trials that
ended before it: what is tried next depends on those and on what they gave, and not on whether the
search was broken off in between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tabcf.errors import MissingExtraError
from tabcf.spec.overrides import path_of
from tabcf.spec.tune import Tune, override
from tabcf.tuning.bench import Measured
from tabcf.tuning.space import Parameter

if TYPE_CHECKING:
    import optuna

__all__ = ["Study", "Trial", "require_optuna"]

_JOURNAL = "trials.jsonl"
_SETTING, _LOST, _REASON = "setting", "lost", "reason"
_RANDOM_FIRST = 10
# Trials are compared at tenths of their training, since a schedule of ten epochs is behind one of
# three after the first, whatever it comes to.
_TENTHS = 10
# Trials before the first one that is ended early, and tenths of each that are left alone.
_WARM_TRIALS, _WARM_TENTHS = 5, 5


def require_optuna() -> Any:
    """Optuna, quiet.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise MissingExtraError("optuna", "tune") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Trial:
    """One setting that is being tried."""

    def __init__(self, trial: optuna.Trial, number: int, setting: Mapping[str, Any]) -> None:
        self.trial, self.number, self.setting = trial, number, setting

    @property
    def overrides(self) -> list[str]:
        """The setting as `--set` takes it."""
        return [override(path, value) for path, value in self.setting.items()]

    def is_behind(self, epoch: int, epochs: int, value: float) -> bool:
        """Whether its validation metric after one of its epochs says that it is not worth going on.

        The metric counts for every tenth of the training that the epoch has come to or past.
        """
        if not math.isfinite(value):
            return False
        first, last = ((_TENTHS * e) // epochs for e in (epoch - 1, epoch))
        for tenth in range(first + 1, last + 1):
            self.trial.report(value, tenth)
        self.trial.set_user_attr("epochs", epoch)
        return last > first and epoch < epochs and self.trial.should_prune()


class Study:
    """The trials of one search.

    Args:
        folder: Where the file is, or is to be.
        parameters: What is tried.
        tune: Which sampler and pruner.
        seed: Where the randomness starts.
        is_higher_better: Of the metric.
    """

    def __init__(
        self,
        folder: Path,
        parameters: Sequence[Parameter],
        tune: Tune,
        *,
        seed: int,
        is_higher_better: bool,
    ) -> None:
        self._optuna, self._tune, self._seed = require_optuna(), tune, seed
        from optuna.storages.journal import JournalFileBackend

        self._parameters = tuple(parameters)
        self._paths = [parameter.path for parameter in parameters]
        backend = JournalFileBackend(str(folder / _JOURNAL))
        self._study: optuna.Study = self._optuna.create_study(
            study_name="tabcf",
            storage=self._optuna.storages.JournalStorage(backend),
            pruner=self._pruner(),
            direction="maximize" if is_higher_better else "minimize",
            load_if_exists=True,
        )
        self._is_higher_better = is_higher_better
        for trial in self._study.get_trials(deepcopy=False):
            if not trial.state.is_finished():
                self._lose(trial.number, trial._trial_id)

    def _pruner(self) -> Any:
        pruners = self._optuna.pruners
        if self._tune.pruner == "median":
            return pruners.MedianPruner(_WARM_TRIALS, n_warmup_steps=_WARM_TENTHS)
        if self._tune.pruner == "hyperband":
            return pruners.HyperbandPruner(1, _TENTHS, reduction_factor=3)
        return pruners.NopPruner()

    def _sampler(self, number: int) -> Any:
        seed = (self._seed * 1_000_003 + number) % 2**32
        if self._tune.sampler == "random":
            return self._optuna.samplers.RandomSampler(seed=seed)
        n_random = max(1, min(_RANDOM_FIRST, self._tune.trials // 3))
        return self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_random)

    def begin(self, own: Mapping[str, Any]) -> Trial:
        """The next setting; the first one has the spec's own values, as far as they are tried."""
        taken = {t.user_attrs["number"] for t in (*self._kept(), *self._running())}
        number = min(set(range(1, len(taken) + 2)) - taken)
        if number == 1:
            # A mapping of columns, such as weight_decay, has what is meant for all as `default`.
            values = {p: own.get(p, own.get(f"{p}.default")) for p in self._paths}
            first = {p.path: p.drawn(values[p.path]) for p in self._parameters}
            self._study.enqueue_trial({k: v for k, v in first.items() if v is not None})
        self._study.sampler = self._sampler(number)
        trial = self._study.ask({p.path: p.distribution() for p in self._parameters})
        setting = {p.path: p.value(trial.params[p.path]) for p in self._parameters}
        trial.set_user_attr("number", number)
        trial.set_user_attr(_SETTING, setting)
        return Trial(trial, number, setting)

    def complete(self, trial: Trial, value: float, measured: Measured) -> None:
        """The setting was fitted to its end."""
        trial.trial.set_user_attr("valid", dict(measured.valid))
        trial.trial.set_user_attr("epochs", measured.best_epoch)
        self._study.tell(trial.trial, value)

    def prune(self, trial: Trial) -> None:
        """It was behind."""
        self._study.tell(trial.trial, state=self._optuna.trial.TrialState.PRUNED)

    def fail(self, trial: Trial, reason: str) -> None:
        """It cannot be fitted."""
        trial.trial.set_user_attr(_REASON, reason)
        self._study.tell(trial.trial, state=self._optuna.trial.TrialState.FAIL)

    def lose(self, trial: Trial) -> None:
        """It was broken off, and does not count."""
        self._lose(trial.trial.number, trial.trial._trial_id)

    def _lose(self, number: int, identity: int) -> None:
        self._study._storage.set_trial_user_attr(identity, _LOST, True)
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)

    def _kept(self) -> list[optuna.trial.FrozenTrial]:
        """The trials that ended by themselves."""
        trials = self._study.get_trials(deepcopy=False)
        return [t for t in trials if t.state.is_finished() and _LOST not in t.user_attrs]

    def _running(self) -> list[optuna.trial.FrozenTrial]:
        running = self._optuna.trial.TrialState.RUNNING
        return [t for t in self._study.get_trials(deepcopy=False) if t.state == running]

    @property
    def n_begun(self) -> int:
        """How many trials have ended by themselves or are at work."""
        return len(self._kept()) + len(self._running())

    @property
    def n_complete(self) -> int:
        """How many were fitted to their end."""
        return len(self._complete())

    def _complete(self) -> list[optuna.trial.FrozenTrial]:
        done = self._optuna.trial.TrialState.COMPLETE
        return [trial for trial in self._kept() if trial.state == done]

    @property
    def reasons(self) -> list[str]:
        """Why trials failed."""
        return [t.user_attrs[_REASON] for t in self._kept() if _REASON in t.user_attrs]

    @property
    def best(self) -> tuple[int, Mapping[str, Any], float] | None:
        """Number, setting and value of the best trial, the first of equals; None before any."""
        complete = self._complete()
        if not complete:
            return None
        sign = -1.0 if self._is_higher_better else 1.0
        best = min(complete, key=lambda t: (sign * float(t.value or 0.0), t.user_attrs["number"]))
        return best.user_attrs["number"], best.user_attrs[_SETTING], float(best.value or 0.0)

    def table(self, metric: str) -> pd.DataFrame:
        """One row a trial: `trial`, `state`, the metric, `epochs`, `seconds`, and the setting."""
        rows = []
        names = _short_names(self._paths)
        for trial in sorted(self._kept(), key=lambda t: int(t.user_attrs["number"])):
            state = trial.state.name.lower()
            seconds = trial.duration.total_seconds() if trial.duration else float("nan")
            value = trial.value
            if value is None and trial.intermediate_values:
                value = trial.intermediate_values[max(trial.intermediate_values)]
            rows.append(
                {
                    "trial": trial.user_attrs["number"],
                    "state": {"complete": "done", "fail": "failed"}.get(state, state),
                    metric: float("nan") if value is None else value,
                    "epochs": trial.user_attrs.get("epochs", 0),
                    "seconds": round(seconds, 2),
                    **{names[path]: v for path, v in trial.user_attrs[_SETTING].items()},
                }
            )
        columns = ["trial", "state", metric, "epochs", "seconds", *names.values()]
        return pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """Paths by their last telling steps where those tell them apart: the columns of a table."""
    taken = {"epochs", "trial", "state", "seconds"}
    last = {path: str(path_of(path.removesuffix(".default"))[-1]) for path in paths}
    many = list(last.values())
    return {p: n if many.count(n) == 1 and n not in taken else p for p, n in last.items()}
