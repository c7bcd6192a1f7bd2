"""Each check of the suites fails for a component that breaks it, and names the component."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from tabcf.contracts.definitions import (
    ColumnDefinition,
    LossDefinition,
    MetricDefinition,
    ModelDefinition,
)
from tabcf.contracts.options import FromColumn, NoOptions
from tabcf.errors import PluginError
from tabcf.losses import MSE
from tabcf.nn import DotProductBias
from tabcf.testing import ColumnContract, LossContract, MetricContract, ModelContract

ODD = itertools.count()


def loss(change: Callable[[MSE, Tensor, Tensor, Any], Tensor] | None = None, **members: Any) -> Any:
    """A suite for a squared error that is changed somehow."""

    class Changed(MSE):
        def forward(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
            value = super().forward(raw, target, weight)
            return value if change is None else change(self, raw, value, weight)

    class Bad(LossContract):
        definition = LossDefinition(
            name="changed",
            options=NoOptions,
            summary="",
            targets=frozenset({"regression"}),
            build=lambda target, options: type("Bad", (Changed,), members)(target),
        )

    return Bad()


def _decode_flat(self: MSE, raw: Tensor) -> dict[str, Tensor]:
    return {"value": raw.reshape(-1)}


@pytest.mark.parametrize(
    ("suite", "check"),
    [
        (loss(lambda s, raw, v, w: v * float("nan")), "it_is_a_finite_number"),
        (loss(lambda s, raw, v, w: v.expand(2)), "it_is_a_finite_number"),
        (loss(lambda s, raw, v, w: v + raw.exp().sum()), "it_is_finite_for_extreme_outputs"),
        (loss(lambda s, raw, v, w: v + 0 * raw.detach().sum() - v), "every_output_has_a_gradient"),
        (loss(lambda s, raw, v, w: v + raw.detach().pow(2).sum()), "its_gradient_is_the_slope"),
        (loss(lambda s, raw, v, w: v / (len(raw) - 1)), "one_row_is_a_batch"),
        (loss(lambda s, raw, v, w: v + raw[0, 0]), "the_order_of_rows_says_nothing"),
        (loss(lambda s, raw, v, w: v if w is None else v * w.sum()), "equal_weights_say_nothing"),
        (loss(lambda s, raw, v, w: v + raw.mean()), "a_row_of_weight_zero_is_not_there"),
        (loss(decode=_decode_flat), "it_decodes_any_leading_shape"),
        (loss(lambda s, raw, v, w: v + next(ODD)), "it_is_the_same_twice"),
        (loss(lambda s, raw, v, w: v.detach() * 2 - v), "a_step_against_the_gradient_lowers_it"),
        (loss(lambda s, raw, v, w: v + id(s) % 1e6), "it_is_saved_and_loaded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_loss_fails(suite: Any, check: str) -> None:
    with pytest.raises(AssertionError, match="changed"):
        getattr(suite, f"test_{check}")()


def metric(compute: Any, **changes: Any) -> Any:
    class Bad(MetricContract):
        definition = MetricDefinition(
            name="changed",
            options=NoOptions,
            summary="",
            targets=frozenset({"regression"}),
            build=lambda target, options: compute,
            **changes,
        )

    return Bad()


def _error(prediction: dict[str, Tensor], truth: Tensor) -> Tensor:
    return (prediction["value"] - truth).abs().mean()


@pytest.mark.parametrize(
    ("suite", "check"),
    [
        (metric(lambda p, t: _error(p, t) / 0), "it_is_a_finite_number"),
        (metric(_error, is_higher_better=True), "all_right_is_better_than_all_mixed_up"),
        (metric(lambda p, t: p["value"][0]), "the_order_of_rows_says_nothing"),
        (metric(lambda p, t: _error(p, t) + next(ODD)), "it_is_the_same_twice"),
        (metric(lambda h, n: h.sum(), is_ranking=True), "a_list_has_one_number_a_user"),
        (
            metric(lambda h, n: h.double().sum(1).cumsum(0), is_ranking=True),
            "a_users_number_does_not_hang_on_others",
        ),
        (metric(lambda h, n: -h.double().sum(1), is_ranking=True), "hits_are_better_than_none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_metric_fails(suite: Any, check: str) -> None:
    with pytest.raises(AssertionError, match="metric changed of"):
        getattr(suite, f"test_{check}")()


class _Bad(DotProductBias):
    """A model that is changed somehow."""

    def __init__(self, layout: Any, change: Any) -> None:
        super().__init__(
            [column.cardinality for column in layout.categorical],
            n_continuous=len(layout.continuous),
            set_cardinalities=[column.cardinality for column in layout.sets],
            factors=4,
        )
        self.unused = nn.Parameter(torch.zeros(2)) if change == "unused" else None
        self._change = change

    def forward(self, *args: Any) -> Tensor:
        raw = super().forward(*args)
        return raw if not callable(self._change) else self._change(raw)


def model(change: Any) -> Any:
    class Bad(ModelContract):
        definition = ModelDefinition(
            name="changed",
            options=NoOptions,
            summary="",
            targets=frozenset({"regression"}),
            build=lambda layout, target, d_out, options: _Bad(layout, change),
            is_single_output=True,
        )

    return Bad()


@pytest.mark.parametrize(
    ("suite", "check"),
    [
        (model(lambda raw: raw.squeeze(1)), "it_gives_a_row_of_outputs_for_each_row"),
        (model(lambda raw: raw / 0), "it_gives_a_row_of_outputs_for_each_row"),
        (model(lambda raw: raw - raw.mean()), "a_row_does_not_hang_on_others"),
        (model(lambda raw: raw / 0), "unknown_values_are_no_trouble"),
        (model("unused"), "every_weight_is_trained"),
        (model(lambda raw: raw + next(ODD)), "it_is_saved_and_loaded"),
        (model(lambda raw: raw * 2), "all_items_at_once_are_the_pairs_one_by_one"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_model_fails(suite: Any, check: str) -> None:
    with pytest.raises(AssertionError):
        getattr(suite, f"test_{check}")()


def column(apply: Any, fit: Any = None, output: Any = "number") -> Any:
    class Bad(ColumnContract):
        definition = ColumnDefinition(
            name="changed",
            options=FromColumn,
            summary="",
            output=output,
            sources=lambda name, options: (options.from_ or name,),
            fit=fit,
            apply=apply,
        )
        options: ClassVar[Any] = {"from": "x"}
        frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, None, 5.0, 8.0, 7.0, 9.0]})

    return Bad()


def _x(tables: Any, options: Any, state: Any) -> Any:
    return tables.column("x")


def _target_mean(tables: Any, options: Any) -> Any:
    return {"first": float(tables.events["tabcf:target"].iloc[0])}


def _overwrite(tables: Any, options: Any, state: Any) -> Any:
    tables.events.loc[0, "x"] = 99.0
    return tables.column("x")


@pytest.mark.parametrize(
    ("suite", "check"),
    [
        (
            column(lambda t, o, s: t.column("x").fillna(0).cumsum()),
            "the_order_of_rows_says_nothing",
        ),
        (column(_x, _target_mean), "it_learns_from_training_rows_alone"),
        (
            column(lambda t, o, s: t.events["tabcf:target"]),
            "it_learns_from_training_rows_alone",
        ),
        (column(_x, lambda t, o: {"n": next(ODD)}), "it_is_the_same_twice"),
        (column(_overwrite), "it_leaves_its_frames_as_they_are"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_column_fails(suite: Any, check: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        getattr(suite, f"test_{check}")()


def test_a_column_of_another_length_is_refused() -> None:
    suite = column(lambda t, o, s: t.column("x").iloc[1:])
    with pytest.raises(PluginError, match=r"column 'made' \(changed\): expected 4 values"):
        suite.test_every_row_has_a_value_that_a_model_can_take()


def test_a_state_that_cannot_be_saved_is_refused() -> None:
    suite = column(_x, lambda t, o: {"set": {1, 2}})
    with pytest.raises(PluginError, match="state of made/set: expected plain values and arrays"):
        suite.test_it_is_saved_and_loaded()


def test_the_fixtures(tabcf_registry: Any, tabcf_ratings: Any, tabcf_table: Any) -> None:
    assert tabcf_registry.plugins == {}
    assert {"user_id", "item_id", "rating"} < set(tabcf_ratings)
    assert "price" in tabcf_table
