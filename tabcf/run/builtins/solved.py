"""The built-in models that are solved, not trained: closed forms and alternating least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveInt

from tabcf.contracts.definitions import FitProblem, ModelDefinition
from tabcf.contracts.layout import Layout
from tabcf.contracts.options import NoOptions, Options
from tabcf.contracts.target import TargetInfo, TargetKind
from tabcf.errors import SpecError
from tabcf.run.builtins.models import sides_of

if TYPE_CHECKING:
    from torch import Generator, nn

__all__ = ["SOLVED"]

_Share = Annotated[float, Field(ge=0, lt=1)]
_ALL: frozenset[TargetKind] = frozenset({"regression", "rating", "binary", "classes", "implicit"})
_ONE_NUMBER: frozenset[TargetKind] = frozenset({"regression", "rating", "binary", "implicit"})
_USER_ITEM = frozenset({"user", "item"})


class BiasOptions(Options):
    """How much a bias is held at zero."""

    damping_user: float = Field(default=15.0, ge=0)
    """Added to a user's count of ratings."""
    damping_item: float = Field(default=10.0, ge=0)
    """Added to an item's count of ratings."""


class EASEOptions(Options):
    """Ridge regression of each item on all others."""

    shorthand: ClassVar[str | None] = "l2"

    l2: float = Field(default=200.0, gt=0)
    """Ridge penalty."""


class EDLAEOptions(Options):
    """Ridge regression of each item on all others, some of which are dropped."""

    shorthand: ClassVar[str | None] = "l2"

    l2: float = Field(default=200.0, gt=0)
    """Ridge penalty."""
    dropout: _Share = 0.5
    """Share of a user's items that are dropped; as if, since the solution is exact."""


class ItemKNNOptions(Options):
    """Likeness of items by the users that had both."""

    shorthand: ClassVar[str | None] = "k"

    k: PositiveInt = 100
    """How many nearest items count for each item."""
    shrink: float = Field(default=10.0, ge=0)
    """How much likeness is held at zero where few users had both."""


class IALSOptions(Options):
    """Products of vectors by alternating least squares."""

    shorthand: ClassVar[str | None] = "factors"

    factors: PositiveInt = 32
    """Width of all vectors; larger data bear more, 64 to 1024."""
    l2: float = Field(default=0.02, gt=0)
    """Ridge penalty, times each row's (events + unobserved_weight · other side's rows)^nu."""
    unobserved_weight: float = Field(default=0.2, gt=0)
    """How much it counts that a pair's score is near 0, beside 1 for an event's near 1."""
    nu: float = Field(default=1.0, ge=0)
    """How the penalty grows with a row's events: 0 not at all, 1 in proportion."""
    sweeps: PositiveInt = 16
    """How often users and items are solved."""
    init_scale: float = Field(default=0.1, gt=0)
    """Size of the first, random vectors."""


def _mean(layout: Layout, target: TargetInfo, d_out: int, options: NoOptions) -> nn.Module:
    from tabcf.training.closed_form import MeanModel

    return MeanModel()


def _bias(layout: Layout, target: TargetInfo, d_out: int, options: BiasOptions) -> nn.Module:
    from tabcf.training.closed_form import BiasModel

    return BiasModel(layout, damping_user=options.damping_user, damping_item=options.damping_item)


def _popular(layout: Layout, target: TargetInfo, d_out: int, options: NoOptions) -> nn.Module:
    from tabcf.training.closed_form import PopularModel

    return PopularModel(layout)


def _ease(layout: Layout, target: TargetInfo, d_out: int, options: EASEOptions) -> nn.Module:
    from tabcf.training.closed_form import EASE

    return EASE(layout, l2=options.l2)


def _edlae(layout: Layout, target: TargetInfo, d_out: int, options: EDLAEOptions) -> nn.Module:
    from tabcf.training.closed_form import EDLAE

    return EDLAE(layout, l2=options.l2, dropout=options.dropout)


def _item_knn(layout: Layout, target: TargetInfo, d_out: int, options: ItemKNNOptions) -> nn.Module:
    from tabcf.training.neighbours import ItemKNN

    return ItemKNN(layout, k=options.k, shrink=options.shrink)


def _ials(layout: Layout, target: TargetInfo, d_out: int, options: IALSOptions) -> nn.Module:
    from tabcf.nn import DotProduct

    if len(layout.categorical) > 2 or layout.continuous or layout.sets:
        raise SpecError(
            ["model: ials takes only users and items; use dot_product for more columns"]
        )
    cardinalities = [column.cardinality for column in layout.categorical]
    return DotProduct(cardinalities, factors=options.factors, **sides_of(layout))


def _solve_ials(model: Any, problem: FitProblem, options: IALSOptions, rng: Generator) -> None:
    from tabcf.training.als import solve_ials

    solve_ials(
        model,
        problem,
        rng,
        l2=options.l2,
        unobserved_weight=options.unobserved_weight,
        nu=options.nu,
        sweeps=options.sweeps,
        init_scale=options.init_scale,
    )


def _ials_loss(options: IALSOptions) -> dict[str, Any]:
    return {"implicit_mse": {"unobserved_weight": options.unobserved_weight}}


def _solve(model: Any, problem: FitProblem, options: Any, rng: Generator) -> None:
    model.solve(problem)


SOLVED = (
    ModelDefinition(
        name="mean",
        options=NoOptions,
        summary="Baseline: the training mean.",
        targets=frozenset({"regression", "rating"}),
        build=_mean,
        solve=_solve,
        is_single_output=True,
        orders_items=False,
    ),
    ModelDefinition(
        name="bias",
        example="{bias: {damping_user: 5, damping_item: 5}}",
        options=BiasOptions,
        summary="Baseline: mean + user bias + item bias.",
        targets=frozenset({"regression", "rating"}),
        build=_bias,
        solve=_solve,
        needs=_USER_ITEM,
        is_single_output=True,
        space={
            "damping_user": {"low": 1.0, "high": 50.0, "log": True},
            "damping_item": {"low": 1.0, "high": 50.0, "log": True},
        },
    ),
    ModelDefinition(
        name="popular",
        options=NoOptions,
        summary="Baseline: the items with the most events, for everyone.",
        targets=frozenset({"implicit"}),
        build=_popular,
        solve=_solve,
        needs=_USER_ITEM,
        is_single_output=True,
    ),
    ModelDefinition(
        name="ease",
        example="{ease: 200}",
        options=EASEOptions,
        summary="Linear item-to-item model in closed form, a strong ranker.",
        targets=frozenset({"implicit"}),
        build=_ease,
        solve=_solve,
        needs=_USER_ITEM,
        is_single_output=True,
        space={"l2": {"low": 10.0, "high": 2000.0, "log": True}},
    ),
    ModelDefinition(
        name="edlae",
        example="{edlae: {l2: 200, dropout: 0.5}}",
        options=EDLAEOptions,
        summary="EASE as if learnt with dropout: popular items are held down by more.",
        targets=frozenset({"implicit"}),
        build=_edlae,
        solve=_solve,
        needs=_USER_ITEM,
        is_single_output=True,
        space={
            "l2": {"low": 10.0, "high": 2000.0, "log": True},
            "dropout": {"low": 0.1, "high": 0.9},
        },
    ),
    ModelDefinition(
        name="item_knn",
        example="{item_knn: {k: 100, shrink: 10}}",
        options=ItemKNNOptions,
        summary="Items like those that the user had, by cosine.",
        targets=frozenset({"implicit"}),
        build=_item_knn,
        solve=_solve,
        needs=_USER_ITEM,
        is_single_output=True,
        space={
            "k": {"low": 10, "high": 500, "log": True},
            "shrink": {"low": 1.0, "high": 100.0, "log": True},
        },
    ),
    ModelDefinition(
        name="ials",
        example="{ials: {factors: 32, l2: 0.02, unobserved_weight: 0.2}}",
        options=IALSOptions,
        summary="The dot product solved by implicit alternating least squares; no loss to choose.",
        targets=frozenset({"implicit"}),
        build=_ials,
        solve=_solve_ials,
        lowers=_ials_loss,
        needs=_USER_ITEM,
        unknown="mean",
        is_single_output=True,
        space={
            "factors": {"low": 8, "high": 128, "log": True},
            "l2": {"low": 0.001, "high": 0.1, "log": True},
            "unobserved_weight": {"low": 0.02, "high": 1.0, "log": True},
        },
    ),
)
