"""A fit as an MLflow run, through MLflow's client: nothing global is set."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabcf.errors import PluginError

__all__ = ["MLflowTracker"]

# MLflow cuts or refuses longer parameters, and takes so many at a time.
_LONGEST = 500
_MOST = 100


class MLflowTracker:
    """Writes one run into an experiment.

    Args:
        folder: A local folder, or None for MLflow's own setting.
        experiment: The experiment's name.

    Raises:
        PluginError: MLflow is not installed.
    """

    def __init__(self, *, folder: str | None, experiment: str) -> None:
        uri = None
        if folder is not None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = Path(folder).resolve().as_uri()
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise PluginError(
                "tabcf-mlflow: MLflow is not installed; pip install mlflow-skinny"
            ) from None
        self._client: Any = MlflowClient(tracking_uri=uri)
        self._experiment = experiment
        self._run_id = ""

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
        self._log(metrics, step=epoch)

    def finish(self, metrics: Mapping[str, float], folder: Path | None) -> None:
        """Log the final metrics and close the run."""
        self._log(metrics, step=0)
        if folder is not None:
            self._client.set_tag(self._run_id, "tabcf.folder", str(folder))
        self._client.set_terminated(self._run_id)

    def _log(self, metrics: Mapping[str, float], *, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        given = [Metric(_plain(key), float(value), now, step) for key, value in metrics.items()]
        self._client.log_batch(self._run_id, metrics=given)


def _plain(name: str) -> str:
    """A name of characters that MLflow takes.

    Example:
        >>> _plain("valid.ndcg@10"), _plain("metrics[0]")
        ('valid.ndcg_at_10', 'metrics.0')
    """
    name = re.sub(r"\[(\d+)\]", r".\1", name).replace("@", "_at_")
    return re.sub(r"[^\w\-./ ]", "_", name)
