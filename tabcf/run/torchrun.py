"""A fit as one of the processes that torchrun, or whatever sets its variables, has started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabcf.errors import SpecError
from tabcf.run.cached import load_events
from tabcf.run.checkpoints import broken_off, reserve
from tabcf.run.fit import fit_together
from tabcf.run.progress import Progress, Silent
from tabcf.run.ranked import check_workers
from tabcf.run.registry import compose_registry
from tabcf.run.run import Run
from tabcf.spec.read import read_spec

__all__ = ["fit_as_one_of_several", "is_one_of_several"]

_NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_one_of_several() -> bool:
    """Whether this process was started as one of several."""
    return all(name in os.environ for name in _NAMES)


def fit_as_one_of_several(
    spec: Path,
    data: str | None,
    out: Path | None,
    *,
    runs: Path,
    overrides: Sequence[str],
    plugins: Sequence[Any],
    progress: Progress | None,
    resume: bool,
    cache: bool,
) -> Run | None:
    """Fit with the others; args are those of `tabcf.fit`.

    Returns:
        The run; None in all processes but the first.

    Raises:
        TabcfError: As `tabcf.fit` does.
    """
    from tabcf.training.scale_out.group import joined
    from tabcf.training.scale_out.ranks import TogetherRanks

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    overrides = [*overrides, f"train.workers={size}"]
    document = read_spec(spec, compose_registry(plugins), overrides=overrides)
    registry = document.registry
    check_workers(document.spec, registry)
    if registry.resolve("engine", document.spec.train.engine).definition.launch is not None:
        engine = document.spec.train.engine.name
        raise SpecError(
            [f"train.engine: {engine} starts the processes itself; leave it or torchrun out"]
        )
    name = document.spec.name or document.name
    if out is not None:
        Run.check_free(out)
    with joined(rank, size, meeting="env://") as group:
        ranks = TogetherRanks(group)
        events = load_events(
            document.spec, registry, data=data, folder=document.folder, cache=cache, ranks=ranks
        )
        if out is None:
            # The others wait for the first one's choice.
            found = (broken_off if resume else reserve)(runs, name) if rank == 0 else None
            out = ranks.told(found)
        return fit_together(
            document.spec,
            registry,
            events,
            name=name,
            progress=Silent() if rank or progress is None else progress,
            out=out,
            is_resumed=resume,
            ranks=ranks,
        )
