"""Learning rate and epochs of a spec that gives none: by its model, and the events of a step.

A larger batch makes fewer steps of a steadier gradient, which may be longer: AdamW wants them to
grow with the root of the batch (Malladi et al., 2022, "On the SDEs and scaling rules for adaptive
gradient algorithms"). How many epochs a model takes before it learns rows by heart is said by its
definition, and hardly depends on the batch. `benchmarks/batch_recipe.py` is the sweep behind both.
"""

from __future__ import annotations

import math

from tabcf.contracts.definitions import LossDefinition, ModelDefinition
from tabcf.plugin.registry import Registry
from tabcf.spec.records import Component, Spec, Target, Train

__all__ = ["default_learning_rate", "with_recipes"]

_RATE, _BATCH = 5e-3, 512


def default_learning_rate(batch_size: int) -> float:
    """The schedule's peak for steps of so many events: 5e-3 at 512, to two digits.

    Example:
        >>> default_learning_rate(512), default_learning_rate(2048)
        (0.005, 0.01)
    """
    return float(f"{_RATE * math.sqrt(batch_size / _BATCH):.2g}")


def with_recipes(spec: Spec, registry: Registry) -> Spec:
    """The spec with what its `train`, and that of a first stage, leaves to the rule.

    Args:
        spec: A spec without problems.
        registry: The components that it names.
    """
    changes: dict[str, object] = {
        "train": _resolved(spec.train, registry, spec.model, spec.loss, spec.target)
    }
    if spec.retrieve is not None:
        own = spec.retrieve
        target = own.target or spec.target
        train = _resolved(own.train, registry, own.model, own.loss, target)
        changes["retrieve"] = own.model_copy(update={"train": train})
    return spec.model_copy(update=changes)


def _resolved(
    train: Train, registry: Registry, model: Component, loss: Component | None, target: Target
) -> Train:
    """A batch of a loss of the whole catalogue is one of users, for whom the rule is not made."""
    definition: ModelDefinition = registry.get("model", model.name)
    if definition.solve is not None:
        return train
    if loss is None:
        is_of_events = target.implicit is None
    else:
        found: LossDefinition = registry.resolve("loss", loss).definition
        is_of_events = found.form in ("pointwise", "sampled")
    if not is_of_events:
        return train
    rule = {
        "learning_rate": default_learning_rate(train.batch_size),
        "epochs": definition.epochs,
    }
    left = {name: value for name, value in rule.items() if name not in train.model_fields_set}
    return train.model_copy(update=left)
