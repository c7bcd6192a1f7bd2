"""The built-in models and their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from tabcf.contracts.definitions import ModelDefinition
from tabcf.contracts.layout import CategoricalColumn, Layout, SetColumn
from tabcf.contracts.options import ModelOptions
from tabcf.contracts.target import TargetInfo, TargetKind
from tabcf.errors import SpecError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODELS", "sides_of"]

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
    own = [
        _default_width(c) if w is None else w
        for w, c in zip(widths, layout.categorical, strict=False)
    ]
    return {
        "cardinalities": [column.cardinality for column in layout.categorical],
        "n_continuous": len(layout.continuous),
        "layers": options.layers,
        "widths": own,
        "set_cardinalities": [column.cardinality for column in layout.sets],
        "set_widths": [
            _default_width(c) if w is None else w
            for w, c in zip(widths[n:], layout.sets, strict=True)
        ],
        "y_range": options.y_range,
        "dropout": options.dropout,
        "embedding_dropout": options.embedding_dropout,
        "batch_norm": options.batch_norm,
    }


def _default_width(column: CategoricalColumn | SetColumn) -> int:
    from tabcf.nn import embedding_width

    return embedding_width(column.n_fitted or column.cardinality)


def sides_of(layout: Layout) -> dict[str, Any]:
    """Where users and items stand, and each column's side, as models take them."""
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

    return EmbeddingNN(**_mlp_arguments(layout, options), **sides_of(layout), d_out=d_out)


def _dot_arguments(layout: Layout, options: DotProductOptions) -> dict[str, Any]:
    return {
        "cardinalities": [column.cardinality for column in layout.categorical],
        "n_continuous": len(layout.continuous),
        "factors": options.factors,
        "set_cardinalities": [column.cardinality for column in layout.sets],
        "set_norm": options.set_norm,
        "y_range": options.y_range,
        "dropout": options.dropout,
        **sides_of(layout),
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
    user, item = layout.categorical
    widths = (_default_width(user), _default_width(item))
    if options.widths is not None:
        if set(options.widths) != {"user", "item"}:
            raise SpecError(["model.collab_nn.widths: expected the keys user and item"])
        widths = (options.widths["user"], options.widths["item"])
    return CollabNN(
        user.cardinality,
        item.cardinality,
        widths=widths,
        n_hidden=options.n_hidden,
        y_range=options.y_range,
        d_out=d_out,
    )


MODELS = (
    ModelDefinition(
        name="tabular",
        example="{tabular: {layers: [200, 100], widths: {city: 8}}}",
        options=MLPOptions,
        summary="Embed each categorical column, join the numbers, and a multi-layer perceptron.",
        targets=_ALL - {"implicit"},
        build=_tabular,
        space={"layers": [[50], [100, 50], [200, 100]], "dropout": {"low": 0.0, "high": 0.5}},
    ),
    ModelDefinition(
        name="embedding_nn",
        example="{embedding_nn: {layers: [100, 50], y_range: [0, 5.5]}}",
        options=EmbeddingNNOptions,
        summary="The tabular model over users and items, with fast scores for all items.",
        targets=_ALL,
        build=_embedding_nn,
        needs=_USER_ITEM,
        epochs=3,
        space={"layers": [[50], [100, 50], [200, 100]], "dropout": {"low": 0.0, "high": 0.5}},
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
        space={"factors": {"low": 8, "high": 128, "log": True}},
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
        space={"factors": {"low": 8, "high": 128, "log": True}},
    ),
    ModelDefinition(
        name="collab_nn",
        example="{collab_nn: {n_hidden: 100, y_range: [0, 5.5]}}",
        options=CollabNNOptions,
        summary="The fastai book's small network over two embeddings of unequal width.",
        targets=_ALL,
        build=_collab_nn,
        needs=_USER_ITEM,
        space={"n_hidden": {"low": 16, "high": 256, "log": True}},
    ),
)
