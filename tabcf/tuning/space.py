"""What a search tries: each value's domain, as the spec or its model says, and for Optuna."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.records import Spec
from tabcf.spec.tune import Range
from tabcf.spec.tune_check import is_whole_number

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["TRAIN_SPACE", "Parameter", "default_space", "space_of"]

# Of gradient descent. Rates are around the default, and decay is that of AdamW.
TRAIN_SPACE: Mapping[str, Mapping[str, Any]] = {
    "train.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
    "train.weight_decay.default": {"low": 1e-3, "high": 1.0, "log": True},
    "train.epochs": {"low": 3, "high": 20},
}
# Digits that a number from a range keeps; more say nothing and make specs hard to read.
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value that is tried.

    Attributes:
        path: Where it stands, as `--set` writes it.
        domain: A range, or the values.
        is_whole: Whether a range is of integers.
    """

    path: str
    domain: Range | tuple[Any, ...]
    is_whole: bool = False

    def distribution(self) -> BaseDistribution:
        """The domain as Optuna takes it; choices are their JSON, which may be lists."""
        from optuna import distributions as kinds

        if not isinstance(self.domain, Range):
            return kinds.CategoricalDistribution([json.dumps(choice) for choice in self.domain])
        low, high, log, step = (getattr(self.domain, n) for n in ("low", "high", "log", "step"))
        if self.is_whole:
            return kinds.IntDistribution(int(low), int(high), log=log, step=int(step or 1))
        return kinds.FloatDistribution(float(low), float(high), log=log, step=step)

    def value(self, drawn: Any) -> Any:
        """What the spec gets for what Optuna has drawn."""
        if not isinstance(self.domain, Range):
            return json.loads(drawn)
        if self.is_whole:
            return int(drawn)
        rounded = float(f"{drawn:.{_DIGITS}g}")
        return min(max(rounded, float(self.domain.low)), float(self.domain.high))

    def drawn(self, value: Any) -> Any:
        """What Optuna would have drawn for a value of the spec; None where it is not within."""
        if not isinstance(self.domain, Range):
            text = json.dumps(value)
            return text if text in map(json.dumps, self.domain) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        is_within = self.domain.low <= value <= self.domain.high
        return value if is_within and self.domain.step is None else None


def default_space(spec: Spec, registry: Registry) -> dict[str, Any]:
    """What is tried where the spec does not say: what its model and way to fit give, and training.

    Raises:
        SpecError: They give nothing.
    """
    model = registry.get("model", spec.model.name)
    space: dict[str, Any] = {}
    if registry.part("model", spec.model.name) is None:
        space = {f"model.{spec.model.name}.{name}": d for name, d in model.space.items()}
    if spec.fit is not None:
        fit = registry.get("fit", spec.fit.name)
        space |= {f"fit.{spec.fit.name}.{name}": d for name, d in fit.space.items()}
    elif model.solve is None:
        space |= TRAIN_SPACE
        if spec.train.early_stopping is not None:
            del space["train.epochs"]
    if not space:
        raise SpecError(
            [f"tune.space: is required, since the model {spec.model.name} has nothing to try"]
        )
    return space


def space_of(spec: Spec, tree: Mapping[str, Any], registry: Registry) -> tuple[Parameter, ...]:
    """The values that a search tries, in the order of the spec.

    Raises:
        SpecError: The spec names none, and nor does its model.
    """
    given: Mapping[str, Any] | None = None if spec.tune is None else spec.tune.space
    if given is None:
        given = {
            path: Range.model_validate(d) if isinstance(d, Mapping) else tuple(d)
            for path, d in default_space(spec, registry).items()
        }
    return tuple(
        Parameter(path, domain, _is_whole(path, domain, tree, registry))
        for path, domain in given.items()
    )


def _is_whole(
    path: str, domain: Range | tuple[Any, ...], tree: Mapping[str, Any], registry: Registry
) -> bool:
    """Whether a range is of integers: its ends are, and the place takes nothing else."""
    if not isinstance(domain, Range):
        return False
    ends = (domain.low, domain.high, domain.step or 1)
    if not all(isinstance(end, int) for end in ends):
        return False
    return is_whole_number(tree, path, int(domain.low), registry)
