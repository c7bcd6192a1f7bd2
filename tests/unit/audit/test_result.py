"""Bands over seeds, and their picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tabcf.audit.loop import simulate
from tabcf.audit.loop_policies import RandomPolicy
from tabcf.audit.planted import planted_population
from tabcf.audit.plots import plot_loop
from tabcf.audit.result import LoopResult
from tabcf.errors import RunError


def _result(values: list[float]) -> LoopResult:
    rows = [
        {"policy": "p", "seed": seed, "round": 1, "gini": value, "utility": 1.0}
        for seed, value in enumerate(values)
    ]
    return LoopResult(pd.DataFrame(rows))


# Two-sided 95 % and 90 % points of Student's t from a printed table.
@pytest.mark.parametrize(
    ("n", "level", "t"),
    [(2, 0.95, 12.706), (3, 0.95, 4.303), (4, 0.95, 3.182), (5, 0.95, 2.776), (31, 0.9, 1.697)],
)
def test_a_band_is_that_of_students_t(n: int, level: float, t: float) -> None:
    values = [float(x) for x in range(n)]
    found = _result(values).bands(level=level).set_index("figure").loc["gini"]
    width = t * np.std(values, ddof=1) / np.sqrt(n)
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["high"] - found["mean"] == pytest.approx(width, rel=1e-3)
    assert found["mean"] - found["low"] == pytest.approx(width, rel=1e-3)


def test_one_seed_has_a_mean_and_no_band() -> None:
    found = _result([0.5]).bands()
    assert found.columns.tolist() == ["policy", "round", "figure", "mean", "low", "high"]
    assert found["mean"].tolist() == [0.5, 1.0]
    assert found[["low", "high"]].isna().all(axis=None)


def test_seeds_without_a_figure_do_not_count() -> None:
    found = _result([1.0, 3.0, float("nan")]).bands().set_index("figure").loc["gini"]
    assert found["mean"] == 2.0
    assert found["high"] - 2.0 == pytest.approx(12.706 * np.sqrt(2) / np.sqrt(2), rel=1e-3)


def test_a_picture_has_a_line_a_policy_and_a_panel_a_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figures = ["gini", "homogeneity", "utility", "popularity", "amplification(anime)"]
    rows = [
        {"policy": policy, "seed": seed, "round": number, **dict.fromkeys(figures, 1.0 + seed)}
        for policy in ("model", "random")
        for seed in (0, 1)
        for number in (1, 2)
    ]
    path = tmp_path / "loop.svg"
    plot_loop(LoopResult(pd.DataFrame(rows)), path)
    # Text is drawn as shapes, whose comments say what it was.
    drawn = path.read_text(encoding="utf-8")
    for text in (*figures, "model", "random", "round"):
        assert f"<!-- {text} -->" in drawn


def test_a_result_is_read_from_a_state_file(tmp_path: Path) -> None:
    population = planted_population(n_users=40, n_items=50)
    path = tmp_path / "loop.json"
    with pytest.raises(RunError, match="no such file"):
        LoopResult.read(path)
    made = simulate(population, {"random": RandomPolicy}, rounds=2, seeds=(0, 1), state=path)
    pd.testing.assert_frame_equal(LoopResult.read(path).rounds, made.rounds)
    path.write_text('{"of": "", "worlds": []}', encoding="utf-8")
    with pytest.raises(RunError, match="no world of the simulation is finished"):
        LoopResult.read(path)
