"""Rankers without gradient descent, beside the same done one pair at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.layout import CategoricalColumn, Layout
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.errors import TrainingError
from tabcf.training import neighbours
from tabcf.training.closed_form import EASE, EDLAE
from tabcf.training.neighbours import ItemKNN, co_occurrences, distinct_pairs

N_USERS, N_ITEMS = 21, 13
LAYOUT = Layout(
    (
        CategoricalColumn("user", "user", N_USERS, "user"),
        CategoricalColumn("item", "item", N_ITEMS, "item"),
    )
)


def ids(n: int) -> Inputs:
    return Inputs(torch.arange(n, dtype=torch.int32)[:, None], torch.zeros(n, 0))


def problem(n_events: int = 120, *, is_weighted: bool = False) -> FitProblem:
    """Random events; some are of unknown users or items, and some are repeated."""
    rng = torch.Generator().manual_seed(0)
    rows = {
        "user": torch.randint(0, N_USERS, (n_events,), generator=rng).int(),
        "item": (torch.rand(n_events, generator=rng) ** 2 * N_ITEMS).int(),
    }
    table = Table(
        rows=rows,
        events=Inputs(torch.zeros(n_events, 0, dtype=torch.int32), torch.zeros(n_events, 0)),
        entities={"user": EntityTable(ids(N_USERS)), "item": EntityTable(ids(N_ITEMS))},
        weight=torch.rand(n_events, generator=rng) * 3 if is_weighted else None,
    )
    return FitProblem(table, LAYOUT, TargetInfo("implicit"))


def matrix(given: FitProblem) -> np.ndarray:
    """Users × items, 1 where there is an event; nobody's row and column are empty."""
    dense = np.zeros((N_USERS, N_ITEMS))
    dense[given.train.rows["user"].numpy(), given.train.rows["item"].numpy()] = 1
    dense[0], dense[:, 0] = 0, 0
    return dense


def scores(model: Any, histories: list[list[int]], items: Inputs | None = None) -> np.ndarray:
    lengths = torch.tensor([len(history) for history in histories])
    history = Bag(
        torch.tensor([item for history in histories for item in history]).int(),
        lengths.cumsum(0) - lengths,
    )
    blank = Inputs(torch.zeros(len(histories), 0), torch.zeros(len(histories), 0))
    query = Query(ids(len(histories)), blank, history)
    return model.score_items(query, items or ids(N_ITEMS)).squeeze(2).numpy()


def solved(model: Any, given: FitProblem) -> Any:
    with torch.no_grad():
        model.solve(given)
    return model.eval()


def test_edlae_without_dropout_is_ease() -> None:
    given = problem()
    ease, edlae = EASE(LAYOUT, l2=3.0), EDLAE(LAYOUT, l2=3.0, dropout=0.0)
    assert torch.equal(solved(ease, given).weight, solved(edlae, given).weight)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_edlae_is_ridge_regression_of_each_item_on_the_others(dropout: float) -> None:
    """Column j is the least-squares solution with penalties, of the other items' columns."""
    given = problem()
    x = matrix(given)[:, 1:]
    penalty = 2.0 + dropout / (1 - dropout) * (x**2).sum(0)
    expected = np.zeros((N_ITEMS, N_ITEMS))
    for item in range(N_ITEMS - 1):
        others = [i for i in range(N_ITEMS - 1) if i != item]
        rows = np.vstack([x[:, others], np.diag(np.sqrt(penalty[others]))])
        target = np.concatenate([x[:, item], np.zeros(len(others))])
        found = np.linalg.lstsq(rows, target)[0]
        expected[np.array(others) + 1, item + 1] = found
    weight = solved(EDLAE(LAYOUT, l2=2.0, dropout=dropout), given).weight
    np.testing.assert_allclose(weight, expected, atol=1e-6)


def test_an_expected_dropout_is_that_of_many_inputs_with_items_dropped() -> None:
    """Steck's claim itself: ridge regression on 20,000 copies of the users, each with drops."""
    given, dropout = problem(), 0.4
    x = matrix(given)[:, 1:]
    rng = np.random.default_rng(0)
    gram, cross = np.zeros((N_ITEMS - 1,) * 2), np.zeros((N_ITEMS - 1,) * 2)
    for _ in range(20_000):
        kept = x * (rng.random(x.shape) > dropout) / (1 - dropout)
        gram += kept.T @ kept / 20_000
        cross += kept.T @ x / 20_000
    item, others = 2, [i for i in range(N_ITEMS - 1) if i != 2]
    ridge = gram[np.ix_(others, others)] + 2.0 * np.eye(len(others))
    expected = np.linalg.solve(ridge, cross[others, item])
    weight = solved(EDLAE(LAYOUT, l2=2.0, dropout=dropout), given).weight
    np.testing.assert_allclose(weight[np.array(others) + 1, item + 1], expected, atol=5e-3)


@pytest.mark.parametrize("budget", [1, 100, 1 << 24])
def test_co_occurrences_are_the_gram_matrix_in_blocks_of_any_size(
    budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_BUDGET", budget)
    given = problem()
    x = matrix(given)
    found = np.full((N_ITEMS, N_ITEMS), np.nan)
    for block, counts in co_occurrences(*distinct_pairs(given.train), N_ITEMS):
        found[:, block] = counts
    np.testing.assert_array_equal(found, x.T @ x)


def likeness_by_loop(x: np.ndarray, shrink: float) -> np.ndarray:
    likeness = np.zeros((N_ITEMS, N_ITEMS))
    for i in range(1, N_ITEMS):
        for j in range(1, N_ITEMS):
            both = sum(1 for user in x if user[i] and user[j])
            root = (x[:, i].sum() * x[:, j].sum()) ** 0.5
            likeness[i, j] = both / (root + shrink) if i != j else 0
    return likeness


@pytest.mark.parametrize(("k", "shrink"), [(3, 0.0), (3, 2.5), (100, 1.0)])
def test_item_knn_sums_the_nearest_of_a_loop(k: int, shrink: float) -> None:
    """Which of two equally near items is kept is left open."""
    given = problem()
    likeness = likeness_by_loop(matrix(given), shrink)
    model = solved(ItemKNN(LAYOUT, k=k, shrink=shrink), given)
    weight = np.zeros((N_ITEMS, N_ITEMS))
    for item in range(N_ITEMS):
        nearest = model.neighbour[item].numpy()
        kept = np.sort(likeness[item])[::-1][:k]
        np.testing.assert_allclose(likeness[item, nearest], kept, atol=1e-6)
        weight[nearest, item] = likeness[item, nearest]
    histories = [[], [3], [1, 2, 5, 0], [12, 4]]
    expected = np.stack([weight[history].sum(0) for history in histories])
    np.testing.assert_allclose(scores(model, histories), expected, atol=1e-6)


def test_some_items_score_as_they_do_among_all() -> None:
    model = solved(ItemKNN(LAYOUT, k=4, shrink=1.0), problem())
    some = Inputs(torch.tensor([[5], [0], [2]]), torch.zeros(3, 0))
    histories = [[1, 7], [9]]
    everything = scores(model, histories)
    np.testing.assert_array_equal(scores(model, histories, some), everything[:, [5, 0, 2]])


@pytest.mark.parametrize("model", [EDLAE(LAYOUT), ItemKNN(LAYOUT)], ids=["edlae", "item_knn"])
def test_what_needs_a_history_says_so(model: Any) -> None:
    blank = torch.zeros(2, 0)
    name = "edlae" if isinstance(model, EDLAE) else "item_knn"
    with pytest.raises(TrainingError, match=f"{name} scores items from a user's past items"):
        model.score_items(Query(ids(2), Inputs(blank, blank)), ids(N_ITEMS))
    with pytest.raises(TrainingError, match=f"{name} ranks items; it predicts nothing"):
        model(torch.ones(2, 2, dtype=torch.int32))
