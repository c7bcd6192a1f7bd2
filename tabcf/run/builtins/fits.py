"""The built-in ways to fit beside gradient descent."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt

from tabcf.contracts.definitions import FitDefinition, FitProblem
from tabcf.contracts.layout import Layout
from tabcf.contracts.options import Options
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError

if TYPE_CHECKING:
    from torch import Generator, nn

__all__ = ["FITS"]

# Chosen on a tenth of u1's training rows.
_L2 = 15.0


class PriorOptions(Options):
    """What is believed before any data, for a target that is standardised."""

    shape: float = Field(default=0.5, gt=0, le=1e6)
    """Of the gamma priors on the precisions of columns; and of the noise, there at least 1."""
    rate: float = Field(default=0.02, gt=0, le=1e6)
    """Of the same. Larger is wider: `2 * rate / R` is about the least variance of a column of R
    rows. In the first half of the burn-in, and for the noise, it is at least 1."""
    mean_strength: float = Field(default=1.0, gt=0, le=1e6)
    """How many rows of a column the belief counts for that their mean is 0."""


class GibbsOptions(Options):
    """The posterior, by draws of one column after another; predictions are means over draws."""

    likelihood: Literal["normal", "ordered_probit"] = "normal"
    """How events come from scores: with normal noise; or, for a target with levels, by cut-points
    between which a latent number falls, so that each level has a probability."""
    predict: Literal["mean", "median", "mode"] = "mean"
    """With `ordered_probit`, what a prediction is: the expectation over the levels, best for RMSE;
    the median level, best for MAE; or the likeliest level."""

    sweeps: PositiveInt = 512
    """Draws of all columns."""
    burn_in: int = Field(default=64, ge=0)
    """Sweeps before the first draw that is kept."""
    keep: PositiveInt = 256
    """How many draws of a chain are kept, spread evenly; the saved model has as many sets of
    weights. More bring the mean over draws closer to the posterior's, and take more room."""
    chains: PositiveInt = 1
    """How often all sweeps are done, each time from other first vectors: an ensemble of posteriors,
    since a single chain sees but a part of what is likely."""
    init_scale: float = Field(default=0.1, gt=0, le=10)
    """Size of the first, random vectors."""
    priors: PriorOptions = PriorOptions()
    """What is believed before any data."""
    engine: Literal["auto", "compiled", "torch"] = "auto"
    """Whether loops over events are compiled, with the extra `fast`; by `auto` in long fits."""


class ALSOptions(Options):
    """The most probable weights under squared errors and a ridge penalty, column by column."""

    sweeps: PositiveInt = 15
    """How often all columns are solved."""
    l2: Annotated[
        Mapping[str, PositiveFloat],
        BeforeValidator(
            lambda v: v if isinstance(v, Mapping) else {"default": v},
            json_schema_input_type=PositiveFloat | Mapping[str, PositiveFloat],
        ),
    ] = Field(default_factory=lambda: {"default": _L2})
    """Penalty of each number of a vector, beside the sum of squared errors of its events; the
    target is standardised. One number, or a number for each column and `default` for all others."""
    l2_bias: float = Field(default=3.0, gt=0)
    """Penalty of each bias."""
    init_scale: float = Field(default=0.1, gt=0, le=10)
    """Size of the first, random vectors."""
    engine: Literal["auto", "compiled", "torch"] = "auto"
    """Whether loops over events are compiled, with the extra `fast`; by `auto` in long fits."""


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

    layout = problem.layout
    known = ["default", *(column.name for column in layout.categorical)]
    known += [column.name for column in layout.continuous]
    known += [column.name for column in layout.sets]
    unknown = sorted(set(options.l2) - set(known))
    if unknown:
        found = f"no column '{unknown[0]}'; known: {', '.join(known)}"
        raise SpecError([f"fit.als.l2: {found}"])
    solve_als(
        model,
        problem,
        rng,
        sweeps=options.sweeps,
        l2={"default": _L2, **options.l2},
        l2_bias=options.l2_bias,
        init_scale=options.init_scale,
        engine=options.engine,
    )


def _build_gibbs(
    member: Callable[[Layout], nn.Module], target: TargetInfo, options: GibbsOptions
) -> Callable[[Layout], nn.Module]:
    """Builds as many models as draws are kept."""
    from tabcf.nn.ensemble import DotProductEnsemble
    from tabcf.nn.probit import OrderedProbitEnsemble

    if options.burn_in >= options.sweeps:
        problem = f"expected fewer than the {options.sweeps} sweeps, got {options.burn_in}"
        raise SpecError([f"fit.gibbs.burn_in: {problem}"])
    is_probit = options.likelihood == "ordered_probit"
    if is_probit and len(target.levels) < 2:
        problem = f"ordered_probit takes a target with at least two levels, got {target.kind}"
        raise SpecError([f"fit.gibbs.likelihood: {problem}"])
    if options.predict != "mean" and not is_probit:
        problem = f"{options.predict} goes with likelihood: ordered_probit"
        raise SpecError([f"fit.gibbs.predict: {problem}"])
    bounds: tuple[float, float] | None = None
    levels: tuple[float, ...] = ()
    if target.levels:
        center, scale = float(target.center[0]), float(target.scale[0])
        levels = tuple((level - center) / scale for level in target.levels)
        bounds = min(levels), max(levels)

    def build(layout: Layout) -> nn.Module:
        n = options.chains * min(options.keep, options.sweeps - options.burn_in)
        first = _without_range(member(layout), "gibbs")
        _check_memory(first, n)
        members = [first, *(member(layout) for _ in range(n - 1))]
        if is_probit:
            return OrderedProbitEnsemble(members, levels=levels)
        return DotProductEnsemble(members, bounds=bounds)

    return build


def _check_memory(model: nn.Module, n: int) -> None:
    """Refuse more draws than half of the machine's memory holds."""
    size = sum(weights.numel() * weights.element_size() for weights in model.parameters())
    room = _memory() // 2
    if n * size > room:
        raise SpecError(
            [
                f"fit.gibbs.keep: {n} draws of {size / 1e6:,.0f} MB do not fit into half of this "
                f"machine's memory, {room / 1e6:,.0f} MB; expected at most {room // size}"
            ]
        )


def _memory() -> int:
    """Bytes of the machine's memory."""
    import os

    if not hasattr(os, "sysconf"):  # Windows says it in another way
        return 1 << 34
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _lowers_gibbs(options: GibbsOptions) -> Any:
    if options.likelihood == "normal":
        return "mse"
    return {"cross_entropy": {"predict": options.predict}}


def _solve_gibbs(model: Any, problem: FitProblem, options: GibbsOptions, rng: Generator) -> None:
    from tabcf.training.gibbs import Priors, draw_posterior

    is_probit = options.likelihood == "ordered_probit"
    draws = itertools.chain.from_iterable(
        draw_posterior(
            model.members[0],
            problem,
            rng,
            sweeps=options.sweeps,
            burn_in=options.burn_in,
            keep=len(model.members) // options.chains,
            priors=Priors(
                init_scale=options.init_scale,
                shape=options.priors.shape,
                rate=options.priors.rate,
                mean_strength=options.priors.mean_strength,
            ),
            n_levels=len(problem.target.levels) if is_probit else 0,
            engine=options.engine,
        )
        for _ in range(options.chains)
    )
    model.take(draw.cut_points if is_probit else draw.precision for draw in draws)


FITS = (
    FitDefinition(
        name="als",
        example="{als: {l2: 15}}",
        options=ALSOptions,
        summary="Alternating least squares over all columns of a factorisation machine.",
        models=frozenset({"dot_product_bias"}),
        targets=frozenset({"rating", "regression"}),
        lowers=lambda options: "mse",
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
        lowers=_lowers_gibbs,
        build=_build_gibbs,
        solve=_solve_gibbs,
        space={"init_scale": {"low": 0.01, "high": 1.0, "log": True}},
    ),
)
