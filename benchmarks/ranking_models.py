"""Who takes part in `ranking.py`: models of tabcf and peers, each with its space of settings.

A space gives a setting's distribution: `Log` and `Flat` between two numbers, `Whole` the same in
whole numbers, or one of some values. `fitted` trains with drawn settings and gives the NDCG@10 of
each test user.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from ranking_peers import (
    Fit,
    K,
    Measured,
    cornac_bpr,
    implicit_als,
    lenskit_als,
    of_scores,
)

import tabcf

__all__ = ["CONTENDERS", "Contender", "drawn"]


@dataclass(frozen=True)
class Log:
    """Between two numbers, evenly in the logarithm."""

    low: float
    high: float


@dataclass(frozen=True)
class Flat:
    """Between two numbers."""

    low: float
    high: float


@dataclass(frozen=True)
class Whole(Log):
    """Whole numbers, evenly in the logarithm."""


Space = dict[str, Any]


def drawn(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """One setting of each name, independently."""
    settings: dict[str, Any] = {}
    for name, of in space.items():
        if isinstance(of, Log):
            value = float(np.exp(rng.uniform(np.log(of.low), np.log(of.high))))
            settings[name] = round(value) if isinstance(of, Whole) else float(f"{value:.3g}")
        elif isinstance(of, Flat):
            settings[name] = float(f"{rng.uniform(of.low, of.high):.3g}")
        else:
            settings[name] = of[int(rng.integers(len(of)))]
    return settings


@dataclass(frozen=True)
class Contender:
    """A model or a peer.

    Attributes:
        fit: Trains and measures it.
        space: Its settings; none, nothing to tune.
        start: Settings that are known to be good, of the package's documentation or of older
            comparisons; the first trial.
        tuned_as: Whose settings it has instead of own ones.
        is_random: Whether a seed changes it.
        is_peer: Whether it is another package's.
        is_trained: Whether it is trained by gradient descent.
        protocols: Where it takes part; what weighs events by their age does where test rows are
            newer than training rows.
    """

    fit: Fit
    space: Space = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)
    tuned_as: str | None = None
    is_random: bool = True
    is_peer: bool = False
    is_trained: bool = False
    protocols: tuple[str, ...] = ("u1-u5", "time")


def of_tabcf(spec_of: Callable[..., dict[str, Any]], **given: Any) -> Fit:
    """What fits a spec of tabcf, made of settings."""

    def fit(
        train: pd.DataFrame, test: pd.DataFrame, settings: dict[str, Any], seed: int
    ) -> Measured:
        spec = {
            "tabcf": 1,
            "data": "ratings.csv",
            "target": {"implicit": {}},
            "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
            "split": {"random": {"valid": 0, "test": 0}},
            "metrics": [{"ndcg": K}, {"recall": K}],
            "seed": seed,
            **spec_of(**settings, **given),
        }
        run = tabcf.fit(spec, data=train, plugins=["no:*"])
        users = run.evaluate_users(test).dropna(subset=[f"ndcg@{K}"]).set_index("user_id")
        names = {f"ndcg@{K}": "ndcg", f"recall@{K}": "recall"}
        return Measured(users.rename(columns=names)[["ndcg", "recall"]], run.report.cpu_seconds)

    return fit


def _softmax(
    *,
    factors: int,
    dropout: float,
    learning_rate: float,
    weight_decay: float,
    epochs: int,
    model: str = "dot_product",
    half_life: float | None = None,
    members: int = 1,
) -> dict[str, Any]:
    decay = {} if half_life is None else {"time_decay": {"half_life": half_life, "unit": "day"}}
    return {
        "model": {model: {"factors": factors, "dropout": dropout}},
        "loss": "softmax",
        "train": {
            "epochs": epochs,
            "batch_size": 128,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "ensemble": members,
            **decay,
        },
    }


def _bpr(
    *, factors: int, n: int, learning_rate: float, weight_decay: float, epochs: int
) -> dict[str, Any]:
    return {
        "model": {"dot_product_bias": {"factors": factors}},
        "loss": "bpr",
        "negatives": {"uniform": n},
        "train": {
            "epochs": epochs,
            "batch_size": 1024,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
        },
    }


def _solved(model: str) -> Callable[..., dict[str, Any]]:
    return lambda **settings: {"model": {model: settings}} if settings else {"model": model}


def _ials(*, l2: float, nu: float, **settings: Any) -> dict[str, Any]:
    """`l2` is that of rows with 500 events and weighed pairs, however penalties grow with them."""
    return {"model": {"ials": {"l2": l2 * 500 ** (1 - nu), "nu": nu, **settings}}}


CONTENDERS: dict[str, Contender] = {
    "softmax": Contender(
        of_tabcf(_softmax),
        {
            "factors": [64, 128],
            "dropout": Flat(0.3, 0.7),
            "learning_rate": Log(1e-2, 4e-2),
            "weight_decay": Log(0.5, 2.0),
            "epochs": [30, 45, 60],
        },
        start={
            "factors": 128,
            "dropout": 0.5,
            "learning_rate": 2e-2,
            "weight_decay": 1.0,
            "epochs": 45,
        },
        is_trained=True,
    ),
    "softmax, 8 members": Contender(
        of_tabcf(_softmax, members=8), tuned_as="softmax", is_trained=True
    ),
    "softmax, newer count more": Contender(
        of_tabcf(_softmax, model="dot_product_bias"),
        {
            "factors": [64],
            "dropout": [0.5],
            "learning_rate": Log(1e-2, 4e-2),
            "weight_decay": Log(0.5, 2.0),
            "epochs": [30, 45, 60],
            "half_life": Log(3, 100),
        },
        start={
            "factors": 64,
            "dropout": 0.5,
            "learning_rate": 2e-2,
            "weight_decay": 1.0,
            "epochs": 45,
            "half_life": 30,
        },
        is_trained=True,
        protocols=("time",),
    ),
    "softmax, newer count more, 8 members": Contender(
        of_tabcf(_softmax, model="dot_product_bias", members=8),
        tuned_as="softmax, newer count more",
        is_trained=True,
        protocols=("time",),
    ),
    "bpr": Contender(
        of_tabcf(_bpr),
        {
            "factors": [32, 64, 128],
            "n": [1, 2, 4],
            "learning_rate": Log(5e-3, 4e-2),
            "weight_decay": Log(0.1, 1.0),
            "epochs": [20, 40],
        },
        start={"factors": 64, "n": 4, "learning_rate": 2e-2, "weight_decay": 0.4, "epochs": 20},
        is_trained=True,
    ),
    "ials": Contender(
        of_tabcf(_ials),
        {
            "factors": [16, 32, 64, 128],
            "l2": Log(3e-3, 0.1),
            "nu": [0.0, 1.0],
            "unobserved_weight": Log(0.05, 1.0),
            "sweeps": [8, 16],
        },
        start={"factors": 32, "l2": 0.02, "nu": 1.0, "unobserved_weight": 0.2, "sweeps": 16},
    ),
    "edlae": Contender(
        of_tabcf(_solved("edlae")),
        {"l2": Log(30, 3000), "dropout": Flat(0.1, 0.8)},
        start={"l2": 200, "dropout": 0.5},
        is_random=False,
    ),
    "ease": Contender(
        of_tabcf(_solved("ease")), {"l2": Log(30, 3000)}, start={"l2": 200}, is_random=False
    ),
    "item_knn": Contender(
        of_tabcf(_solved("item_knn")),
        {"k": Whole(10, 500), "shrink": Log(1, 100)},
        start={"k": 100, "shrink": 10},
        is_random=False,
    ),
    "popular": Contender(of_tabcf(_solved("popular")), is_random=False),
    "implicit ALS": Contender(
        of_scores(implicit_als),
        {
            "factors": [16, 32, 64, 128],
            "regularization": Log(0.3, 100),
            "alpha": Log(0.5, 10),
            "iterations": [8, 16],
        },
        start={"factors": 32, "regularization": 10, "alpha": 1, "iterations": 15},
        is_peer=True,
    ),
    "implicit ALS, newer count more": Contender(
        of_scores(implicit_als),
        {
            "factors": [16, 32, 64, 128],
            "regularization": Log(0.3, 100),
            "alpha": Log(0.5, 10),
            "iterations": [8, 16],
            "half_life": Log(3, 100),
        },
        start={"factors": 32, "regularization": 10, "alpha": 1, "iterations": 15, "half_life": 30},
        is_peer=True,
        protocols=("time",),
    ),
    "LensKit ALS": Contender(
        of_scores(lenskit_als),
        {
            "factors": [16, 32, 64, 128],
            "regularization": Log(0.01, 30),
            "weight": Log(0.5, 40),
            "epochs": [8, 16],
        },
        start={"factors": 50, "regularization": 0.1, "weight": 40, "epochs": 10},
        is_peer=True,
    ),
    "cornac BPR": Contender(
        of_scores(cornac_bpr),
        {
            "factors": [32, 64, 128],
            "learning_rate": Log(5e-3, 5e-2),
            "lambda_reg": Log(1e-3, 3e-2),
            "epochs": [50, 100, 200],
        },
        start={"factors": 64, "learning_rate": 0.03, "lambda_reg": 0.01, "epochs": 100},
        is_peer=True,
    ),
}
