"""A run as a folder: JSON, Parquet and safetensors; loading it runs no code.

spec.json               the spec with all its values
encoder.json            vocabularies, scales, the target
columns.npz             arrays that derived columns learnt, if any
entities/NAME.parquet   attributes, ids and counts of users, items and others
events.parquet          the training events and which were positive, if there are users and items
weights.safetensors     the model's weights and the loss's
index-N/                an approximate index of the items, if one was built
users.parquet           test metrics of each user, if there are users
report.json             metrics, baselines, the course of the training
environment.json        versions that it was made with, and the plugins that it needs
plugins/NAME.yaml       YAML plugins that were files beside the spec
retrieve/               the run of the first of two stages, in a folder like this one
growth.json             what the extension or update that made it came to, if one did
manifest.json           format version, and size and SHA-256 of all others
versions.json           which versions there are and which is in use, once the run has grown
versions/N/             a later version of the run, in a folder like this one
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tabcf.data.encoder import Encoder
from tabcf.data.entities import Entity, EntityPlan
from tabcf.data.targets import target_from_json, target_to_json
from tabcf.data.vocabulary import Vocabulary
from tabcf.errors import RunError
from tabcf.plugin.registry import Registry
from tabcf.recommend.trained import FirstStage, Trained
from tabcf.run.build import build_loss, model_builder
from tabcf.run.growth import Growth
from tabcf.run.kept_events import read_events, read_past, write_events
from tabcf.run.kept_index import is_read_later, read_index, write_index
from tabcf.run.lock import add_files, check_lock, copy_files, lock_plugins
from tabcf.run.manifest import (
    check_file,
    fingerprints,
    read_json,
    read_manifest,
    write_json,
    write_manifest,
)
from tabcf.run.prepare import column_plans
from tabcf.run.registry import compose_registry
from tabcf.run.resolve import resolve_loss, resolve_metrics
from tabcf.run.results import FitReport
from tabcf.run.versions import read_versions, version_folder, version_in_use
from tabcf.run.weights import load_weights, save_weights
from tabcf.spec.records import Spec

if TYPE_CHECKING:
    from tabcf.run.run import Run

__all__ = [
    "FIRST_STAGE",
    "environment",
    "load",
    "load_version",
    "next_free",
    "save",
    "write_run",
]

FIRST_STAGE = "retrieve"
_ARRAYS = "columns.npz"
_USERS = "users.parquet"
_EVENTS = "events.parquet"
_GROWTH = "growth.json"
_ID, _COUNT, _MEAN = "tabcf:id", "tabcf:count", "tabcf:mean"


def next_free(folder: Path, name: str) -> Path:
    """`folder/name-n` with the lowest n from 1 that is not taken."""
    number = 1
    while (folder / f"{name}-{number}").exists():
        number += 1
    return folder / f"{name}-{number}"


def save(run: Run, folder: Path) -> Path:
    """Write a run; it appears under its name only when it is complete.

    Raises:
        RunError: The folder exists, or cannot be written.
    """
    run.check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        write_run(run, scratch)
        scratch.chmod(0o755)
        try:
            Path(scratch).rename(folder)
        except OSError:
            raise RunError(f"{folder}: already exists; runs are never overwritten") from None
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return folder


def write_run(run: Run, folder: Path) -> None:
    """Write a run's files into an empty folder, the manifest last."""
    trained = run.trained
    columns, arrays = trained.encoder.to_json()
    if arrays:
        np.savez(folder / _ARRAYS, allow_pickle=False, **arrays)
    write_json(folder / "spec.json", run.spec.model_dump(mode="json"))
    write_json(
        folder / "encoder.json",
        {
            "name": run.name,
            **columns,
            "auto": [
                {plan.name: plan.definition.name}
                for plan in run.plans
                if run.spec.columns in (None, "auto") and not run.spec.entities
            ],
            "target": target_to_json(trained.target),
            "ids": {name: e.ids.kind for name, e in trained.encoder.entities.items()},
        },
    )
    (folder / "entities").mkdir()
    for name, entity in trained.encoder.entities.items():
        frame = entity.frame.copy(deep=False)
        frame[_ID] = entity.ids.values
        frame[_COUNT] = entity.n_events[1:]
        if name in run.mean_targets:
            frame[_MEAN] = run.mean_targets[name][1:]
        frame.to_parquet(folder / "entities" / f"{name}.parquet", index=False)
    if trained.past is not None:
        write_events(run, folder / _EVENTS)
    save_weights(trained, folder)
    write_index(trained, folder)
    if run.users is not None:
        run.users.to_parquet(folder / _USERS, index=False)
    write_json(folder / "report.json", run.report.to_json())
    if run.growth is not None:
        write_json(folder / _GROWTH, run.growth.to_json())
    lock = lock_plugins(
        run.spec, run.registry, [plan.key for plan in run.plans if not plan.is_input]
    )
    copy_files(lock, run.registry, folder)
    write_json(folder / "environment.json", environment() | {"plugins": lock})
    if run.first_stage is not None:
        (folder / FIRST_STAGE).mkdir()
        write_run(run.first_stage, folder / FIRST_STAGE)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    write_manifest(folder, fingerprints(folder, paths))


def load(
    folder: str | Path,
    *,
    version: int | None = None,
    plugins: Sequence[Any] = (),
    allow_changed_plugins: bool = False,
) -> Run:
    """Read a run that `save` wrote.

    Args:
        folder: The run.
        version: Which of its versions; by default the one in use.
        plugins: Modules or objects with hooks that the run was fitted with, beside the installed
            plugins.
        allow_changed_plugins: Whether plugins that have changed since the fit may be used.

    Raises:
        RunError: It is no run, of another format, a file is missing or changed, or so is a plugin
            that it needs.
    """
    home = Path(folder)
    read = partial(_read, plugins=plugins, allow_changed_plugins=allow_changed_plugins)
    if version is None:
        version = version_in_use(home)
    elif version not in (known := [v.version for v in read_versions(home)]):
        listed = ", ".join(map(str, known))
        raise RunError(f"{home}: there is no version {version}; there are: {listed}")
    return _checked(home, version, read)


def load_version(home: Path, version: int, *, registry: Registry) -> Run:
    """Read a version of a run whose plugins are loaded already.

    Raises:
        RunError: A file is missing or changed.
    """
    return _checked(home, version, partial(_read, registry=registry))


def _checked(home: Path, version: int, read: Callable[[Path], Run]) -> Run:
    """Read a version once its files are known to be those of its manifest."""
    folder = version_folder(home, version)
    for name, expected in read_manifest(folder).items():
        if not is_read_later(name):
            check_file(folder, name, expected)
    run = read(folder)
    run.version = version
    run.placed(home)
    return run


def _read(
    folder: Path,
    *,
    plugins: Sequence[Any] = (),
    allow_changed_plugins: bool = False,
    registry: Registry | None = None,
) -> Run:
    """Read a run whose files are those of its manifest."""
    import torch

    from tabcf.run.run import Run

    given = registry
    files = read_manifest(folder)
    index = read_index(folder, files)
    lock = read_json(folder / "environment.json")["plugins"]
    if registry is None:
        # The run's own files come before installed plugins of their names.
        own = [f"no:{name}" for name, entry in lock.items() if entry["origin"] == "file"]
        registry = compose_registry([*plugins, *own])
        add_files(lock, registry, folder)
        check_lock(lock, registry, where=str(folder), allow_changed=allow_changed_plugins)
    spec = Spec.model_validate(read_json(folder / "spec.json"))
    state = read_json(folder / "encoder.json")
    target = target_from_json(state["target"])
    entities: dict[str, Entity] = {}
    mean_targets: dict[str, np.ndarray] = {}
    for name, declared in spec.entities.items():
        frame = pd.read_parquet(folder / "entities" / f"{name}.parquet")
        ids = Vocabulary(frame.pop(_ID).to_numpy(), kind=state["ids"][name])
        counts = np.concatenate([[0], frame.pop(_COUNT).to_numpy()])
        if _MEAN in frame.columns:
            mean_targets[name] = np.concatenate([[np.nan], frame.pop(_MEAN).to_numpy()])
        entities[name] = Entity(EntityPlan(name, declared.id, declared.label), frame, ids, counts)
    auto = {name: kind for pair in state["auto"] for name, kind in pair.items()}
    declared_spec = spec.model_copy(update={"columns": _components(auto)}) if auto else spec
    plans = column_plans(declared_spec, registry)
    for plan in plans:
        saved = state["columns"].get(plan.key)
        if saved is None or saved["table"] != plan.table:
            whose = "" if saved is None else f" of {plan.table}"
            raise RunError(
                f"{folder}: its plugins have changed too far; it has no column '{plan.key}'{whose}"
            )
    encoder = Encoder.from_json(state, _read_arrays(folder / _ARRAYS), plans, entities)
    has_past = (folder / _EVENTS).exists()
    past = read_past(folder / _EVENTS, len(encoder.entities["user"])) if has_past else None
    loss = resolve_loss(spec, registry, target)
    with torch.random.fork_rng(devices=[]):
        loss_module = build_loss(loss, target)
        build = model_builder(spec, registry, target, int(loss_module.d_out))
        model = build(encoder.layout)
    load_weights(folder, model, loss_module)
    first_run = first = None
    if spec.retrieve is not None:
        first_run = _read(
            folder / FIRST_STAGE,
            plugins=plugins,
            allow_changed_plugins=allow_changed_plugins,
            registry=given,
        )
        added = read_index(folder, files, of_first=True)
        if added is not None:
            first_run.trained = replace(first_run.trained, index=added)
        first = FirstStage(first_run.trained, spec.retrieve.n)
    growth = folder / _GROWTH
    return Run(
        name=state["name"],
        spec=spec,
        registry=registry,
        plans=plans,
        trained=Trained(
            encoder,
            model,
            loss_module,
            target,
            past,
            spec.seed,
            read_events=partial(read_events, folder / _EVENTS) if has_past else None,
            build=build,
            first=first,
            index=index,
            weight=spec.target.implicit.weight if spec.target.implicit else None,
        ),
        report=FitReport.from_json(read_json(folder / "report.json")),
        metrics=resolve_metrics(spec, registry, target),
        mean_targets=mean_targets,
        users=pd.read_parquet(folder / _USERS) if (folder / _USERS).exists() else None,
        first_stage=first_run,
        folder=folder,
        growth=Growth.from_json(read_json(growth)) if growth.exists() else None,
    )


def _components(kinds: dict[str, str]) -> dict[str, Any]:
    from tabcf.spec.records import Component

    return {name: Component.model_validate(kind) for name, kind in kinds.items()}


def environment() -> dict[str, Any]:
    """Python, platform and the versions of the packages that a run rests on."""
    packages = ("tabcf", "torch", "numpy", "pandas", "pyarrow", "pydantic", "safetensors")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": versions,
    }


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
