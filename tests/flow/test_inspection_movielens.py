"""On real data, a film's bias says something else than its mean rating."""

from __future__ import annotations

import pytest

import tabcf


@pytest.mark.network
def test_biases_and_means_disagree_because_of_who_rated() -> None:
    spec = {
        "tabcf": 1,
        "data": "builtin:movielens-100k/ratings",
        "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
        "entities": {
            "user": {"id": "user_id"},
            "item": {
                "id": "item_id",
                "table": "builtin:movielens-100k/items",
                "label": "title",
            },
        },
        "model": "bias",
    }
    gaps = tabcf.fit(spec).inspection.bias_gaps("item", min_count=20)
    wide = gaps[gaps["gap"].abs() > 300]
    assert len(wide) >= 5
    # Flattered by generous raters, wronged by strict ones.
    of_raters = wide[wide["why"].isin(["generous raters", "strict raters"])]
    assert len(of_raters) >= 5
    assert ((of_raters["raters"] > 0) == (of_raters["gap"] > 0)).all()
