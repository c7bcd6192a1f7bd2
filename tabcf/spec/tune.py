"""What `tabcf tune` tries: its records in a spec, and how their values are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from tabcf.contracts.options import Options
from tabcf.errors import SpecError
from tabcf.spec.wording import describe

__all__ = ["TUNED", "Range", "Tune", "domain_ends", "override", "seconds_of"]

# What a search may change. All else decides on which rows are validated and what is measured.
TUNED = ("model", "fit", "loss", "negatives", "unknown", "train", "columns", "entities", "retrieve")

_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Range(Options):
    """Numbers between two ends, both included."""

    low: int | float
    """The lowest."""
    high: int | float
    """The highest."""
    log: bool = False
    """Whether a factor counts, such as from 0.001 to 0.01, and not a distance."""
    step: Annotated[int | float, Field(gt=0)] | None = None
    """Take only every so many from the lowest on; not with `log`."""

    @model_validator(mode="after")
    def _rising(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"expected low below high, got {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"expected a low above 0 with log, got {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("step and log do not go together")
        return self


class Tune(Options):
    """A search for the setting whose validation metric is best; `tabcf fit` leaves it alone."""

    trials: PositiveInt = 30
    """How many settings are tried, the spec's own first."""
    time: str | PositiveFloat | None = None
    """When to stop before that: `90s`, `10min`, `2h`, or a number of seconds."""
    metric: str | None = None
    """The metric to choose by, such as `rmse` or `ndcg@10`, always of the validation rows; by
    default the spec's first one."""
    space: Mapping[str, Range | tuple[Any, ...]] | None = None
    """What is tried for which value, by its path as `--set` writes it: a list of values, or a
    range such as `{low: 1e-3, high: 1e-1, log: true}`; by default what suits model and fit."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How the next setting is chosen: near those that were good, or at random."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """Which trials are ended early: those behind the median of others at the same tenth of their
    training, from its half on, or those that lose in rounds of ever longer training."""

    @field_validator("time")
    @classmethod
    def _a_time(cls, value: str | float | None) -> str | float | None:
        seconds_of(value)
        return value

    @field_validator("space")
    @classmethod
    def _with_choices(cls, value: Any) -> Any:
        for path, domain in (value or {}).items():
            if isinstance(domain, tuple) and len(domain) < 2:
                raise ValueError(f"expected a range or at least two values for {path}")
        if value is not None and not value:
            raise ValueError("expected at least one value to try; leave it out for the default")
        return value


def seconds_of(time: str | float | None) -> float | None:
    """A time in seconds.

    Example:
        >>> seconds_of("10min")
        600.0
    """
    if time is None or isinstance(time, (int, float)):
        return time
    match = _TIME.fullmatch(time.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(
            "expected a time such as 90s, 10min or 2h, or a number of seconds, "
            f"got {describe(time)}"
        )
    return float(match[1]) * _UNITS[match[2]]


def domain_ends(domain: Range | tuple[Any, ...]) -> Iterator[Any]:
    """The values that stand for all of a domain: the ends of a range, or each choice."""
    if isinstance(domain, Range):
        yield from (domain.low, domain.high)
    else:
        yield from domain


def override(path: str, value: Any) -> str:
    """A value as `--set` takes it.

    Raises:
        SpecError: It is no plain value.
    """
    try:
        return f"{path}={json.dumps(value)}"
    except (TypeError, ValueError):
        raise SpecError([f"expected a plain value, got {describe(value)}"]) from None
