"""Ray for tabcf: `train: {engine: ray}` has workers of Ray Train do a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tabcf.contracts.definitions import EngineDefinition
from tabcf.contracts.launch import Launch
from tabcf.contracts.options import Options
from tabcf.plugin.hooks import hookimpl

__all__ = ["RAY", "RayOptions", "tabcf_engines"]


class RayOptions(Options):
    """Workers of a Ray cluster."""

    shorthand: ClassVar[str | None] = "address"

    address: str | None = None
    """A running cluster, such as `auto`; by default what the environment variable `RAY_ADDRESS`
    says, and without it Ray starts on this machine."""


def _launch(launch: Launch, options: RayOptions) -> Mapping[int, str]:
    from tabcf_ray.launching import launched

    return launched(launch, options.address)


RAY = EngineDefinition(
    name="ray",
    options=RayOptions,
    summary="By the workers of Ray Train, as many as `train.workers`.",
    example="ray",
    launch=_launch,
)


@hookimpl
def tabcf_engines() -> Sequence[EngineDefinition]:
    """The one engine."""
    return [RAY]
