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
    try:
        tracker.start(loaded.name, dict(_flat(loaded.spec.model_dump(mode="json"), "")))
        for epoch in report.epochs:
            validation = {f"valid.{name}": value for name, value in epoch.validation.items()}
            losses = {"train_loss": epoch.train_loss, "learning_rate": epoch.learning_rate}
            tracker.epoch(epoch.epoch, {**losses, **validation})
        metrics = {f"valid.{name}": value for name, value in report.valid.items()}
        metrics |= {f"test.{name}": value for name, value in report.test.items()}
        tracker.finish(metrics, Path(run))
    except BaseException as error:
        tracker.abort(str(error) or type(error).__name__)
        raise
    click.echo(f"{loaded.name}: logged to the experiment {experiment}")


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value by its path, a component's options below its name, as a fit names them.

    Example:
        >>> spec = {"model": {"name": "dot", "options": {"factors": 4}}, "metrics": []}
        >>> dict(_flat(spec, ""))
        {'model': 'dot', 'model.dot.factors': 4, 'metrics': []}
    """
    if isinstance(value, Mapping):
        if set(value) == {"name", "options"}:
            yield path, value["name"]
            value, path = value["options"], f"{path}.{value['name']}"
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}".strip("."))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for position, item in enumerate(value):
            yield from _flat(item, f"{path}[{position}]")
    elif value is not None:
        yield path, value
