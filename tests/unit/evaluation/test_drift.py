"""Drift of new events: known shifts are found, and none is found where there is none."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.data.sources import source_of_frame
from tabcf.evaluation.drift import Drift, measure_drift

RNG = np.random.default_rng(0)


def events(n: int, *, first: int = 0, rating: float = 3.0) -> pd.DataFrame:
    """Users at random, items from `first` on, ratings about a mean."""
    return pd.DataFrame(
        {
            "user_id": RNG.integers(0, 20, n),
            "item_id": first + RNG.integers(0, 10, n),
            "rating": rating + RNG.normal(0, 1, n),
            "place": RNG.choice(["a", "b"], n),
        }
    )


@cache
def run() -> tabcf.Run:
    spec = {
        "tabcf": 1,
        "target": {"column": "rating"},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "columns": {"place": "category"},
        "model": {"dot_product_bias": {"factors": 2}},
        "split": {"random": {"valid": 0, "test": 0}},
        "train": {"epochs": 1},
    }
    return tabcf.fit(spec, events(2000))


def drift(frame: pd.DataFrame) -> Drift:
    trained = run().trained
    is_positive = np.ones(len(frame), dtype=bool)
    return measure_drift(trained, source_of_frame(frame), is_positive, by=trained.encoder)


def test_events_of_the_same_kind_move_no_more_than_chance() -> None:
    found = drift(events(400))
    assert found.unknown == {"user": 0.0, "item": 0.0, "place": 0.0}
    assert found.popularity["moved"] < 2 * found.popularity["by chance"]
    was, now = found.target["mean"]
    assert abs(now - was) < 0.2


def test_shifts_are_found() -> None:
    found = drift(events(400, first=5, rating=4.0).assign(place=["a", "c", "d", None] * 100))
    assert found.unknown["place"] == pytest.approx(0.5), "what is missing is not unknown"
    assert found.unknown["item"] == pytest.approx(0.5, abs=0.1)
    assert found.popularity["new items"] == pytest.approx(found.unknown["item"])
    # Five of ten items have no events now: half of the events are elsewhere.
    assert found.popularity["moved"] == pytest.approx(0.5, abs=0.1)
    was, now = found.target["mean"]
    assert now - was == pytest.approx(1, abs=0.2)
    assert found.target["sd"] == pytest.approx((1, 1), abs=0.1)


def test_it_is_the_same_after_a_file() -> None:
    found = drift(events(50))
    assert Drift.from_json(found.to_json()) == found
    assert len(found.lines()) == 3
