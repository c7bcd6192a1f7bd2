"""The built-in ways to fit beside gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from tabcf.contracts.definitions import FitDefinition, FitProblem
from tabcf.contracts.layout import Layout
from tabcf.contracts.options import Options
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError

if TYPE_CHECKING:
    from torch import Generator, nn

__all__ = ["FITS"]


class GibbsOptions(Options):
    """The posterior, by draws of one column after another; predictions are means over draws."""

    sweeps: PositiveInt = 512
    """Draws of all columns."""
    burn_in: int = Field(default=64, ge=0)
    """Sweeps before the first draw that is kept."""
    keep: PositiveInt = 128
    """How many draws are kept, spread evenly; the saved model has as many sets of weights."""
    init_scale: float = Field(default=0.1, gt=0)
    """Size of the first, random vectors."""


class ALSOptions(Options):
    """The most probable weights under squared errors and a ridge penalty, column by column."""

    sweeps: PositiveInt = 15
    """How often all columns are solved."""
    l2: float = Field(default=15.0, gt=0)
    """Penalty of each number of a vector, beside the sum of squared errors of its events; the
    target is standardised."""
    l2_bias: float = Field(default=3.0, gt=0)
    """Penalty of each bias."""
    init_scale: float = Field(default=0.1, gt=0)
    """Size of the first, random vectors."""


def _without_range(model: Any, fit: str) -> Any:
    if model.y_range is not None:
        raise SpecError([f"model.y_range: {fit} needs scores without a range, so leave it out"])
    return model


def _build_als(
    member: Callable[[Layout], nn.Module], target: TargetInfo, options: ALSOptions
) -> Callable[[Layout], nn.Module]:
    """Builds the model as it is."""

    def build(layout: Layout) -> nn.Module:
        model: nn.Module = _without_range(member(layout), "als")
        return model

    return build


def _solve_als(model: Any, problem: FitProblem, options: ALSOptions, rng: Generator) -> None:
    from tabcf.training.gibbs import solve_als

    solve_als(
        model,
        problem,
        rng,
        sweeps=options.sweeps,
        l2=options.l2,
        l2_bias=options.l2_bias,
        init_scale=options.init_scale,
    )


def _build_gibbs(
    member: Callable[[Layout], nn.Module], target: TargetInfo, options: GibbsOptions
) -> Callable[[Layout], nn.Module]:
    """Builds as many models as draws are kept."""
    from tabcf.nn.ensemble import DotProductEnsemble

    if options.burn_in >= options.sweeps:
        problem = f"expected fewer than the {options.sweeps} sweeps, got {options.burn_in}"
        raise SpecError([f"fit.gibbs.burn_in: {problem}"])
    bounds = None
    if target.levels:
        center, scale = float(target.center[0]), float(target.scale[0])
        bounds = (min(target.levels) - center) / scale, (max(target.levels) - center) / scale

    def build(layout: Layout) -> nn.Module:
        n = min(options.keep, options.sweeps - options.burn_in)
        members = [_without_range(member(layout), "gibbs") for _ in range(n)]
        return DotProductEnsemble(members, bounds=bounds)

    return build


def _solve_gibbs(model: Any, problem: FitProblem, options: GibbsOptions, rng: Generator) -> None:
    from tabcf.training.gibbs import Priors, draw_posterior

    draws = draw_posterior(
        model.members[0],
        problem,
        rng,
        sweeps=options.sweeps,
        burn_in=options.burn_in,
        keep=len(model.members),
        priors=Priors(init_scale=options.init_scale),
    )
    model.take(draws)


FITS = (
    FitDefinition(
        name="als",
        example="{als: {l2: 15}}",
        options=ALSOptions,
        summary="Alternating least squares over all columns of a factorisation machine.",
        models=frozenset({"dot_product_bias"}),
        targets=frozenset({"rating", "regression"}),
        loss="mse",
        build=_build_als,
        solve=_solve_als,
        space={
            "l2": {"low": 1.0, "high": 100.0, "log": True},
            "l2_bias": {"low": 0.3, "high": 30.0, "log": True},
        },
    ),
    FitDefinition(
        name="gibbs",
        example="{gibbs: {sweeps: 512}}",
        options=GibbsOptions,
        summary="Draws from the posterior of a factorisation machine: predictions with a spread.",
        models=frozenset({"dot_product_bias"}),
        targets=frozenset({"rating", "regression"}),
        loss="mse",
        build=_build_gibbs,
        solve=_solve_gibbs,
        space={"init_scale": {"low": 0.01, "high": 1.0, "log": True}},
    ),
)
