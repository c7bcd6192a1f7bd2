"""What every kind of column must do."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabcf.contracts.definitions import ColumnDefinition
from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import Table
from tabcf.data.batches import gather
from tabcf.data.encoder import Encoder
from tabcf.data.entities import EntityPlan
from tabcf.data.plans import ColumnPlan
from tabcf.data.sources import source_of_frame
from tabcf.plugin.registry import Registry
from tabcf.run.prepare import column_plans
from tabcf.run.registry import compose_registry
from tabcf.spec.records import Spec

__all__ = ["ColumnContract"]

_TARGET = "tabcf:target"


class ColumnContract:
    """Subclass it with a `definition`, `options` as in YAML, and a `frame` that it reads.

    `entities` are tables that the events refer to: by name, the id column and a frame, or None
    where there are ids alone. The first half of the frame trains, the second half does not.
    """

    definition: ClassVar[ColumnDefinition]
    options: ClassVar[Any] = {}
    frame: ClassVar[pd.DataFrame]
    entities: ClassVar[Mapping[str, tuple[str, pd.DataFrame | None]]] = {}

    def test_every_row_has_a_value_that_a_model_can_take(self) -> None:
        encoder = self._fitted(self._train())
        for frame in (self._train(), self._whole(), self._whole().iloc[:1]):
            table = self._encoded(encoder, frame)
            inputs = gather(table, torch.arange(len(table)))
            assert len(inputs.x_cat) == len(inputs.x_cont) == len(frame), self.definition.name
            assert torch.isfinite(inputs.x_cont).all(), f"{self.definition.name}: {inputs.x_cont}"
            for column, x in zip(encoder.layout.categorical, inputs.x_cat.T, strict=True):
                assert 0 <= int(x.min()) <= int(x.max()) < column.cardinality, column.name
            for bag in inputs.x_sets:
                assert len(bag.offsets) == len(frame), self.definition.name

    def test_missing_values_are_no_trouble(self) -> None:
        encoder = self._fitted(self._train())
        blank = self._whole()
        own = [column for column in blank.columns if column != _TARGET]
        for column in own:
            blank[column] = (
                pd.Series([None] * len(blank), dtype=blank[column].dtype)
                if (
                    pd.api.types.is_object_dtype(blank[column].dtype)
                    or pd.api.types.is_string_dtype(blank[column].dtype)
                )
                else pd.Series([np.nan] * len(blank))
            )
        inputs = gather(self._encoded(encoder, blank), torch.arange(len(blank)))
        assert torch.isfinite(inputs.x_cont).all(), f"{self.definition.name}: {inputs.x_cont}"

    def test_the_order_of_rows_says_nothing(self) -> None:
        encoder, whole = self._fitted(self._train()), self._whole()
        order = np.random.default_rng(0).permutation(len(whole))
        one = gather(self._encoded(encoder, whole), torch.from_numpy(order))
        shuffled = whole.iloc[order].reset_index(drop=True)
        two = gather(self._encoded(encoder, shuffled), torch.arange(len(whole)))
        _assert_equal(one, two, self.definition.name)

    def test_a_row_does_not_hang_on_others(self) -> None:
        """Its values are the same alone as among others: nothing is learnt when it is applied."""
        encoder, whole = self._fitted(self._train()), self._whole()
        table = self._encoded(encoder, whole)
        for row in range(len(whole)):
            among = gather(table, torch.tensor([row]))
            one = self._encoded(encoder, whole.iloc[[row]].reset_index(drop=True))
            alone = gather(one, torch.tensor([0]))
            where = f"{self.definition.name}: row {row} hangs on the rows around it"
            _assert_equal(among, alone, where)

    def test_it_learns_nothing_from_the_target(self) -> None:
        """What it learnt and what it gives are the same whatever the target holds."""
        train = self._train()
        one, arrays = self._fitted(train).to_json()
        two, others = self._fitted(train.assign(**{_TARGET: 7 - 3 * train[_TARGET]})).to_json()
        assert one == two, f"{self.definition.name}: its state hangs on the target"
        assert arrays.keys() == others.keys()
        for name, array in arrays.items():
            where = f"{self.definition.name}: {name} hangs on the target"
            np.testing.assert_array_equal(array, others[name], err_msg=where)
        encoder, whole = self._fitted(train), self._whole()
        first = gather(self._encoded(encoder, whole), torch.arange(len(whole)))
        changed = whole.assign(**{_TARGET: 7 - 3 * whole[_TARGET]})
        second = gather(self._encoded(encoder, changed), torch.arange(len(whole)))
        _assert_equal(first, second, f"{self.definition.name}: values hang on the target")

    def test_it_is_the_same_twice(self) -> None:
        one, first = self._fitted(self._train()).to_json()
        two, second = self._fitted(self._train()).to_json()
        assert one == two, self.definition.name
        for name, array in first.items():
            np.testing.assert_array_equal(array, second[name], err_msg=self.definition.name)

    def test_it_is_saved_and_loaded(self) -> None:
        """Through JSON and numpy's own files, without pickle."""
        encoder, whole = self._fitted(self._train()), self._whole()
        plain, arrays = encoder.to_json()
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        buffer.seek(0)
        with np.load(buffer, allow_pickle=False) as saved:
            loaded = {name: saved[name] for name in saved.files}
        again = Encoder.from_json(
            json.loads(json.dumps(plain)), loaded, self._plans(), encoder.entities
        )
        rows = torch.arange(len(whole))
        one = gather(self._encoded(encoder, whole), rows)
        two = gather(self._encoded(again, whole), rows)
        _assert_equal(one, two, self.definition.name)

    def test_it_leaves_its_frames_as_they_are(self) -> None:
        train = self._train()
        before = train.copy(deep=True)
        self._encoded(self._fitted(train), train, is_training=True)
        assert train.equals(before), f"{self.definition.name}: it wrote into the frame:\n{train}"

    def _whole(self) -> pd.DataFrame:
        frame = self.frame.reset_index(drop=True).copy()
        frame[_TARGET] = np.random.default_rng(0).normal(size=len(frame))
        return frame

    def _train(self) -> pd.DataFrame:
        return self._whole().iloc[: max(len(self.frame) // 2, 2)].reset_index(drop=True)

    def _plans(self) -> tuple[ColumnPlan, ...]:
        spec = Spec.model_validate(
            {
                "tabcf": 1,
                "target": _TARGET,
                "model": "tabular",
                "entities": {name: {"id": id} for name, (id, _) in self.entities.items()},
                "columns": {"made": {self.definition.name: self.options}},
            }
        )
        return column_plans(spec, self._registry())

    def _registry(self) -> Registry:
        registry = compose_registry(["no:*"])
        if not any(found.definition is self.definition for _, found in registry):
            registry.add([self.definition], origin="a test")
        return registry

    def _fitted(self, train: pd.DataFrame) -> Encoder:
        entities = {
            name: (
                EntityPlan(name, id),
                None if table is None else source_of_frame(table, name=name),
            )
            for name, (id, table) in self.entities.items()
        }
        with _blamed(self.definition.name):
            return Encoder.fit(source_of_frame(train), self._plans(), entities=entities)

    def _encoded(
        self, encoder: Encoder, frame: pd.DataFrame, *, is_training: bool = False
    ) -> Table:
        with _blamed(self.definition.name):
            return encoder.encode(source_of_frame(frame), is_training=is_training)


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """Say which kind of column it was that raised."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error


def _assert_equal(one: Inputs, two: Inputs, where: str) -> None:
    assert torch.equal(one.x_cat, two.x_cat), f"{where}: {one.x_cat}, {two.x_cat}"
    assert torch.equal(one.x_cont, two.x_cont), f"{where}: {one.x_cont}, {two.x_cont}"
    for first, second in zip(one.x_sets, two.x_sets, strict=True):
        values: tuple[Tensor, Tensor] = first.values, second.values
        assert torch.equal(*values), f"{where}: {values}"
        assert torch.equal(first.offsets, second.offsets), where
