"""Where settings are tried: a spec and its training and validation rows; test rows are not here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tabcf.data.parts import TEST, VALID
from tabcf.data.sources import Source
from tabcf.errors import SpecError, TabcfError
from tabcf.plugin.registry import Registry
from tabcf.run.cached import load_events
from tabcf.run.fit import fit_events
from tabcf.run.folds import folds_of
from tabcf.run.prepare import Events
from tabcf.run.progress import Silent
from tabcf.run.registry import compose_registry
from tabcf.spec.overrides import path_of
from tabcf.spec.read import SpecDocument, read_spec
from tabcf.training.loop import EpochReport

__all__ = ["Bench", "Measured", "Stopped", "without_test"]

# Values below these keys change what is read of the data, and not only what is learnt from it.
_OF_DATA = frozenset({"columns", "entities", "loss", "retrieve"})


class Stopped(TabcfError):
    """A trial was ended at one of its epochs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a setting came to.

    Attributes:
        valid: Its validation metrics.
        best_epoch: The epoch whose weights they are of.
        seconds: CPU time of the fit.
    """

    valid: Mapping[str, float]
    best_epoch: int
    seconds: float


def without_test(events: Events) -> Events:
    """The same events less the test rows."""
    kept = np.flatnonzero(events.part != TEST)
    frame = events.source.frame.iloc[kept].reset_index(drop=True)
    return replace(
        events,
        source=Source(frame, events.source.name, events.source.is_text),
        part=events.part[kept],
        is_positive=events.is_positive[kept],
    )


@dataclass(frozen=True, slots=True)
class Bench:
    """A spec, and its rows without those that test.

    Attributes:
        document: The spec without what is to be tried.
        registry: Its components.
        events: Its rows.
        data: What was given in place of the spec's data.
        plugins: As for `fit`.
    """

    document: SpecDocument
    registry: Registry
    events: Events
    data: Any
    plugins: Sequence[Any]

    @classmethod
    def of(
        cls, tree: Mapping[str, Any], folder: Path | None, data: Any, plugins: Sequence[Any]
    ) -> Bench:
        """Read spec and data.

        Raises:
            SpecError: The split has several folds or no validation rows.
            DataError: The data cannot be read or do not fit.
        """
        given = {key: value for key, value in tree.items() if key not in ("track", "tune")}
        document = read_spec(given, compose_registry(plugins), folder=folder)
        registry = document.registry
        folds = folds_of(document.spec, registry)
        if folds:
            raise SpecError(
                [
                    f"split: has {len(folds)} folds, and settings are chosen on one; name it, such "
                    f"as `fold: {next(iter(folds))}`, and cross-validate the spec that is found"
                ]
            )
        events = without_test(load_events(document.spec, registry, data=data, folder=folder))
        if not events.count(VALID):
            raise SpecError(
                [
                    "tune: settings are chosen on validation rows, and the split leaves none; give "
                    "it a `valid` share, such as `valid: 0.1`"
                ]
            )
        return cls(document, registry, events, data, plugins)

    def fit(
        self, overrides: Sequence[str], on_epoch: Callable[[EpochReport], None] | None = None
    ) -> Measured:
        """Fit the spec with some values changed, and measure it on the validation rows.

        Args:
            overrides: The changes, as `--set` takes them.
            on_epoch: Told of each epoch; may raise `Stopped`.

        Raises:
            TabcfError: The setting cannot be fitted.
            KeyboardInterrupt: Ctrl-C.
        """
        document = read_spec(
            self.document.tree,
            compose_registry(self.plugins),
            overrides=[*overrides, "train.refit=false"],
            folder=self.document.folder,
        )
        events = self.events
        if any(path_of(text.partition("=")[0])[0] in _OF_DATA for text in overrides):
            events = without_test(
                load_events(
                    document.spec, document.registry, data=self.data, folder=document.folder
                )
            )
        run = fit_events(
            document.spec,
            document.registry,
            events,
            name="trial",
            progress=Silent(),
            on_epoch=on_epoch,
            is_whole=True,
        )
        return Measured(run.report.valid, run.report.best_epoch, run.report.cpu_seconds)
