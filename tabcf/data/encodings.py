"""How one column's values become numbers: categories, numbers and sets, fitted on training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from tabcf.contracts.inputs import Bag
from tabcf.data.moments import mean_and_deviation
from tabcf.data.sources import Source
from tabcf.data.values import CategoryValues, category_values, numbers, read_as, sets
from tabcf.data.vocabulary import Vocabulary

__all__ = ["CategoryEncoding", "Encoding", "NumberEncoding", "SetEncoding", "encoding_from_json"]


@dataclass(frozen=True, slots=True)
class CategoryEncoding:
    """A category's index in a frozen vocabulary; missing and unseen values have index 0."""

    vocabulary: Vocabulary

    @classmethod
    def fitted(cls, series: pd.Series[Any], source: Source) -> CategoryEncoding:
        return cls(Vocabulary.fitted(category_values(series, source)))

    def encode(self, series: pd.Series[Any], source: Source) -> np.ndarray:
        """`(N,)` int32."""
        return self.vocabulary.encode(category_values(series, source, kind=self.vocabulary.kind))

    def grown(self, series: pd.Series[Any], source: Source) -> CategoryEncoding:
        """The same with the values of further rows behind its own."""
        return CategoryEncoding(
            self.vocabulary.grown(read_as(series, source, kind=self.vocabulary.kind))
        )

    def unknown(self, series: pd.Series[Any], source: Source) -> np.ndarray:
        """`(N,)` booleans: a value is there, and is none of the vocabulary's."""
        return np.asarray(series.notna().to_numpy() & (self.encode(series, source) == 0))

    def to_json(self) -> dict[str, Any]:
        return {"category": self.vocabulary.to_json()}


@dataclass(frozen=True, slots=True)
class NumberEncoding:
    """A number less its training mean, over its training standard deviation.

    A missing number is the training median. Where training had missing ones, a second feature
    says so (0 or 1); where it had none, such a feature could not have been learnt.
    """

    mean: float
    scale: float
    median: float
    has_indicator: bool

    @classmethod
    def fitted(cls, series: pd.Series[Any], source: Source) -> NumberEncoding:
        return cls.of_values(numbers(series, source))

    @classmethod
    def of_values(cls, values: np.ndarray) -> NumberEncoding:
        """Learn from `(N,)` float64, NaN where missing."""
        is_missing = np.isnan(values)
        present = values[~is_missing] if is_missing.any() else values
        if not len(present):
            return cls(0.0, 1.0, 0.0, has_indicator=False)
        mean, deviation = mean_and_deviation(present)
        # A column that does not vary, up to rounding, says nothing: keep it at zero.
        scale = deviation if deviation > 1e-12 * max(1.0, float(np.abs(present).max())) else 1.0
        median = float(np.median(present))
        return cls(mean, scale, median, has_indicator=bool(is_missing.any()))

    @property
    def width(self) -> int:
        """Number of features: 1, or 2 with the indicator."""
        return 2 if self.has_indicator else 1

    def encode(self, series: pd.Series[Any], source: Source) -> np.ndarray:
        """`(N, width)` float32."""
        values = numbers(series, source)
        is_missing = np.isnan(values)
        filled = np.where(is_missing, self.median, values)
        scaled = ((filled - self.mean) / self.scale).astype(np.float32)
        if self.has_indicator:
            return np.stack([scaled, is_missing.astype(np.float32)], axis=1)
        return scaled[:, None]

    def grown(self, series: pd.Series[Any], source: Source) -> NumberEncoding:
        """The same: a model rests on its scale."""
        numbers(series, source)
        return self

    def to_json(self) -> dict[str, Any]:
        return {
            "number": {
                "mean": self.mean,
                "scale": self.scale,
                "median": self.median,
                "has_indicator": self.has_indicator,
            }
        }


@dataclass(frozen=True, slots=True)
class SetEncoding:
    """A set's known values as indices; values unseen in training are left out."""

    vocabulary: Vocabulary
    separator: str

    @classmethod
    def fitted(cls, series: pd.Series[Any], separator: str) -> SetEncoding:
        values, _ = sets(series, separator=separator)
        return cls(Vocabulary(sorted(set(values)), kind="str"), separator)

    def encode(self, series: pd.Series[Any]) -> Bag:
        """A bag of N rows: values int32, offsets int64."""
        values, offsets = sets(series, separator=self.separator)
        index = self.vocabulary.index_of(values)
        is_known = index > 0
        known_before = np.concatenate([[0], np.cumsum(is_known)])
        return Bag(
            torch.from_numpy(index[is_known]),
            torch.from_numpy(known_before[offsets[:-1]].astype(np.int64)),
        )

    def grown(self, series: pd.Series[Any], source: Source) -> SetEncoding:
        """The same with the values of further rows behind its own."""
        values, _ = sets(series, separator=self.separator)
        found = np.array(values, dtype=object)
        known = CategoryValues(found, np.zeros(len(found), dtype=bool), "str")
        return SetEncoding(self.vocabulary.grown(known), self.separator)

    def unknown(self, series: pd.Series[Any], source: Source) -> np.ndarray:
        """`(N,)` booleans: one of the values is none of the vocabulary's."""
        values, offsets = sets(series, separator=self.separator)
        before = np.concatenate([[0], np.cumsum(self.vocabulary.index_of(values) == 0)])
        return np.asarray(before[offsets[1:]] > before[offsets[:-1]])

    def to_json(self) -> dict[str, Any]:
        return {"set": {"vocabulary": self.vocabulary.to_json(), "separator": self.separator}}


Encoding = CategoryEncoding | NumberEncoding | SetEncoding


def encoding_from_json(state: dict[str, Any]) -> Encoding:
    """The encoding that `to_json` described."""
    ((kind, fields),) = state.items()
    if kind == "category":
        return CategoryEncoding(Vocabulary.from_json(fields))
    if kind == "number":
        return NumberEncoding(**fields)
    return SetEncoding(Vocabulary.from_json(fields["vocabulary"]), fields["separator"])
