"""Odd data and bad priors: a result of numbers, or a clear refusal, for each likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator

import tabcf
from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.layout import CategoricalColumn, ContinuousColumn, Layout, SetColumn
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError, TrainingError
from tabcf.nn.dot_product import DotProductBias
from tabcf.run.builtins import fits
from tabcf.testing import tiny_ratings
from tabcf.training.gibbs import Priors, draw_posterior, solve_als

SPEC: dict[str, Any] = {
    "tabcf": 1,
    "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product_bias": {"factors": 3}},
    "split": {"random": {"valid": 0.0, "test": 0.1}},
}
BOTH = pytest.mark.parametrize("likelihood", ["normal", "ordered_probit"])


def _spec(likelihood: str, **options: Any) -> dict[str, Any]:
    short = {"likelihood": likelihood, "sweeps": 20, "burn_in": 5, "keep": 5, **options}
    return SPEC | {"fit": {"gibbs": short}}


def _all_numbers(run: tabcf.Run, rows: pd.DataFrame) -> pd.DataFrame:
    shown = run.predict(rows, interval=0.9)
    found = shown[["prediction", "sd", "low", "high"]].to_numpy(dtype=float)
    assert np.isfinite(found).all()
    assert shown["prediction"].between(1, 5).all()
    return shown


@BOTH
@pytest.mark.parametrize("value", [1, 3, 5])
def test_all_ratings_equal(likelihood: str, value: int) -> None:
    ratings = tiny_ratings().assign(rating=value)
    shown = _all_numbers(tabcf.fit(_spec(likelihood), ratings), ratings)
    assert shown["prediction"].to_numpy() == pytest.approx(value, abs=1.0)


@BOTH
def test_one_user_only(likelihood: str) -> None:
    ratings = tiny_ratings()
    ratings = ratings[ratings["user_id"] == 3]
    run = tabcf.fit(_spec(likelihood), ratings)
    _all_numbers(run, ratings)
    _all_numbers(run, pd.DataFrame({"user_id": [999], "item_id": [1]}))


@BOTH
def test_a_column_with_one_row(likelihood: str) -> None:
    """A constant category, a constant number and a set that is the same for all."""
    spec = _spec(likelihood) | {
        "columns": {"same": "category", "level": "number", "tags": {"set": {"separator": "|"}}}
    }
    ratings = tiny_ratings().assign(same="a", level=7.0, tags="x|y")
    _all_numbers(tabcf.fit(spec, ratings), ratings)


@BOTH
def test_two_events(likelihood: str) -> None:
    ratings = pd.DataFrame({"user_id": [1, 2], "item_id": [1, 1], "rating": [2, 4]})
    spec = _spec(likelihood) | {"split": {"random": {"valid": 0.0, "test": 0.0}}}
    _all_numbers(tabcf.fit(spec, ratings), ratings)


@BOTH
@pytest.mark.parametrize(
    "priors",
    [
        {"shape": 1e-9, "rate": 1e-9, "mean_strength": 1e-9},
        {"shape": 1e6, "rate": 1e-9},
        {"shape": 1e-9, "rate": 1e6},
        {"mean_strength": 1e6},
    ],
)
def test_bad_priors_give_numbers(likelihood: str, priors: dict[str, float]) -> None:
    ratings = tiny_ratings()
    _all_numbers(tabcf.fit(_spec(likelihood, priors=priors), ratings), ratings)


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ({"shape": 0}, "fit.priors.shape: "),
        ({"rate": -1}, "fit.priors.rate: "),
        ({"mean_strength": float("nan")}, "fit.priors.mean_strength: "),
        ({"width": 1}, "fit.priors: unknown key 'width'"),
    ],
)
def test_priors_that_are_none_are_refused(priors: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tabcf.fit(_spec("normal", priors=priors), tiny_ratings())


def test_numbers_far_from_zero_are_refused_rather_than_nan() -> None:
    problem = _problem(torch.randint(1, 5, (50, 2)), x_cont=torch.full((50, 1), 1e30))
    model = DotProductBias([5, 5], 1, factors=2)
    with pytest.raises(TrainingError, match="a draw of sweep 1 is not finite"):
        list(draw_posterior(model, problem, Generator(), sweeps=3, burn_in=0, keep=1))


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("n_levels", [0, 5])
def test_a_column_of_a_million_rows(n_levels: int, engine: Any) -> None:
    """A category, and a set, of a million values; most have no event."""
    n_rows, n = 1_000_001, 3000
    rng = Generator().manual_seed(0)
    x_cat = torch.stack(
        [torch.randint(1, 4, (n,), generator=rng), torch.randint(1, n_rows, (n,), generator=rng)], 1
    )
    values = torch.randint(1, n_rows, (2 * n,), generator=rng)
    bag = Bag(values, torch.arange(0, 2 * n, 2))
    problem = _problem(x_cat, bag=bag)
    model = DotProductBias([4, n_rows], factors=2, set_cardinalities=[n_rows])
    draws = draw_posterior(
        model,
        problem,
        Generator().manual_seed(1),
        sweeps=2,
        burn_in=0,
        keep=1,
        n_levels=n_levels,
        engine=engine,
    )
    assert len(list(draws)) == 1
    assert all(torch.isfinite(weights).all() for weights in model.parameters())
    assert model.set_factors[0].abs().sum() > 0


def test_more_draws_than_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "_memory", lambda: 20_000)
    with pytest.raises(SpecError, match=r"keep: 256 draws of .* MB do not fit .* at most \d"):
        tabcf.fit(SPEC | {"fit": "gibbs"}, tiny_ratings())


def test_least_squares_of_one_user_and_of_equal_ratings() -> None:
    ratings = tiny_ratings()
    for odd in (ratings[ratings["user_id"] == 3], ratings.assign(rating=4)):
        run = tabcf.fit(SPEC | {"fit": "als"}, odd)
        assert np.isfinite(run.predict(odd)["prediction"].to_numpy()).all()


def test_least_squares_leave_rows_without_events_at_zero() -> None:
    problem = _problem(torch.tensor([[1, 1], [1, 2]]))
    model = DotProductBias([5, 5], factors=2)
    solve_als(
        model, problem, Generator().manual_seed(0), sweeps=2, l2={"default": 1.0}, l2_bias=1.0
    )
    assert not model.biases[2:5].any()


def _problem(
    x_cat: torch.Tensor, *, x_cont: torch.Tensor | None = None, bag: Bag | None = None
) -> FitProblem:
    """Events of two categories, with a number or a set of their own."""
    n = len(x_cat)
    levels = torch.arange(n) % 5
    cont = torch.zeros(n, 0) if x_cont is None else x_cont
    events = Inputs(x_cat.int(), cont, () if bag is None else (bag,))
    empty: dict[str, EntityTable] = {}
    table = Table({}, events, empty, target=(levels.float() - 2) / 1.5)
    info = TargetInfo("rating", ("y",), (1.0, 2.0, 3.0, 4.0, 5.0), center=(3.0,), scale=(1.5,))
    names = ["user_id", "item_id"][: x_cat.shape[1]]
    layout = Layout(
        tuple(CategoricalColumn(name, "event", 0) for name in names),
        () if x_cont is None else (ContinuousColumn("number", "event"),),
        () if bag is None else (SetColumn("bag", "event", 0),),
    )
    return FitProblem(table, layout, info)


def test_the_default_priors_are_those_of_the_options() -> None:
    options = fits.PriorOptions()
    own = Priors()
    assert (options.shape, options.rate, options.mean_strength) == (
        own.shape,
        own.rate,
        own.mean_strength,
    )
