"""What choices say of rows: by products of vectors, pair by pair, and by ials' own equations."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor

import tabcf
from tabcf.contracts.table import Table
from tabcf.data.batches import select
from tabcf.recommend.fold_in import ranking, solver
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.pairs import FactoredPairs, SampledPairs
from tabcf.recommend.fold_in.ranking import Ranking
from tabcf.recommend.fold_in.rows import Rows
from tabcf.recommend.fold_in.solver import Likelihood, Prior
from tabcf.testing import tiny_ratings

FACTORED: dict[str, dict[str, Any]] = {
    "softmax": {"model": {"dot_product_bias": {"factors": 3}}, "loss": "softmax"},
    "squares": {"model": {"dot_product": {"factors": 3}}, "loss": "implicit_mse"},
    "with columns": {"model": {"dot_product": {"factors": 3}}, "loss": "bpr"},
}


@cache
def fitted(name: str, folder: str) -> tabcf.Run:
    entities: dict[str, Any] = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}
    if name == "with columns":
        ids = {"user": range(30), "item": range(20)}
        for side, rows in ids.items():
            frame = pd.DataFrame({f"{side}_id": rows, "kind": [r % 3 for r in rows]})
            frame.to_csv(f"{folder}/{side}.csv", index=False)
            entities[side] |= {
                "table": f"{folder}/{side}.csv",
                "columns": {f"{side}_kind": {"category": {"from": "kind"}}},
            }
    spec = {
        "tabcf": 1,
        "target": {"implicit": {"positive": "rating >= 4"}},
        "entities": entities,
        "train": {"epochs": 4, "learning_rate": 0.05, "batch_size": 16},
        **FACTORED[name],
    }
    return tabcf.fit(spec, tiny_ratings())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("ranking"))


def choices(side: str) -> tuple[Tensor, Tensor]:
    """Whose each choice is, and the other side's row; the third newcomer chose nobody."""
    return torch.tensor([0, 0, 1, 0, 1]), torch.tensor([3, 5, 5, 8, 1])


def said(run: tabcf.Run, side: str) -> Likelihood:
    rows = Rows(run.trained, side, n_slots=64)
    own = select(run.trained.encoder.tables[side].inputs, torch.tensor([0, 4, 7]))
    return Ranking(rows).likelihood(own, *choices(side))


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("name", FACTORED)
def test_products_of_vectors_and_pairs_one_by_one_agree(name: str, side: str, folder: str) -> None:
    run = fitted(name, folder)
    factored = said(run, side)
    assert isinstance(factored, FactoredPairs)
    rng = Generator().manual_seed(0)
    pairs = SampledPairs.drawn(factored._rows, factored._choices, factored._rule, rng)
    values = torch.randn(3, factored._rows.width, generator=rng).double()
    for first, second in zip(factored.curvature(values), pairs.curvature(values), strict=True):
        assert torch.allclose(first, second, atol=1e-4, rtol=1e-4)
    assert factored.judged(values, factored) == pytest.approx(pairs.judged(values, pairs))


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("name", FACTORED)
def test_gradients_are_finite_differences_of_the_loss(name: str, side: str, folder: str) -> None:
    found = said(fitted(name, folder), side)
    assert isinstance(found, FactoredPairs)
    values = torch.randn(3, found._rows.width, generator=Generator().manual_seed(0)).double()
    gradient = found.curvature(values).gradient
    for number in range(values.shape[1]):
        moved = torch.zeros_like(values)
        moved[:, number] = 0.01
        high, low = (found.curvature(values + s * moved).value for s in (1, -1))
        assert torch.allclose(gradient[:, number], (high - low) / 0.02, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("name", FACTORED)
def test_rows_found_by_slopes_are_those_found_by_curvatures(
    name: str, side: str, folder: str
) -> None:
    found = said(fitted(name, folder), side)
    assert isinstance(found, FactoredPairs)
    width = found._rows.width
    prior = Prior(torch.zeros(width).double(), 0.3 * torch.eye(width).double())
    start = torch.zeros(3, width).double()
    by_slopes = solver._by_slopes(found, prior, start)
    by_curvatures = solver._by_curvatures(found, prior, start)
    heights = [
        solver._with_prior(found.curvature(values), prior, values)[0]
        for values in (by_slopes, by_curvatures, start)
    ]
    assert torch.allclose(heights[0], heights[1], atol=0.05)
    assert (heights[0][:2] < heights[2][:2]).all()


@pytest.mark.parametrize("name", FACTORED)
def test_some_of_the_rows_have_their_own_losses(name: str, folder: str) -> None:
    whole = said(fitted(name, folder), "user")
    rng = Generator().manual_seed(0)
    assert isinstance(whole, FactoredPairs)
    pairs = SampledPairs.drawn(whole._rows, whole._choices, whole._rule, rng)
    values = torch.randn(3, whole._rows.width, generator=rng).double()
    some = torch.tensor([1, 2])
    for likelihood in (whole, pairs):
        part = likelihood.of(some).curvature(values[some])
        for found, expected in zip(part, likelihood.curvature(values), strict=True):
            assert torch.allclose(found, expected[some], atol=1e-5)


def test_a_sample_of_many_others_stands_for_all(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fitted("softmax", folder)
    whole = said(run, "user")
    monkeypatch.setattr(ranking, "_MOST_OTHERS", 10)
    part = said(run, "user")
    assert isinstance(part, FactoredPairs)
    assert 10 <= part._choices.n_others <= 14
    assert part._choices.share == 2.0
    values = torch.zeros(3, part._rows.width).double()
    first, second = whole.curvature(values), part.curvature(values)
    assert torch.allclose(first.value, second.value, rtol=0.2)


def test_who_was_not_trained_does_not_count(folder: str) -> None:
    """Row 0 is somebody unknown."""
    run = fitted("softmax", folder)
    rows = Rows(run.trained, "user", n_slots=64)
    own = select(run.trained.encoder.tables["user"].inputs, torch.tensor([0]))
    ranking_ = Ranking(rows)
    one = ranking_.likelihood(own, torch.tensor([0]), torch.tensor([3]))
    two = ranking_.likelihood(own, torch.tensor([0, 0]), torch.tensor([3, 0]))
    values = torch.ones(1, rows.width).double()
    for first, second in zip(one.curvature(values), two.curvature(values), strict=True):
        assert torch.equal(first, second)


def test_the_users_sums_are_found_once(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fitted("softmax", folder)
    rows = Rows(run.trained, "item", n_slots=64)
    own = select(run.trained.encoder.tables["item"].inputs, torch.tensor([0, 4, 7]))
    ranking_ = Ranking(rows)
    first = ranking_.likelihood(own, *choices("item"))
    calls = []
    monkeypatch.setattr(ranking, "_log_totals", lambda *_: calls.append(1))
    second = ranking_.likelihood(own, *choices("item"))
    values = torch.zeros(3, rows.width).double()
    assert torch.equal(first.curvature(values).value, second.curvature(values).value)
    assert not calls


@pytest.mark.parametrize("side", ["user", "item"])
def test_ials_finds_newcomers_by_its_own_equations(side: str) -> None:
    """With its own penalty as the prior, fold-in is the half sweep that solves one side."""
    l2, weight = 0.1, 0.2
    spec = {
        "tabcf": 1,
        "target": {"implicit": {}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": {"ials": {"factors": 4, "l2": l2, "unobserved_weight": weight, "nu": 0}},
    }
    frame = tiny_ratings()
    run = tabcf.fit(spec, frame[frame["rating"] == 5])
    trained = run.trained
    fold = FoldIn(trained, side)
    precision = 2 * l2 * torch.eye(4).double()
    fold._shape, fold.strength = Prior(torch.zeros(4).double(), precision), 1.0
    other = "item" if side == "user" else "user"
    entity = trained.encoder.entities[other]
    chosen = entity.row_of_index[np.array([2, 5, 9])]
    rows = {
        side: torch.ones(3, dtype=torch.int32),
        other: torch.from_numpy(chosen.astype(np.int32)),
    }
    blank = select(trained.encoder.events_with({}, np.zeros(1, np.int32)), torch.zeros(3).long())
    found = fold.solve(Table(rows, blank, trained.encoder.tables), 1)
    vectors = trained.model.column_vectors(1 if side == "user" else 0).detach().double()[1:]
    v = vectors[[1, 4, 8]]
    normal = weight * vectors.T @ vectors + v.T @ v + l2 * torch.eye(4)
    expected = torch.linalg.solve(normal, v.sum(0))
    assert torch.allclose(found.mean[0], expected, atol=1e-5)
    # The losses are sums of squares and no halves of them: their curvature is twice the matrix.
    assert torch.allclose(found.covariance[0], torch.linalg.inv(2 * normal), atol=1e-5)
