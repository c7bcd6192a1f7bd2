"""Lists and ranks of a model whose scores are known: a number for each pair of ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score
from torch import Tensor, nn

import tabcf
from tabcf.contracts.inputs import Inputs, Query
from tabcf.evaluation import lists
from tabcf.recommend import scores as scoring
from tabcf.recommend.trained import Trained
from tabcf.testing import tiny_ratings

N_USERS, N_ITEMS = 12, 20
METRICS: list[Any] = [
    "list_auc",
    {"ndcg": 5},
    {"recall": 5},
    {"map": 20},
    {"coverage": 3},
    {"gini": 3},
    {"popularity": 3},
    {"novelty": 3},
    {"serendipity": {"k": 5, "obvious": 4}},
    {"diversity": {"of": "kind", "k": 4}},
    {"miscalibration": {"of": "kind", "k": 4}},
]
NAMES = [
    *("list_auc", "ndcg@5", "recall@5", "map@20", "coverage@3", "gini@3", "popularity@3"),
    *("novelty@3", "serendipity@5", "diversity@4", "miscalibration@4"),
]
RATINGS = tiny_ratings(n_users=N_USERS, n_items=N_ITEMS)
TRAIN, TEST = RATINGS[:90], RATINGS[90:150]


class Table(nn.Module):
    """Scores that stand in a table, by the ids behind the rows."""

    def __init__(self, trained: Trained, table: np.ndarray) -> None:
        super().__init__()
        self._ids = {}
        for name in ("user", "item"):
            entity = trained.encoder.entities[name]
            assert (entity.n_events[1:] > 0).all()
            ids = np.array([-1, *entity.ids.values])
            self._ids[name] = torch.from_numpy(ids[entity.row_of_index])
        self._table = torch.from_numpy(table)

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        users = self._ids["user"][query.user.x_cat[:, 0].long()]
        return self._table[users][:, self._ids["item"][items.x_cat[:, 0].long()]][:, :, None]


def fitted(folder: Any, table: np.ndarray, item_id: list[int] | None = None) -> tabcf.Run:
    """A run whose scores are the table's; `item_id` are other ids for the items."""
    item_id = item_id or list(range(N_ITEMS))
    items = pd.DataFrame({"item_id": item_id, "kind": ["a", "b", "a|c", "c"] * (N_ITEMS // 4)})
    path = folder / "items.csv"
    items.sort_values("item_id").to_csv(path, index=False)
    spec = {
        "tabcf": 1,
        "target": {"implicit": {}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id", "table": str(path)}},
        "split": {"random": {"valid": 0, "test": 0}},
        "model": "popular",
        "metrics": METRICS,
    }
    run = tabcf.fit(spec, renamed(TRAIN, item_id))
    moved = np.empty_like(table)
    moved[:, item_id] = table
    run.trained = replace(run.trained, model=Table(run.trained, moved))
    return run


def renamed(data: pd.DataFrame, item_id: list[int]) -> pd.DataFrame:
    return data.assign(item_id=np.array(item_id)[data["item_id"]])


def unseen(user: int) -> np.ndarray:
    had = TRAIN["item_id"][TRAIN["user_id"] == user]
    return np.setdiff1d(np.arange(N_ITEMS), had)


def truth_of(user: int) -> np.ndarray:
    return np.isin(unseen(user), TEST["item_id"][TEST["user_id"] == user])


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    """Scores without ties."""
    rng = np.random.default_rng(0)
    return rng.permutation(N_USERS * N_ITEMS).reshape(N_USERS, N_ITEMS).astype(np.float32)


def test_auc_and_ndcg_are_those_of_scikit_learn(tmp_path: Any, table: np.ndarray) -> None:
    found = fitted(tmp_path, table).evaluate_users(TEST).set_index("user_id")
    for user, row in found.iterrows():
        scores, truth = table[user, unseen(user)], truth_of(user)
        assert row["list_auc"] == pytest.approx(roc_auc_score(truth, scores), rel=0, abs=1e-12)
        assert row["ndcg@5"] == pytest.approx(ndcg_score([truth], [scores], k=5))
    assert len(found) == TEST["user_id"].nunique()


def test_auc_counts_ties_half_as_scikit_learn_does(tmp_path: Any, table: np.ndarray) -> None:
    tied = table // 40
    found = fitted(tmp_path, tied).evaluate_users(TEST).set_index("user_id")["list_auc"]
    for user, auc in found.items():
        expected = roc_auc_score(truth_of(user), tied[user, unseen(user)])
        assert auc == pytest.approx(expected, rel=0, abs=1e-12)


def test_blocks_of_users_change_nothing(
    tmp_path: Any, table: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fitted(tmp_path, table)
    whole = run.evaluate_users(TEST)
    monkeypatch.setattr(scoring, "_BUDGET", 1)  # one user at a time
    pd.testing.assert_frame_equal(run.evaluate_users(TEST), whole)
    monkeypatch.setattr(lists, "_USERS", 5)  # of whom five have their past in memory
    monkeypatch.setattr(lists, "_PAIRS", 7)
    pd.testing.assert_frame_equal(run.evaluate_users(TEST), whole)


def test_blocks_of_users_have_their_own_past(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {
        "tabcf": 1,
        "target": {"implicit": {}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "split": {"random": {"valid": 0, "test": 0}},
        "model": {"ease": {"l2": 5}},  # which scores by the past, without ties
    }
    run = tabcf.fit(spec, TRAIN)
    assert isinstance(run, tabcf.Run)
    whole = run.evaluate_users(TEST)
    assert whole["ndcg@10"].nunique() > 3
    monkeypatch.setattr(lists, "_USERS", 5)
    pd.testing.assert_frame_equal(run.evaluate_users(TEST), whole)


@settings(max_examples=10)
@given(item_id=st.permutations(range(N_ITEMS)))
def test_a_permuted_catalogue_changes_nothing(
    tmp_path_factory: Any, table: np.ndarray, item_id: list[int]
) -> None:
    one = fitted(tmp_path_factory.mktemp("one"), table)
    two = fitted(tmp_path_factory.mktemp("two"), table, item_id)
    test = renamed(TEST, item_id)
    # Which of equally popular items is the obvious one is drawn by lot.
    names = [name for name in NAMES if name != "serendipity@5"]
    found, expected = two.evaluate(test), one.evaluate(TEST)
    assert list(found) == list(expected) == NAMES
    assert [found[n] for n in names] == pytest.approx([expected[n] for n in names], rel=1e-12)
    by_user = [name for name in names if name not in ("coverage@3", "gini@3")]
    pd.testing.assert_frame_equal(
        two.evaluate_users(test)[by_user], one.evaluate_users(TEST)[by_user]
    )


def test_a_random_recommender_scores_what_combinatorics_says(tmp_path: Any) -> None:
    """Every item of equal score: lists are drawn by lot, and ranks are all the same."""
    run = fitted(tmp_path, np.zeros((N_USERS, N_ITEMS), np.float32))
    run.metrics = tuple(metric for metric in run.metrics if metric.definition.needs != "lists")
    found = []
    for seed in range(150):
        run.trained = replace(run.trained, seed=seed)
        found.append(run.evaluate_users(TEST).set_index("user_id"))
    assert all((frame["list_auc"] == 0.5).all() for frame in found)
    for user in found[0].index:
        n, m, k = len(unseen(user)), int(truth_of(user).sum()), 5
        gains = 1 / np.log2(np.arange(2, k + 2))
        # Any place is a hit with chance m / n, also of the 20 places of map.
        harmonic = (1 / np.arange(1, n + 1)).sum()
        expected = {
            "recall@5": k / n,
            "ndcg@5": m / n * gains.sum() / gains[: min(k, m)].sum(),
            "map@20": ((m - 1) / (n - 1) * (n - harmonic) + harmonic) / n,
        }
        for name, mean in expected.items():
            values = np.array([frame.loc[user, name] for frame in found])
            spread = values.std() / len(values) ** 0.5
            assert values.mean() == pytest.approx(mean, abs=4.5 * spread), (user, name)


def test_serendipity_is_by_what_is_popular_in_training(tmp_path: Any, table: np.ndarray) -> None:
    run = fitted(tmp_path, table)
    counts = TRAIN["item_id"].value_counts().reindex(range(N_ITEMS), fill_value=0).to_numpy()
    found = run.evaluate_users(TEST).set_index("user_id")["serendipity@5"]
    n_settled = 0
    for user, value in found.items():
        left = unseen(user)
        top = left[np.argsort(-table[user, left])[:5]]
        relevant = left[truth_of(user)]
        # The four most popular ones, where no tie leaves their choice to chance.
        by_count = left[np.argsort(-counts[left], kind="stable")]
        if counts[by_count[3]] == counts[by_count[4]]:
            continue
        expected = set(top) & set(relevant) - set(by_count[:4])
        assert value == pytest.approx(len(expected) / 5)
        n_settled += 1
    assert n_settled >= 3
