"""A spec's model, objective and optimiser for encoded data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn

from tabcf.contracts.definitions import LossDefinition
from tabcf.contracts.layout import Layout
from tabcf.contracts.model import ColumnRows, KnowsBiases, KnowsSpread, SetRows
from tabcf.contracts.target import TargetInfo
from tabcf.data.order import Chunks
from tabcf.data.pairs import event_counts
from tabcf.errors import SpecError, TabcfError, TrainingError
from tabcf.evaluation.evaluate import Metric
from tabcf.losses import Loss
from tabcf.nn.members import ensemble_of
from tabcf.plugin.registry import Registry, Resolved
from tabcf.run.prepare import Encoded
from tabcf.spec.records import Component, Spec, Train
from tabcf.training.objectives import Objective, PointwiseObjective
from tabcf.training.optimiser import Decay, Piece, decay_groups
from tabcf.training.ranking import CatalogueObjective, SampledObjective
from tabcf.training.samplers import Catalogue, Chosen
from tabcf.training.scale_out.own import OwnRows

__all__ = [
    "build_decays",
    "build_loss",
    "build_objective",
    "check_metrics",
    "device_named",
    "model_builder",
    "plugins_at_work",
]

_DECODED = ("value", "probability", "probabilities", "score")


def build_loss(loss: Resolved, target: TargetInfo, *, note: str = "") -> Loss:
    """A loss that was resolved, tried on two rows; `note` is added to what it raises.

    Raises:
        TrainingError: It is no loss, or does not decode what it reads.
    """
    name = f"loss {loss.definition.name}"
    try:
        built = loss.definition.build(target, loss.options)
    except TabcfError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise TrainingError(f"{name}: cannot be built: {what}{note}") from error
    d_out = getattr(built, "d_out", None)
    if not isinstance(built, nn.Module) or not isinstance(d_out, int) or d_out < 1:
        raise TrainingError(
            f"{name}: expected a tabcf.losses.Loss with a d_out, got {built!r}{note}"
        )
    loss_module = cast("Loss", built)
    with torch.no_grad():
        decoded: object = loss_module.decode(torch.zeros(2, d_out))
    if not isinstance(decoded, dict):
        what = type(decoded).__name__
        raise TrainingError(f"{name}: expected decode to give a dict, got a {what}{note}")
    shapes = {key: tuple(value.shape) for key, value in decoded.items()}
    if not shapes or any(k not in _DECODED or s[:1] != (2,) for k, s in shapes.items()):
        raise TrainingError(
            f"{name}: expected decode to give some of {', '.join(_DECODED)} with a row for each of "
            f"2 rows, got {shapes}{note}"
        )
    return loss_module


def check_metrics(metrics: Sequence[Metric], loss: Loss, model: nn.Module) -> None:
    """Refuse metrics of what predictions do not have.

    Raises:
        SpecError: Says what a metric reads, and what there is.
    """
    known = [*loss.decode(torch.zeros(2, loss.d_out, device=_device_of(loss)))]
    if isinstance(model, KnowsSpread):
        known.append("sd")
    for metric in metrics:
        reads = metric.definition.reads or ()
        wanted = (reads,) if isinstance(reads, str) else reads
        if wanted and not set(wanted) & set(known):
            raise SpecError(
                [
                    f"metrics: {metric.name} reads {' or '.join(wanted)}, and what the loss "
                    f"predicts has only: {', '.join(known)}"
                ]
            )


def _device_of(loss: Loss) -> torch.device:
    for tensor in (*loss.parameters(), *loss.buffers()):
        return tensor.device
    return torch.device("cpu")


def plugins_at_work(spec: Spec, registry: Registry) -> str:
    """A note on which plugins the model and the loss are of, for a message; often empty."""
    found = [("model", spec.model.name)]
    if spec.loss is not None:
        found.append(("loss", spec.loss.name))
        resolved = registry.resolve("loss", spec.loss)
        summed = getattr(resolved.options, "losses", ())
        found += [("loss", registry.full_name("loss", name, resolved.scope)) for name in summed]
    notes = [
        f"the {kind} {name} is of the plugin {origin}"
        for kind, name in found
        if (origin := registry.origin(kind, name)) != "tabcf"
    ]
    return f"; {' and '.join(notes)}" if notes else ""


def model_builder(
    spec: Spec, registry: Registry, target: TargetInfo, d_out: int
) -> Callable[[Layout], nn.Module]:
    """What builds the spec's model, or its ensemble of them, for a layout of columns."""
    definition, options, *_ = registry.resolve("model", spec.model)

    def build(layout: Layout) -> nn.Module:
        model: nn.Module = definition.build(layout, target, d_out, options)
        return model

    if spec.fit is None and spec.train.ensemble == 1:
        return build
    if spec.fit is None:
        return lambda layout: ensemble_of(build(layout) for _ in range(spec.train.ensemble))
    fit = registry.resolve("fit", spec.fit)
    fitted: Callable[[Layout], nn.Module] = fit.definition.build(build, target, fit.options)
    return fitted


def build_objective(
    spec: Spec,
    registry: Registry,
    definition: LossDefinition,
    encoded: Encoded,
    model: nn.Module,
    loss: nn.Module,
    *,
    masking: Sequence[float] = (),
) -> Objective:
    """What a training step lowers, by the loss's form."""
    device = device_named(spec.train.device)
    device_or_none = None if device.type == "cpu" else device
    batch_size = spec.train.batch_size
    if spec.train.l2 and definition.form != "pointwise":
        raise SpecError(
            [
                f"train.l2: goes with losses of single events, and {definition.name} is none; use "
                "train.weight_decay"
            ]
        )
    if definition.form == "sampled":
        return _sampled_objective(spec, registry, encoded, model, loss, masking, device_or_none)
    if definition.form in ("catalogue", "factored"):
        if spec.train.shuffle is not None:
            raise SpecError(
                [
                    f"train.shuffle: is of events, and {definition.name} takes users with all of "
                    "theirs; leave it out"
                ]
            )
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
    if encoded.own is not None:
        return OwnRows(
            encoded.own.table,
            model,
            loss,
            lengths=encoded.own.lengths,
            rank=encoded.own.rank,
            batch_size=batch_size,
            masking=masking,
            l2=spec.train.l2,
            chunks=_chunks(spec.train),
        )
    return PointwiseObjective(
        encoded.train,
        model,
        loss,
        batch_size=batch_size,
        masking=masking,
        l2=spec.train.l2,
        device=device_or_none,
        chunks=_chunks(spec.train),
    )


def _chunks(train: Train) -> Chunks | None:
    """How training rows are shuffled; None for all together."""
    if train.shuffle is None:
        return None if train.memory is None else Chunks()
    return Chunks(train.shuffle.chunk, train.shuffle.together)


def _sampled_objective(
    spec: Spec,
    registry: Registry,
    encoded: Encoded,
    model: nn.Module,
    loss: nn.Module,
    masking: Sequence[float],
    device: torch.device | None,
) -> SampledObjective:
    """Events among items that are drawn as the spec says.

    What a user chose in training is never drawn for them; what they will choose in held-out rows
    is unknown here, and leaving it out would teach the model which items those are.
    """
    assert encoded.past is not None
    train, chosen = encoded.train, encoded.past.positive
    rows = torch.nonzero(train.entities["item"].index).squeeze(1)
    catalogue = Catalogue(rows, event_counts(train, "item")[rows])
    sampler = registry.resolve("sampler", spec.negatives or Component.model_validate("uniform"))
    return SampledObjective(
        train,
        model,
        loss,
        sampler=sampler.definition.build(sampler.options)(catalogue),
        chosen=Chosen(torch.from_numpy(chosen.items), torch.from_numpy(chosen.bounds), rows),
        catalogue=catalogue,
        batch_size=spec.train.batch_size,
        masking=masking,
        device=device,
        chunks=_chunks(spec.train),
    )


def build_decays(spec: Spec, encoded: Encoded, model: nn.Module, loss: nn.Module) -> list[Piece]:
    """All that is trained, with the spec's decays."""
    by_column = dict(spec.train.weight_decay)
    decay = Decay(by_column.pop("default", 0.0), by_column, on_biases=spec.train.decay_biases)
    layout = encoded.encoder.layout
    names = [column.name for column in layout.categorical]
    names += [column.name for column in layout.sets]
    unknown = sorted(set(by_column) - set(names))
    if unknown:
        raise SpecError(
            [
                f"train.weight_decay: no column '{unknown[0]}' with an embedding; known: default, "
                f"{', '.join(names)}"
            ]
        )
    n_categorical = len(layout.categorical)
    columns = {}
    for name in by_column:
        position = names.index(name)
        if position < n_categorical and isinstance(model, ColumnRows):
            columns[name] = model.column_rows(position)
        elif position >= n_categorical and isinstance(model, SetRows):
            columns[name] = model.set_rows(position - n_categorical)
        else:
            raise SpecError(
                [
                    f"train.weight_decay: {spec.model.name} cannot decay columns apart; give one "
                    "number"
                ]
            )
    parameters = [*model.parameters(), *loss.parameters()]
    if isinstance(model, KnowsBiases):
        biases = [*model.bias_parameters(), *loss.parameters()]
    else:
        biases = [p for p in parameters if p.ndim <= 1]
    return decay_groups(parameters, biases, columns, decay)


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
