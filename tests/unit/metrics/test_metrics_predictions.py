from __future__ import annotations

import doctest
import importlib
import itertools
import pkgutil

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

from tabcf import metrics
from tabcf.errors import DataError
from tabcf.metrics import accuracy, auc, log_loss, mae, rmse

# Few different scores, so that there are ties.
SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), st.booleans()),
    min_size=1,
    max_size=30,
)


def _probabilities(n: int, k: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(k), size=n)


@pytest.mark.parametrize("shape", [(7,), (7, 3)])
def test_errors_of_numbers_match_scikit_learn(shape):
    rng = np.random.default_rng(0)
    found, truth = rng.normal(size=shape), rng.normal(size=shape)
    flat = truth.ravel(), found.ravel()
    arguments = torch.tensor(found), torch.tensor(truth)
    assert rmse(*arguments).item() == pytest.approx(
        sklearn.metrics.mean_squared_error(*flat) ** 0.5
    )
    assert mae(*arguments).item() == pytest.approx(sklearn.metrics.mean_absolute_error(*flat))


def test_sums_are_taken_in_float64():
    # float32 has no number between 8388608 and 8388609.
    found = mae(torch.tensor([16777216.0, 1.0]), torch.zeros(2))
    assert found.item() == 8388608.5
    assert rmse(torch.tensor([4097.0, 0.0]), torch.zeros(2)).item() == (4097**2 / 2) ** 0.5


@pytest.mark.parametrize("metric", [rmse, mae])
def test_numbers_of_another_shape_are_refused(metric):
    with pytest.raises(DataError, match=r"one shape, got \(4, 1\) and \(4,\)"):
        metric(torch.zeros(4, 1), torch.zeros(4))


@given(SCORED)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows):
    scores = torch.tensor([score for score, _ in rows])
    truth = torch.tensor([float(label) for _, label in rows])
    positives = [score for score, label in rows if label]
    negatives = [score for score, label in rows if not label]
    won = [(p > n) + (p == n) / 2 for p, n in itertools.product(positives, negatives)]
    expected = np.mean(won) if won else float("nan")
    assert auc(scores, truth).item() == pytest.approx(expected, nan_ok=True)


def test_auc_matches_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, size=500)
    scores = np.round(rng.normal(size=500) + truth, 1)
    found = auc(torch.tensor(scores), torch.tensor(truth))
    assert found.item() == pytest.approx(sklearn.metrics.roc_auc_score(truth, scores))


def test_auc_of_classes_is_the_mean_of_each_against_the_rest():
    probabilities, truth = _probabilities(200, 4, seed=0), np.arange(200) % 4
    found = auc(torch.tensor(probabilities), torch.tensor(truth))
    expected = sklearn.metrics.roc_auc_score(truth, probabilities, multi_class="ovr")
    assert found.item() == pytest.approx(expected)


def test_auc_of_classes_leaves_out_a_class_that_is_not_there():
    probabilities, truth = _probabilities(50, 3, seed=0), np.arange(50) % 2
    found = auc(torch.tensor(probabilities), torch.tensor(truth))
    expected = [sklearn.metrics.roc_auc_score(truth == k, probabilities[:, k]) for k in (0, 1)]
    assert found.item() == pytest.approx(np.mean(expected))


def test_accuracy_matches_scikit_learn():
    probabilities, truth = _probabilities(200, 4, seed=0), np.arange(200) % 4
    found = accuracy(torch.tensor(probabilities), torch.tensor(truth))
    expected = sklearn.metrics.accuracy_score(truth, probabilities.argmax(1))
    assert found.item() == pytest.approx(expected)


def test_a_half_is_the_second_label():
    assert accuracy(torch.tensor([0.5, 0.5, 0.49]), torch.tensor([1.0, 0.0, 0.0])).item() == (
        pytest.approx(2 / 3)
    )


def test_log_loss_matches_scikit_learn():
    probabilities, truth = _probabilities(200, 4, seed=0), np.arange(200) % 4
    found = log_loss(torch.tensor(probabilities), torch.tensor(truth))
    assert found.item() == pytest.approx(sklearn.metrics.log_loss(truth, probabilities))
    positive, label = probabilities[:, 0], truth % 2
    found = log_loss(torch.tensor(positive), torch.tensor(label).float())
    assert found.item() == pytest.approx(sklearn.metrics.log_loss(label, positive))


@pytest.mark.parametrize(
    ("probability", "truth"),
    [
        (torch.tensor([1.0]), torch.tensor([0.0])),
        (torch.tensor([0.0]), torch.tensor([1.0])),
        (torch.tensor([[1.0, 0.0]]), torch.tensor([1])),
    ],
)
def test_certain_and_wrong_costs_a_bounded_amount(probability, truth):
    assert log_loss(probability, truth).item() == pytest.approx(-np.log(1e-15), rel=1e-3)


@pytest.mark.parametrize("metric", [accuracy, auc, log_loss])
@pytest.mark.parametrize(
    "probability", [torch.tensor([0.1, float("nan")]), torch.tensor([[0.1, 0.9], [np.nan, 0.0]])]
)
def test_a_nan_is_not_hidden(metric, probability):
    assert metric(probability, torch.tensor([0, 1])).isnan()


@pytest.mark.parametrize("metric", [accuracy, auc, log_loss])
def test_probabilities_of_other_rows_are_refused(metric):
    with pytest.raises(DataError, match=r"truth of shape \(N,\), got \(4, 2\) and \(3,\)"):
        metric(torch.zeros(4, 2), torch.zeros(3))


@pytest.mark.parametrize("metric", [accuracy, auc, log_loss])
def test_metrics_of_classes_are_in_float64(metric):
    assert metric(torch.tensor([0.1, 0.7]), torch.tensor([0.0, 1.0])).dtype == torch.float64


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(metrics.__path__)])
def test_the_examples_of_metrics_run(name):
    module = importlib.import_module(f"tabcf.metrics.{name}")
    found = doctest.testmod(module)
    assert found.failed == 0
    assert found.attempted > 0
