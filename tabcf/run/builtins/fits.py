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


def _build_gibbs(
    member: Callable[[Layout], nn.Module], target: TargetInfo, options: GibbsOptions
) -> Callable[[Layout], nn.Module]:
    """Builds as many models as draws are kept."""
    from tabcf.nn.dot_product import DotProductBias
    from tabcf.nn.ensemble import DotProductEnsemble

    if options.burn_in >= options.sweeps:
        problem = f"expected fewer than the {options.sweeps} sweeps, got {options.burn_in}"
        raise SpecError([f"fit.gibbs.burn_in: {problem}"])
    bounds = None
    if target.levels:
        center, scale = float(target.center[0]), float(target.scale[0])
        bounds = (min(target.levels) - center) / scale, (max(target.levels) - center) / scale

    def build(layout: Layout) -> nn.Module:
        members = []
        for _ in range(min(options.keep, options.sweeps - options.burn_in)):
            model = member(layout)
            assert isinstance(model, DotProductBias)
            if model.y_range is not None:
                raise SpecError(
                    [
                        "model.y_range: gibbs needs scores without a range; leave it out: "
                        "predictions of levels are cut off at the lowest and the highest"
                    ]
                )
            members.append(model)
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
        name="gibbs",
        example="{gibbs: {sweeps: 512}}",
        options=GibbsOptions,
        summary="Draws from the posterior of a factorisation machine: predictions with a spread.",
        models=frozenset({"dot_product_bias"}),
        targets=frozenset({"rating", "regression"}),
        loss="mse",
        build=_build_gibbs,
        solve=_solve_gibbs,
    ),
)
