"""Rankers without gradient descent, beside the same done one pair at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import tabcf
from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.layout import CategoricalColumn, Layout
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError, TrainingError
from tabcf.nn import DotProduct
from tabcf.nn.scoring import score_candidates
from tabcf.testing import tiny_ratings
from tabcf.training import als, neighbours
from tabcf.training.als import solve_ials
from tabcf.training.closed_form import EASE, EDLAE, PopularModel
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


@pytest.mark.parametrize(
    "model",
    [EDLAE(LAYOUT, l2=5.0), ItemKNN(LAYOUT, k=4), PopularModel(LAYOUT)],
    ids=["edlae", "item_knn", "popular"],
)
def test_other_items_of_each_user_score_as_they_do_among_all(model: Any) -> None:
    """Users with a history, a user without one, and an item that nobody knows."""
    given = problem()
    ranker = solved(model, given)
    history = Bag(torch.tensor([1, 4, 12, 7]).int(), torch.tensor([0, 3, 3]))
    query = Query(ids(3), Inputs(torch.zeros(3, 0), torch.zeros(3, 0)), history)
    every = ranker.score_items(query, ids(N_ITEMS)).squeeze(2)
    chosen = torch.tensor([[0, 5, 11, 2], [3, 3, 8, 0], [12, 1, 6, 7]])
    some = Inputs(chosen.flatten()[:, None].int(), torch.zeros(12, 0))
    found = score_candidates(ranker, query, some)
    assert found.shape == (3, 4, 1)
    assert torch.allclose(found.squeeze(2), every.gather(1, chosen), atol=1e-6)
    assert float(found.abs().max()) > 0


@pytest.mark.parametrize("model", [EDLAE(LAYOUT), ItemKNN(LAYOUT)], ids=["edlae", "item_knn"])
def test_what_needs_a_history_says_so(model: Any) -> None:
    blank = torch.zeros(2, 0)
    name = "edlae" if isinstance(model, EDLAE) else "item_knn"
    with pytest.raises(TrainingError, match=f"{name} scores items from a user's past items"):
        model.score_items(Query(ids(2), Inputs(blank, blank)), ids(N_ITEMS))
    with pytest.raises(TrainingError, match=f"{name} ranks items; it predicts nothing"):
        model(torch.ones(2, 2, dtype=torch.int32))


IALS = {"l2": 0.05, "unobserved_weight": 0.2, "nu": 0.7, "sweeps": 2, "init_scale": 0.1}


def factors(given: FitProblem, **changes: Any) -> tuple[np.ndarray, np.ndarray]:
    """The users' and the items' factors, four wide unless told."""
    model = DotProduct([N_USERS, N_ITEMS], factors=changes.pop("d", 4))
    solve_ials(model, given, torch.Generator().manual_seed(5), **{**IALS, **changes})
    users, items = (model.column_vectors(c).detach().numpy().astype(float) for c in (0, 1))
    return users, items


def dense(given: FitProblem) -> np.ndarray:
    """Users × items: the sum of each pair's weights."""
    users, items = given.train.rows["user"].numpy(), given.train.rows["item"].numpy()
    weight = np.ones(len(users)) if given.train.weight is None else given.train.weight.numpy()
    summed = np.zeros((N_USERS, N_ITEMS))
    np.add.at(summed, (users, items), weight)
    summed[0], summed[:, 0] = 0, 0
    return summed


def penalties(weight: np.ndarray) -> np.ndarray:
    n_other = weight.shape[1] - 1
    return IALS["l2"] * (weight.sum(1) + IALS["unobserved_weight"] * n_other) ** IALS["nu"]


def lstsq_rows(weight: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Each row on its own: events towards 1, all pairs towards 0, and the penalty."""
    d, n_other = other.shape[1], len(other) - 1
    found = np.zeros((len(weight), d))
    for row, penalty in enumerate(penalties(weight)):
        if not weight[row].any():
            continue
        root = np.sqrt(weight[row])
        x = [
            root[:, None] * other,
            np.sqrt(IALS["unobserved_weight"]) * other[1:],
            np.sqrt(penalty) * np.eye(d),
        ]
        y = np.concatenate([root, np.zeros(n_other + d)])
        found[row] = np.linalg.lstsq(np.vstack(x), y)[0]
    return found


def objective(weight: np.ndarray, users: np.ndarray, items: np.ndarray) -> float:
    scores = users[1:] @ items[1:].T
    loss = (weight[1:, 1:] * (1 - scores) ** 2).sum()
    loss += IALS["unobserved_weight"] * (scores**2).sum()
    loss += (penalties(weight)[1:] * (users[1:] ** 2).sum(1)).sum()
    return float(loss + (penalties(weight.T)[1:] * (items[1:] ** 2).sum(1)).sum())


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("budget", [1, 150, 1 << 22])
def test_ials_solves_each_row_as_least_squares_does(
    budget: int, is_weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of any size, and where one row comes in pieces."""
    monkeypatch.setattr(als, "_BUDGET", budget)
    given = problem(is_weighted=is_weighted)
    weight = dense(given)
    _, items_before = factors(given, sweeps=1)
    users, items = factors(given, sweeps=2)
    np.testing.assert_allclose(users[1:], lstsq_rows(weight, items_before)[1:], atol=1e-5)
    users[0] = 0
    np.testing.assert_allclose(items, lstsq_rows(weight.T, users), atol=1e-5)


def test_no_sweep_of_ials_raises_its_objective() -> None:
    given = problem(is_weighted=True)
    weight = dense(given)
    values = [objective(weight, *factors(given, sweeps=sweeps)) for sweeps in range(1, 9)]
    assert all(after <= before + 1e-4 for before, after in pairwise(values)), values
    assert values[-1] < 0.95 * values[0]


def test_a_weight_of_two_is_an_event_twice() -> None:
    once = problem()
    n = len(once.train)
    twice = {name: torch.cat([rows, rows[: n // 2]]) for name, rows in once.train.rows.items()}
    weight = torch.ones(n)
    weight[: n // 2] = 2.0
    blank = Inputs(torch.zeros(n + n // 2, 0, dtype=torch.int32), torch.zeros(n + n // 2, 0))
    repeated = replace(once, train=replace(once.train, rows=twice, events=blank))
    weighted = replace(once, train=replace(once.train, weight=weight))
    # The first factors go by the order of counts, which differs: only the solution is one.
    scores = [
        users[1:] @ items[1:].T
        for users, items in (factors(given, sweeps=300) for given in (repeated, weighted))
    ]
    np.testing.assert_allclose(*scores, atol=1e-3)


def test_who_was_in_no_event_is_average_and_what_was_in_none_is_zero() -> None:
    given = problem()
    rows = {**given.train.rows, "item": given.train.rows["item"].clamp(max=N_ITEMS - 2)}
    users, items = factors(replace(given, train=replace(given.train, rows=rows)))
    assert not items[[0, N_ITEMS - 1]].any()
    assert items[1 : N_ITEMS - 1].any(axis=1).all()
    trained = users[1:][users[1:].any(axis=1)]
    np.testing.assert_allclose(users[0], trained.mean(0), atol=1e-6)


def test_a_penalty_too_small_for_floats_is_an_error_with_a_way_out() -> None:
    with pytest.raises(TrainingError, match="no unique solution in single precision; raise l2"):
        factors(problem(), d=40, l2=1e-30, unobserved_weight=1e-30)


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": {"implicit": {"positive": "rating >= 4"}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"ials": 2},
        **changes,
    }


def test_an_ials_run_has_neighbours_and_lists() -> None:
    run = tabcf.fit(spec(), tiny_ratings())
    assert run.similar("item", 0, k=5)["item_id"].mod(2).eq(0).all()
    assert run.recommend([1], k=3, exclude_seen=False)["item_id"].mod(2).eq(1).all()


def test_ials_refuses_further_columns() -> None:
    with pytest.raises(SpecError, match="ials takes only users and items; use dot_product"):
        tabcf.fit(spec(columns={"timestamp": "number"}), tiny_ratings())
