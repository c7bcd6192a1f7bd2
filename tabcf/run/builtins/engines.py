"""The built-in engines: how steps are taken, by processes of this machine."""

from __future__ import annotations

from tabcf.contracts.definitions import EngineDefinition
from tabcf.contracts.options import NoOptions

__all__ = ["ENGINES"]

ENGINES = (
    EngineDefinition(
        name="auto",
        options=NoOptions,
        summary="Fused steps wherever that can be, eager ones elsewhere.",
        example="auto",
        steps="auto",
    ),
    EngineDefinition(
        name="fused",
        options=NoOptions,
        summary="With a backward pass written by hand, for dot products of two ids.",
        example="fused",
        steps="fused",
    ),
    EngineDefinition(
        name="eager",
        options=NoOptions,
        summary="By autograd, for everything.",
        example="eager",
        steps="eager",
    ),
)
