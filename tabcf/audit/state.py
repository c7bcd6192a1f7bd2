"""A simulation in files, from which one that was cut off goes on.

Worlds that are done are in one file; the last round of the one at work is beside it.

Dimension letters: M interactions.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tabcf.audit.population import Population
from tabcf.errors import RunError

__all__ = ["Finished", "World", "fingerprint"]

_POLICY = "policy."


@dataclass(frozen=True, slots=True)
class Finished:
    """Rows of the worlds that are done, by policy and seed, and the fingerprint they are of."""

    of: str
    worlds: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None, of: str | None = None) -> Finished:
        """What a file holds; nothing where there is none.

        Args:
            path: The file.
            of: The fingerprint that it must have; any if None.

        Raises:
            RunError: It is no such file, or of another simulation.
        """
        if path is None or not path.exists():
            return cls(of or "")
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            own = state["of"]
            worlds = {(world["policy"], world["seed"]): world["rows"] for world in state["worlds"]}
        except (ValueError, KeyError, TypeError):
            raise _other_file(path) from None
        if of is not None:
            _check(path, own, of)
        return cls(own, worlds)

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


@dataclass(frozen=True, slots=True)
class World:
    """One policy's world behind some round.

    Attributes:
        key: Policy and seed.
        users: `(M,)` of all interactions so far, those before the first round first.
        items: `(M,)` of the same.
        rows: The figures of its rounds.
        policy: What the policy's next round goes on from.
    """

    key: tuple[str, int]
    users: np.ndarray
    items: np.ndarray
    rows: list[dict[str, Any]] = field(default_factory=list)
    policy: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def read(cls, beside: Path | None, of: str) -> World | None:
        """The world that was at work; None where there is none.

        Raises:
            RunError: It is no such file, or of another simulation.
        """
        path = None if beside is None else _round_file(beside)
        if path is None or not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                known = json.loads(str(arrays["world"]))
                own, key = known["of"], (known["policy"], known["seed"])
                kept = {
                    name.removeprefix(_POLICY): arrays[name]
                    for name in arrays.files
                    if name.startswith(_POLICY)
                }
                world = cls(key, arrays["users"], arrays["items"], known["rows"], kept)
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            raise _other_file(path) from None
        _check(path, own, of)
        return world

    def write(self, beside: Path | None, of: str) -> None:
        """Replace the file at once, so that a cut leaves that of the round before."""
        if beside is None:
            return
        path = _round_file(beside)
        scratch = path.with_name(f".{path.name}.part")
        policy, seed = self.key
        known = json.dumps({"of": of, "policy": policy, "seed": seed, "rows": self.rows})
        arrays: dict[str, Any] = {"world": known, "users": self.users, "items": self.items}
        arrays |= {f"{_POLICY}{name}": value for name, value in self.policy.items()}
        with scratch.open("wb") as file:
            np.savez(file, **arrays)
        scratch.replace(path)

    @staticmethod
    def forget(beside: Path | None) -> None:
        """Remove the file: there is no world at work."""
        if beside is not None:
            _round_file(beside).unlink(missing_ok=True)


def _round_file(state: Path) -> Path:
    return state.with_name(f"{state.name}.round")


def _other_file(path: Path) -> RunError:
    return RunError(f"{path}: expected the state of a simulation, got another file")


def _check(path: Path, own: object, of: str) -> None:
    if own != of:
        raise RunError(
            f"{path}: holds a simulation of another population or other settings; name another file"
        )


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
