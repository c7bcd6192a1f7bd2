"""The loss and the metrics of a spec for the target that its data have."""

from __future__ import annotations

from tabcf.contracts.definitions import LossDefinition, ModelDefinition
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError
from tabcf.evaluation.evaluate import Metric
from tabcf.plugin.registry import Registry, Resolved
from tabcf.spec.defaults import DEFAULT_LOSS, default_metrics
from tabcf.spec.records import Component, Spec

__all__ = ["resolve_loss", "resolve_metrics"]


def resolve_loss(spec: Spec, registry: Registry, target: TargetInfo) -> Resolved:
    """The loss that a spec names, or the one that suits its target.

    Raises:
        SpecError: Model, loss and target do not go together; says why and what does.
    """
    model: ModelDefinition = registry.get("model", spec.model.name)
    if target.kind not in model.targets:
        fitting = registry.names_where("model", lambda other: target.kind in other.targets)
        raise SpecError(
            [
                f"model: {model.name} cannot learn a target of kind '{target.kind}'; models that "
                f"can: {', '.join(fitting)}"
            ]
        )
    default = Component.model_validate(DEFAULT_LOSS[target.kind])
    if spec.fit is not None:
        fit = registry.resolve("fit", spec.fit)
        default = Component.model_validate(fit.definition.lowers(fit.options))
    if model.lowers is not None:
        options = registry.resolve("model", spec.model).options
        default = Component.model_validate(model.lowers(options))
    loss = registry.resolve("loss", spec.loss or default)
    definition: LossDefinition = loss.definition
    if target.kind not in definition.targets and spec.fit is not None and spec.loss is None:
        raise SpecError(
            [
                f"fit: {spec.fit.name} lowers {definition.name} by these options, which takes "
                f"targets of kind {', '.join(sorted(definition.targets))}, and "
                f"'{', '.join(target.columns)}' is '{target.kind}'; a rating has `levels`"
            ]
        )
    if target.kind not in definition.targets:
        fitting = registry.names_where("loss", lambda other: target.kind in other.targets)
        raise SpecError(
            [
                f"loss: {definition.name} takes targets of kind "
                f"{', '.join(sorted(definition.targets))}, and '{', '.join(target.columns)}' is "
                f"'{target.kind}'; losses that take it: {', '.join(fitting)}"
            ]
        )
    return loss


def resolve_metrics(spec: Spec, registry: Registry, target: TargetInfo) -> tuple[Metric, ...]:
    """The spec's metrics, or those that suit its target.

    Raises:
        SpecError: A metric says nothing about a target of this kind.
    """
    components = spec.metrics
    if components is None:
        components = tuple(map(Component.model_validate, default_metrics(spec, target.kind)))
    metrics = []
    for component in components:
        definition, options, *_ = registry.resolve("metric", component)
        if target.kind not in definition.targets:
            raise SpecError(
                [f"metrics: {definition.name} says nothing about a target of kind '{target.kind}'"]
            )
        k = options.k if definition.needs in ("hits", "lists") else None
        shown = k if definition.needs != "ranks" else getattr(options, "k", None)
        name = definition.name if shown is None else f"{definition.name}@{shown}"
        metrics.append(Metric(name, definition, definition.build(target, options), k))
    return tuple(metrics)
