"""A fit by several processes: what goes with it, and starting them.

Each process reads the spec and the data; the first one writes the run.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabcf.contracts.launch import Launch, Message
from tabcf.data.sources import source_of_frame
from tabcf.errors import RunError, SpecError, TrainingError
from tabcf.plugin.registry import Registry
from tabcf.run.checkpoints import kept_by, partial_of, reserve
from tabcf.run.children import threads_of_each
from tabcf.run.folds import as_sent, folds_of, told
from tabcf.run.launched import start_children, work
from tabcf.run.own_rows import check_own
from tabcf.run.progress import Progress
from tabcf.spec.read import SpecDocument
from tabcf.spec.records import Spec

__all__ = ["check_workers", "fit_by_processes", "is_together"]


def is_together(spec: Spec, registry: Registry, out: Path | None, *, is_resumed: bool) -> bool:
    """Whether other processes do a fit: several, or an engine's, or it is gone on with from theirs.

    Raises:
        RunError: One process began what several are to go on with.
    """
    if registry.resolve("engine", spec.train.engine).definition.launch is not None:
        return True
    kept = None if out is None or not is_resumed else kept_by(out)
    if kept == "one" and spec.train.workers > 1:
        raise RunError(
            f"{out}: expected a fit that several processes began, found one by a single process; "
            "go on with it by a single one (train.workers: 1)"
        )
    return spec.train.workers > 1 or kept == "several"


def check_workers(spec: Spec, registry: Registry) -> None:
    """Raise where several processes have nothing to share.

    Raises:
        SpecError: Says what, and what else to do.
    """
    if folds_of(spec, registry):
        raise SpecError(
            [
                "train.workers: folds are fitted side by side already; say how many by --jobs, "
                "with an engine of this process"
            ]
        )
    if spec.train.memory is not None:
        raise SpecError(["train.memory: is of a single process; leave it or train.workers out"])
    stages = [(spec.model, spec.fit)]
    if spec.retrieve is not None:
        stages.append((spec.retrieve.model, None))
    if not any(
        fit is None and registry.resolve("model", model).definition.solve is None
        for model, fit in stages
    ):
        what = f"{spec.model.name} is solved rather than trained in steps"
        raise SpecError([f"train.workers: {what}; leave it out"])
    if spec.train.shard is not None and spec.train.shard.data:
        check_own(spec, registry)


def fit_by_processes(
    document: SpecDocument,
    registry: Registry,
    *,
    data: Any,
    name: str,
    out: Path | None,
    runs: Path | None,
    plugins: Sequence[Any],
    progress: Progress,
    is_resumed: bool,
    cache: bool,
) -> Path:
    """Fit by as many processes as the spec's `train.workers` says, which its engine starts.

    Args:
        document: The spec.
        registry: The components that it names.
        data: Events in place of the spec's: a frame or a path.
        name: The run's.
        out: A folder to write the run to.
        runs: Without `out`, a folder to write the run into.
        plugins: As for `fit`; names of modules alone.
        progress: Told of the first process' epochs.
        is_resumed: Whether the fit goes on from states that were kept.
        cache: As for `fit`.

    Returns:
        The run's folder.

    Raises:
        SpecError: Several processes do not go with the spec.
        RunError: One of them was killed or ended badly; says how to go on.
        TabcfError: What one of them raised.
    """
    check_workers(document.spec, registry)
    if not all(isinstance(plugin, str) for plugin in plugins):
        raise RunError(
            "train.workers: expected plugins as names of modules, which other processes can "
            "import; got an object"
        )
    if out is None:
        if runs is None:
            raise RunError(
                "train.workers: expected the folder of the run in `out`, or of runs in `runs`, "
                "since another process writes it"
            )
        out = reserve(runs, name)
    size = document.spec.train.workers
    progress.note(f"{size} processes")
    with tempfile.TemporaryDirectory(prefix="tabcf-") as shared:
        task = {
            "spec": dict(document.tree),
            "folder": None if document.folder is None else str(document.folder),
            "name": name,
            "plugins": list(plugins),
            "out": str(out),
            "is_resumed": is_resumed,
            "cache": cache,
            "size": size,
            "meeting": (Path(shared) / "meeting").as_uri(),
            **_sent(data, Path(shared)),
        }
        heard = _Heard(progress)
        launch = Launch(size, task, work, heard.hear, threads_of_each(document.spec.train.threads))
        engine = registry.resolve("engine", document.spec.train.engine)
        start = engine.definition.launch or start_children
        try:
            ended = start(launch, engine.options)
        finally:
            if kept_by(out) is None:
                shutil.rmtree(partial_of(out), ignore_errors=True)
    heard.check(ended, size, out)
    return out


def _sent(data: Any, folder: Path) -> Mapping[str, Any]:
    """How the processes get the given data."""
    is_path = data is None or isinstance(data, (str, Path))
    source = None if is_path else source_of_frame(data)
    sent = {"data": None if data is None else str(data)} if source is None else None
    sent = as_sent(data, source, folder) if source is not None else sent
    if sent is None:
        raise RunError(
            "train.workers: the frame has columns that no file holds as they are; write it to one"
        )
    return sent


class _Heard:
    """What processes said; `progress` is told of the fit, and what went wrong is kept."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._failed: dict[int, str] = {}
        self._gone: dict[int, str] = {}

    def hear(self, rank: int, message: Message) -> None:
        """Take a message of one of them."""
        if "failed" in message:
            self._failed[rank] = message["failed"]
        elif "gone" in message:
            self._gone[rank] = message["gone"]
        told(message, self._progress)

    def check(self, ended: Mapping[int, str], size: int, out: Path) -> None:
        """Raise what went wrong first of all; the others only lost the connection."""
        hint = ""
        if kept_by(out) is not None:
            where = partial_of(out)
            hint = f"; its states are in {where}: go on with --resume (in Python resume=True)"
        for rank, reason in ended.items():
            raise RunError(f"process {rank} of the {size} that train: {reason}{hint}")
        for reason in self._failed.values():
            raise TrainingError(reason)
        for rank, reason in self._gone.items():
            raise RunError(f"process {rank} of the {size} that train: {reason}{hint}")
