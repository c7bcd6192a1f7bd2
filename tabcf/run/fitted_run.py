"""From what was fitted to a run: tested, and with what predictions need of the training rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tabcf.run.prepare import Encoded
from tabcf.run.results import FitReport
from tabcf.run.run import Run
from tabcf.run.stage import Fitted, Stage
from tabcf.run.tested import tested_on

__all__ = ["mean_targets", "run_of"]

# Rows at a time, of a table that may be on disk.
_BLOCK = 1 << 18


def run_of(
    stage: Stage,
    fitted: Fitted,
    *,
    name: str,
    first_run: Run | None = None,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    warnings: tuple[str, ...] = (),
) -> Run:
    """A run of what was fitted, tested."""
    events = stage.events
    tested = tested_on(stage, fitted.trained, first_run)
    report = FitReport(
        fitted_on="train + valid" if fitted.is_refitted else "train",
        n_rows=events.counts(),
        valid=fitted.valid,
        test=tested.metrics,
        first_stage=tested.first_stage,
        baselines=baselines or {},
        groups=tested.groups,
        told=tested.told,
        epochs=tuple(fitted.training.epochs),
        best_epoch=fitted.training.best_epoch,
        n_steps=fitted.training.n_steps,
        is_interrupted=fitted.training.is_interrupted
        or (first_run is not None and first_run.report.is_interrupted),
        warnings=warnings,
        seconds=fitted.seconds + (0.0 if first_run is None else first_run.report.seconds),
        cpu_seconds=fitted.cpu_seconds
        + (0.0 if first_run is None else first_run.report.cpu_seconds),
        test_rows=tested.rows,
        warm_up_seconds=fitted.training.warm_up_seconds,
    )
    return Run(
        name=name,
        spec=stage.spec,
        registry=stage.registry,
        plans=events.plans,
        trained=fitted.trained,
        report=report,
        metrics=stage.metrics,
        mean_targets=mean_targets(fitted.encoded),
        users=tested.users,
        first_stage=first_run,
    )


def mean_targets(encoded: Encoded) -> dict[str, np.ndarray]:
    """Each entity's mean target by row, NaN without training events; for numeric targets."""
    target = encoded.train.target
    if encoded.target.kind not in ("regression", "rating") or target is None or target.ndim > 1:
        return {}
    sizes = {name: len(encoded.encoder.entities[name]) for name in encoded.train.rows}
    counts, sums = ({name: np.zeros(n) for name, n in sizes.items()} for _ in range(2))
    block = max(_BLOCK, *sizes.values()) if sizes else _BLOCK
    for start in range(0, len(target), block):
        places = slice(start, start + block)
        values = target[places].double() * encoded.target.scale[0] + encoded.target.center[0]
        for name, rows in encoded.train.rows.items():
            own = rows[places].numpy()
            counts[name] += np.bincount(own, minlength=sizes[name])
            sums[name] += np.bincount(own, weights=values.numpy(), minlength=sizes[name])
        if encoded.train.release is not None:
            encoded.train.release()
    means = {}
    for name, size in sizes.items():
        n = counts[name]
        means[name] = np.divide(sums[name], n, out=np.full(size, np.nan), where=n > 0)
        means[name][0] = np.nan
    return means
