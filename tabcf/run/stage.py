"""What one model is fitted by, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tabcf.data.parts import VALID
from tabcf.errors import SpecError
from tabcf.evaluation.evaluate import Metric
from tabcf.plugin.registry import Registry, Resolved
from tabcf.recommend.trained import Trained
from tabcf.run.prepare import Encoded, Events
from tabcf.run.resolve import resolve_loss, resolve_metrics
from tabcf.spec.records import Spec
from tabcf.training.loop import Training
from tabcf.training.scale_out.seam import ALONE, Ranks

__all__ = ["Fitted", "Stage"]


@dataclass(frozen=True, slots=True)
class Stage:
    """What one model is fitted by.

    Attributes:
        spec: The model's own spec.
        registry: The components that it names.
        events: Read and split; nothing is fitted yet.
        loss: The spec's, or the default.
        metrics: The same.
        ranks: The processes that fit it.
    """

    spec: Spec
    registry: Registry
    events: Events
    loss: Resolved
    metrics: tuple[Metric, ...]
    ranks: Ranks = ALONE

    @classmethod
    def of(cls, spec: Spec, registry: Registry, events: Events, ranks: Ranks = ALONE) -> Stage:
        """Find loss and metrics.

        Raises:
            SpecError: They do not suit the target, or there is nothing to stop early by.
        """
        loss = resolve_loss(spec, registry, events.target)
        metrics = resolve_metrics(spec, registry, events.target)
        if spec.train.early_stopping is not None and not events.count(VALID):
            raise SpecError(
                [
                    "train.early_stopping: needs a validation part, and the split leaves none; "
                    "give the split a `valid` share"
                ]
            )
        return cls(spec, registry, events, loss, metrics, ranks)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of a fit.

    Attributes:
        trained: The model.
        encoded: The rows that it was fitted on.
        training: The course of the fit on training rows alone.
        valid: Metrics of that fit on the validation rows.
        is_refitted: Whether the model is of a second fit, on training and validation rows.
        seconds: Wall time of encoding and training.
        cpu_seconds: CPU time of the same, over all threads.
    """

    trained: Trained
    encoded: Encoded
    training: Training
    valid: Mapping[str, float]
    is_refitted: bool
    seconds: float
    cpu_seconds: float
