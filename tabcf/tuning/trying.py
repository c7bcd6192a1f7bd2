"""Settings tried one after another or side by side, until there are enough or the time is up."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Any

from tabcf.data.sources import source_of_frame
from tabcf.errors import TabcfError, TrainingError
from tabcf.run.children import Children, Message, as_done, threads_of_each
from tabcf.run.folds import as_sent
from tabcf.run.progress import Progress
from tabcf.spec.tune import Tune, seconds_of
from tabcf.training.loop import EpochReport
from tabcf.tuning.bench import Bench, Measured, Stopped
from tabcf.tuning.files import TRIALS
from tabcf.tuning.study import Study, Trial

__all__ = ["Search"]

_CHILD = "tabcf.tuning.process"
# Fits a setting, told of each epoch; `Stopped` from there ends it.
FitSetting = Callable[[Sequence[str], Callable[[EpochReport], None]], Measured]


@dataclass
class Search:
    """One search at work; its methods may be called by several threads."""

    study: Study
    rules: Tune
    metric: str
    progress: Progress
    folder: Path
    own: Mapping[str, Any]
    started: float = field(default_factory=time.monotonic)
    is_interrupted: bool = False
    lock: Lock = field(default_factory=Lock)
    is_ended: Event = field(default_factory=Event)

    @property
    def is_late(self) -> bool:
        """Whether the time is up; the first trial is always fitted to its end."""
        seconds = seconds_of(self.rules.time)
        is_late = seconds is not None and time.monotonic() - self.started > seconds
        return is_late and self.study.n_complete > 0

    def one_by_one(self, fit: FitSetting) -> None:
        """Try settings until there are enough or the time is up."""
        while (trial := self._begin()) is not None:
            self._try(trial, fit)

    def side_by_side(self, bench: Bench, jobs: int) -> bool:
        """The same in processes; whether the data could be sent to them."""
        with tempfile.TemporaryDirectory(prefix="tabcf-") as shared:
            # The very rows that are searched on are not those of the file: test rows are gone.
            given = as_sent(bench.data, _whole(bench), Path(shared))
            if given is None:
                return False
            children = Children(_CHILD, threads=threads_of_each(bench.document.spec.train.threads))
            base = bench.document.folder
            task = {
                "spec": dict(bench.document.tree),
                "folder": None if base is None else str(base),
                "plugins": list(bench.plugins),
                **given,
            }
            pool = ThreadPoolExecutor(jobs)
            try:
                fit = _Sent(children, task)
                for future in as_done([pool.submit(self.one_by_one, fit) for _ in range(jobs)]):
                    future.result()
            finally:
                self.is_ended.set()
                children.end()
                pool.shutdown(wait=True, cancel_futures=True)
                children.close()
        return True

    def _begin(self) -> Trial | None:
        with self.lock:
            is_enough = self.study.n_begun >= self.rules.trials
            if is_enough or self.is_late or self.is_ended.is_set():
                return None
            return self.study.begin(self.own)

    def _try(self, trial: Trial, fit: FitSetting) -> None:
        is_behind = False
        epochs = int(trial.setting.get("train.epochs", self.own.get("train.epochs", 1)))

        def epoch_ended(report: EpochReport) -> None:
            nonlocal is_behind
            with self.lock:
                value = report.validation.get(self.metric, float("nan"))
                is_behind = trial.is_behind(report.epoch, epochs, value)
                if is_behind or self.is_late:
                    raise Stopped("stopped")

        try:
            measured = fit(trial.overrides, epoch_ended)
        except Stopped:
            with self.lock:
                if is_behind:
                    self.study.prune(trial)
                    self._tell(trial, "pruned")
                else:
                    self.study.lose(trial)
        except TabcfError as error:
            with self.lock:
                if self.is_ended.is_set():
                    self.study.lose(trial)
                    return
                self.study.fail(trial, str(error))
                self._tell(trial, f"failed: {error}")
        except BaseException:
            with self.lock:
                self.study.lose(trial)
            raise
        else:
            with self.lock:
                self._complete(trial, measured)

    def _complete(self, trial: Trial, measured: Measured) -> None:
        value = measured.valid[self.metric]
        if value != value:
            self.study.fail(trial, f"its valid {self.metric} is not a number")
            self._tell(trial, f"failed: its valid {self.metric} is not a number")
            return
        self.study.complete(trial, value, measured)
        best = self.study.best
        assert best is not None
        is_best = best[0] == trial.number
        self._tell(trial, f"{self.metric} {value:.4f}{'  best' if is_best else ''}")

    def _tell(self, trial: Trial, what: str) -> None:
        self.study.table(self.metric).to_csv(self.folder / TRIALS, index=False)
        setting = "  ".join(f"{path} {value}" for path, value in trial.setting.items())
        self.progress.note(f"trial {trial.number}/{self.rules.trials}: {what}  {setting}")


class _Sent:
    """Fits settings in other processes."""

    def __init__(self, children: Children, task: Message) -> None:
        self._children, self._task = children, task

    def __call__(
        self, overrides: Sequence[str], on_epoch: Callable[[EpochReport], None]
    ) -> Measured:
        found: list[Message] = []

        def heard(message: Message) -> bool:
            if "epoch" not in message:
                found.append(message)
                return True
            try:
                on_epoch(EpochReport(**message["epoch"]))
            except Stopped:
                return False
            return True

        self._children.run({**self._task, "overrides": list(overrides)}, heard)
        if not found or "stopped" in found[0]:
            raise Stopped("stopped")
        if "failed" in found[0]:
            raise TrainingError(found[0]["failed"])
        return Measured(**found[0]["measured"])


def _whole(bench: Bench) -> Any:
    """The given frame as a source, for processes that split it again; anything else as it is."""
    if bench.data is None or isinstance(bench.data, (str, Path)):
        return bench.events.source
    return source_of_frame(bench.data)
