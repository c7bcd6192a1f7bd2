from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tabcf.contracts.inputs import Bag
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError, TrainingError
from tabcf.losses import Softmax, Sum

IMPLICIT = TargetInfo("implicit")
LISTS = st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=5)


def _bag(lists: list[list[int]], weights: np.ndarray | None = None) -> Bag:
    lengths = torch.tensor([len(items) for items in lists])
    values = torch.tensor([item for items in lists for item in items], dtype=torch.long)
    given_weights = None if weights is None else torch.tensor(weights)
    return Bag(values, lengths.cumsum(0) - lengths, given_weights)


def _expected(raw, lists, weights, row_weight, reduction):
    """From a full table of log-probabilities and multi-hot counts."""
    log_p = raw - np.log(np.exp(raw).sum(1, keepdims=True))
    hot = np.zeros_like(raw)
    users = [user for user, items in enumerate(lists) for _ in items]
    items = [item for items in lists for item in items]
    np.add.at(hot, (users, items), weights)
    if reduction == "interaction":
        hot *= row_weight[:, None]
        return -(hot * log_p).sum() / hot.sum() if hot.sum() else 0.0
    has_any = hot.sum(1) > 0
    if not has_any.any():
        return 0.0
    per_user = -(hot * log_p).sum(1)[has_any] / hot.sum(1)[has_any]
    return np.average(per_user, weights=row_weight[has_any])


@pytest.mark.parametrize("reduction", ["interaction", "user"])
@pytest.mark.parametrize("is_weighted", [False, True])
@given(lists=LISTS, seed=st.integers(0, 99))
def test_it_is_the_multinomial_negative_log_likelihood(reduction, is_weighted, lists, seed):
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(len(lists), 7))
    n = sum(map(len, lists))
    weights = rng.uniform(0.5, 2, size=n) if is_weighted else np.ones(n)
    row_weight = rng.uniform(0.5, 2, size=len(lists)) if is_weighted else np.ones(len(lists))
    found = Softmax(IMPLICIT, reduction=reduction)(
        torch.tensor(raw),
        _bag(lists, weights if is_weighted else None),
        torch.tensor(row_weight) if is_weighted else None,
    )
    expected = _expected(raw, lists, weights, row_weight, reduction)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("reduction", ["interaction", "user"])
def test_its_gradient_is_probability_minus_share(reduction):
    lists = [[0, 2], [], [1, 1, 3]]
    raw = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    Softmax(IMPLICIT, reduction=reduction)(raw, _bag(lists)).backward()
    share = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 2, 0, 1, 0]])
    n_each = share.sum(1, keepdim=True)
    expected = (n_each * raw.detach().softmax(1) - share) / 5
    if reduction == "user":
        expected = (raw.detach().softmax(1) - share / n_each.clamp(min=1)) / 2
        expected[1] = 0
    torch.testing.assert_close(raw.grad, expected)


def test_heavy_users_weigh_more_by_interaction_only():
    raw = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
    positives = _bag([[0, 1, 0, 1], [0]])
    by_interaction = Softmax(IMPLICIT)(raw, positives).item()
    by_user = Softmax(IMPLICIT, reduction="user")(raw, positives).item()
    assert by_interaction == pytest.approx(np.log(2) * 4 / 5, abs=1e-3)
    assert by_user == pytest.approx(np.log(2) / 2, abs=1e-3)


@pytest.mark.parametrize("reduction", ["interaction", "user"])
def test_a_batch_without_positives_teaches_nothing(reduction):
    raw = torch.ones(2, 3, requires_grad=True)
    loss = Softmax(IMPLICIT, reduction=reduction)(raw, _bag([[], []]))
    loss.backward()
    assert loss.item() == 0.0
    assert raw.grad is not None
    assert not raw.grad.any()


def test_adding_a_number_to_a_users_scores_changes_nothing():
    raw = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    positives = _bag([[1], [0, 3]])
    shifted = raw + torch.tensor([[100.0], [-40.0]])
    torch.testing.assert_close(
        Softmax(IMPLICIT)(raw, positives), Softmax(IMPLICIT)(shifted, positives)
    )


def test_item_columns_may_be_int32_and_outputs_a_view():
    raw = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    positives = _bag([[1], [0, 3]])
    narrow = Bag(positives.values.int(), positives.offsets)
    found = Softmax(IMPLICIT)(raw.T, narrow)
    torch.testing.assert_close(found, Softmax(IMPLICIT)(raw.T.contiguous(), positives))


@pytest.mark.parametrize("leading", [(), (4,), (4, 3)])
def test_the_score_is_the_output(leading):
    raw = torch.randn(*leading, 1)
    assert torch.equal(Softmax(IMPLICIT).decode(raw)["score"], raw[..., 0])


def test_positives_of_other_users_are_refused():
    with pytest.raises(TrainingError, match=r"positives of B users, got \(3, 4\) and those of 2"):
        Softmax(IMPLICIT)(torch.zeros(3, 4), _bag([[1], [0]]))


def test_an_unknown_reduction_is_refused():
    with pytest.raises(SpecError, match="expected interaction or user, got 'sum'"):
        Softmax(IMPLICIT, reduction="sum")


def test_sums_pass_positives_on():
    raw, positives = torch.randn(2, 4), _bag([[1], [0, 3, 2]])
    by_event, by_user = Softmax(IMPLICIT), Softmax(IMPLICIT, reduction="user")
    both = Sum(IMPLICIT, [(0.25, by_event), (2.0, by_user)])
    torch.testing.assert_close(
        both(raw, positives), 0.25 * by_event(raw, positives) + 2 * by_user(raw, positives)
    )
