"""The built-in samplers of items that a user did not choose."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, PositiveInt

from tabcf.contracts.definitions import SamplerDefinition
from tabcf.contracts.options import NoOptions, Options

__all__ = ["SAMPLERS"]


class UniformOptions(Options):
    """Every item with the same chance."""

    shorthand: ClassVar[str | None] = "n"

    n: PositiveInt = 4
    """Items drawn for each event, anew in every epoch."""
    shared: bool = False
    """Draw n items for a whole batch; many cost little then."""


class PopularityOptions(Options):
    """An item with a chance that grows with its number of events."""

    shorthand: ClassVar[str | None] = "n"

    n: PositiveInt = 4
    """Items drawn for each event, anew in every epoch."""
    shared: bool = False
    """Draw n items for a whole batch; many cost little then."""
    power: float = Field(default=0.75, ge=0, le=2)
    """The chance goes with the number of events to this power; 0 is uniform."""


class HardOptions(Options):
    """Of some items drawn uniformly, those that the model scores highest."""

    shorthand: ClassVar[str | None] = "n"

    n: PositiveInt = 1
    """Items kept for each event."""
    pool: PositiveInt = Field(default=16, ge=2)
    """Items scored for each one that is kept."""


def _uniform(options: UniformOptions) -> Any:
    from tabcf.training.samplers import UniformSampler

    return lambda catalogue: UniformSampler(catalogue, n=options.n, is_shared=options.shared)


def _popularity(options: PopularityOptions) -> Any:
    from tabcf.training.samplers import PopularitySampler

    return lambda catalogue: PopularitySampler(
        catalogue, n=options.n, power=options.power, is_shared=options.shared
    )


def _hard(options: HardOptions) -> Any:
    from tabcf.training.samplers import HardSampler

    return lambda catalogue: HardSampler(catalogue, n=options.n, pool=options.pool)


def _in_batch(options: NoOptions) -> Any:
    from tabcf.training.samplers import InBatch

    return InBatch


SAMPLERS = (
    SamplerDefinition(
        name="uniform",
        options=UniformOptions,
        summary="Every item with the same chance.",
        example="{uniform: 4}",
        build=_uniform,
    ),
    SamplerDefinition(
        name="popularity",
        options=PopularityOptions,
        summary="Popular items more often.",
        example="{popularity: {n: 8, power: 0.75}}",
        build=_popularity,
    ),
    SamplerDefinition(
        name="in_batch",
        options=NoOptions,
        summary="The other events' items of the batch.",
        example="in_batch",
        build=_in_batch,
    ),
    SamplerDefinition(
        name="hard",
        options=HardOptions,
        summary="The highest scored of a few.",
        example="{hard: {n: 1, pool: 16}}",
        build=_hard,
    ),
)
