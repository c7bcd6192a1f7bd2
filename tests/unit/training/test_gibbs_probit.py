"""The ordered probit: its steps against brute force, planted cut-points, and whole runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import Generator

import tabcf
from tabcf.cli.predict import command as predict_command
from tabcf.errors import RunError, SpecError
from tabcf.nn.dot_product import DotProduct
from tabcf.nn.probit import OrderedProbitEnsemble, level_probabilities
from tabcf.testing import tiny_ratings
from tabcf.training.gibbs.likelihoods import OrderedProbit, latent_numbers
from tabcf.training.gibbs.priors import Normal

SPEC: dict[str, Any] = {
    "tabcf": 1,
    "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product_bias": {"factors": 2}},
    "fit": {
        "gibbs": {"likelihood": "ordered_probit", "sweeps": 60, "burn_in": 20, "keep": 10},
    },
    "split": {"random": {"valid": 0.0, "test": 0.1}},
    "metrics": ["rmse", "log_loss", "accuracy", "calibration_error", "interval_coverage"],
}
CUTS = torch.tensor([-1.4, -0.3, 0.9, 1.3])


def _normal(seed: int = 0) -> Normal:
    return Normal(Generator().manual_seed(seed))


def _log_density(cuts: np.ndarray, score: np.ndarray, level: np.ndarray) -> float:
    """Of cut-points: the levels' likelihood, and half an event of each level at 0."""
    from math import erf, log

    def mass(k: int, at: float) -> float:
        ends = [-np.inf, *cuts, np.inf]
        low, high = (0.5 * (1 + erf((end - at) / 2**0.5)) for end in ends[k : k + 2])
        return log(max(high - low, 1e-300))

    events = sum(mass(int(k), float(at)) for k, at in zip(level, score, strict=True))
    return events + 0.5 * sum(mass(k, 0.0) for k in range(len(cuts) + 1))


def test_cut_points_are_drawn_from_their_posterior() -> None:
    """Two cut-points, against the normalised density over a grid."""
    rng = np.random.default_rng(0)
    score = rng.normal(size=12)
    level = np.array([0, 2, 1, 0, 2, 2, 1, 0, 2, 2, 0, 2])
    likelihood = OrderedProbit(torch.from_numpy(level), 3)
    given, normal, draws = torch.from_numpy(score).float(), _normal(), []
    for _ in range(1200):
        likelihood.draw(given, normal)
        draws.append(likelihood.cut_points)
    found = np.array(draws)
    grid = np.linspace(-3, 3, 121)
    pairs = np.array([(a, b) for a in grid for b in grid if a < b])
    logs = np.array([_log_density(pair, score, level) for pair in pairs])
    weight = np.exp(logs - logs.max())
    weight /= weight.sum()
    mean = weight @ pairs
    deviation = np.sqrt(weight @ (pairs - mean) ** 2)
    # The draws hang together a little: half of them count.
    assert (np.abs(found.mean(0) - mean) < 5 * deviation / np.sqrt(600)).all()
    assert found.std(0) == pytest.approx(deviation, rel=0.12)
    assert likelihood.n_taken > 0.7 * likelihood.n_tried


@pytest.mark.parametrize(
    ("score", "low", "high"),
    [(0.3, -0.5, 0.8), (2.0, -torch.inf, 0.0), (-1.0, 1.5, torch.inf), (0.0, 6.0, 6.5)],
)
def test_latent_numbers_are_normal_ones_between_bounds(
    score: float, low: float, high: float
) -> None:
    """Against moments by quadrature."""
    n = 20_000
    ends = (torch.full((n,), value, dtype=torch.float64) for value in (score, low, high))
    drawn = latent_numbers(*ends, _normal().uniform(n)).numpy()
    grid = np.linspace(max(low, score - 9), min(high, score + 9), 20_001)
    density = np.exp(-0.5 * (grid - score) ** 2)
    density /= density.sum()
    mean = density @ grid
    deviation = float(np.sqrt(density @ (grid - mean) ** 2))
    assert drawn.min() >= low
    assert drawn.max() <= high
    assert drawn.mean() == pytest.approx(mean, abs=4 * deviation / n**0.5 + 1e-3 * deviation)
    assert drawn.std() == pytest.approx(deviation, rel=0.03)


def test_bounds_out_of_any_reach_give_the_nearest_bound() -> None:
    far = torch.tensor([0.0, 0.0], dtype=torch.float64)
    low = torch.tensor([50.0, -torch.inf], dtype=torch.float64)
    high = torch.tensor([51.0, -60.0], dtype=torch.float64)
    drawn = latent_numbers(far, low, high, torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert drawn.tolist() == pytest.approx([50.0, -60.0])


def test_probabilities_are_differences_of_the_normal_distribution() -> None:
    cuts = CUTS[None] - torch.linspace(-7, 7, 57)[:, None]
    exact = torch.nn.functional.pad(0.5 * torch.special.erfc(cuts.double() * -(0.5**0.5)), (1, 1))
    exact[:, -1] = 1  # Φ(∞)
    torch.testing.assert_close(
        level_probabilities(cuts).double(), exact.diff(dim=1), rtol=1e-4, atol=2e-7
    )
    # In the upper tail, where Φ is 1 in single precision.
    upper = level_probabilities(torch.tensor([7.0, 8.0]))[1]
    assert upper.item() == pytest.approx(1.2798e-12, rel=1e-3)


def test_an_ensemble_gives_the_mean_of_its_members_probabilities() -> None:
    torch.manual_seed(0)
    members = [DotProduct([5, 6], factors=3) for _ in range(3)]
    model = OrderedProbitEnsemble(members, levels=(1, 2, 4))
    cuts = torch.tensor([[-1.0, 0.5], [0.0, 1.0], [-0.2, 0.1]])
    model.cut_points.copy_(cuts)
    rows = torch.tensor([[1, 2], [4, 5]])
    each = [
        level_probabilities(own - member(rows)) for own, member in zip(cuts, members, strict=True)
    ]
    mean = torch.stack(each).mean(0)
    torch.testing.assert_close(model(rows).exp(), mean)
    levels = torch.tensor([1.0, 2.0, 4.0])
    variance = mean @ levels**2 - (mean @ levels) ** 2
    torch.testing.assert_close(model.spread(rows).squeeze(1), variance.sqrt())


def _planted(seed: int) -> pd.DataFrame:
    """Levels of a factorisation machine with planted cut-points."""
    rng = np.random.default_rng(seed)
    users, items = 0.7 * rng.normal(size=(60, 2)), 0.7 * rng.normal(size=(40, 2))
    biases = 0.8 * rng.normal(size=40)
    pairs = rng.permutation(60 * 40)[:2000]
    user, item = np.divmod(pairs, 40)
    score = biases[item] + (users[user] * items[item]).sum(1)
    latent = score + rng.normal(size=len(pairs))
    level = 1 + np.searchsorted(CUTS.numpy(), latent)
    return pd.DataFrame({"user_id": user, "item_id": item, "rating": level})


@pytest.fixture(scope="module")
def planted() -> tabcf.Run:
    gibbs = {"likelihood": "ordered_probit", "sweeps": 250, "burn_in": 50, "keep": 40}
    return tabcf.fit(SPEC | {"fit": {"gibbs": gibbs}}, _planted(0))


def test_planted_distances_of_cut_points_are_found(planted: tabcf.Run) -> None:
    """Where they lie as a whole is a matter of the biases; how far apart, of the data."""
    model: Any = planted.trained.model
    gaps = model.cut_points.diff(dim=1)
    off = (gaps.mean(0) - CUTS.diff()) / gaps.std(0)
    assert off.abs().max() < 3
    assert gaps.std(0).max() < 0.12


def test_levels_are_as_likely_as_said(planted: tabcf.Run) -> None:
    known = planted.trained.events.source.frame[["user_id", "item_id"]]
    rows = _planted(0).merge(known, how="left", indicator=True)
    held = rows[rows.pop("_merge") == "left_only"].reset_index(drop=True)
    shown = planted.predict(held, distribution=True, interval=0.9)
    shares = shown[[f"P({level})" for level in range(1, 6)]].to_numpy()
    assert shares.sum(1) == pytest.approx(1, abs=1e-5)
    frequency = held["rating"].value_counts(normalize=True).reindex(range(1, 6)).to_numpy()
    error = np.sqrt((shares * (1 - shares)).sum(0)) / len(held)
    assert (np.abs(shares.mean(0) - frequency) < 4 * error).all()
    assert shown["prediction"].to_numpy() == pytest.approx(shares @ np.arange(1, 6), abs=1e-4)
    assert (shown["mode"].to_numpy() == 1 + shares.argmax(1)).all()
    spread = np.sqrt(shares @ np.arange(1, 6) ** 2 - (shares @ np.arange(1, 6)) ** 2)
    assert shown["sd"].to_numpy() == pytest.approx(spread, abs=1e-3)
    assert held["rating"].between(shown["low"], shown["high"]).mean() >= 0.88
    test = planted.report.test
    assert test["log_loss"] < np.log(5) - 0.2
    assert test["interval_coverage"] == pytest.approx(0.9, abs=0.06)
    assert list(shown.columns[-10:]) == [
        "sd", "mode", "P(1)", "P(2)", "P(3)", "P(4)", "P(5)", "low", "high", "prediction",
    ]  # fmt: skip


def test_a_run_is_loaded_with_its_cut_points(planted: tabcf.Run, tmp_path: Any) -> None:
    planted.save(tmp_path / "run")
    back = tabcf.load(tmp_path / "run")
    rows = _planted(0).head(50)
    pd.testing.assert_frame_equal(
        back.predict(rows, distribution=True), planted.predict(rows, distribution=True)
    )
    pd.testing.assert_frame_equal(back.recommend(3, k=4), planted.recommend(3, k=4))


def test_lists_are_ordered_by_the_expectation(planted: tabcf.Run) -> None:
    listed = planted.recommend(7, k=5)
    pairs = listed[["user_id", "item_id"]]
    assert listed["score"].to_numpy() == pytest.approx(
        planted.predict(pairs)["prediction"].to_numpy(), abs=1e-4
    )
    assert listed["score"].is_monotonic_decreasing


@pytest.mark.parametrize("decode", ["median", "mode"])
def test_median_and_mode_are_levels(decode: str) -> None:
    fit = {"gibbs": {**SPEC["fit"]["gibbs"], "predict": decode}}
    run = tabcf.fit(SPEC | {"fit": fit}, tiny_ratings())
    shown = run.predict(tiny_ratings(), distribution=True)
    shares = shown[[f"P({level})" for level in range(1, 6)]].to_numpy()
    if decode == "mode":
        expected = 1 + shares.argmax(1)
    else:
        expected = 1 + (shares.cumsum(1)[:, :-1] < 0.5).sum(1)
    assert (shown["prediction"].to_numpy() == expected).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"target": "rating", "metrics": ["rmse"]},
            "fit: gibbs lowers cross_entropy by these options, which takes targets",
        ),
        ({"loss": "mse"}, "loss: gibbs lowers cross_entropy, so there is no loss to choose"),
        (
            {"fit": {"gibbs": {"predict": "mode"}}, "metrics": ["rmse"]},
            "fit.gibbs.predict: mode goes with likelihood: ordered_probit",
        ),
        (
            {"fit": "gibbs", "metrics": ["log_loss"]},
            "log_loss reads probability or probabilities, and what the loss predicts has only",
        ),
        (
            {"fit": "als", "metrics": ["interval_coverage"]},
            "interval_coverage reads sd or probabilities, and what the loss predicts has only",
        ),
    ],
)
def test_what_does_not_go_together_is_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tabcf.fit(SPEC | change, tiny_ratings())


def test_a_run_without_a_distribution_says_so() -> None:
    run = tabcf.fit(SPEC | {"fit": "als", "metrics": ["rmse"]}, tiny_ratings())
    with pytest.raises(RunError, match="predicts no probabilities of levels"):
        run.predict(tiny_ratings(), distribution=True)
    with pytest.raises(RunError, match="predicts no spread to take an interval of"):
        run.predict(tiny_ratings(), interval=0.9)
    with pytest.raises(RunError, match=r"expected a share between 0 and 1, got 1\.5"):
        run.predict(tiny_ratings(), interval=1.5)


def test_a_command_shows_levels_and_intervals(planted: tabcf.Run, tmp_path: Any) -> None:
    planted.save(tmp_path / "run")
    _planted(0).head(5).to_csv(tmp_path / "rows.csv", index=False)
    given = [str(tmp_path / "run"), str(tmp_path / "rows.csv"), "--csv"]
    shown = CliRunner().invoke(predict_command, [*given, "--distribution", "--interval", "0.9"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.splitlines()[0] == (
        "user_id,item_id,rating,basis,sd,mode,P(1),P(2),P(3),P(4),P(5),low,high,prediction"
    )
    assert CliRunner().invoke(predict_command, [*given, "--interval", "1.5"]).exit_code == 2
