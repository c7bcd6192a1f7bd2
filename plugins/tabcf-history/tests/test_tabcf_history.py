"""The file is right, and no training row sees its own event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tabcf
from tabcf.errors import SpecError
from tabcf.testing import plugin_problems, tiny_ratings

PLUGIN = Path(__file__).parents[1] / "src" / "tabcf_history" / "plugin.yaml"
SIDES = {
    "items_of_user": "user",
    "users_of_item": "item",
    "user_count": "user",
    "item_count": "item",
    "user_recency": "event",
}


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "plugins": [str(PLUGIN)],
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "columns": {part: f"history/{part}" for part in SIDES},
        "model": {"dot_product_bias": {"factors": 4}},
        "train": {"epochs": 1},
        **changes,
    }


def test_the_file_is_right() -> None:
    assert plugin_problems(PLUGIN, plugins=["no:*"]) == []


def test_each_part_stands_on_its_side(tmp_path: Path) -> None:
    ratings = tiny_ratings()
    run = tabcf.fit(spec(), ratings, tmp_path / "run", plugins=["no:*"])
    layout = run.trained.encoder.layout
    sides = {c.name: c.side for c in (*layout.sets, *layout.continuous) if "missing" not in c.name}
    assert sides == SIDES
    loaded = tabcf.load(tmp_path / "run", plugins=["no:*"])
    assert loaded.predict(ratings).equals(run.predict(ratings))


def test_a_loss_over_the_catalogue_is_refused() -> None:
    """A user's set would hold the very items that the loss asks for."""
    changes = {
        "target": {"implicit": {}},
        "loss": "softmax",
        "columns": {"items_of_user": "history/items_of_user"},
    }
    with pytest.raises(SpecError, match="items_of_user"):
        tabcf.fit(spec(**changes), tiny_ratings(), plugins=["no:*"])
