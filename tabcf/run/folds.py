"""Cross-validation: the folds of a split, fitted side by side in processes of their own."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import pandas as pd

from tabcf.data.sources import Source
from tabcf.errors import RunError, TabcfError, TrainingError
from tabcf.plugin.registry import Registry
from tabcf.run.checkpoints import partial_of
from tabcf.run.children import Children, Message, as_done, n_cores, threads_of_each
from tabcf.run.cross_validation import CrossValidation, FoldsFile, Scratch, is_cross_validation
from tabcf.run.folder import load, next_free
from tabcf.run.manifest import FOLDS
from tabcf.run.prepare import Events, split_again
from tabcf.run.progress import Progress, epoch_line
from tabcf.run.run import Run
from tabcf.spec.read import SpecDocument
from tabcf.spec.records import Component, Spec
from tabcf.training.loop import EpochReport

__all__ = ["FoldProgress", "as_sent", "cross_validate", "fingerprint", "folds_of", "told"]

_CHILD = "tabcf.run.fold_process"

# `fit_events`, which this module is called by and cannot import.
FitEvents = Callable[..., Run]


def folds_of(spec: Spec, registry: Registry) -> dict[str, Component]:
    """The split of each fold by its name; empty where the split is a single one."""
    if spec.split is None:
        return {}
    split = registry.resolve("split", spec.split)
    if split.definition.folds is None:
        return {}
    found = split.definition.folds(split.options)
    return {name: Component(name=spec.split.name, options=o) for name, o in found.items()}


class FoldProgress:
    """Tells a fit's progress which fold it is of; a note that all folds have is told once.

    Args:
        progress: Told of everything as lines.
        fold: The fold's name.
        said: The notes of all folds; shared by them.
        lock: Held while a line is told; shared as well.
    """

    def __init__(self, progress: Progress, fold: str, said: set[str], lock: Lock) -> None:
        self._progress, self._fold, self._said, self._lock = progress, fold, said, lock

    def rows(self, what: str, n_rows: int, share: float) -> None: ...

    def start(self, epochs: int, n_steps: int) -> None: ...

    def step(self) -> None: ...

    def stop(self) -> None: ...

    def epoch(self, report: EpochReport, epochs: int) -> None:
        with self._lock:
            self._progress.note(f"fold {self._fold}: {epoch_line(report, epochs)}")

    def note(self, text: str) -> None:
        with self._lock:
            if text not in self._said:
                self._said.add(text)
                self._progress.note(text)

    def warn(self, text: str) -> None:
        with self._lock:
            self._progress.warn(f"fold {self._fold}: {text}")


def told(message: Message, progress: Progress) -> None:
    """Pass on what a child process said of its progress."""
    if "epoch" in message:
        progress.epoch(EpochReport(**message["epoch"]), message["epochs"])
    elif "note" in message:
        progress.note(message["note"])
    elif "warn" in message:
        progress.warn(message["warn"])


@dataclass
class _Work:
    """The folds of one cross-validation and what has become of them."""

    document: SpecDocument
    registry: Registry
    name: str
    splits: Mapping[str, Component]
    progress: Progress
    folder: Path | None
    rows: str
    states: dict[str, str]
    runs: dict[str, Run] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)

    @property
    def waiting(self) -> list[str]:
        return [fold for fold, state in self.states.items() if state != "done"]

    def fold_progress(self, fold: str) -> FoldProgress:
        return FoldProgress(self.progress, fold, self.said, self.lock)

    def end(self, fold: str, state: str, run: Run | None = None) -> None:
        """A fold is done or has failed."""
        self.states[fold] = state
        if run is not None:
            self.runs[fold] = run
        if state != "done":
            self.progress.warn(f"fold {fold} failed: {state}")
        self.write()

    def write(self) -> None:
        if self.folder is not None:
            spec = dict(self.document.tree)
            FoldsFile(self.name, spec, self.rows, self.states).write(self.folder)


def cross_validate(
    document: SpecDocument,
    events: Events,
    fit_events: FitEvents,
    *,
    data: Any,
    out: Path | None,
    runs: Path | None,
    plugins: Sequence[Any],
    progress: Progress,
    jobs: int | None = None,
    resume: bool = False,
    cache: bool = True,
) -> CrossValidation:
    """Fit and test every fold of the spec's split.

    Args:
        document: The spec.
        events: Its events, read.
        fit_events: What fits one of them in this process.
        data: What was given in place of the spec's data.
        out: A folder for all of them.
        runs: A folder to write that folder into, as NAME-1, NAME-2, ...
        plugins: As for `fit`.
        progress: Told of each fold.
        jobs: How many at a time; by default as many as there are cores for.
        resume: Fit those that are not done of `out`, or of the spec's last folder in `runs`.
        cache: Whether encoded rows of large files are kept on disk, and found there.

    Raises:
        TabcfError: No fold could be fitted.
        KeyboardInterrupt: Ctrl-C came before any fold was done.
    """
    name = document.spec.name or document.name
    splits = folds_of(document.spec, document.registry)
    rows = fingerprint(events.source)
    states = dict.fromkeys(splits, "waiting")
    folder = out
    if resume:
        folder = _broken_off(out, runs, name)
        states = _states_of(folder, document.tree, rows)
    elif folder is None and runs is not None:
        folder = next_free(runs, name)
    if folder is not None and not resume:
        Run.check_free(folder)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
    work = _Work(document, document.registry, name, splits, progress, folder, rows, states)
    work.write()
    n_jobs = min(
        jobs or max(n_cores() // threads_of_each(document.spec.train.threads), 1), len(work.waiting)
    )
    scratch: Scratch | None = None
    is_interrupted = False
    with tempfile.TemporaryDirectory(prefix="tabcf-") as shared:
        given = as_sent(data, events.source, Path(shared)) if n_jobs > 1 else None
        if not all(isinstance(plugin, str) for plugin in plugins):
            given = None
        if given is not None and folder is None:
            scratch = Scratch()
        try:
            if given is not None:
                where = folder if scratch is None else scratch.path
                assert where is not None
                _side_by_side(work, n_jobs, where, {**given, "cache": cache}, plugins)
            else:
                _one_by_one(work, events, fit_events)
        except KeyboardInterrupt:
            is_interrupted = True
        except BaseException:
            if folder is not None and not any(s == "done" for s in work.states.values()):
                shutil.rmtree(folder, ignore_errors=True)
            raise
    return _found(work, is_interrupted, scratch, plugins)


def _one_by_one(work: _Work, events: Events, fit_events: FitEvents) -> None:
    """Fit the folds in this process, where they cannot be sent to others or one is at work."""
    for fold in work.waiting:
        spec = work.document.spec.model_copy(update={"split": work.splits[fold]})
        try:
            run = fit_events(
                spec,
                work.registry,
                split_again(spec, work.registry, events),
                name=f"{work.name}-fold-{fold}",
                progress=work.fold_progress(fold),
                out=None if work.folder is None else work.folder / f"fold-{fold}",
                is_resumed=work.folder is not None and _has_states(work.folder, fold),
                is_whole=True,
            )
        except TabcfError as error:
            work.end(fold, str(error))
        else:
            work.end(fold, "done", run)


def _side_by_side(
    work: _Work, n_jobs: int, folder: Path, given: Mapping[str, Any], plugins: Sequence[Any]
) -> None:
    """Fit several folds at a time, each in a process of its own."""
    children = Children(_CHILD, threads=threads_of_each(work.document.spec.train.threads))

    def fit(fold: str) -> None:
        split = work.splits[fold]
        failure: list[str] = []

        def heard(message: Message) -> None:
            if "failed" in message:
                failure.append(message["failed"])
            told(message, progress)

        progress = work.fold_progress(fold)
        task = {
            "spec": {**work.document.tree, "split": {split.name: dict(split.options)}},
            "folder": None if work.document.folder is None else str(work.document.folder),
            "name": f"{work.name}-fold-{fold}",
            "plugins": list(plugins),
            "out": str(folder / f"fold-{fold}"),
            "is_resumed": _has_states(folder, fold),
            **given,
        }
        children.run(task, heard)
        if failure:
            raise TrainingError(failure[0])

    pool = ThreadPoolExecutor(n_jobs)
    futures: dict[Future[None], str] = {}
    try:
        futures = {pool.submit(fit, fold): fold for fold in work.waiting}
        for future in as_done(futures):
            error = future.exception()
            if error is not None and not isinstance(error, TabcfError):
                raise error
            fold = futures[future]
            run = None if error else load(folder / f"fold-{fold}", plugins=plugins)
            work.end(fold, "done" if error is None else str(error), run)
    finally:
        children.end()
        pool.shutdown(wait=True, cancel_futures=True)
        children.close()
        states = {partial_of(folder / f"fold-{fold}") for fold in work.splits}
        for left_over in set(folder.glob(".fold-*")) - states:
            shutil.rmtree(left_over, ignore_errors=True)
        for fold in work.waiting:
            if _is_done(folder, fold):
                work.end(fold, "done", load(folder / f"fold-{fold}", plugins=plugins))


def _found(
    work: _Work,
    is_interrupted: bool,
    scratch: Scratch | None,
    plugins: Sequence[Any],
) -> CrossValidation:
    """All folds that are done, those of an earlier attempt among them."""
    runs = {}
    for fold, state in work.states.items():
        if state == "done" and fold in work.runs:
            runs[fold] = work.runs[fold]
        elif state == "done" and work.folder is not None:
            runs[fold] = load(work.folder / f"fold-{fold}", plugins=plugins)
    failures = {f: s for f, s in work.states.items() if s not in ("done", "waiting")}
    if not runs:
        if work.folder is not None:
            shutil.rmtree(work.folder, ignore_errors=True)
        if is_interrupted:
            raise KeyboardInterrupt
        reasons = list(dict.fromkeys(failures.values()))
        raise TrainingError(f"none of {len(work.states)} folds could be fitted: {reasons[0]}")
    return CrossValidation(
        work.name, runs, len(work.states), failures, is_interrupted, work.folder, scratch
    )


def _broken_off(out: Path | None, runs: Path | None, name: str) -> Path:
    """The folder whose folds are to be finished."""
    if out is not None:
        return out
    found = [
        path.parent
        for path in (runs or Path()).glob(f"{name}-*/{FOLDS}")
        if path.parent.name.removeprefix(f"{name}-").isdigit()
        and not FoldsFile.read(path.parent).is_done
    ]
    if not found:
        raise RunError(
            f"{runs}: expected a cross-validation of '{name}' that was broken off, found none to "
            "resume; leave out --resume (in Python resume=True) to begin one"
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def _states_of(folder: Path, tree: Mapping[str, Any], rows: str) -> dict[str, str]:
    """What became of each fold of a folder; those that failed are tried again.

    Raises:
        RunError: It is no such folder, or one of another spec or of other rows.
    """
    if not is_cross_validation(folder):
        raise RunError(f"{folder}: expected the folder of a cross-validation; no {FOLDS} in it")
    file = FoldsFile.read(folder)
    if dict(file.spec) != dict(tree):
        differ = [k for k in {**file.spec, **tree} if file.spec.get(k) != tree.get(k)]
        raise RunError(
            f"{folder}: was begun with another spec; {', '.join(differ)} differ, and folds are "
            "fitted alike or not at all"
        )
    if file.rows != rows:
        raise RunError(f"{folder}: was begun with other events; its folds are not of these rows")
    return {fold: "done" if _is_done(folder, fold) else "waiting" for fold in file.folds}


def _has_states(folder: Path, fold: str) -> bool:
    """Whether the fit of a fold was broken off and can go on."""
    return partial_of(folder / f"fold-{fold}").is_dir()


def _is_done(folder: Path, fold: str) -> bool:
    """Whether a fold's run is there, which it is as a whole or not at all."""
    return (folder / f"fold-{fold}").is_dir()


def fingerprint(source: Source) -> str:
    """A SHA-256 of all values in the order of the rows."""
    frame = source.frame
    try:
        values = pd.util.hash_pandas_object(frame, index=False)
    except TypeError:  # lists and the like
        values = pd.util.hash_pandas_object(frame.astype(str), index=False)
    names = "\0".join(map(str, frame.columns)).encode()
    return hashlib.sha256(names + values.to_numpy().tobytes()).hexdigest()


def as_sent(data: Any, source: Source, folder: Path) -> dict[str, Any] | None:
    """How a child process gets the given data; None where it cannot have the very same."""
    if data is None or isinstance(data, (str, Path)):
        return {"data": None if data is None else str(data)}
    plain = all(
        dtype.kind in "biufM" or pd.api.types.infer_dtype(source.frame[name]) == "string"
        for name, dtype in source.frame.dtypes.items()
    )
    if not plain:
        return None
    path = folder / "data.parquet"
    source.frame.to_parquet(path, index=False)
    return {"data": str(path)}
