"""`tabcf mlflow`: log a saved run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command()
@click.argument("run", type=click.Path())
@click.option("--folder", default="mlruns", show_default=True, help="MLflow's local folder.")
@click.option("--server", is_flag=True, help="Log where MLFLOW_TRACKING_URI says.")
@click.option("--experiment", default="tabcf", show_default=True, help="MLflow's experiment.")
def command(run: str, folder: str, server: bool, experiment: str) -> None:
    """Log the saved RUN to MLflow."""
    import tabcf
    from tabcf_mlflow.tracker import MLflowTracker

    loaded = tabcf.load(run)
    report = loaded.report
    tracker = MLflowTracker(folder=None if server else folder, experiment=experiment)
    tracker.start(loaded.name, dict(_flat(loaded.spec.model_dump(mode="json"), "")))
    for epoch in report.epochs:
        validation = {f"valid.{name}": value for name, value in epoch.validation.items()}
        tracker.epoch(epoch.epoch, {"train_loss": epoch.train_loss, **validation})
    metrics = {f"valid.{name}": value for name, value in report.valid.items()}
    metrics |= {f"test.{name}": value for name, value in report.test.items()}
    tracker.finish(metrics, Path(run))
    click.echo(f"{loaded.name}: logged to the experiment {experiment}")


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value by its path."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif value is not None:
        yield path, value
