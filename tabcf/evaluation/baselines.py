"""Simple models on the same rows: what a trained model has to be better than."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.table import Table
from tabcf.data.encoder import Encoder
from tabcf.evaluation.evaluate import Metric, evaluate
from tabcf.losses import MSE, Loss, Softmax
from tabcf.recommend.trained import Past, Trained
from tabcf.training.closed_form import EASE, BiasModel, MeanModel, PopularModel

__all__ = ["baseline_metrics"]

_Baseline = MeanModel | BiasModel | PopularModel | EASE

# EASE takes time with the cube of the catalogue: seconds up to here.
_MOST_ITEMS_FOR_EASE = 5_000


def baseline_metrics(
    problem: FitProblem,
    encoder: Encoder,
    test: Table,
    metrics: Sequence[Metric],
    *,
    past: Past | None = None,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Metrics of the baselines that suit the target, by baseline.

    The global mean and user + item biases for numbers; for implicit targets the most popular
    items, and EASE with its default penalty where the catalogue is small enough.
    """
    found = {}
    for name, model, loss in _baselines(problem):
        with torch.no_grad():
            model.solve(problem)
        model.eval()
        trained = Trained(encoder, model, loss, problem.target, past, seed)
        usable = [m for m in metrics if _says_something(m, model)]
        found[name] = evaluate(trained, test, usable, seen=trained.seen)
    return found


def _says_something(metric: Metric, model: _Baseline) -> bool:
    """The mean orders nothing, and no baseline gives more than its usual prediction."""
    orders = metric.definition.is_ranking and isinstance(model, MeanModel)
    return not orders and metric.definition.reads is None


def _baselines(problem: FitProblem) -> list[tuple[str, _Baseline, Loss]]:
    layout, target = problem.layout, problem.target
    has_pair = layout.user is not None and layout.item is not None
    if target.kind in ("regression", "rating"):
        found: list[tuple[str, _Baseline, Loss]] = []
        if len(target.columns) == 1:
            found.append(("global mean", MeanModel(), MSE(target)))
            if has_pair:
                found.append(("user + item biases", BiasModel(layout), MSE(target)))
        return found
    if target.kind == "implicit" and has_pair:
        loss = Softmax(target)
        found = [("most popular", PopularModel(layout), loss)]
        if layout.categorical[layout.item or 0].cardinality <= _MOST_ITEMS_FOR_EASE:
            found.append(("EASE", EASE(layout), loss))
        return found
    return []
