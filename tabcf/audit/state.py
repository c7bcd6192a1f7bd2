"""A simulation's finished worlds in a file, from which one that was cut off goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tabcf.audit.population import Population
from tabcf.errors import RunError

__all__ = ["Finished", "fingerprint"]


@dataclass(frozen=True, slots=True)
class Finished:
    """Rows of the worlds that are done, by policy and seed, and the fingerprint they are of."""

    of: str
    worlds: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None, of: str) -> Finished:
        """What a file holds; nothing where there is none.

        Raises:
            RunError: It is no such file, or of another simulation.
        """
        if path is None or not path.exists():
            return cls(of)
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            own = state["of"]
            worlds = {(world["policy"], world["seed"]): world["rows"] for world in state["worlds"]}
        except (ValueError, KeyError, TypeError):
            raise RunError(
                f"{path}: expected the state of a simulation, got another file"
            ) from None
        if own != of:
            raise RunError(
                f"{path}: holds a simulation of another population or other settings; name "
                "another file"
            )
        return cls(of, worlds)

    def having(self, key: tuple[str, int], rows: list[dict[str, Any]]) -> Finished:
        """The same with one more world."""
        return Finished(self.of, {**self.worlds, key: rows})

    def write(self, path: Path | None) -> None:
        """Replace the file at once, so that a cut leaves the last complete one."""
        if path is None:
            return
        worlds = [{"policy": p, "seed": s, "rows": rows} for (p, s), rows in self.worlds.items()]
        scratch = path.with_name(f".{path.name}.part")
        scratch.write_text(json.dumps({"of": self.of, "worlds": worlds}), encoding="utf-8")
        scratch.replace(path)


def fingerprint(population: Population, settings: object) -> str:
    """What a simulation's rows follow from, its policies and seeds aside."""
    digest = hashlib.sha256(repr(settings).encode())
    arrays = [population.utility, population.users, population.items, population.activity]
    arrays.append(population.item_kinds)
    for group in population.groups:
        digest.update(repr(group.name).encode())
        arrays += [group.members, group.items]
    for array in arrays:
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
