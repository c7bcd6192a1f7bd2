"""MLflow for tabcf: the tracker `mlflow` and the command `tabcf mlflow`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tabcf.contracts.definitions import CommandDefinition, TrackerDefinition
from tabcf.contracts.options import Options
from tabcf.contracts.tracker import Tracker
from tabcf.plugin.hooks import hookimpl

if TYPE_CHECKING:
    import click

__all__ = ["COMMAND", "TRACKER", "MLflowOptions", "tabcf_commands", "tabcf_trackers"]


class MLflowOptions(Options):
    """Where MLflow keeps a fit; a server's address and password are MLflow's own settings."""

    shorthand: ClassVar[str | None] = "folder"

    folder: str | None = "mlruns"
    """A local folder; without one, wherever MLFLOW_TRACKING_URI says."""
    experiment: str = "tabcf"
    """MLflow's experiment, made if there is none of that name."""


def _tracker(options: MLflowOptions) -> Tracker:
    from tabcf_mlflow.tracker import MLflowTracker

    return MLflowTracker(folder=options.folder, experiment=options.experiment)


def _command() -> click.Command:
    from tabcf_mlflow.command import command

    return command


TRACKER = TrackerDefinition(
    name="mlflow",
    options=MLflowOptions,
    summary="An MLflow run: parameters, metrics of every epoch, test metrics.",
    example="{mlflow: {folder: mlruns, experiment: films}}",
    build=_tracker,
)
COMMAND = CommandDefinition(name="mlflow", summary="Log a saved run to MLflow.", build=_command)


@hookimpl
def tabcf_trackers() -> Sequence[TrackerDefinition]:
    """The one tracker."""
    return [TRACKER]


@hookimpl
def tabcf_commands() -> Sequence[CommandDefinition]:
    """The one command."""
    return [COMMAND]
