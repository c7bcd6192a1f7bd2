"""Rows of large files, read, split and encoded once: the next fit of the same finds them on disk.

An entry's key is made of all that decides its numbers: the bytes of the files, what of the spec
says how they are read, split and encoded, the plugins at work, and the versions of tabcf and of the
packages that it rests on. So nothing has to be told apart later, and nothing goes stale.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from tabcf.contracts.table import Table
from tabcf.data.datasets.cache import cache_root
from tabcf.data.doctor import examine, examine_blocks
from tabcf.data.entries import Entries
from tabcf.data.frames import can_be_written
from tabcf.data.source import OnRows, Source
from tabcf.data.spool import Spool
from tabcf.errors import DataError
from tabcf.plugin.registry import Registry
from tabcf.run import prepare
from tabcf.run.budget import Budget
from tabcf.run.cache_files import (
    bytes_of_rows,
    open_encoded,
    open_events,
    open_rows,
    write_encoded,
    write_events,
    write_rows,
)
from tabcf.run.cache_keys import encoded_key, events_key, key_of, plain
from tabcf.run.manifest import read_json, write_json
from tabcf.run.own_rows import OwnEvents, encode_own, load_own
from tabcf.run.prepare import Encoded, Events
from tabcf.run.streamed import check_streamed
from tabcf.spec.records import Spec
from tabcf.training.scale_out.seam import ALONE, Ranks

__all__ = [
    "CachedEvents",
    "doctors_warnings",
    "encode_split",
    "encoded_rows",
    "entries",
    "load_events",
]

_VARIABLE = "TABCF_CACHE_GB"
_DEFAULT_GB = 4.0
_WARNINGS = "warnings.json"
# Smaller files are read about as fast as what is kept of them.
_LEAST_BYTES = 16 << 20

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedEvents(Events):
    """Events by whose key more of them is kept on disk, as long as `own` is still their source."""

    key: str
    kept: Entries
    own: Source

    @classmethod
    def of(cls, events: Events, key: str, kept: Entries) -> CachedEvents:
        """The same events with where more of them is kept."""
        shown = {field.name: getattr(events, field.name) for field in fields(Events)}
        return cls(**shown, key=key, kept=kept, own=events.source)


def entries() -> Entries:
    """What is kept on this machine.

    Raises:
        DataError: The environment variable of its size is no number.
    """
    return Entries(cache_root() / "encoded", int(_gigabytes() * 1e9))


def load_events(
    spec: Spec,
    registry: Registry,
    *,
    data: Any = None,
    folder: Path | None = None,
    cache: bool = True,
    on_rows: OnRows | None = None,
    ranks: Ranks = ALONE,
) -> Events:
    """Read, clean, check and split a spec's events, or find that done.

    Args:
        spec: The spec.
        registry: The components that it names.
        data: A frame or a path in place of the spec's data.
        folder: What paths start from.
        cache: Whether to look for, and keep, what comes of large files.
        on_rows: Told by the way of what is read.
        ranks: The processes that read them, each its own where the spec has training rows sharded.

    Raises:
        DataError: Something about the data; says in which file and where.
        SpecError: A column kind, an option or a metric that does not fit the data.
    """
    if ranks is not ALONE and spec.train.shard is not None and spec.train.shard.data:
        return load_own(spec, registry, ranks, data=data, folder=folder, on_rows=on_rows)

    def load() -> Events:
        return prepare.load_events(spec, registry, data=data, folder=folder, on_rows=on_rows)

    if not cache or not _gigabytes():
        return load()
    root = cache_root()
    key = events_key(
        spec, registry, data=data, folder=folder, memory=root / "digests", least=_LEAST_BYTES
    )
    if key is None:
        return load()
    kept = entries()
    if spec.train.memory is not None:
        check_streamed(spec, registry, folder)  # models are not in the key
    events = kept.read(key, lambda place: open_events(place, spec, registry, folder))
    if events is None:
        events = made = load()
        if not _can_be_written(events):
            return events
        kept.write(
            key,
            lambda place: write_events(place, made),
            label=events.source.name,
            n_bytes=0 if events.spool is None else events.spool.n_bytes,
        )
    else:
        if events.spool is not None and spec.train.memory is not None:
            budget = Budget(spec.train.memory)
            budget.releases(events.spool.release)
            budget.check_rows(len(events.spool))
            events = replace(events, budget=budget)
        # Metrics and re-rankers are not in the key.
        items = events.entities["item"][1] if "item" in events.entities else None
        prepare.check_metric_columns(spec, registry, items)
    return CachedEvents.of(events, key, kept)


def encode_split(
    spec: Spec, registry: Registry, events: Events, *parts: int, on_rows: OnRows | None = None
) -> Encoded:
    """Fit the encoder on some parts' rows and encode them, or find that done."""
    if isinstance(events, OwnEvents):
        return encode_own(spec, registry, events, *parts, on_rows=on_rows)

    def encode() -> Encoded:
        return prepare.encode_split(spec, registry, events, *parts, on_rows=on_rows)

    if not _is_cached(events):
        return encode()
    return _found_or_made(
        events,
        encoded_key(events.key, spec, registry, events.plans, parts),
        "encoded",
        encode,
        read=lambda place: open_encoded(place, events, parts),
        write=write_encoded,
        is_plain=lambda made: all(
            can_be_written(entity.frame) for entity in made.encoder.entities.values()
        ),
        size=lambda made: bytes_of_rows(made.train),
    )


def encoded_rows(
    spec: Spec, registry: Registry, events: Events, encoded: Encoded, part: int
) -> Table:
    """The learnable rows of another part as the encoder has them, or find that done."""

    def encode() -> Table:
        return prepare.encode_rows(encoded.encoder, encoded.target, events.learnable(part))

    if not _is_cached(events):
        return encode()
    key = encoded_key(events.key, spec, registry, events.plans, encoded.parts)
    return _found_or_made(
        events,
        key_of(key, "part", part),
        "held out",
        encode,
        read=lambda place: open_rows(place, encoded.encoder.tables),
        write=write_rows,
    )


def doctors_warnings(spec: Spec, events: Events, uses: Mapping[str, str]) -> list[str]:
    """What the split doctor says of the events, or find that said."""

    def examined() -> list[str]:
        if (spool := events.spool) is not None:
            blocks = partial(_blocks_of, events, spool)
            return examine_blocks(blocks, events.target, uses)
        return examine(events.source, events.part, events.target, uses)

    if not _is_cached(events):
        return examined()
    return _found_or_made(
        events,
        key_of(events.key, "doctor", plain(spec), dict(uses)),
        "warnings",
        examined,
        read=lambda place: list(map(str, read_json(place / _WARNINGS))),
        write=lambda place, made: write_json(place / _WARNINGS, made),
    )


def _blocks_of(events: Events, spool: Spool, part: int) -> Iterator[Source]:
    return spool.blocks(events.are_of(part))


def _found_or_made(
    events: CachedEvents,
    key: str,
    what: str,
    make: Callable[[], _T],
    *,
    read: Callable[[Path], _T],
    write: Callable[[Path, _T], None],
    is_plain: Callable[[_T], bool] = lambda _: True,
    size: Callable[[_T], int] = lambda _: 0,
) -> _T:
    """An entry's content, or what is made and then kept as that entry.

    `size` gives bytes that it has at least.
    """
    found = events.kept.read(key, read)
    if found is None:
        found = made = make()
        if is_plain(made):
            label = f"{events.source.name}, {what}"
            n_bytes = size(made)
            events.kept.write(key, lambda place: write(place, made), label=label, n_bytes=n_bytes)
    return found


def _can_be_written(events: Events) -> bool:
    """Whether files give back all values as they were; a spool's do."""
    tables = [table for _, table in events.entities.values()]
    sources = tables if events.spool is not None else [events.source, *tables]
    return all(source is None or can_be_written(source.frame) for source in sources)


def _is_cached(events: Events) -> TypeGuard[CachedEvents]:
    """Whether these are events as they were read, whose key says what they are."""
    return isinstance(events, CachedEvents) and events.source is events.own


def _gigabytes() -> float:
    chosen = os.environ.get(_VARIABLE, "")
    try:
        size = float(chosen) if chosen else _DEFAULT_GB
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise DataError(
            f"the environment variable {_VARIABLE}: expected a number of gigabytes, 0 for no "
            f"cache, got {chosen!r}"
        )
    return size
