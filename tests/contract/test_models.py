"""Every built-in model through one suite, and the four probes of the layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.contracts.definitions import ModelDefinition
from tabcf.contracts.options import NoOptions
from tabcf.errors import SpecError
from tabcf.nn import DotProductBias
from tabcf.plugin.hooks import hookimpl
from tabcf.run.builtins import builtin_registry
from tabcf.testing import tiny_ratings, tiny_table

ENTITIES = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}
TRAIN = {"epochs": 40, "batch_size": 32, "learning_rate": 0.03, "weight_decay": 0.0}
RATED = {
    "dot_product": {"factors": 8, "y_range": [0, 6]},
    "dot_product_bias": {"factors": 8, "y_range": [0, 6]},
    "embedding_nn": {"layers": [32], "widths": 8, "y_range": [0, 6]},
    "collab_nn": {"n_hidden": 32, "y_range": [0, 6]},
    "tabular": {"layers": [32], "widths": 8, "y_range": [0, 6]},
}
RANKED = {
    "dot_product": {"factors": 8},
    "dot_product_bias": {"factors": 8},
    "embedding_nn": {"layers": [32], "widths": 8},
    "collab_nn": {"n_hidden": 32},
    "ease": {"l2": 1.0},
    "edlae": {"l2": 1.0, "dropout": 0.3},
    "item_knn": {"k": 20, "shrink": 1.0},
    "ials": {"factors": 4},
}


def rated(model: str, options: Any, **changes: Any) -> dict[str, Any]:
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": ENTITIES,
        "model": {model: options},
        "train": TRAIN,
        **changes,
    }
    if model == "tabular":
        spec["entities"] = {}
        spec["columns"] = {"user_id": "category", "item_id": "category"}
    return spec


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    return tiny_ratings()


@pytest.mark.parametrize("model", RATED)
def test_a_model_of_pairs_learns_the_checkerboard(model: str, ratings: pd.DataFrame) -> None:
    run = tabcf.fit(rated(model, RATED[model]), ratings)
    assert run.report.test["rmse"] < 1.0, run.report.test
    if "user + item biases" in run.report.baselines:
        assert run.report.baselines["user + item biases"]["rmse"] > 1.7


@pytest.mark.parametrize("model", RANKED)
def test_a_ranker_finds_the_rest_of_the_checkerboard(model: str) -> None:
    spec = {
        "tabcf": 1,
        "target": {"implicit": {"positive": "rating >= 4"}},
        "entities": ENTITIES,
        "model": {model: RANKED[model]},
        "split": {"random": {"valid": 0, "test": 0.2}},
        "train": {**TRAIN, "epochs": 60, "batch_size": 8},
        "metrics": [{"hit_rate": 5}, {"ndcg": 5}],
    }
    run = tabcf.fit(spec, tiny_ratings(n_users=40, n_items=60))
    assert run.report.test["hit_rate@5"] > 0.9
    assert run.report.test["ndcg@5"] > 0.6 > run.report.baselines["most popular"]["ndcg@5"]


def test_every_model_is_in_a_suite_or_a_baseline() -> None:
    names = set(builtin_registry().names("model"))
    assert names == {*RATED, *RANKED, "mean", "bias", "popular"}


@pytest.mark.parametrize("model", RATED)
def test_one_seed_gives_the_same_bytes_and_loading_the_same_predictions(
    model: str, ratings: pd.DataFrame, tmp_path: Path
) -> None:
    spec = rated(model, RATED[model], train={**TRAIN, "epochs": 2})
    run = tabcf.fit(spec, ratings, tmp_path / "one")
    tabcf.fit(spec, ratings, tmp_path / "two")
    first, second = ((tmp_path / n / "weights.safetensors").read_bytes() for n in ("one", "two"))
    assert first == second
    loaded = tabcf.load(tmp_path / "one")
    new = pd.DataFrame({"user_id": [0, 3, 999], "item_id": [1, 2, 3]})
    expected = run.predict(new)["prediction"].to_numpy()
    assert np.isfinite(expected).all()
    assert loaded.predict(new)["prediction"].to_numpy().tobytes() == expected.tobytes()


def test_another_seed_gives_other_weights(ratings: pd.DataFrame) -> None:
    spec = rated("dot_product", RATED["dot_product"], train={**TRAIN, "epochs": 1})
    one, two = (tabcf.fit({**spec, "seed": seed}, ratings) for seed in (1, 2))
    assert not torch.equal(one.trained.model.factors, two.trained.model.factors)


def test_probe_ease_scores_from_the_users_history(ratings: pd.DataFrame) -> None:
    spec = {
        "tabcf": 1,
        "target": {"implicit": {"positive": "rating >= 4"}},
        "entities": ENTITIES,
        "model": {"ease": 1.0},
        "split": {"random": {"valid": 0, "test": 0.2}},
    }
    run = tabcf.fit(spec, ratings)
    lists = run.recommend([0, 1], k=5, exclude_seen=False)
    assert ((lists["user_id"] + lists["item_id"]) % 2 == 0).all()
    nobody = run.recommend(
        ["nobody"] if run.trained.encoder.entities["user"].ids.kind == "str" else [12345], k=3
    )
    assert set(nobody["basis"]) == {"cold: average"}


def _solve_als(model: DotProductBias, problem: Any, options: Any, rng: Any) -> None:
    """Two columns by turns: each row's factors are a ridge regression on the other column's."""
    users = problem.train.entities["user"].index[problem.train.rows["user"]].long()
    items = problem.train.entities["item"].index[problem.train.rows["item"]].long()
    target = problem.train.target
    sides = [model.column_vectors(0), model.column_vectors(1)]
    for side in sides:
        side.copy_(torch.randn(side.shape, generator=rng) * 0.1)
    for _ in range(20):
        for own, other, mine, theirs in (
            (sides[0], sides[1], users, items),
            (sides[1], sides[0], items, users),
        ):
            for row in range(1, len(own)):
                at = mine == row
                x = other[theirs[at]]
                gram = x.T @ x + 0.1 * torch.eye(x.shape[1])
                own[row] = torch.linalg.solve(gram, x.T @ target[at])


class ALSPlugin:
    @hookimpl
    def tabcf_models(self) -> list[ModelDefinition]:
        return [
            ModelDefinition(
                name="als",
                options=NoOptions,
                summary="Alternating least squares.",
                targets=frozenset({"rating"}),
                build=lambda layout, target, d_out, options: DotProductBias(
                    [column.cardinality for column in layout.categorical], factors=4
                ),
                solve=_solve_als,
                needs=frozenset({"user", "item"}),
                unknown="mean",
                is_single_output=True,
            )
        ]


def test_probe_a_two_column_als_is_one_more_way_to_fit(ratings: pd.DataFrame) -> None:
    run = tabcf.fit(rated("als", {}, train={}), ratings, plugins=[ALSPlugin()])
    assert run.report.test["rmse"] < 0.5
    assert run.similar("item", 0, k=3)["item_id"].mod(2).eq(0).all()


@pytest.mark.parametrize("model", ["dot_product_bias", "embedding_nn"])
def test_probe_a_set_valued_column_and_a_user_given_by_attributes(
    model: str, tmp_path: Path, ratings: pd.DataFrame
) -> None:
    """Clubs decide everything here; a new user's club is all that is known of them."""
    pd.DataFrame(
        {"user_id": range(30), "club": ["even" if u % 2 == 0 else "odd" for u in range(30)]}
    ).to_csv(tmp_path / "users.csv", index=False)
    pd.DataFrame(
        {"item_id": range(20), "tags": ["a|even" if i % 2 == 0 else "a|odd" for i in range(20)]}
    ).to_csv(tmp_path / "items.csv", index=False)
    entities = {
        "user": {
            "id": "user_id",
            "table": str(tmp_path / "users.csv"),
            "columns": {"club": "category"},
        },
        "item": {"id": "item_id", "table": str(tmp_path / "items.csv"), "columns": {"tags": "set"}},
    }
    options = RATED[model]
    run = tabcf.fit(rated(model, options, entities=entities, unknown={"masked": 0.3}), ratings)
    new = run.recommend(pd.DataFrame({"club": ["odd", "even"]}), k=5)
    assert set(new["basis"]) == {"cold: attributes"}
    assert (new["item_id"] % 2 == 1 - new["user_id"]).mean() >= 0.9, new


def test_a_plain_table_with_gaps_is_learnt_and_predicts_gaps() -> None:
    frame = tiny_table()
    spec = {
        "tabcf": 1,
        "target": "price",
        "model": {"tabular": {"layers": [32]}},
        "train": {"epochs": 60, "batch_size": 32, "learning_rate": 0.02},
    }
    run = tabcf.fit(spec, frame)
    assert run.report.test["rmse"] < 0.6 * run.report.baselines["global mean"]["rmse"]
    assert [c.name for c in run.trained.encoder.layout.continuous] == ["size", "size is missing"]
    gaps = pd.DataFrame({"color": [None, "mauve", "red"], "size": [np.nan, 10.0, np.nan]})
    assert np.isfinite(run.predict(gaps)["prediction"]).all()


@pytest.mark.parametrize(
    ("target", "loss", "expected"),
    [
        ({"columns": ["a", "b"]}, "mae", ["prediction.a", "prediction.b"]),
        ("kind", None, ["P(x)", "P(y)", "P(z)", "prediction"]),
        ("flag", None, ["P(yes)", "prediction"]),
        ("stars", "cross_entropy", ["P(1)", "P(2)", "P(3)", "prediction"]),
        ({"column": "stars", "levels": [1, 2, 3]}, "cross_entropy", ["prediction"]),
    ],
)
def test_every_kind_of_target_is_learnt_and_decoded(
    target: Any, loss: str | None, expected: list[str]
) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 300)
    stars = 2 + np.sign(x).astype(int) * (np.abs(x) > 0.3)
    frame = pd.DataFrame(
        {
            "x": x,
            "a": 3 * x,
            "b": -x,
            "stars": stars,
            "kind": np.array(["x", "y", "z"])[stars - 1],
            "flag": np.where(x > 0, "yes", "no"),
        }
    )
    spec = {
        "tabcf": 1,
        "target": target,
        "columns": {"x": "number"},
        "loss": loss,
        "model": {"tabular": {"layers": [32]}},
        "train": {"epochs": 60, "batch_size": 32, "learning_rate": 0.02},
    }
    run = tabcf.fit({k: v for k, v in spec.items() if v is not None}, frame)
    predicted = run.predict(frame)
    assert [column for column in predicted.columns if column not in frame.columns] == expected
    if "accuracy" in run.report.test:
        assert run.report.test["accuracy"] > 0.85
    else:
        assert run.report.test["rmse"] < 0.45
        assert run.report.test["mae"] < 0.35


def test_unequal_widths_of_a_product_are_refused_with_the_alternative() -> None:
    with pytest.raises(SpecError, match="vectors of one width: give `factors`, or use collab_nn"):
        tabcf.fit(rated("dot_product", {"widths": {"user": 4, "item": 8}}), tiny_ratings())
