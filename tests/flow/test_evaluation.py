"""What a run is worth: metrics of lists, of each user, of groups, and beside another run's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.errors import DataError, RunError, SpecError
from tabcf.run.progress import Silent
from tabcf.testing import tiny_ratings, tiny_table

ENTITIES = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}
RANKING: dict[str, Any] = {
    "tabcf": 1,
    "name": "tiny",
    "target": {"implicit": {"positive": "rating >= 4"}},
    "entities": ENTITIES,
    "split": {"random": {"valid": 0, "test": 0.3}},
    "model": {"dot_product_bias": {"factors": 4}},
    "metrics": [
        {"ndcg": 5},
        {"recall": 3},
        {"coverage": 5},
        {"gini": 5},
        {"popularity": 5},
        {"novelty": 3},
        "list_auc",
        {"serendipity": 5},
    ],
    "train": {"epochs": 3, "batch_size": 32, "learning_rate": 0.03},
}


RATING: dict[str, Any] = {
    **RANKING,
    "target": {"column": "rating"},
    "metrics": ["rmse", "mae", {"ndcg": 5}],
}


@pytest.fixture(scope="module")
def rating() -> tabcf.Run:
    return tabcf.fit(RATING, tiny_ratings())


@pytest.fixture(scope="module")
def ranking() -> tabcf.Run:
    return tabcf.fit(RANKING, tiny_ratings())


def test_metrics_of_lists_are_those_of_the_lists_that_are_recommended(ranking: tabcf.Run) -> None:
    new = tiny_ratings().query("rating >= 4")
    found = ranking.evaluate(new)
    lists = ranking.recommend(_with_something_to_find(ranking, new), k=5)
    positive = ranking.trained.past.positive
    users, items = positive.pairs()
    counts = np.bincount(items - 1, minlength=len(ranking.trained.encoder.entities["item"]) - 1)
    exposure = lists["item_id"].value_counts().reindex(range(len(counts)), fill_value=0)
    assert found["coverage@5"] == (exposure > 0).mean()
    differences = np.abs(np.subtract.outer(exposure.to_numpy(), exposure.to_numpy()))
    assert found["gini@5"] == pytest.approx(differences.mean() / 2 / exposure.mean())
    listed = lists.assign(count=counts[lists["item_id"]])
    by_user = listed.groupby("user_id")["count"].mean()
    assert found["popularity@5"] == pytest.approx(by_user.mean())
    bits = -np.log2(listed["count"].clip(lower=1) / len(set(users)))
    top = listed["rank"] <= 3
    assert found["novelty@3"] == pytest.approx(
        bits[top].groupby(listed["user_id"][top]).mean().mean()
    )


def test_baselines_and_test_rows_have_metrics_of_lists(ranking: tabcf.Run) -> None:
    names = [
        *("ndcg@5", "recall@3", "coverage@5", "gini@5", "popularity@5", "novelty@3"),
        *("list_auc", "serendipity@5"),
    ]
    assert list(ranking.report.test) == names
    popular = ranking.report.baselines["most popular"]
    assert list(popular) == names
    assert popular["popularity@5"] > ranking.report.baselines["EASE"]["popularity@5"]
    assert popular["gini@5"] > ranking.report.baselines["EASE"]["gini@5"]
    # On a board of likes popularity tells little apart, and what it lists is what it expects.
    assert (
        abs(popular["list_auc"] - 0.5) < 0.15 < ranking.report.baselines["EASE"]["list_auc"] - 0.5
    )
    assert popular["serendipity@5"] == 0 < ranking.report.baselines["EASE"]["serendipity@5"]


def test_what_is_not_positive_is_not_relevant(ranking: tabcf.Run) -> None:
    everything = tiny_ratings()
    assert ranking.evaluate(everything) == ranking.evaluate(everything.query("rating >= 4"))
    with pytest.raises(DataError, match="no event of data fulfils 'rating >= 4'"):
        ranking.evaluate(everything.query("rating < 4"))


def test_users_average_to_the_runs_metrics(ranking: tabcf.Run) -> None:
    data = tiny_ratings()
    users = ranking.evaluate_users(data)
    found = ranking.evaluate(data)
    assert list(users) == [
        *("user_id", "n_train", "n_rows", "n_relevant"),
        *("ndcg@5", "recall@3", "popularity@5", "novelty@3", "list_auc", "serendipity@5"),
    ]
    for name in users.columns[4:]:
        assert users[name].mean() == pytest.approx(found[name])
    assert users["n_rows"].sum() == (data["rating"] >= 4).sum()
    positive = ranking.trained.past.positive
    assert users["n_train"].tolist() == np.diff(positive.bounds)[1:].tolist()


def test_a_user_is_measured_on_their_own_rows(rating: tabcf.Run) -> None:
    data = tiny_ratings()
    users = rating.evaluate_users(data).set_index("user_id")
    for user in (0, 7, 29):
        own = data[data["user_id"] == user]
        found = rating.evaluate(own)
        assert users.loc[user, "n_rows"] == len(own)
        for name in ("rmse", "mae", "ndcg@5"):
            assert users.loc[user, name] == pytest.approx(found[name])


def test_users_without_anything_to_find_are_stated(ranking: tabcf.Run) -> None:
    users, items = ranking.trained.past.seen.pairs()
    rows = [
        (0, 999, 5),  # an item that nobody knows
        (users[0] - 1, items[0] - 1, 5),  # what they had
        (3, 4, 1),  # no positive
        (999, 4, 5),  # a user whom nobody knows
    ]
    data = pd.DataFrame(rows, columns=["user_id", "item_id", "rating"])
    data["timestamp"] = 1_000_000_000
    found = ranking.evaluate_users(data)
    assert found["user_id"].tolist() == [0, 3, 999]
    assert found["n_rows"].tolist() == [2, 0, 1]
    assert found["n_relevant"].tolist() == [0, 0, 0]
    assert found["n_train"].tolist()[2] == 0
    assert found["ndcg@5"].isna().all()
    assert found["list_auc"].isna().all()


def test_the_whole_ranking_may_be_all_that_is_asked_for(tmp_path: Any) -> None:
    """Without any list, by users and by groups, to stop early by, and after loading."""
    train = {
        "epochs": 30,
        "batch_size": 32,
        "learning_rate": 0.1,
        "early_stopping": {"patience": 10},
    }
    spec = {
        **RANKING,
        "metrics": ["list_auc"],
        "split": {"random": {"valid": 0.2, "test": 0.2}},
        "train": train,
    }
    run = tabcf.fit(spec, tiny_ratings(), tmp_path / "run")
    best = max(run.report.epochs, key=lambda epoch: epoch.validation["list_auc"])
    assert run.report.best_epoch == best.epoch
    data = tiny_ratings()
    found = run.evaluate(data)
    assert 0.8 < found["list_auc"] <= 1
    users = run.evaluate_users(data)
    assert list(users)[3:] == ["n_relevant", "list_auc"]
    assert users["list_auc"].mean() == pytest.approx(found["list_auc"])
    groups = run.evaluate_groups(data).set_index("group")
    assert groups.loc["warm", "list_auc"] == pytest.approx(found["list_auc"])
    assert tabcf.load(tmp_path / "run").evaluate(data) == found


def test_groups_are_the_rows_by_what_is_trained(rating: tabcf.Run) -> None:
    data = tiny_ratings().head(12)
    data.loc[:3, "user_id"] += 1_000
    data.loc[3:5, "item_id"] += 1_000
    found = rating.evaluate_groups(data).set_index("group")
    assert found["n_rows"].to_dict() == {
        "warm": 6,
        "cold user": 3,
        "cold item": 2,
        "cold both": 1,
    }
    for group, part in (("warm", data[6:]), ("cold user", data[:3]), ("cold both", data[3:4])):
        assert found.loc[group, "rmse"] == pytest.approx(rating.evaluate(part)["rmse"])
    # Nobody unknown has a list, and nothing unknown a place in one.
    assert found["n_lists"].tolist()[1:] == [0, 0, 0]
    assert rating.evaluate_groups(data[6:])["group"].tolist() == ["warm"]


def test_a_cold_item_of_the_item_table_may_be_found(tmp_path: Any) -> None:
    path = tmp_path / "items.csv"
    parity = [f"{item},{'even' if item % 2 == 0 else 'odd'}" for item in range(20)]
    path.write_text("\n".join(["item_id,parity", *parity]), encoding="utf-8")
    spec = {
        **RANKING,
        "entities": {
            "user": {"id": "user_id"},
            "item": {"id": "item_id", "table": str(path)},
        },
        "columns": {"item.parity": "category"},
        "split": {"random": {"valid": 0, "test": 0}},
        "train": {"epochs": 30, "batch_size": 32, "learning_rate": 0.03},
    }
    data = tiny_ratings()
    is_cold = data["item_id"] == 6
    run = tabcf.fit(spec, data[~is_cold])
    found = run.evaluate_groups(data).set_index("group")
    assert found.index.tolist() == ["warm", "cold item"]
    assert found.loc["warm", "n_lists"] == 0  # they have seen all of these
    assert found.loc["cold item", "n_rows"] == (is_cold & (data["rating"] >= 4)).sum()
    assert found.loc["cold item", "n_lists"] == found.loc["cold item", "n_rows"]


def test_a_metrics_column_that_is_not_there_is_told_before_training(tmp_path: Any) -> None:
    class Watch(Silent):
        def start(self, epochs: int, n_steps: int) -> None:
            raise AssertionError("training has started")

    path = tmp_path / "items.csv"
    rows = [f"{item},{'a|b' if item % 3 else 'c'}" for item in range(20)]
    path.write_text("\n".join(["item_id,genres", *rows]), encoding="utf-8")
    spec = {
        **RANKING,
        "entities": {
            "user": {"id": "user_id"},
            "item": {"id": "item_id", "table": str(path)},
        },
        "metrics": [{"ndcg": 5}, {"diversity": "genre"}],
    }
    message = (
        r"^metrics\[1\]: diversity: no column 'genre' in the table of item; did you mean "
        r"'genres'\? known: genres, item_id$"
    )
    with pytest.raises(SpecError, match=message):
        tabcf.fit(spec, tiny_ratings(), progress=Watch())
    spec["metrics"] = [{"diversity": "genres"}, {"miscalibration": "genres"}]
    found = tabcf.fit(spec, tiny_ratings()).report.test
    assert 0 < found["diversity@10"] < 1
    assert found["miscalibration@10"] > 0


def test_a_plain_table_has_neither_users_nor_groups() -> None:
    spec = {"tabcf": 1, "target": {"column": "price"}, "model": "tabular", "train": {"epochs": 1}}
    run = tabcf.fit(spec, tiny_table())
    with pytest.raises(RunError, match="needs the entity user"):
        run.evaluate_users(tiny_table())
    with pytest.raises(RunError, match="groups needs the entities user and item"):
        run.evaluate_groups(tiny_table())


def _with_something_to_find(run: tabcf.Run, data: pd.DataFrame) -> list[int]:
    users, items = run.trained.past.seen.pairs()
    seen = set(zip(users - 1, items - 1, strict=True))
    pairs = set(zip(data["user_id"], data["item_id"], strict=True)) - seen
    return sorted({user for user, _ in pairs})
