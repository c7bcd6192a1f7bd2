"""A fit as an MLflow run, through MLflow's client: nothing global is set."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tabcf.errors import PluginError

__all__ = ["MLflowTracker"]

# MLflow cuts or refuses longer parameters and tags, and takes so many at a time.
_LONGEST = 500
_MOST = 100
_FILE_STORE = "MLFLOW_ALLOW_FILE_STORE"


class MLflowTracker:
    """Writes one run into an experiment.

    Args:
        folder: A local folder, or None for MLflow's own setting.
        experiment: The experiment's name.

    Raises:
        PluginError: MLflow is not installed.
    """

    def __init__(self, *, folder: str | None, experiment: str) -> None:
        try:
            from mlflow import MlflowClient
        except ModuleNotFoundError as error:
            raise PluginError(
                f"tabcf-mlflow: {error.name} is not installed; pip install mlflow-skinny"
            ) from None
        self._client: Any
        if folder is None:
            self._client = MlflowClient()
        else:
            with _file_store_allowed():
                self._client = MlflowClient(tracking_uri=Path(folder).resolve().as_uri())
        self._experiment = experiment
        self._run_id = ""
        self._last = 0

    def start(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Open a run with the spec's values as its parameters."""
        from mlflow.entities import Param

        found = self._client.get_experiment_by_name(self._experiment)
        experiment = (
            found.experiment_id
            if found is not None
            else self._client.create_experiment(self._experiment)
        )
        self._run_id = self._client.create_run(experiment, run_name=name).info.run_id
        given = [Param(_plain(key), str(value)[:_LONGEST]) for key, value in parameters.items()]
        for start in range(0, len(given), _MOST):
            self._client.log_batch(self._run_id, params=given[start : start + _MOST])

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch's metrics at its number."""
        self._last = epoch
        self._log(metrics, step=epoch)

    def finish(self, metrics: Mapping[str, float], folder: Path | None) -> None:
        """Log the final metrics and close the run.

        They come one step after the last epoch. MLflow shows a metric's value of the last step,
        which is so that of the weights that are kept, and these may be of an earlier epoch.
        """
        self._log(metrics, step=self._last + 1 if self._last else 0)
        if folder is not None:
            self._client.set_tag(self._run_id, "tabcf.folder", str(folder.absolute()))
        self._client.set_terminated(self._run_id)

    def abort(self, reason: str) -> None:
        """Close the run as failed, with the reason as its tag `tabcf.error`."""
        if self._run_id:
            self._client.set_tag(self._run_id, "tabcf.error", reason[:_LONGEST])
            self._client.set_terminated(self._run_id, status="FAILED")

    def _log(self, metrics: Mapping[str, float], *, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        given = [Metric(_plain(key), float(value), now, step) for key, value in metrics.items()]
        self._client.log_batch(self._run_id, metrics=given)


@contextmanager
def _file_store_allowed() -> Iterator[None]:
    """Let MLflow 3 open a folder, which it does not by itself, unless the user has said not to.

    It looks when it opens one, and not again.
    """
    if _FILE_STORE in os.environ:
        yield
        return
    os.environ[_FILE_STORE] = "true"
    try:
        yield
    finally:
        del os.environ[_FILE_STORE]


def _plain(name: str) -> str:
    """A name of characters that MLflow takes.

    Example:
        >>> _plain("valid.ndcg@10"), _plain("metrics[0]")
        ('valid.ndcg_at_10', 'metrics.0')
    """
    name = re.sub(r"\[(\d+)\]", r".\1", name).replace("@", "_at_")
    return re.sub(r"[^\w\-./ ]", "_", name)
