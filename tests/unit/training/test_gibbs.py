"""Draws from posteriors, against what is known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator

import tabcf
from tabcf.contracts.inputs import Bag
from tabcf.errors import SpecError
from tabcf.testing import tiny_ratings
from tabcf.training.gibbs.columns import Categorical, Number
from tabcf.training.gibbs.priors import ColumnPrior, Normal, Priors, regressions
from tabcf.training.gibbs.sets import SetColumn

SPEC: dict[str, Any] = {
    "tabcf": 1,
    "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product_bias": {"factors": 4}},
    "fit": {"gibbs": {"sweeps": 60, "burn_in": 20, "keep": 10}},
    "split": {"random": {"valid": 0.0, "test": 0.1}},
}


def _still(prior: ColumnPrior) -> ColumnPrior:
    """A prior that stays as it is."""

    class Still(ColumnPrior):
        def draw(self, rows: torch.Tensor, normal: Normal) -> None:
            pass

    return Still(prior.mean, prior.precision, prior.of)


def _normal(seed: int = 0) -> Normal:
    return Normal(Generator().manual_seed(seed))


def _close_to_normal(draws: torch.Tensor, mean: np.ndarray, covariance: np.ndarray) -> None:
    """`(S, P)` draws have that mean and covariance, within four standard errors."""
    n = len(draws)
    found = draws.double().numpy()
    error = np.sqrt(np.diag(covariance) / n)
    assert (np.abs(found.mean(0) - mean) < 4 * error).all()
    size = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.abs((np.cov(found.T) - covariance) / size).max() < 5 / np.sqrt(n)


def test_a_regression_is_drawn_from_its_posterior() -> None:
    torch.manual_seed(0)
    features, target = torch.randn(30, 3), torch.randn(30)
    prior = ColumnPrior(torch.tensor([0.5, 0.0, -1.0]), torch.tensor([1.0, 2.0, 4.0]), Priors())
    noise = 0.7
    precision = noise * (features.T @ features) + torch.diag(prior.precision)
    covariance = torch.linalg.inv(precision).double().numpy()
    right = noise * features.T @ target + prior.precision * prior.mean
    mean = torch.linalg.solve(precision, right).double().numpy()
    n = 4000
    gram = (features.T @ features).expand(n, 3, 3)
    draws = regressions(
        gram, (features.T @ target).expand(n, 3), prior, noise, _normal().like((n, 3))
    )
    _close_to_normal(draws, mean, covariance)


def test_rows_of_a_category_see_their_own_events_alone() -> None:
    torch.manual_seed(1)
    index, others, rest = torch.tensor([1, 2, 1, 3, 1, 3]), torch.randn(6, 2), torch.randn(6)
    prior = _still(ColumnPrior.flat(3, Priors()))
    column = Categorical(index, 5, torch.zeros(5, 3), prior)
    normal, draws = _normal(), []
    for _ in range(3000):
        column.draw(others, rest, 2.0, normal)
        draws.append(column.rows.clone())
    stacked = torch.stack(draws)
    features = torch.cat([torch.ones(6, 1), others], 1)
    for row in (1, 2, 3):
        own, target = features[index == row], rest[index == row]
        precision = 2.0 * own.T @ own + torch.eye(3)
        mean = torch.linalg.solve(precision, 2.0 * own.T @ target)
        covariance = torch.linalg.inv(precision).double().numpy()
        _close_to_normal(stacked[:, row], mean.double().numpy(), covariance)
    assert (stacked[:, 4] == 0).all()  # no event: the prior's mean


@pytest.mark.parametrize("norm", ["sqrt", "mean"])
def test_rows_of_a_set_are_drawn_together(norm: str) -> None:
    """Against the whole system, which conjugate gradients never form."""
    torch.manual_seed(2)
    bag = Bag(torch.tensor([1, 2, 2, 3, 1]), torch.tensor([0, 2, 4]))
    owner, others, rest = torch.tensor([0, 1, 1, 2, 0, 2]), torch.randn(6, 1), torch.randn(6)
    prior = _still(ColumnPrior(torch.tensor([0.3, -0.2]), torch.tensor([1.0, 3.0]), Priors()))
    column = SetColumn(bag, owner, 4, torch.zeros(4, 2), prior, norm=norm)
    normal, draws = _normal(), []
    for _ in range(3000):
        column.draw(others, rest, 1.5, normal)
        draws.append(column.rows.flatten().clone())
    weights = torch.zeros(3, 4)
    divisor = 2**0.5 if norm == "sqrt" else 2.0
    weights[0, [1, 2]], weights[1, [2, 3]] = 1 / divisor, 1 / divisor
    weights[2, 1] = 1.0
    features = torch.cat([torch.ones(6, 1), others], 1)
    design = torch.einsum("nr,nw->nrw", weights[owner], features).flatten(1)
    precision = 1.5 * design.T @ design + torch.diag(prior.precision.repeat(4))
    right = 1.5 * design.T @ rest + (prior.precision * prior.mean).repeat(4)
    mean = torch.linalg.solve(precision, right).double().numpy()
    covariance = torch.linalg.inv(precision).double().numpy()
    _close_to_normal(torch.stack(draws), mean, covariance)


def test_a_number_has_one_row() -> None:
    torch.manual_seed(3)
    values, others, rest = torch.randn(20), torch.randn(20, 2), torch.randn(20)
    prior = _still(ColumnPrior.flat(3, Priors()))
    column = Number(values, torch.zeros(1, 3), prior)
    normal, draws = _normal(), []
    for _ in range(3000):
        column.draw(others, rest, 1.0, normal)
        draws.append(column.rows[0].clone())
    features = torch.cat([torch.ones(20, 1), others], 1) * values[:, None]
    precision = features.T @ features + torch.eye(3)
    mean = torch.linalg.solve(precision, features.T @ rest).double().numpy()
    covariance = torch.linalg.inv(precision).double().numpy()
    _close_to_normal(torch.stack(draws), mean, covariance)


def test_a_prior_is_drawn_from_its_posterior() -> None:
    """The mean of rows, and the precision about it: many rows leave little doubt."""
    torch.manual_seed(4)
    rows = 2.0 + 0.5 * torch.randn(4000, 2)
    prior = ColumnPrior.flat(2, Priors())
    normal, means, precisions = _normal(), [], []
    for _ in range(300):
        prior.draw(rows, normal)
        means.append(prior.mean.clone())
        precisions.append(prior.precision.clone())
    mean, precision = torch.stack(means[20:]).mean(0), torch.stack(precisions[20:]).mean(0)
    torch.testing.assert_close(mean, rows.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(precision, rows.var(0).reciprocal(), atol=0, rtol=0.03)


def _planted(seed: int) -> pd.DataFrame:
    """Ratings of a factorisation machine with noise of 0.5."""
    rng = np.random.default_rng(seed)
    users, items = rng.normal(size=(60, 2)), rng.normal(size=(40, 2))
    biases = rng.normal(size=40)
    pairs = rng.permutation(60 * 40)[:1600]
    user, item = np.divmod(pairs, 40)
    score = 3 + biases[item] + (users[user] * items[item]).sum(1)
    noisy = score + rng.normal(0, 0.5, len(pairs))
    return pd.DataFrame({"user_id": user, "item_id": item, "score": noisy})


@pytest.fixture(scope="module")
def planted() -> tabcf.Run:
    spec = SPEC | {"target": "score", "fit": {"gibbs": {"sweeps": 300, "burn_in": 60, "keep": 60}}}
    return tabcf.fit(spec, _planted(0))


def test_planted_ratings_are_found_up_to_their_noise(planted: tabcf.Run) -> None:
    assert planted.report.test["rmse"] < 0.62  # the noise is 0.5
    # The noise that the model believes in, in the target's units.
    model: Any = planted.trained.model
    noise = float(model.noise.sqrt()) * planted.trained.target.scale[0]
    assert noise == pytest.approx(0.5, abs=0.05)


def test_intervals_cover_what_they_say(planted: tabcf.Run) -> None:
    known = planted.trained.events.source.frame[["user_id", "item_id"]]
    rows = _planted(0).merge(known, how="left", indicator=True)
    held = rows[rows.pop("_merge") == "left_only"].reset_index(drop=True)
    predicted = planted.predict(held)
    within = (predicted["score"] - predicted["prediction"]).abs() <= 1.645 * predicted["sd"]
    assert within.mean() == pytest.approx(0.9, abs=0.06)  # two standard errors of 160 rows
    new = planted.predict(pd.DataFrame({"user_id": [999], "item_id": [1]}))
    assert new["sd"].iloc[0] > 0


def test_the_same_seed_draws_the_same(tmp_path: Any) -> None:
    runs = [tabcf.fit(SPEC, tiny_ratings()) for _ in range(2)]
    one, two = (run.predict(tiny_ratings()) for run in runs)
    assert (one["prediction"] == two["prediction"]).all()
    assert one["prediction"].between(1, 5).all()
    runs[0].save(tmp_path / "run")
    back = tabcf.load(tmp_path / "run")
    pd.testing.assert_frame_equal(back.predict(tiny_ratings()), one)
    pd.testing.assert_frame_equal(back.recommend(3, k=4), runs[0].recommend(3, k=4))


def test_alternating_least_squares_find_what_was_planted() -> None:
    spec = SPEC | {
        "target": "score",
        "model": {"dot_product_bias": {"factors": 2}},
        "fit": {"als": {"l2": 2, "sweeps": 30}},
    }
    run = tabcf.fit(spec, _planted(0))
    assert run.report.test["rmse"] < 0.65  # the noise is 0.5
    # Somebody new is folded in, as with any model that has rows.
    someone = _planted(0)[lambda rows: rows["user_id"] == 5].drop(columns="user_id")
    held = someone.iloc[15:]
    known, new = run.fold_in(someone.iloc[:15]), run.fold_in(someone.iloc[:1])
    errors = [
        float((who.predict(held)["prediction"] - held["score"].to_numpy()).pow(2).mean())
        for who in (known, new)
    ]
    assert errors[0] < errors[1]


def test_a_column_may_have_a_penalty_of_its_own() -> None:
    """One that leaves nothing of a column's vectors leaves nothing of their products either."""
    sizes = []
    for l2 in (2.0, {"item": 1e6}, {"default": 2.0, "item": 2.0}):
        spec = SPEC | {"target": "score", "fit": {"als": {"l2": l2, "sweeps": 5}}}
        model: Any = tabcf.fit(spec, _planted(0)).trained.model
        users, items = (model.column_vectors(column).detach() for column in (0, 1))
        sizes.append((float(users.norm()), float(items.norm())))
    assert sizes[0] == pytest.approx(sizes[2])
    assert sizes[1][1] < 1e-3 < sizes[0][1]


def test_a_sweep_lowers_the_penalised_error() -> None:
    """Each half step is exact, so the objective never rises; standardised targets."""
    found = []
    for sweeps in (1, 2, 4, 8, 16):
        fit = {"als": {"sweeps": sweeps, "l2": 3.0, "l2_bias": 2.0}}
        run = tabcf.fit(SPEC | {"fit": fit, "target": "score"}, _planted(1))
        model: Any = run.trained.model
        events = run.trained.events.learnable()
        table = run.trained.encoder.encode(events)
        score = run.predict(events.frame)["prediction"].to_numpy()
        scale = run.trained.target.scale[0]
        error = (events.frame["score"].to_numpy() - score) / scale
        penalty = 3.0 * model.factors.detach().pow(2).sum()
        penalty += 2.0 * model.biases.detach().pow(2).sum()
        found.append(float((error**2).sum()) + float(penalty))
        assert len(table) == len(error)
    assert found == sorted(found, reverse=True)


def test_chains_begin_anew_and_all_keep_their_draws() -> None:
    options = {"sweeps": 12, "burn_in": 4, "keep": 4}
    found = []
    for chains in (1, 2):
        fit = {"gibbs": options | {"chains": chains}}
        model: Any = tabcf.fit(SPEC | {"fit": fit}, tiny_ratings()).trained.model
        found.append([member.factors.detach() for member in model.members])
    one, two = found
    assert (len(one), len(two)) == (4, 8)
    # The last draw of all is the first member's, which every draw has been written to.
    for k, place in enumerate((1, 2, 3, 0)):
        torch.testing.assert_close(two[1 + k], one[place], atol=0, rtol=0)
    assert not any(torch.equal(own, other) for own in two[5:] for other in one)


def test_lists_of_many_users_are_those_of_each(planted: tabcf.Run) -> None:
    together = planted.recommend(range(20), k=3).set_index("user_id")
    for user in (0, 7, 19):
        own = planted.recommend(user, k=3)
        assert together.loc[user, "item_id"].tolist() == own["item_id"].tolist()
        assert together.loc[user, "score"].tolist() == pytest.approx(
            own["score"].tolist(), abs=1e-4
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "embedding_nn"}, "fit: gibbs fits dot_product_bias, and the model is emb"),
        ({"loss": "mae"}, "loss: gibbs lowers mse, so there is no loss to choose"),
        ({"target": {"implicit": {}}}, "fit: gibbs takes "),
        ({"fit": "gibs"}, "did you mean 'gibbs'"),
        (
            {"model": {"dot_product_bias": {"y_range": [0, 6]}}},
            "model.y_range: gibbs needs scores without a range",
        ),
        (
            {"fit": "als", "model": {"dot_product_bias": {"y_range": [0, 6]}}},
            "model.y_range: als needs scores without a range",
        ),
        (
            {"fit": {"als": {"l2": {"genre": 3}}}},
            "fit.als.l2: no column 'genre'; known: default, user, item",
        ),
        (
            {"fit": {"gibbs": {"sweeps": 10, "burn_in": 10}}},
            "fit.gibbs.burn_in: expected fewer than the 10 sweeps, got 10",
        ),
    ],
)
def test_what_does_not_go_together_is_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tabcf.fit(SPEC | change, tiny_ratings())


def test_odd_data_give_a_result() -> None:
    """All ratings equal but one, one user, one item: nothing is NaN."""
    ratings = tiny_ratings()
    flat = ratings.assign(rating=[1, *[3] * (len(ratings) - 1)])
    for odd in (flat, ratings[ratings["user_id"] == 3], ratings[ratings["item_id"] == 2]):
        run = tabcf.fit(SPEC, odd)
        predicted = run.predict(odd)
        assert np.isfinite(predicted[["prediction", "sd"]].to_numpy()).all()
