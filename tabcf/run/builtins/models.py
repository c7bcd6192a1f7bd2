"""The built-in models and their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from tabcf.contracts.definitions import FitProblem, ModelDefinition
from tabcf.contracts.layout import Layout
from tabcf.contracts.options import ModelOptions, NoOptions, Options
from tabcf.contracts.target import TargetInfo, TargetKind
from tabcf.errors import SpecError

if TYPE_CHECKING:
    from torch import Generator, nn

__all__ = ["MODELS"]

_Share = Annotated[float, Field(ge=0, lt=1)]
_ALL: frozenset[TargetKind] = frozenset({"regression", "rating", "binary", "classes", "implicit"})
_ONE_NUMBER: frozenset[TargetKind] = frozenset({"regression", "rating", "binary", "implicit"})
_USER_ITEM = frozenset({"user", "item"})


class MLPOptions(ModelOptions):
    """A multi-layer perceptron over embedded columns."""

    layers: tuple[PositiveInt, ...] = (200, 100)
    """Hidden layers' widths."""
    widths: PositiveInt | Mapping[str, PositiveInt] | None = None
    """Width of all embeddings, or of each column's; by default min(600, 1.6 · n^0.56) for a
    column of n values."""
    dropout: _Share = 0.0
    """Share of hidden units dropped in training."""
    embedding_dropout: _Share = 0.0
    """Share of embedding values dropped in training."""
    batch_norm: bool = True
    """Normalise hidden layers and continuous inputs by batch."""


class EmbeddingNNOptions(MLPOptions):
    """The same with users and items."""

    layers: tuple[PositiveInt, ...] = (100, 50)
    """Hidden layers' widths."""


class DotProductOptions(ModelOptions):
    """Products of vectors."""

    shorthand: ClassVar[str | None] = "factors"

    factors: PositiveInt = 50
    """Width of all vectors; products need equal ones."""
    dropout: _Share = 0.0
    """Share of the user's factors dropped in training."""
    set_norm: Literal["sqrt", "mean"] = "sqrt"
    """A set counts as the sum of its vectors over the root of their number, or as their mean."""

    @model_validator(mode="before")
    @classmethod
    def _of_one_width(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "widths" in value:
            raise ValueError(
                "a product needs vectors of one width: give `factors`, or use collab_nn, whose "
                "`widths` may differ"
            )
        return value


class CollabNNOptions(ModelOptions):
    """Two embeddings and one hidden layer."""

    widths: Mapping[str, PositiveInt] | None = None
    """Width of `user` and `item`; by default as for the other networks."""
    n_hidden: PositiveInt = 100
    """Width of the hidden layer."""


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


def _mlp_arguments(layout: Layout, options: MLPOptions) -> dict[str, Any]:
    names = [column.name for column in layout.categorical]
    names += [column.name for column in layout.sets]
    widths: list[int | None]
    if isinstance(options.widths, Mapping):
        unknown = sorted(set(options.widths) - set(names))
        if unknown:
            raise SpecError(
                [f"model.widths: no column '{unknown[0]}' to embed; known: {', '.join(names)}"]
            )
        widths = [options.widths.get(name) for name in names]
    else:
        widths = [options.widths] * len(names)
    n = len(layout.categorical)
    return {
        "cardinalities": [column.cardinality for column in layout.categorical],
        "n_continuous": len(layout.continuous),
        "layers": options.layers,
        "widths": widths[:n],
        "set_cardinalities": [column.cardinality for column in layout.sets],
        "set_widths": widths[n:],
        "y_range": options.y_range,
        "dropout": options.dropout,
        "embedding_dropout": options.embedding_dropout,
        "batch_norm": options.batch_norm,
    }


def _sides(layout: Layout) -> dict[str, Any]:
    return {
        "user": layout.user,
        "item": layout.item,
        "cat_sides": [column.side for column in layout.categorical],
        "cont_sides": [column.side for column in layout.continuous],
        "set_sides": [column.side for column in layout.sets],
    }


def _tabular(layout: Layout, target: TargetInfo, d_out: int, options: MLPOptions) -> nn.Module:
    from tabcf.nn import TabularModel

    return TabularModel(**_mlp_arguments(layout, options), d_out=d_out)


def _embedding_nn(
    layout: Layout, target: TargetInfo, d_out: int, options: EmbeddingNNOptions
) -> nn.Module:
    from tabcf.nn import EmbeddingNN

    return EmbeddingNN(**_mlp_arguments(layout, options), **_sides(layout), d_out=d_out)


def _dot_arguments(layout: Layout, options: DotProductOptions) -> dict[str, Any]:
    return {
        "cardinalities": [column.cardinality for column in layout.categorical],
        "n_continuous": len(layout.continuous),
        "factors": options.factors,
        "set_cardinalities": [column.cardinality for column in layout.sets],
        "set_norm": options.set_norm,
        "y_range": options.y_range,
        "dropout": options.dropout,
        **_sides(layout),
    }


def _dot_product(
    layout: Layout, target: TargetInfo, d_out: int, options: DotProductOptions
) -> nn.Module:
    from tabcf.nn import DotProduct

    return DotProduct(**_dot_arguments(layout, options))


def _dot_product_bias(
    layout: Layout, target: TargetInfo, d_out: int, options: DotProductOptions
) -> nn.Module:
    from tabcf.nn import DotProductBias

    return DotProductBias(**_dot_arguments(layout, options))


def _collab_nn(
    layout: Layout, target: TargetInfo, d_out: int, options: CollabNNOptions
) -> nn.Module:
    from tabcf.nn import CollabNN

    if len(layout.categorical) > 2 or layout.continuous or layout.sets:
        raise SpecError(
            ["model: collab_nn takes only users and items; use embedding_nn for more columns"]
        )
    n_users, n_items = (column.cardinality for column in layout.categorical)
    widths = None
    if options.widths is not None:
        if set(options.widths) != {"user", "item"}:
            raise SpecError(["model.collab_nn.widths: expected the keys user and item"])
        widths = (options.widths["user"], options.widths["item"])
    return CollabNN(
        n_users,
        n_items,
        widths=widths,
        n_hidden=options.n_hidden,
        y_range=options.y_range,
        d_out=d_out,
    )


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
    return DotProduct(cardinalities, factors=options.factors, **_sides(layout))


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


def _solve(model: Any, problem: FitProblem, options: Any, rng: Generator) -> None:
    model.solve(problem)


MODELS = (
    ModelDefinition(
        name="tabular",
        example="{tabular: {layers: [200, 100], widths: {city: 8}}}",
        options=MLPOptions,
        summary="Embed each categorical column, join the numbers, and a multi-layer perceptron.",
        targets=_ALL - {"implicit"},
        build=_tabular,
    ),
    ModelDefinition(
        name="embedding_nn",
        example="{embedding_nn: {layers: [100, 50], y_range: [0, 5.5]}}",
        options=EmbeddingNNOptions,
        summary="The tabular model over users and items, with fast scores for all items.",
        targets=_ALL,
        build=_embedding_nn,
        needs=_USER_ITEM,
    ),
    ModelDefinition(
        name="dot_product",
        example="{dot_product: {factors: 50, y_range: [0, 5.5]}}",
        options=DotProductOptions,
        summary="The product of user's and item's vectors; with more columns, of all pairs.",
        targets=_ONE_NUMBER,
        build=_dot_product,
        needs=_USER_ITEM,
        unknown="mean",
        is_single_output=True,
    ),
    ModelDefinition(
        name="dot_product_bias",
        example="{dot_product_bias: {factors: 50, y_range: [0, 5.5]}}",
        options=DotProductOptions,
        summary="The dot product with a bias for each value: a factorisation machine.",
        targets=_ONE_NUMBER,
        build=_dot_product_bias,
        needs=_USER_ITEM,
        unknown="mean",
        is_single_output=True,
    ),
    ModelDefinition(
        name="collab_nn",
        example="{collab_nn: {n_hidden: 100, y_range: [0, 5.5]}}",
        options=CollabNNOptions,
        summary="The fastai book's small network over two embeddings of unequal width.",
        targets=_ALL,
        build=_collab_nn,
        needs=_USER_ITEM,
    ),
    ModelDefinition(
        name="mean",
        options=NoOptions,
        summary="Baseline: the training mean.",
        targets=frozenset({"regression", "rating"}),
        build=_mean,
        solve=_solve,
        is_single_output=True,
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
    ),
    ModelDefinition(
        name="ials",
        example="{ials: {factors: 32, l2: 0.02, unobserved_weight: 0.2}}",
        options=IALSOptions,
        summary="The dot product solved by implicit alternating least squares; no loss to choose.",
        targets=frozenset({"implicit"}),
        build=_ials,
        solve=_solve_ials,
        needs=_USER_ITEM,
        unknown="mean",
        is_single_output=True,
    ),
)
