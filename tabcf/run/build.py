"""A spec's model, objective and optimiser for encoded data."""

from __future__ import annotations

import torch
from torch import nn

from tabcf.contracts.definitions import LossDefinition
from tabcf.contracts.model import ColumnRows, KnowsBiases
from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.run.prepare import Encoded
from tabcf.spec.records import Spec
from tabcf.training.objectives import CatalogueObjective, Objective, PointwiseObjective
from tabcf.training.optimiser import AdamW, Decay, decay_groups

__all__ = ["build_model", "build_objective", "build_optimiser", "device_named"]


def build_model(spec: Spec, registry: Registry, encoded: Encoded, d_out: int) -> nn.Module:
    """The spec's model for the encoder's columns."""
    definition, options, *_ = registry.resolve("model", spec.model)
    model: nn.Module = definition.build(encoded.encoder.layout, encoded.target, d_out, options)
    return model


def build_objective(
    spec: Spec,
    definition: LossDefinition,
    encoded: Encoded,
    model: nn.Module,
    loss: nn.Module,
    *,
    masking: float = 0.0,
) -> Objective:
    """What a training step lowers, by the loss's form."""
    device = device_named(spec.train.device)
    device_or_none = None if device.type == "cpu" else device
    batch_size = spec.train.batch_size
    if definition.form == "catalogue":
        if encoded.encoder.layout.has_event_columns:
            raise SpecError(
                [
                    f"loss: {definition.name} scores a user's whole catalogue at once, where an "
                    "event has no columns of its own; leave out `columns` and further entities"
                ]
            )
        return CatalogueObjective(
            encoded.train,
            model,
            loss,
            batch_size=batch_size,
            masking=masking,
            device=device_or_none,
        )
    return PointwiseObjective(
        encoded.train,
        model,
        loss,
        batch_size=batch_size,
        masking=masking,
        l2=spec.train.l2,
        device=device_or_none,
    )


def build_optimiser(spec: Spec, encoded: Encoded, model: nn.Module, loss: nn.Module) -> AdamW:
    """AdamW with the spec's decays."""
    by_column = dict(spec.train.weight_decay)
    decay = Decay(by_column.pop("default", 0.0), by_column, on_biases=spec.train.decay_biases)
    names = [column.name for column in encoded.encoder.layout.categorical]
    unknown = sorted(set(by_column) - set(names))
    if unknown:
        raise SpecError(
            [
                f"train.weight_decay: no column '{unknown[0]}' with an embedding; known: default, "
                f"{', '.join(names)}"
            ]
        )
    columns = {}
    if by_column:
        if not isinstance(model, ColumnRows):
            raise SpecError(
                [
                    f"train.weight_decay: {spec.model.name} cannot decay columns apart; give one "
                    "number"
                ]
            )
        columns = {name: model.column_rows(names.index(name)) for name in by_column}
    parameters = [*model.parameters(), *loss.parameters()]
    if isinstance(model, KnowsBiases):
        biases = [*model.bias_parameters(), *loss.parameters()]
    else:
        biases = [p for p in parameters if p.ndim <= 1]
    return AdamW(decay_groups(parameters, biases, columns, decay))


def device_named(name: str) -> torch.device:
    """The device that a spec names; `auto` is a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError([f"train.device: '{name}' cannot be used: {reason}"]) from None
    return device
