"""A learning rate test of a spec, on its training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from tabcf.data.parts import TRAIN
from tabcf.errors import SpecError
from tabcf.run.build import build_decays, build_loss, build_objective, model_builder
from tabcf.run.cached import encode_split, load_events
from tabcf.run.registry import compose_registry
from tabcf.run.resolve import resolve_loss
from tabcf.run.unknown import unknown_policy
from tabcf.spec.read import read_spec
from tabcf.training.lr_finder import LearningRates, find_learning_rate
from tabcf.training.optimiser import AdamW

__all__ = ["lr_find"]


def lr_find(
    spec: str | Path | Mapping[str, Any],
    data: Any = None,
    *,
    overrides: Sequence[str] = (),
    plugins: Sequence[Any] = (),
) -> LearningRates:
    """Try learning rates from 1e-7 to 10 on a fresh model.

    Args:
        spec: A YAML file, or its content as a mapping.
        data: Events in place of the spec's.
        overrides: Changes of the spec, such as `"train.batch_size=64"`.
        plugins: As for `fit`.

    Raises:
        SpecError: The model is solved in closed form and has no learning rate.
    """
    document = read_spec(
        spec, compose_registry(plugins), overrides=[*overrides, "train.ensemble=1"]
    )
    registry = document.registry
    events = load_events(document.spec, registry, data=data, folder=document.folder)
    loss = resolve_loss(document.spec, registry, events.target)
    if registry.get("model", document.spec.model.name).solve is not None:
        raise SpecError([f"model: {document.spec.model.name} is solved, not trained"])
    encoded = encode_split(document.spec, registry, events, TRAIN)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(document.spec.seed)
        loss_module = build_loss(loss, encoded.target)
        build = model_builder(document.spec, registry, encoded.target, int(loss_module.d_out))
        model = build(encoded.encoder.layout)
        objective = build_objective(
            document.spec,
            registry,
            loss.definition,
            encoded,
            model,
            loss_module,
            masking=unknown_policy(document.spec, registry, encoded.encoder.layout).rates,
        )
        return find_learning_rate(
            model,
            objective,
            optimiser=AdamW(build_decays(document.spec, encoded, model, loss_module)),
            rng=Generator().manual_seed(document.spec.seed),
        )
