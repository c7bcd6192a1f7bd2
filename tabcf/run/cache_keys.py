"""What decides the numbers of rows that are kept on disk, as one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import tabcf
from tabcf.contracts.options import ModelOptions, Options
from tabcf.data.digests import digest_of
from tabcf.data.plans import ColumnPlan
from tabcf.data.sources import files_of
from tabcf.plugin.registry import Registry
from tabcf.run.builtins.splits import FilesOptions
from tabcf.run.folder import environment
from tabcf.run.lock import lock_plugins
from tabcf.spec.reads import event_columns
from tabcf.spec.records import Spec
from tabcf.spec.references import spec_columns

__all__ = ["encoded_key", "events_key", "key_of", "plain"]

# Raised when the files of an entry change.
_FORMAT = 2
# What of a spec says how rows are read, split and encoded; paths go by what is in the files.
_FIELDS = {"target", "entities", "columns", "split", "duplicates", "seed", "loss"}


# What of its training weighs the rows.
_WEIGHTS = {"user_weights", "item_propensity", "time_decay"}


def key_of(*parts: Any) -> str:
    """One digest of plain values."""
    said = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:40]


def plain(spec: Spec) -> dict[str, Any]:
    """What of a spec says how rows are read, split and encoded."""
    found = spec.model_dump(mode="json", include=_FIELDS)
    for entity in found["entities"].values():
        entity.pop("table")
    return found


def events_key(
    spec: Spec,
    registry: Registry,
    *,
    data: Any,
    folder: Path | None,
    memory: Path,
    least: int,
) -> str | None:
    """The key of a spec's events, read and split.

    Args:
        spec: The spec.
        registry: The components that it names.
        data: A frame or a path in place of the spec's data.
        folder: What paths start from.
        memory: Where digests of files are remembered.
        least: Bytes that the events' files must have in all.

    Returns:
        The key; None where there is none, as for rows of a database and for plugins whose content
        is not known, and where the files are smaller.

    Raises:
        DataError: A file is not there.
    """
    tables = _tables(spec, registry, data, folder)
    if tables is None:
        return None
    if sum(path.stat().st_size for name, files in tables for _, path in files if name) < least:
        return None
    columns = spec_columns(spec, registry)
    lock = lock_plugins(spec, registry, [c.key for c in columns if not c.is_input])
    if any(entry["sha256"] is None for entry in lock.values()):
        return None
    digests = [[(at, digest_of(path, memory)) for at, path in files] for _, files in tables]
    options = [(column.options, column.folder or folder) for column in columns]
    beside = [digest_of(path, memory) for path in _files_beside(options)]
    read = event_columns(spec, registry)
    return key_of(
        _FORMAT,
        environment()["packages"],
        _code(),
        {name: entry["sha256"] for name, entry in lock.items()},
        plain(spec),
        None if read is None else sorted(read),
        digests,
        beside,
        spec.train.memory is not None,
    )


def encoded_key(
    events: str,
    spec: Spec,
    registry: Registry,
    plans: Iterable[ColumnPlan],
    parts: Sequence[int],
) -> str:
    """The key of encoded rows: that of their events, and what more decides the encoding."""
    model = registry.resolve("model", spec.model).options
    return key_of(
        events,
        plain(spec),
        [plan.key for plan in plans],
        isinstance(model, ModelOptions) and model.y_range is not None,
        spec.train.model_dump(mode="json", include=_WEIGHTS),
        sorted(parts),
    )


# What a table is called (empty for an entity's, which do not count as large) and its files.
_Tables = list[tuple[str, list[tuple[str, Path]]]]


def _tables(spec: Spec, registry: Registry, data: Any, folder: Path | None) -> _Tables | None:
    """All files that rows come from, in order; None where some come from elsewhere."""
    tables: _Tables = []
    if data is not None:
        if not isinstance(data, (str, Path)):
            return None
        tables.append(("data", _named(str(data), None, "data")))
    elif spec.data is None or spec.data.path is None:
        return None
    else:
        tables.append(("data", _named(spec.data.path, folder, "data")))
    for name, entity in spec.entities.items():
        if entity.table is not None:
            if entity.table.path is None:
                return None
            where = f"entities.{name}.table"
            tables.append(("", _named(entity.table.path, folder, where)))
    split = None if spec.split is None else registry.resolve("split", spec.split).options
    if isinstance(split, FilesOptions):
        for part, path in (("valid", split.valid), ("test", split.test)):
            if path is not None:
                tables.append((part, _named(path, folder, f"split.files.{part}")))
    return tables


def _named(source: str, folder: Path | None, where: str) -> list[tuple[str, Path]]:
    """A source's files, each by its name, which messages and partitioned columns show."""
    found = files_of(source, folder=folder, where=where)
    if isinstance(found, Path):
        below = sorted(path for path in found.rglob("*") if path.is_file())
        return [(str(path.relative_to(found)), path) for path in below]
    return [(path.name, path) for path in found]


def _files_beside(options: Iterable[tuple[Any, Path | None]]) -> Iterator[Path]:
    """The look-up files that options name."""
    for option, folder in options:
        if isinstance(option, Options):
            for value in option.model_dump().values():
                path = (folder or Path()) / value if isinstance(value, str) and value else None
                if path is not None and path.is_file():
                    yield path


@cache
def _code() -> str:
    """The state of tabcf's own files, which a developer changes without another version."""
    root = Path(tabcf.__file__).parent
    found = [(path, path.stat()) for path in sorted(root.rglob("*.py"))]
    return key_of([(str(p.relative_to(root)), s.st_size, s.st_mtime_ns) for p, s in found])
