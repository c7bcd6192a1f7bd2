"""What every model must do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.definitions import ModelDefinition
from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.layout import CategoricalColumn, ContinuousColumn, Layout, SetColumn
from tabcf.contracts.model import (
    ColumnBiases,
    ColumnRows,
    ColumnVectors,
    HiddenRows,
    HiddenSlopes,
    ItemScorer,
    LinearRows,
)
from tabcf.contracts.target import TargetKind
from tabcf.nn.scoring import score_by_pairs
from tabcf.plugin.hooks import hookimpl
from tabcf.plugin.registry import parse_options
from tabcf.run.fit import fit
from tabcf.run.folder import load
from tabcf.run.registry import compose_registry
from tabcf.run.run import Run
from tabcf.testing.data import tiny_ratings
from tabcf.testing.targets import target_of

__all__ = ["ModelContract"]

_USER = (CategoricalColumn("user", "user", 6, "user"), CategoricalColumn("user.city", "user", 4))
_ITEM = (CategoricalColumn("item", "item", 8, "item"),)
_EVENT = (CategoricalColumn("daypart", "event", 5),)
_NUMBERS = (ContinuousColumn("user.age", "user"), ContinuousColumn("price", "event"))
_SETS = (SetColumn("item.genres", "item", 7),)
# The first that a model takes is what it is fitted to.
_KINDS: tuple[TargetKind, ...] = ("rating", "regression", "binary", "classes", "implicit")


class ModelContract:
    """Subclass it with a `definition` and, where they are needed, `options` as in YAML.

    `takes_columns` says whether the model takes more than users and items, `takes_numbers` and
    `takes_sets` whether it uses columns of numbers and of sets. A model that `only_ranks` has no
    prediction for a single event. A baseline that learns less than which items are liked says
    `learns = False`; `train` is the spec's, for the others' one short fit.
    """

    definition: ClassVar[ModelDefinition]
    options: ClassVar[Any] = {}
    takes_columns: ClassVar[bool] = True
    takes_numbers: ClassVar[bool] = True
    takes_sets: ClassVar[bool] = True
    only_ranks: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    train: ClassVar[Mapping[str, Any]] = {
        "epochs": 20,
        "batch_size": 32,
        "learning_rate": 0.03,
        "weight_decay": 0.0,
    }

    def test_it_gives_a_row_of_outputs_for_each_row(self) -> None:
        for layout, width in self._layouts():
            model = self._built(layout, width)
            for n in (1, 5):
                raw = _forward(model, _inputs(layout, n))
                name = self.definition.name
                assert raw.shape == (n, width), f"{name}: {tuple(raw.shape)} for {n} rows"
                assert torch.isfinite(raw).all(), f"{name}: {raw}"

    def test_a_row_does_not_hang_on_others(self) -> None:
        """In evaluation mode: alone, and in any order."""
        for layout, width in self._layouts():
            model, inputs = self._built(layout, width), _inputs(layout, 6)
            whole = _forward(model, inputs)
            order = torch.randperm(6, generator=_rng(1))
            shuffled = _forward(model, _rows(inputs, order))
            assert torch.allclose(whole[order], shuffled, atol=1e-5), self.definition.name
            alone = _forward(model, _rows(inputs, torch.tensor([2])))
            assert torch.allclose(whole[2:3], alone, atol=1e-5), self.definition.name

    def test_unknown_values_are_no_trouble(self) -> None:
        for layout, width in self._layouts():
            inputs = _inputs(layout, 3)
            blank = tuple(Bag(b.values[:0], torch.zeros_like(b.offsets)) for b in inputs.x_sets)
            unknown = Inputs(torch.zeros_like(inputs.x_cat), inputs.x_cont, blank)
            raw = _forward(self._built(layout, width), unknown)
            assert torch.isfinite(raw).all(), f"{self.definition.name}: {raw} for unknown values"

    def test_every_weight_is_trained(self) -> None:
        """Away from the first values, which may be such that some have no slope yet."""
        for layout, width in self._layouts():
            model = self._built(layout, width)
            if self.definition.solve is not None:
                return
            model.train()
            rng = _rng(3)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
            inputs = _inputs(layout, 40)
            (_forward(model, inputs) * torch.randn(40, width, generator=_rng(2))).sum().backward()
            for name, parameter in model.named_parameters():
                where = f"{self.definition.name}: {name}"
                if not parameter.numel():
                    continue
                assert parameter.grad is not None, f"{where} has no gradient"
                assert torch.isfinite(parameter.grad).all(), f"{where}: {parameter.grad}"
                assert parameter.grad.any(), f"{where}: the gradient is 0, nothing hangs on it"

    def test_it_is_saved_and_loaded(self) -> None:
        for layout, width in self._layouts():
            one, two = self._built(layout, width, seed=1), self._built(layout, width, seed=2)
            two.load_state_dict(one.state_dict())
            inputs = _inputs(layout, 4)
            assert torch.equal(_forward(one, inputs), _forward(two, inputs)), self.definition.name

    def test_one_seed_gives_the_same_weights(self) -> None:
        for layout, width in self._layouts():
            one, two = self._built(layout, width), self._built(layout, width)
            for (name, first), second in zip(
                one.state_dict().items(), two.state_dict().values(), strict=True
            ):
                assert torch.equal(first, second), f"{self.definition.name}: {name}"

    def test_all_items_at_once_are_the_pairs_one_by_one(self) -> None:
        for layout, width in self._layouts():
            model = self._built(layout, width)
            if not isinstance(model, ItemScorer) or self.definition.solve is not None:
                return
            query = Query(_inputs(layout, 3, "user"), _inputs(layout, 3, "event"))
            items = _inputs(layout, 5, "item")
            with torch.no_grad():
                scores = model.score_items(query, items)
                pairs = score_by_pairs(model, query, items)
            assert torch.allclose(scores, pairs, atol=1e-4), (
                f"{self.definition.name}: off by {(scores - pairs).abs().max():g}"
            )

    def test_what_it_says_of_its_columns_fits(self) -> None:
        for layout, width in self._layouts():
            model = self._built(layout, width)
            for position, column in enumerate(layout.categorical):
                where = f"{self.definition.name}: {column.name}"
                if isinstance(model, ColumnVectors):
                    assert len(model.column_vectors(position)) == column.cardinality, where
                if isinstance(model, ColumnBiases):
                    assert model.column_bias(position).shape == (column.cardinality,), where
                if isinstance(model, ColumnRows):
                    for parameter, rows in model.column_rows(position):
                        assert len(parameter[rows]) == column.cardinality, where

    def test_a_row_that_its_outputs_are_linear_in(self) -> None:
        for layout, width in self._layouts():
            model = self._built(layout, width)
            if not isinstance(model, LinearRows) or not isinstance(model, ColumnRows):
                return
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=_rng(4)))
            inputs = _inputs(layout, 5)
            raw = _forward(model, inputs)
            for position, column in enumerate(layout.categorical):
                other = inputs.x_cat.clone()
                other[:, position] = 0
                with torch.no_grad():
                    slope, rest = model.row_terms(position, other, inputs.x_cont, inputs.x_sets)
                    row = torch.cat(
                        [
                            parameter[rows][inputs.x_cat[:, position]].flatten(1)
                            for parameter, rows in model.column_rows(position)
                        ],
                        1,
                    )
                    found = model.outputs(rest + (slope * row).sum(1, keepdim=True))
                assert torch.allclose(found, raw, atol=1e-5), (
                    f"{self.definition.name}: {column.name}: off by {(found - raw).abs().max():g}"
                )

    def test_a_row_that_enters_a_hidden_layer_linearly(self) -> None:
        for layout, width in self._layouts():
            model = self._built(layout, width)
            if not isinstance(model, HiddenRows) or not isinstance(model, ColumnRows):
                return
            inputs = _inputs(layout, 5)
            raw = _forward(model, inputs)
            for position, column in enumerate(layout.categorical):
                other = inputs.x_cat.clone()
                other[:, position] = 0
                with torch.no_grad():
                    weight, rest = model.hidden_terms(position, other, inputs.x_cont, inputs.x_sets)
                    parts = [
                        parameter[rows][inputs.x_cat[:, position]].flatten(1)
                        for parameter, rows in model.column_rows(position)
                    ]
                    hidden = rest + torch.cat(parts, 1) @ weight
                    found = model.from_hidden(hidden.clone())
                assert torch.allclose(found, raw, atol=1e-5), (
                    f"{self.definition.name}: {column.name}: off by {(found - raw).abs().max():g}"
                )
                self._check_slopes(model, hidden)

    def _check_slopes(self, model: nn.Module, hidden: Tensor) -> None:
        """Slopes that a model knows by hand are those of autograd."""
        if not isinstance(model, HiddenSlopes):
            return
        by_hand = model.hidden_slopes()
        if by_hand is None:
            return
        found, slopes = by_hand(hidden)
        hidden = hidden.clone().requires_grad_(True)
        raw = model.from_hidden(hidden.clone())
        assert torch.allclose(found, raw, atol=1e-5), f"{self.definition.name}: hidden_slopes"
        for k in range(raw.shape[1]):
            (expected,) = torch.autograd.grad(raw[:, k].sum(), hidden, retain_graph=True)
            assert torch.allclose(slopes[:, k], expected, atol=1e-5), (
                f"{self.definition.name}: hidden_slopes: derivatives of output {k} are off by "
                f"{(slopes[:, k] - expected).abs().max():g}"
            )

    def test_it_learns_which_items_are_liked(self) -> None:
        """By a short fit in which everybody likes half of the items; then it is saved."""
        kind = next(k for k in _KINDS if k in self.definition.targets)
        events, spec = _liked(kind), self._spec(kind)
        with tempfile.TemporaryDirectory() as folder:
            plugins = ["no:*", *self._plugins()]
            run = fit(spec, events, Path(folder, "run"), plugins=plugins)
            assert isinstance(run, Run)
            loaded = load(Path(folder, "run"), plugins=plugins)
            if kind == "implicit":
                users = events["user_id"].unique()[:5]
                before, after = run.recommend(users, k=4), loaded.recommend(users, k=4)
            else:
                before, after = run.predict(events), loaded.predict(events)
            assert before.equals(after), f"{self.definition.name}: loaded, it predicts otherwise"
        name, value = next(iter(run.report.test.items()))
        where = f"{self.definition.name}: test {name} {value:g}"
        assert np.isfinite(value), where
        if not self.learns:
            return
        if kind in ("rating", "regression"):
            mean = run.report.baselines["global mean"][name]
            assert value < 0.75 * mean, f"{where}, that of the mean is {mean:g}"
        else:
            assert value > 0.75, f"{where}, expected above 0.75"

    def _spec(self, kind: TargetKind) -> dict[str, Any]:
        """Users and items and no other columns; a target of that kind."""
        target: Any = {
            "rating": {"column": "liked", "levels": [1, 5]},
            "implicit": {"implicit": {"positive": "liked >= 4"}},
        }.get(kind, "liked")
        metric = {"implicit": {"ndcg": 3}, "rating": "rmse", "regression": "rmse"}
        return {
            "tabcf": 1,
            "target": target,
            "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
            "model": {self.definition.name: self.options} if self.options else self.definition.name,
            "split": {"random": {"valid": 0, "test": 0.2}},
            "train": {} if self.definition.solve is not None else dict(self.train),
            "metrics": [metric.get(kind, "accuracy")],
        }

    def _plugins(self) -> list[Any]:
        """The definition as a plugin, unless tabcf has it."""
        if any(found.definition is self.definition for _, found in compose_registry(["no:*"])):
            return []
        return [_OneModel(self.definition)]

    def _layouts(self) -> Iterator[tuple[Layout, int]]:
        """Users and items alone; then with all kinds of columns; one output, or three."""
        numbers = _NUMBERS if self.takes_numbers else ()
        sets = _SETS if self.takes_sets else ()
        if self.only_ranks:
            return
        is_pair_only = self.definition.solve is not None or not self.takes_columns
        for width in (1,) if self.definition.is_single_output or is_pair_only else (1, 3):
            yield Layout((_USER[0], *_ITEM)), width
            if not is_pair_only:
                yield Layout((*_USER, *_ITEM, *_EVENT), numbers, sets), width

    def _built(self, layout: Layout, width: int, *, seed: int = 0) -> nn.Module:
        given = dict(self.options) if isinstance(self.options, dict) else {"": self.options}
        options = parse_options(self.definition.options, given)
        target = target_of(min(self.definition.targets - {"classes"}, default="classes"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.definition.build(layout, target, width, options)
        assert isinstance(model, nn.Module), f"{self.definition.name}: {model!r} is no nn.Module"
        return model.eval()


class _OneModel:
    """A plugin that has one model."""

    def __init__(self, definition: ModelDefinition) -> None:
        self._definition = definition

    @hookimpl
    def tabcf_models(self) -> list[ModelDefinition]:
        return [self._definition]


def _liked(kind: TargetKind) -> pd.DataFrame:
    """Events of users with all sorts of items; `liked` follows from the item alone."""
    events = tiny_ratings()
    values: tuple[Any, ...] = (5, 1)
    if kind == "binary":
        values = ("yes", "no")
    elif kind == "classes":
        values = ("yes", "no", "perhaps")
    return events.assign(liked=np.array(values)[events["item_id"] % len(values)])


def _forward(model: nn.Module, inputs: Inputs) -> Tensor:
    raw: Tensor = model(inputs.x_cat, inputs.x_cont, inputs.x_sets)
    return raw


def _rng(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def _inputs(layout: Layout, n: int, side: str | None = None) -> Inputs:
    """N made-up rows of all columns, or of those of one side."""
    rng = _rng(7)
    cats = [
        torch.randint(0, c.cardinality, (n,), generator=rng)
        for c in layout.categorical
        if side in (None, c.side)
    ]
    conts = [torch.randn(n, generator=rng) for c in layout.continuous if side in (None, c.side)]
    bags = [
        Bag(torch.randint(1, c.cardinality, (2 * n,), generator=rng), torch.arange(0, 2 * n, 2))
        for c in layout.sets
        if side in (None, c.side)
    ]
    x_cat = torch.stack(cats, 1) if cats else torch.zeros(n, 0, dtype=torch.int64)
    x_cont = torch.stack(conts, 1) if conts else torch.zeros(n, 0)
    return Inputs(x_cat, x_cont, tuple(bags))


def _rows(inputs: Inputs, rows: Tensor) -> Inputs:
    bags = tuple(
        Bag(
            torch.stack([b.values[b.offsets[rows]], b.values[b.offsets[rows] + 1]], 1).flatten(),
            torch.arange(0, 2 * len(rows), 2),
        )
        for b in inputs.x_sets
    )
    return Inputs(inputs.x_cat[rows], inputs.x_cont[rows], bags)
