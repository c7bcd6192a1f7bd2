"""States of a fit kept by the way, from which it goes on after it was broken off.

They are in a folder beside the run that is to come, `.NAME.partial`, which is locked while a fit
writes there and removed when it ends:

fit.json                 the spec, and the versions it was begun with
PHASE/N.safetensors      the state of a training after N steps; the newest ones are kept
PHASE/N.ranks/           the same of several processes, each with a file of its own

A file appears under its name only when all of it is on the disk, so that a fit killed at any moment
leaves states that are whole.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from torch import Tensor

from tabcf.contracts.table import Table
from tabcf.errors import RunError, TrainingError
from tabcf.run.manifest import read_json, write_json
from tabcf.run.progress import Progress
from tabcf.spec.records import Checkpoint, Spec
from tabcf.training.kept import UNREADABLE, packed, unpacked
from tabcf.training.scale_out.seam import ALONE, Ranks
from tabcf.training.state import TrainingState

__all__ = [
    "Checkpoints",
    "PhaseKeeper",
    "Spent",
    "broken_off",
    "checkpointed",
    "kept_by",
    "partial_of",
    "reserve",
]

_FIT, _LOCK = "fit.json", "lock"
_STATES_ALONE, _STATES_TOGETHER = "*.safetensors", "*.ranks"
# Bytes of a table that are in memory at a time while they are hashed.
_HASHED = 1 << 24
# What a fit may be resumed with other values of.
_FREE = ("checkpoint", "threads", "workers")


def partial_of(folder: Path) -> Path:
    """Where the states of the fit are kept whose run will be in a folder."""
    return folder.with_name(f".{folder.name}.partial")


def reserve(folder: Path, name: str) -> Path:
    """`folder/name-n` with the lowest n from 1 that neither a run nor a fit at work has taken.

    Raises:
        RunError: The folder cannot be written.
    """
    number = 1
    while True:
        free = folder / f"{name}-{number}"
        number += 1
        if free.exists():
            continue
        try:
            partial_of(free).mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
        return free


def broken_off(folder: Path, name: str) -> Path:
    """`folder/name-n` of the fit that was broken off last.

    Raises:
        RunError: There is none.
    """
    found = {}
    for path in folder.glob(f".{name}-*.partial"):
        number = path.name.removeprefix(f".{name}-").removesuffix(".partial")
        run = folder / f"{name}-{number}"
        if number.isdigit() and not run.exists() and not _is_locked(path):
            found[run] = path.stat().st_mtime
    if not found:
        raise RunError(
            f"{folder}: expected a fit of '{name}' that was broken off, found none to resume; "
            "leave out --resume (in Python resume=True) to begin one"
        )
    return max(found, key=lambda run: found[run])


def kept_by(folder: Path) -> Literal["one", "several"] | None:
    """How many processes kept the states of the fit whose run will be in a folder, if any did."""
    return _kept_in(partial_of(folder))


def _kept_in(partial: Path) -> Literal["one", "several"] | None:
    if any(partial.glob(f"*/{_STATES_TOGETHER}")):
        return "several"
    return "one" if any(partial.glob(f"*/{_STATES_ALONE}")) else None


class Spent(NamedTuple):
    """Time that a training took before it was broken off: wall and CPU seconds."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Checkpoints:
    """The states of one fit, which is one training or several, called phases.

    Args:
        folder: Where they are kept.
        progress: Told of what is gone on from, and of what cannot be read.
        ranks: The processes that keep them together.
    """

    def __init__(self, folder: Path, progress: Progress, ranks: Ranks = ALONE) -> None:
        self.folder = folder
        self._progress = progress
        self._ranks = ranks

    def phase(self, name: str, rule: Checkpoint | None) -> PhaseKeeper:
        """What keeps the states of the training of that name, by a rule; None for never."""
        return PhaseKeeper(self.folder / name, rule, self._progress, self._ranks)

    @property
    def has_any(self) -> bool:
        """Whether a state was kept."""
        return _kept_in(self.folder) is not None


@contextmanager
def checkpointed(
    folder: Path,
    spec: Spec,
    *,
    versions: Mapping[str, str],
    is_resumed: bool,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> Iterator[Checkpoints]:
    """The states of the fit whose run will be in a folder; they go when the block ends.

    They stay if it ends by what another attempt can mend, such as a full disk or Ctrl-C before or
    after a training. Of several processes the first one sees to the folder.

    Raises:
        RunError: There is nothing to resume, or it is of another spec; or there is something,
            and it is not to be resumed; or another process is at it.
    """
    partial = partial_of(folder)
    if ranks.rank:
        ranks.told(None)
        yield Checkpoints(partial, progress, ranks)
        return
    if is_resumed and not partial.is_dir():
        raise RunError(
            f"{folder}: expected a fit that was broken off, found no {partial.name} beside it; "
            "leave out --resume (in Python resume=True) to begin one"
        )
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder.parent}: cannot be written: {error.strerror}") from None
    lock = FileLock(partial / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder}: another process is fitting this run") from None
    try:
        checkpoints = Checkpoints(partial, progress, ranks)
        about = {"spec": _plain(spec), "versions": dict(versions)}
        if checkpoints.has_any and not is_resumed:
            raise RunError(
                f"{folder}: a fit of it was broken off; go on with --resume (in Python "
                f"resume=True), or delete {partial}"
            )
        if (partial / _FIT).exists():
            _check_same(read_json(partial / _FIT), about, folder, progress.warn)
        else:
            write_json(partial / _FIT, about)
        ranks.told(None)
        try:
            yield checkpoints
        except BaseException as error:
            is_lost = isinstance(error, TrainingError) and not is_resumed
            if is_lost or not checkpoints.has_any:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(partial, ignore_errors=True)
    finally:
        lock.release()


class PhaseKeeper:
    """Keeps the states of one training.

    Args:
        folder: Where.
        rule: When a state is kept; None for never.
        progress: Told of what is gone on from, and of what cannot be read.
        ranks: The processes that keep them together.

    Attributes:
        spent: What the training took before the state from which it goes on.
    """

    def __init__(
        self,
        folder: Path,
        rule: Checkpoint | None,
        progress: Progress,
        ranks: Ranks = ALONE,
    ) -> None:
        self.folder = folder
        self.spent = Spent()
        self._ranks = ranks
        self._rule = rule
        self._progress = progress
        self._table: Table | None = None
        self._what: dict[str, str] = {}
        self._n_taken = self._n_kept = 0
        self._begun = self._kept = time.monotonic()
        self._cpu_begun = time.process_time()

    def begin(self, table: Table, engine: str) -> None:
        """Say what is trained on, and how its steps are taken, before anything is kept."""
        self._table, self._what = table, {"engine": engine}
        self._begun = self._kept = time.monotonic()
        self._cpu_begun = time.process_time()

    def restore(self) -> TrainingState | None:
        """The newest state that can be read.

        Raises:
            RunError: It is of a training on other rows, or of steps taken in another way.
        """
        for path in reversed(self._files()):
            try:
                tensors, about = self._ranks.load(path)
                state = unpacked(tensors, about)
            except UNREADABLE as error:
                self._progress.warn(f"{path}: left out, since it cannot be read: {error}")
                continue
            for name, own in self._identity().items():
                if about["what"][name] != own:
                    raise RunError(
                        f"{path}: expected the state of a training with the same {name}, found "
                        f"{about['what'][name]}, now {own}; delete {self.folder.parent} to "
                        "begin anew"
                    )
            self.spent = Spent(*about["spent"])
            self._n_taken = self._n_kept = int(path.stem)
            self._progress.note(
                f"{self.folder.name}: goes on from epoch {state.epoch}, step {len(state.losses)}"
            )
            return state
        return None

    def is_due(self, n_steps: int) -> bool:
        """Whether the rule wants a state, after so many further steps."""
        self._n_taken += n_steps
        rule = self._rule
        if rule is None:
            return False
        if rule.steps is not None and self._n_taken - self._n_kept >= rule.steps:
            return True
        if rule.minutes is None:
            return False
        return self._ranks.told(time.monotonic() - self._kept >= 60 * rule.minutes)

    def keep(self, state: TrainingState) -> None:
        """Write a state, and then remove those that are too many.

        Raises:
            RunError: It cannot be written.
        """
        assert self._rule is not None
        now = Spent(
            self.spent.seconds + time.monotonic() - self._begun,
            self.spent.cpu_seconds + time.process_time() - self._cpu_begun,
        )
        path = self.folder / f"{self._n_taken:012d}{self._ranks.ending}"
        tensors, plain = packed(state)
        about = {**plain, "what": self._identity(), "spent": now}
        try:
            self.folder.mkdir(exist_ok=True)
            self._ranks.save(tensors, about, path)
            for old in self._files()[: -self._rule.keep] if self._ranks.rank == 0 else ():
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from None
        self._n_kept, self._kept = self._n_taken, time.monotonic()

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{self._ranks.ending}"))

    def _identity(self) -> dict[str, str]:
        if self._table is not None:
            # One, unless each process has rows of its own.
            found = dict.fromkeys(self._ranks.all(_digest(self._table)))
            self._what["rows"], self._table = "+".join(found), None
        return self._what


def _plain(spec: Spec) -> dict[str, Any]:
    """The spec as plain data, without what it may be resumed with other values of."""
    plain = spec.model_dump(mode="json")
    for part in (plain, plain["retrieve"] or {}):
        train = part.get("train", {})
        for name in _FREE:
            train.pop(name, None)
        # Of a budget only whether there is one says how rows are shuffled.
        train["memory"] = train.get("memory") is not None
    return plain


def _check_same(
    found: dict[str, Any], own: dict[str, Any], folder: Path, warn: Callable[[str], None]
) -> None:
    """Raise RunError unless a fit was begun with the same spec; warn of other versions."""
    changed = sorted(_changes(found["spec"], own["spec"]))
    if changed:
        raise RunError(
            f"{folder}: expected the spec that the fit was begun with, found another one: "
            f"{'; '.join(changed)}; delete {partial_of(folder)} to begin anew"
        )
    for name, version in own["versions"].items():
        if found["versions"].get(name) != version:
            warn(
                f"the fit was begun with {name} {found['versions'].get(name)} and goes on with "
                f"{version}; weights may differ in the last digits from those without a break"
            )


def _changes(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Where two plain values differ, and how."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            key = f"{where}.{name}" if where else name
            yield from _changes(before.get(name), now.get(name), key)
    elif before != now:
        yield f"{where} was {before}, now {now}"


def _is_locked(partial: Path) -> bool:
    lock = FileLock(partial / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _digest(table: Table) -> str:
    """SHA-256 of the rows that a training sees, in their order."""
    digest = hashlib.sha256()
    for tensor in _tensors(table):
        digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        content = tensor.contiguous().numpy().reshape(-1).view(np.uint8)
        for start in range(0, len(content), _HASHED):
            digest.update(content[start : start + _HASHED].data)
            if table.release is not None:
                table.release()
    return digest.hexdigest()[:16]


def _tensors(table: Table) -> Iterator[Tensor]:
    inputs = [table.events, *(entity.inputs for entity in table.entities.values())]
    for part in inputs:
        yield from (part.x_cat, part.x_cont)
        for bag in part.x_sets:
            yield from (value for value in bag if value is not None)
    yield from table.rows.values()
    yield from (value for value in (table.target, table.weight) if value is not None)
