"""Each check of the suites fails for a component that breaks it, and names the component."""

from __future__ import annotations

import importlib.metadata
import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
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
    RankedLists,
)
from tabcf.contracts.inputs import Bag
from tabcf.contracts.options import FromColumn, NoOptions
from tabcf.contracts.target import TargetInfo
from tabcf.errors import PluginError, SpecError
from tabcf.losses import MSE, CrossEntropy
from tabcf.nn import DotProductBias
from tabcf.run.builtins import builtin_registry
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


def _decode_rank(self: MSE, raw: Tensor) -> dict[str, Tensor]:
    return {"value": raw[..., 0].argsort(dim=0).float()}


def _init_unsaved(self: MSE, target: Any) -> None:
    MSE.__init__(self, target)
    self.unsaved = torch.rand(())


def _by_weight(s: Any, raw: Tensor, v: Tensor, w: Tensor | None) -> Tensor:
    return v if w is None else v * w.sum() / w.sum()


def _of_classes(probabilities: Callable[[Tensor], Tensor]) -> Any:
    class Bad(LossContract):
        definition = LossDefinition(
            name="changed",
            options=NoOptions,
            summary="",
            targets=frozenset({"classes"}),
            build=lambda target, options: Decoded(target),
        )

    class Decoded(CrossEntropy):
        def decode(self, raw: Tensor) -> dict[str, Tensor]:
            return {"probabilities": probabilities(raw)}

    return Bad()


BAD_LOSSES = [
    (loss(lambda s, raw, v, w: v * float("nan")), "it_is_a_finite_number"),
    (loss(lambda s, raw, v, w: v.expand(2)), "it_is_a_finite_number"),
    (loss(lambda s, raw, v, w: v + raw.exp().sum()), "it_is_finite_for_extreme_outputs"),
    (loss(lambda s, raw, v, w: v + 0 * raw.detach().sum() - v), "every_output_has_a_gradient"),
    (loss(lambda s, raw, v, w: v + raw.detach().pow(2).sum()), "its_gradient_is_the_slope"),
    (loss(lambda s, raw, v, w: v / (len(raw) - 1)), "one_row_is_a_batch"),
    (loss(lambda s, raw, v, w: v + raw[0, 0]), "the_order_of_rows_says_nothing"),
    (loss(lambda s, raw, v, w: v if w is None else v * w.sum()), "equal_weights_say_nothing"),
    (loss(lambda s, raw, v, w: v + raw.mean()), "a_row_of_weight_zero_is_not_there"),
    (loss(lambda s, raw, v, w: v + raw[:, 0].sum() - v), "a_batch_without_weight_teaches_nothing"),
    (loss(_by_weight), "a_batch_without_weight_teaches_nothing"),
    (loss(decode=_decode_flat), "it_decodes_what_predictions_are_made_of"),
    (loss(decode=lambda s, raw: {"value": raw}), "it_decodes_what_predictions_are_made_of"),
    (loss(decode=lambda s, raw: {"rate": raw[..., 0]}), "it_decodes_what_predictions_are_made_of"),
    (_of_classes(lambda raw: raw), "it_decodes_what_predictions_are_made_of"),
    (_of_classes(lambda raw: raw.sigmoid()), "it_decodes_what_predictions_are_made_of"),
    (loss(decode=_decode_rank), "it_decodes_any_leading_shape"),
    (loss(lambda s, raw, v, w: raw[:, 0].pow(2).mean()), "every_output_has_a_gradient"),
    (loss(lambda s, raw, v, w: v + next(ODD)), "it_is_the_same_twice"),
    (loss(lambda s, raw, v, w: v.detach() * 2 - v), "a_step_against_the_gradient_lowers_it"),
    (loss(lambda s, raw, v, w: v + id(s) % 1e6), "it_is_saved_and_loaded"),
    (
        loss(lambda s, raw, v, w: v * (1 + s.unsaved), __init__=_init_unsaved),
        "it_is_saved_and_loaded",
    ),
]


def _id(value: Any) -> str:
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize(("suite", "check"), BAD_LOSSES, ids=_id)
def test_a_bad_loss_fails(suite: Any, check: str) -> None:
    with pytest.raises(AssertionError, match=r"loss changed of (regression|classes|two numbers)"):
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


def _hits(hits: Tensor, n_relevant: Tensor) -> Tensor:
    return hits.double().mean(1)


def _listed(lists: RankedLists) -> Tensor:
    return (lists.items >= 0).double().sum(1)


def _first_rank(ranks: Bag) -> Tensor:
    """Of whichever item stands first in the bag."""
    return ranks.values[ranks.offsets]


BAD_METRICS = [
    (metric(lambda p, t: _error(p, t) / 0), "it_is_a_finite_number"),
    (metric(_error, is_higher_better=True), "all_right_is_better_than_all_mixed_up"),
    (metric(lambda p, t: p["value"][0]), "the_order_of_rows_says_nothing"),
    (metric(lambda p, t: _error(p, t) + next(ODD)), "it_is_the_same_twice"),
    (metric(lambda h, n: h.sum(), is_ranking=True), "a_list_has_one_number_a_user"),
    (
        metric(lambda h, n: h.double().sum(1).cumsum(0), is_ranking=True),
        "a_users_number_does_not_hang_on_others",
    ),
    (metric(lambda h, n: 9 * _hits(h, n), is_ranking=True), "a_list_has_one_number_a_user"),
    (metric(_hits, is_ranking=True), "hits_are_better_than_none"),
    (
        metric(lambda h, n: 1 - _hits(h, n), is_ranking=True, is_higher_better=True),
        "hits_are_better_than_none",
    ),
    (metric(lambda x: x.items, needs="lists"), "lists_have_one_number_each_or_one_together"),
    (metric(lambda x: _listed(x) / 0, needs="lists"), "lists_have_one_number_each_or_one_together"),
    (metric(lambda x: _listed(x).cumsum(0), needs="lists"), "the_order_of_lists_says_nothing"),
    (metric(lambda x: x.items[0].sum(), needs="lists"), "the_order_of_lists_says_nothing"),
    (
        metric(lambda x: x.items.double().mean(1), needs="lists"),
        "the_numbering_of_items_says_nothing",
    ),
    (metric(lambda x: _listed(x).mean(), needs="lists"), "an_empty_list_is_no_trouble"),
    (metric(lambda r, n: n.sum() / 40, needs="ranks"), "ranks_have_one_number_a_user"),
    (metric(lambda r, n: n / 0, needs="ranks"), "ranks_have_one_number_a_user"),
    (metric(lambda r, n: _first_rank(r), needs="ranks"), "ranks_have_one_number_a_user"),
    (metric(lambda r, n: n.cumsum(0), needs="ranks"), "the_order_of_ranks_says_nothing"),
    (metric(lambda r, n: _first_rank(r), needs="ranks"), "the_order_of_ranks_says_nothing"),
    (
        metric(lambda r, n: _first_rank(r), needs="ranks", is_higher_better=True),
        "first_ranks_are_better_than_last",
    ),
    (metric(lambda r, n: n, needs="ranks"), "first_ranks_are_better_than_last"),
]


@pytest.mark.parametrize("needs", ["predictions", "hits", "lists", "ranks"])
def test_whatever_is_not_of_predictions_is_a_ranking_metric(needs: str) -> None:
    definition = metric(_hits, needs=needs).definition
    assert definition.needs == needs
    assert definition.is_ranking == (needs != "predictions")


def test_a_metric_that_only_says_it_is_ranking_needs_hits() -> None:
    assert metric(_hits, is_ranking=True).definition.needs == "hits"


@pytest.mark.parametrize(("suite", "check"), BAD_METRICS, ids=_id)
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
        self.unused = nn.Parameter(torch.zeros(2)) if change in ("unused", "idle") else None
        if change == "unseeded":
            with torch.no_grad():
                self.factors += next(ODD)
        self._change = change

    def column_vectors(self, column: int) -> Tensor:
        vectors = super().column_vectors(column)
        return vectors[1:] if self._change == "short" else vectors

    def forward(self, *args: Any) -> Tensor:
        raw = super().forward(*args)
        if self._change == "idle" and self.unused is not None:
            return raw + 0 * self.unused.sum()
        if self._change == "unknown":
            return torch.where(args[0][:, :1] == 0, torch.nan, raw)
        return raw if not callable(self._change) else self._change(raw)


class _Hidden(_Bad):
    """A model that has a hidden layer in words only."""

    def hidden_terms(self, column: int, x_cat: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        rows = self.column_rows(column)
        width = sum(parameter[at].flatten(1).shape[1] for parameter, at in rows)
        return torch.zeros(width, 1), torch.zeros(len(x_cat), 1)

    def from_hidden(self, hidden: Tensor) -> Tensor:
        return hidden


def model(change: Any, kind: type[_Bad] = _Bad) -> Any:
    class Bad(ModelContract):
        definition = ModelDefinition(
            name="changed",
            options=NoOptions,
            summary="",
            targets=frozenset({"regression"}),
            build=lambda layout, target, d_out, options: kind(layout, change),
            is_single_output=True,
        )

    return Bad()


BAD_MODELS = [
    (model(lambda raw: raw.squeeze(1)), "it_gives_a_row_of_outputs_for_each_row"),
    (model(lambda raw: raw / 0), "it_gives_a_row_of_outputs_for_each_row"),
    (model(lambda raw: raw - raw.mean()), "a_row_does_not_hang_on_others"),
    (model("unknown"), "unknown_values_are_no_trouble"),
    (model("unused"), "every_weight_is_trained"),
    (model("idle"), "every_weight_is_trained"),
    (model(lambda raw: raw * 0), "every_weight_is_trained"),
    (model(lambda raw: raw * 0), "it_learns_which_items_are_liked"),
    (model("unseeded"), "one_seed_gives_the_same_weights"),
    (model("short"), "what_it_says_of_its_columns_fits"),
    (model(lambda raw: raw + next(ODD)), "it_is_saved_and_loaded"),
    (model(lambda raw: raw * 2), "all_items_at_once_are_the_pairs_one_by_one"),
    (model(lambda raw: raw * 2), "a_row_that_its_outputs_are_linear_in"),
    (model(None, _Hidden), "a_row_that_enters_a_hidden_layer_linearly"),
]


@pytest.mark.parametrize(("suite", "check"), BAD_MODELS, ids=_id)
def test_a_bad_model_fails(suite: Any, check: str) -> None:
    with pytest.raises(AssertionError, match="changed"):
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
    return {"mean": float(tables.events["tabcf:target"].mean())}


def _target_first(tables: Any, options: Any) -> Any:
    return {"first": float(tables.events["tabcf:target"].iloc[0])}


def _overwrite(tables: Any, options: Any, state: Any) -> Any:
    tables.events.loc[0, "x"] = 99.0
    return tables.column("x")


def _infinite(tables: Any, options: Any, state: Any) -> Any:
    return tables.column("x").fillna(float("inf"))


def _none_for_none(tables: Any, options: Any, state: Any) -> Any:
    if tables.column("x").isna().all():
        raise ValueError("no value at all")
    return tables.column("x")


def _by_number(tables: Any, options: Any, state: Any) -> Any:
    """JSON makes texts of numbers that are keys."""
    return tables.column("x") + state["by"].get(2, 0)


BAD_COLUMNS = [
    (
        column(lambda t, o, s: t.column("x").fillna(0).cumsum()),
        "the_order_of_rows_says_nothing",
    ),
    (
        column(lambda t, o, s: t.column("x") - t.column("x").mean()),
        "a_row_does_not_hang_on_others",
    ),
    (column(lambda t, o, s: t.column("x").rank()), "a_row_does_not_hang_on_others"),
    (column(_x, _target_first), "it_learns_nothing_from_the_target"),
    (column(_x, _target_mean), "it_learns_nothing_from_the_target"),
    (column(lambda t, o, s: t.events["tabcf:target"]), "it_learns_nothing_from_the_target"),
    (column(_x, lambda t, o: {"n": next(ODD)}), "it_is_the_same_twice"),
    (column(_by_number, lambda t, o: {"by": {2: 5}}), "it_is_saved_and_loaded"),
    (column(_overwrite), "it_leaves_its_frames_as_they_are"),
    (column(_none_for_none), "missing_values_are_no_trouble"),
    (column(_infinite), "every_row_has_a_value_that_a_model_can_take"),
]


@pytest.mark.parametrize(("suite", "check"), BAD_COLUMNS, ids=_id)
def test_a_bad_column_fails(suite: Any, check: str) -> None:
    with pytest.raises(AssertionError, match="changed"):
        getattr(suite, f"test_{check}")()


def test_a_column_of_another_length_is_refused() -> None:
    suite = column(lambda t, o, s: t.column("x").iloc[1:])
    with pytest.raises(AssertionError, match=r"column 'made' \(changed\): expected 4 values"):
        suite.test_every_row_has_a_value_that_a_model_can_take()


def test_a_state_that_cannot_be_saved_is_refused() -> None:
    suite = column(_x, lambda t, o: {"set": {1, 2}})
    with pytest.raises(PluginError, match="state of made/set: expected plain values and arrays"):
        suite.test_it_is_saved_and_loaded()


@pytest.mark.parametrize("kind", ["rating", "regression", "binary", "classes", "implicit"])
def test_a_model_learns_a_target_of_any_kind(kind: Any) -> None:
    class Good(ModelContract):
        definition = replace(
            builtin_registry().get("model", "collab_nn"), name="good", targets=frozenset({kind})
        )

    Good().test_it_learns_which_items_are_liked()


def test_a_loss_may_refuse_two_numbers() -> None:
    class Single(MSE):
        def __init__(self, target: TargetInfo) -> None:
            super().__init__(target)
            if len(target.columns) > 1:
                raise SpecError(["loss: single takes one column"])

    class Good(LossContract):
        definition = LossDefinition(
            name="single",
            options=NoOptions,
            summary="",
            targets=frozenset({"regression"}),
            build=lambda target, options: Single(target),
        )

    for check in dir(Good):
        if check.startswith("test_"):
            getattr(Good(), check)()


@pytest.mark.parametrize(
    ("suite", "bad"),
    [
        (LossContract, BAD_LOSSES),
        (MetricContract, BAD_METRICS),
        (ModelContract, BAD_MODELS),
        (ColumnContract, BAD_COLUMNS),
    ],
)
def test_every_check_is_seen_to_fail(suite: type, bad: list[tuple[Any, str]]) -> None:
    checks = {name for name in dir(suite) if name.startswith("test_")}
    assert checks == {f"test_{check}" for _, check in bad}


def test_the_pytest_plugin_is_installed_and_light() -> None:
    entries = importlib.metadata.entry_points(group="pytest11")
    assert [entry.value for entry in entries if entry.name == "tabcf"] == ["tabcf.testing.plugin"]
    code = "import sys, tabcf.testing.plugin; print({'torch', 'pandas', 'numpy'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_the_fixtures(tabcf_registry: Any, tabcf_ratings: Any, tabcf_table: Any) -> None:
    assert tabcf_registry.plugins == {}
    assert {"user_id", "item_id", "rating"} < set(tabcf_ratings)
    assert "price" in tabcf_table
