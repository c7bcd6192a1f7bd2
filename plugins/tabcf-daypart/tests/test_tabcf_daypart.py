"""The file is right, and each of its columns is a column of the event."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import tabcf
from tabcf.testing import plugin_problems, tiny_ratings

PLUGIN = Path(__file__).parents[1] / "src" / "tabcf_daypart" / "plugin.yaml"
PARTS = ["daypart", "weekday", "weekend", "month", "daypart_of_week"]


@pytest.fixture(scope="module")
def run() -> tabcf.Run:
    spec = {
        "tabcf": 1,
        "plugins": [str(PLUGIN)],
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "columns": {part: f"daypart/{part}" for part in PARTS},
        "model": {"dot_product_bias": {"factors": 4}},
        "train": {"epochs": 1},
    }
    return tabcf.fit(spec, tiny_ratings(), plugins=["no:*"])


def test_the_file_is_right() -> None:
    assert plugin_problems(PLUGIN, plugins=["no:*"]) == []


def test_each_part_is_an_entity_column_of_the_event(run: tabcf.Run) -> None:
    columns = {c.name: c.side for c in run.trained.encoder.layout.categorical}
    assert columns == {"user": "user", "item": "item", **dict.fromkeys(PARTS, "event")}


def test_a_list_can_be_asked_for_at_a_time(run: tabcf.Run) -> None:
    evening = run.recommend(3, k=3, context={"daypart": "[18, 24)"})
    same = run.recommend(3, k=3, context={"timestamp": None, "daypart": "[18, 24)"})
    pd.testing.assert_frame_equal(evening, same)
    assert len(run.recommend(3, k=3, context={"timestamp": "2024-05-31T18:30"})) == 3
