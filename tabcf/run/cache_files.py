"""Events and encoded rows as files of a folder: raw arrays, Arrow and JSON; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from tabcf.contracts.table import EntityTable, Table
from tabcf.data.encoder import Encoder
from tabcf.data.entities import Entity, EntityPlan
from tabcf.data.frames import open_frame, open_source, write_frame, write_source
from tabcf.data.infer import ColumnGuess
from tabcf.data.spool_files import open_spool, write_spool
from tabcf.data.stored import arrays_of, map_arrays, open_arrays, table_of, write_arrays
from tabcf.data.targets import target_from_json, target_to_json
from tabcf.data.vocabulary import Vocabulary
from tabcf.plugin.registry import Registry
from tabcf.recommend.trained import History, Past
from tabcf.run.manifest import read_json, write_json
from tabcf.run.prepare import Encoded, Events, column_plans
from tabcf.spec.records import Spec

__all__ = [
    "bytes_of_rows",
    "open_encoded",
    "open_events",
    "open_rows",
    "write_encoded",
    "write_events",
    "write_rows",
]

_ABOUT = "about.json"
_ID = "id"
_SPOOL = "spool"


def write_events(folder: Path, events: Events) -> None:
    """Write events, read and split, into an empty folder."""
    if events.spool is None:
        write_source(folder / "events", events.source)
    else:
        write_spool(folder / _SPOOL, events.spool)
    _write_arrays(folder / "parts", {"part": events.part, "is_positive": events.is_positive})
    for position, (_, table) in enumerate(events.entities.values()):
        if table is not None:
            write_source(folder / f"entity-{position}", table)
    write_json(
        folder / _ABOUT,
        {
            "target": target_to_json(events.target),
            "guesses": [asdict(guess) for guess in events.guesses],
        },
    )


def open_events(folder: Path, spec: Spec, registry: Registry, beside: Path | None) -> Events:
    """The events that `write_events` wrote; `beside` is the spec's own folder."""
    about = read_json(folder / _ABOUT)
    arrays = open_arrays(folder / "parts")
    guesses = tuple(ColumnGuess(**guess) for guess in about["guesses"])
    entities = {}
    for position, (name, entity) in enumerate(spec.entities.items()):
        table = None if entity.table is None else open_source(folder / f"entity-{position}")
        entities[name] = EntityPlan(name, entity.id, entity.label), table
    spool = open_spool(folder / _SPOOL) if (folder / _SPOOL).exists() else None
    return Events(
        open_source(folder / "events") if spool is None else spool.source(),
        arrays["part"],
        arrays["is_positive"],
        target_from_json(about["target"]),
        column_plans(spec, registry, guesses, folder=beside),
        guesses,
        entities,
        spool,
    )


def write_encoded(folder: Path, encoded: Encoded) -> None:
    """Write what was learnt from training rows, and these rows, into an empty folder."""
    columns, arrays = encoded.encoder.to_json()
    _write_arrays(folder / "columns", arrays)
    entities = encoded.encoder.entities
    for position, entity in enumerate(entities.values()):
        ids = pd.Series(entity.ids.values, dtype="int64" if entity.ids.kind == "int" else "str")
        write_frame(folder / f"entity-{position}", entity.frame)
        write_frame(folder / f"ids-{position}", ids.to_frame(_ID))
        _write_arrays(folder / f"counts-{position}", {"n_events": entity.n_events})
    write_rows(folder, encoded.train)
    past = encoded.past
    if past is not None:
        is_same = np.array_equal(past.seen.items, past.positive.items)
        is_same &= np.array_equal(past.seen.bounds, past.positive.bounds)
        histories = [("positive", past.positive), *([] if is_same else [("seen", past.seen)])]
        for name, history in histories:
            _write_arrays(folder / name, {"items": history.items, "bounds": history.bounds})
    write_json(
        folder / _ABOUT,
        {
            "encoder": columns,
            "target": target_to_json(encoded.target),
            "entities": {
                name: {"kind": entity.ids.kind, "is_text": entity.is_text}
                for name, entity in entities.items()
            },
        },
    )


def open_encoded(folder: Path, events: Events, parts: tuple[int, ...]) -> Encoded:
    """What `write_encoded` wrote, of some parts of these events."""
    about = read_json(folder / _ABOUT)
    entities = {}
    for position, (name, said) in enumerate(about["entities"].items()):
        ids = open_frame(folder / f"ids-{position}")[_ID]
        values = ids.to_numpy() if said["kind"] == "int" else ids.to_numpy(dtype=object)
        entities[name] = Entity(
            events.entities[name][0],
            open_frame(folder / f"entity-{position}"),
            Vocabulary(values, kind=said["kind"]),
            open_arrays(folder / f"counts-{position}")["n_events"],
            is_text=said["is_text"],
        )
    encoder = Encoder.from_json(
        about["encoder"], open_arrays(folder / "columns"), events.plans, entities
    )
    past = None
    if (folder / "positive").exists():
        positive = History(**open_arrays(folder / "positive"))
        has_own = (folder / "seen").exists()
        past = Past(positive, History(**open_arrays(folder / "seen")) if has_own else positive)
    on_disk = events.spool is not None
    train = open_rows(folder, encoder.training_tables, stay_on_disk=on_disk)
    return Encoded(encoder, target_from_json(about["target"]), train, past, parts)


def write_rows(folder: Path, table: Table) -> None:
    """Write encoded events into a folder of theirs."""
    (folder / "rows").mkdir()
    write_arrays(folder / "rows", arrays_of(table), release=table.release)


def bytes_of_rows(table: Table) -> int:
    """Bytes of the files that `write_rows` writes, but for what they begin with."""
    return sum(array.nbytes for array in arrays_of(table).values())


def open_rows(
    folder: Path, entities: Mapping[str, EntityTable], *, stay_on_disk: bool = False
) -> Table:
    """The encoded events that `write_rows` wrote.

    With `stay_on_disk` they are let go of by the way, as a fit within a memory budget does.
    """
    mapped = map_arrays(folder / "rows")
    return table_of(mapped.arrays, entities, release=mapped.release if stay_on_disk else None)


def _write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    folder.mkdir()
    write_arrays(folder, arrays)
