"""The model `deepfm` for tabcf: a factorisation machine and a network over one embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from tabcf.contracts.definitions import ModelDefinition
from tabcf.contracts.layout import Layout
from tabcf.contracts.options import ModelOptions
from tabcf.contracts.target import TargetInfo
from tabcf.plugin.hooks import hookimpl

if TYPE_CHECKING:
    from tabcf_deepfm.model import DeepFM

__all__ = ["DEEPFM", "DeepFMOptions", "tabcf_models"]


class DeepFMOptions(ModelOptions):
    """A factorisation machine and a multi-layer perceptron over the same vectors."""

    factors: PositiveInt = 16
    """Width of all vectors; products need equal ones."""
    layers: tuple[PositiveInt, ...] = (64, 64)
    """Hidden layers' widths."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of hidden units dropped in training."""
    batch_norm: bool = False
    """Normalise hidden layers, and the vectors that enter the first one, by batch."""


def _build(layout: Layout, target: TargetInfo, d_out: int, options: DeepFMOptions) -> DeepFM:
    from tabcf_deepfm.model import DeepFM

    return DeepFM(
        [column.cardinality for column in layout.categorical],
        len(layout.continuous),
        factors=options.factors,
        layers=options.layers,
        set_cardinalities=[column.cardinality for column in layout.sets],
        y_range=options.y_range,
        dropout=options.dropout,
        batch_norm=options.batch_norm,
    )


DEEPFM = ModelDefinition(
    name="deepfm",
    options=DeepFMOptions,
    summary="A factorisation machine plus a multi-layer perceptron over the same vectors.",
    example="{deepfm: {factors: 16, layers: [64, 64], y_range: [0, 5.5]}}",
    targets=frozenset({"regression", "rating", "binary"}),
    build=_build,
    is_single_output=True,
)


@hookimpl
def tabcf_models() -> Sequence[ModelDefinition]:
    """The one model."""
    return [DEEPFM]
