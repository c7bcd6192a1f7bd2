"""`tune`: try settings by their validation metric, then fit the best one and test it once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Any

import pandas as pd

from tabcf.data.sources import source_of_frame
from tabcf.errors import RunError, SpecError, TabcfError, TrainingError
from tabcf.run.cached import load_events
from tabcf.run.children import Children, Message, threads_of_each
from tabcf.run.cross_validation import Scratch
from tabcf.run.fit import fit_events
from tabcf.run.folder import next_free
from tabcf.run.folds import as_sent, fingerprint
from tabcf.run.progress import Progress, Silent
from tabcf.run.registry import compose_registry
from tabcf.run.resolve import resolve_metrics
from tabcf.run.run import Run
from tabcf.run.tracking import parameters
from tabcf.spec.overrides import apply_overrides
from tabcf.spec.places import as_text
from tabcf.spec.read import SpecDocument, read_spec
from tabcf.spec.tune import Tune, override, seconds_of
from tabcf.spec.tune_check import tune_problems
from tabcf.training.loop import EpochReport
from tabcf.tuning.bench import Bench, Measured, Stopped
from tabcf.tuning.files import TRIALS, SearchFile, write_best
from tabcf.tuning.space import Parameter, default_space, space_of
from tabcf.tuning.study import Study, Trial, require_optuna

__all__ = ["Tuning", "tune"]

_CHILD = "tabcf.tuning.process"
# Fits a setting, told of each epoch; `Stopped` from there ends it.
FitSetting = Callable[[Sequence[str], Callable[[EpochReport], None]], Measured]


@dataclass(frozen=True)
class Tuning:
    """What came of a search.

    Attributes:
        metric: What settings were chosen by, of the validation rows.
        trials: One row a trial: `trial`, `state` (`done`, `pruned` or `failed`), the metric,
            `epochs`, `seconds`, and the setting.
        best: The best setting, by the path of each value.
        best_trial: Its number.
        best_value: Its validation metric.
        spec: The spec with it, as plain values; `fit` takes them.
        run: It, fitted on training and validation rows and tested; None after Ctrl-C.
        is_interrupted: Whether Ctrl-C ended the search.
        folder: Where all of it is, None if it was only in memory.
    """

    metric: str
    trials: pd.DataFrame
    best: Mapping[str, Any]
    best_trial: int
    best_value: float
    spec: Mapping[str, Any]
    run: Run | None
    is_interrupted: bool
    folder: Path | None
    # What the trials are kept in where there is no folder.
    scratch: Scratch | None = None


def tune(
    spec: str | Path | Mapping[str, Any],
    data: Any = None,
    out: str | Path | None = None,
    *,
    runs: str | Path | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[Any] = (),
    progress: Progress | None = None,
    jobs: int = 1,
    resume: bool = False,
) -> Tuning:
    """Look for the setting of a spec whose validation metric is best, then fit and test it.

    What is tried, and for how long, is in the spec under `tune`. Test rows are read only when the
    best setting is found; it is then fitted on training rows, and again on those and the
    validation rows.

    Args:
        spec: A YAML file, or its content as a mapping.
        data: Events in place of the spec's: a frame or a path.
        out: A folder for all of it; it must not exist.
        runs: A folder to write that folder into, as NAME-tune-1, NAME-tune-2, ...; with neither
            nothing is kept.
        overrides: Changes of the spec, such as `"tune.trials=50"`.
        plugins: As for `fit`.
        progress: Told of each trial.
        jobs: Trials at a time. With one, the same spec and seed give the same trials; with more
            it depends on which of them ends first.
        resume: Go on with the search of `out`, or the spec's last one in `runs`: with what is
            left of `tune.trials`, which may have grown.

    Raises:
        SpecError: The spec is wrong, leaves no validation rows, or has nothing to try.
        DataError: The data cannot be read or do not fit.
        RunError: The folder is taken, or there is no such search to resume.
        TrainingError: No setting could be fitted.
        MissingExtraError: Optuna is not installed.
        KeyboardInterrupt: Ctrl-C came before a trial was done.
    """
    document = read_spec(spec, compose_registry(plugins), overrides=overrides)
    require_optuna()
    progress = progress or Silent()
    rules = document.spec.tune or Tune()
    if data is not None and not isinstance(data, (str, Path)):
        data = source_of_frame(data).frame  # once: a stream cannot be read again
    bench = Bench.of(document.tree, document.folder, data, plugins)
    parameters_ = _parameters(document)
    metric, is_higher_better = _metric(bench, rules)
    name = document.spec.name or document.name
    file = SearchFile.of(name, document.tree, metric, fingerprint(bench.events.source))
    folder = _folder(file, out, runs, resume=resume)
    scratch = None
    if folder is None:
        scratch = Scratch()
        folder = scratch.path / name
        file.write(folder)
    study = Study(
        folder,
        parameters_,
        rules,
        seed=document.spec.seed,
        is_higher_better=is_higher_better,
    )
    search = _Search(study, rules, metric, progress, folder, _own_values(bench))
    can_send = jobs > 1 and all(isinstance(plugin, str) for plugin in plugins)
    try:
        if can_send and search.side_by_side(bench, jobs):
            pass
        else:
            search.one_by_one(bench.fit)
    except KeyboardInterrupt:
        search.is_interrupted = True
    found = study.best
    if found is None:
        if search.is_interrupted:
            raise KeyboardInterrupt
        reasons = list(dict.fromkeys(study.reasons)) or ["none was fitted to its end"]
        raise TrainingError(f"none of {study.n_begun} settings could be fitted: {reasons[0]}")
    number, setting, value = found
    tree = _with_setting(document, setting)
    comment = f"Trial {number} of {study.n_begun}: valid {metric} {value:.4f}."
    write_best(tree, folder, base=document.folder or Path(), data=data, comment=comment)
    run = None
    if not search.is_interrupted:
        try:
            run = _final(document, tree, data, plugins, progress, None if scratch else folder)
        except KeyboardInterrupt:
            search.is_interrupted = True
    return Tuning(
        metric,
        study.table(metric),
        setting,
        number,
        value,
        tree,
        run,
        search.is_interrupted,
        None if scratch else folder,
        scratch,
    )


@dataclass
class _Search:
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
                for future in [pool.submit(self.one_by_one, fit) for _ in range(jobs)]:
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


def _parameters(document: SpecDocument) -> tuple[Parameter, ...]:
    """What is tried; a default that does not suit the rest of the spec is an error."""
    spec, registry = document.spec, document.registry
    tree = {key: value for key, value in document.tree.items() if key != "tune"}
    if spec.tune is None or spec.tune.space is None:
        rules = {"space": default_space(spec, registry)}
        with_default = spec.model_copy(update={"tune": Tune.model_validate(rules)})
        problems = tune_problems(tree, with_default, registry)
        if problems:
            lines = [f"{as_text(p.shown)}: {p.message}; name a space" for p in problems]
            raise SpecError(lines)
    return space_of(spec, tree, registry)


def _metric(bench: Bench, rules: Tune) -> tuple[str, bool]:
    """The metric to choose by, and whether more of it is better."""
    metrics = resolve_metrics(bench.document.spec, bench.registry, bench.events.target)
    known = {metric.name: metric for metric in metrics}
    name = rules.metric or metrics[0].name
    if name not in known:
        raise SpecError(
            [
                f"tune.metric: expected one of the spec's metrics, got '{name}'; known: "
                f"{', '.join(known)}; it is always measured on the validation rows"
            ]
        )
    return name, known[name].definition.is_higher_better


def _own_values(bench: Bench) -> dict[str, Any]:
    """The spec's own values by their paths, defaults included."""
    return parameters(bench.document.spec, bench.registry, bench.events)


def _folder(
    file: SearchFile, out: str | Path | None, runs: str | Path | None, *, resume: bool
) -> Path | None:
    """The folder of the search, new or to go on with; None where nothing is to be kept."""
    stem = f"{file.name}-tune"
    if not resume:
        folder = Path(out) if out is not None else None
        if folder is None and runs is not None:
            folder = next_free(Path(runs), stem)
        if folder is not None:
            file.write(folder)
        return folder
    if out is not None:
        folder = Path(out)
    else:
        found = [
            path
            for path in (Path(runs) if runs is not None else Path()).glob(f"{stem}-*")
            if path.name.removeprefix(f"{stem}-").isdigit() and (path / "tune.json").is_file()
        ]
        if runs is None or not found:
            raise RunError(
                f"{runs or 'resume'}: expected a search of '{file.name}', found none to resume; "
                "leave out --resume (in Python resume=True) to begin one"
            )
        folder = max(found, key=lambda path: path.stat().st_mtime)
    SearchFile.read(folder).check_same(file, folder)
    return folder


def _with_setting(document: SpecDocument, setting: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with a setting, to be fitted on validation rows as well in the end."""
    tree = {key: value for key, value in document.tree.items() if key != "tune"}
    texts = [override(path, value) for path, value in setting.items()]
    texts.append(override("train.refit", True))
    found, _, problems = apply_overrides(tree, texts, document.registry)
    if problems:
        raise SpecError(problems)
    result: dict[str, Any] = found
    return result


def _final(
    document: SpecDocument,
    tree: Mapping[str, Any],
    data: Any,
    plugins: Sequence[Any],
    progress: Progress,
    folder: Path | None,
) -> Run:
    """Fit the best setting on training and validation rows, and test it."""
    best = read_spec(tree, compose_registry(plugins), folder=document.folder)
    events = load_events(best.spec, best.registry, data=data, folder=document.folder)
    progress.note("the best setting, on training and validation rows:")
    return fit_events(
        best.spec,
        best.registry,
        events,
        name=document.spec.name or document.name,
        progress=progress,
        out=None if folder is None else next_free(folder, "run"),
        is_whole=True,
    )
