"""What a run does to grow, and to go back: the part of `Run` with its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabcf.data.sources import as_source
from tabcf.errors import RunError
from tabcf.run.contents import RunContents
from tabcf.run.growth import Growth
from tabcf.run.progress import Progress
from tabcf.run.versions import Version, add_version, read_versions, rollback

if TYPE_CHECKING:
    from tabcf.run.run import Run

__all__ = ["Versioned"]


class Versioned(RunContents):
    """Growing without training from scratch."""

    def extend(self, new_rows: Any = None, *, tables: Mapping[str, Any] | None = None) -> Growth:
        """Take in users, items and categories that are new; nothing that was learnt changes.

        A new user or item with events gets the row that `fold_in` finds; without, their attributes
        speak for them. A new category counts as the unknown one did until `update` trains it. All
        predictions for users, items and categories that were trained stay the same to the bit. A
        saved run gets a new version, which is used from now on.

        Args:
            new_rows: A frame or a path: events as in training. Those among trained users and items
                are left out; `update` learns from them.
            tables: Attributes of new users or items, such as `{"item": "new-films.csv"}`. Of those
                who were known, attributes stay what they were.

        Returns:
            What came of it, with the drift of the events; `print` shows it.

        Raises:
            DataError: A column is missing or of another type than in training, or nothing is given.
            RunError: The model cannot take new rows, or the folder cannot be written.
        """
        from tabcf.run.growing import extended

        events = None if new_rows is None else as_source(new_rows)
        return self._grow(extended(self._run, events, _sources(tables)))

    def update(
        self,
        new_interactions: Any,
        *,
        tables: Mapping[str, Any] | None = None,
        replay: float | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        progress: Progress | None = None,
    ) -> Growth:
        """Extend, then learn from all the new events, going on from the weights that there are.

        A sample of the training events is learnt from again, so that they are not forgotten. A
        model that is solved is solved anew from all events, old and new. Metrics on the new events
        are measured before the run learns from any of them.

        Args:
            new_interactions: A frame or a path: events as in training.
            tables: As for `extend`.
            replay: Share of the earlier events to learn from again, 0 to 1; half by default. Where
                the loss is of a user's whole catalogue, share of the users without new events, each
                with all of theirs.
            epochs: Passes over these rows; a fifth of the spec's by default.
            learning_rate: The highest; three tenths of the spec's by default.
            progress: What is told of each step; nothing by default.

        Returns:
            What came of it, with the drift of the events; `print` shows it.

        Raises:
            DataError: No event counts, a column is missing or of another type than in training, or
                an option is out of range.
            RunError: The run cannot be updated, or not with these options; or its folder cannot be
                written.
            TrainingError: The loss is no longer finite; the run is what it was.
        """
        from tabcf.run.growing import UpdateOptions, updated

        options = UpdateOptions(replay, epochs, learning_rate)
        events = as_source(new_interactions)
        return self._grow(updated(self._run, events, _sources(tables), options, progress))

    def versions(self) -> list[Version]:
        """What the run's folder holds: the fit, and each extension and update since.

        Raises:
            RunError: The run is not saved.
        """
        return read_versions(self._home("versions"))

    def rollback(self, version: int | None = None) -> int:
        """Answer with an earlier version from now on, and have the folder do so; all stay.

        Args:
            version: Which; by default the one that the version in use grew from.

        Returns:
            Its number.

        Raises:
            RunError: The run is not saved, there is no such version, or its files were changed.
        """
        from tabcf.run.folder import load_version

        home = self._home("rollback")
        number = rollback(home, version)
        self._run.become(load_version(home, number, registry=self._run.registry))
        return number

    def _grow(self, grown: Run) -> Growth:
        """Save a run's successor as its next version, if it is saved, and become it."""
        from tabcf.run.folder import write_run

        assert grown.growth is not None
        if self.folder is not None:

            def write(folder: Path, number: int) -> None:
                assert grown.growth is not None
                grown.growth = replace(grown.growth, version=number)
                write_run(grown, folder)

            grown.version = add_version(
                self.folder,
                write,
                kind=grown.growth.kind,
                based_on=self.version,
                summary=grown.growth.summary,
            )
            grown.placed(self.folder)
        self._run.become(grown)
        return grown.growth

    def _home(self, what: str) -> Path:
        if self.folder is None:
            raise RunError(f"{what}: the run is not saved; `run.save(folder)` makes version 1")
        return self.folder


def _sources(tables: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: as_source(table) for name, table in (tables or {}).items()}
