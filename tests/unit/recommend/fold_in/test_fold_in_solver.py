"""Rows from events: against ridge regression by hand, and against plain minimisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from tabcf.contracts.target import TargetInfo
from tabcf.losses import BCE, MAE, MSE, CrossEntropy, Huber, Loss
from tabcf.recommend.fold_in.alone import Answers, solve_alone
from tabcf.recommend.fold_in.pointwise import Pointwise, is_scaled, padded_places
from tabcf.recommend.fold_in.prior import prior_of_rows
from tabcf.recommend.fold_in.solver import Curvature, Prior, solve

P = 3
NUMBER = TargetInfo("regression", ("y",))


class Given:
    """Outputs `x @ row` for fixed x `(M, K, P)`, or held between -3 and 3."""

    def __init__(self, x: Tensor, *, is_linear: bool = True) -> None:
        self.x, self.is_linear = x, is_linear

    def of(self, events: Tensor) -> Given:
        return Given(self.x[events], is_linear=self.is_linear)

    def outputs(self, values: Tensor) -> Tensor:
        raw = (self.x * values[:, None]).sum(2)
        return raw if self.is_linear else 3 * (raw / 3).tanh()

    def jacobian(self, values: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.outputs(values)
        inner = torch.ones_like(raw) if self.is_linear else 1 - (raw / 3).square()
        return raw, inner[:, :, None] * self.x

    def alone(self) -> Answers:
        def answers(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            raw, derivatives = self.jacobian(torch.from_numpy(row).expand(len(self.x), -1))
            return raw[:, 0].numpy(), derivatives[:, 0].numpy()

        return answers


def prior(strength: float = 1.0) -> Prior:
    root = torch.randn(P, P, generator=Generator().manual_seed(9), dtype=torch.float64)
    return Prior(torch.tensor([0.5, -1.0, 0.2]).double(), strength * (root @ root.T + torch.eye(P)))


def drawn(seed: int, n: int, m: int, k: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """x, targets and owners of m events of n rows."""
    rng = Generator().manual_seed(seed)
    x = torch.randn(m, k, P, generator=rng, dtype=torch.float64)
    return x, torch.randn(m, generator=rng), torch.randint(0, n, (m,), generator=rng)


def pointwise(
    x: Tensor, target: Tensor, owner: Tensor, n: int, loss: Loss, *, is_linear: bool = True
) -> Pointwise:
    noise = 0.7 if is_scaled(loss) else 1.0
    responses = Given(x, is_linear=is_linear)
    return Pointwise(
        responses, loss.double(), target, None, owner, n, noise=noise, is_scaled=is_scaled(loss)
    )


@given(seed=st.integers(0, 1000), n=st.integers(1, 6), m=st.integers(0, 40))
def test_squared_errors_of_a_linear_model_are_ridge_regression(seed: int, n: int, m: int) -> None:
    """To the last digits, also for a row without events, in any order of events."""
    x, target, owner = drawn(seed, n, m)
    given_, known = pointwise(x, target, owner, n, MSE(NUMBER)), prior()
    found = solve(given_, known, known.mean.repeat(n, 1))
    for row in range(n):
        a = x[owner == row][:, 0].numpy()
        y = target[owner == row].double().numpy()
        precision = known.precision.numpy() + 2 / 0.7 * a.T @ a
        right = known.precision.numpy() @ known.mean.numpy() + 2 / 0.7 * a.T @ y
        assert np.allclose(found.mean[row].numpy(), np.linalg.solve(precision, right), atol=1e-9)
        assert np.allclose(found.covariance[row].numpy(), np.linalg.inv(precision), atol=1e-9)


@pytest.mark.parametrize("is_linear", [True, False])
@pytest.mark.parametrize(
    ("loss", "target", "tolerance"),
    [
        (MSE(NUMBER), [2.0, -1.0], 0.02),
        (MAE(NUMBER), [2.0, -1.0], 0.7),  # parabolas under a kink come near it slowly
        (Huber(NUMBER, delta=0.3), [2.0, -9.0], 0.15),
        (BCE(TargetInfo("binary", ("y",), labels=("no", "yes"))), [1.0, 0.0], 0.02),
        (CrossEntropy(TargetInfo("classes", ("y",), labels=("a", "b", "c"))), [2, 0], 0.02),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_no_row_nearby_is_more_probable(
    seed: int, loss: Loss, target: list[float], tolerance: float, is_linear: bool
) -> None:
    """What is found is compared with a long plain descent from there, and from the start."""
    k, n, m = int(loss.d_out), 4, 30
    x, _, owner = drawn(seed, n, m, k)
    wanted = torch.tensor(target)[torch.arange(m) % 2]
    given_, known = pointwise(x, wanted, owner, n, loss, is_linear=is_linear), prior(0.3)

    def heights(values: Tensor) -> Tensor:
        off = values - known.mean
        raw = given_._responses.outputs(values[owner])
        noise = given_._noise
        said = torch.stack(
            [loss(raw[owner == row], given_._target[owner == row]) for row in range(n)]
        )
        said = said * torch.bincount(owner, minlength=n) / noise
        return said + 0.5 * ((off @ known.precision) * off).sum(1)

    start = known.mean.repeat(n, 1)
    found = solve(given_, known, start).mean
    before, after = heights(start), heights(found)
    assert (after < before).all()
    best = found.clone().requires_grad_(True)
    descent = torch.optim.Adam([best], lr=0.01)
    lowest = after.clone()
    for _ in range(200):
        descent.zero_grad()
        height = heights(best)
        lowest = torch.minimum(lowest, height.detach())
        height.sum().backward()
        descent.step()
    assert (after - lowest < tolerance).all(), after - lowest


def test_a_step_that_overshoots_is_halved() -> None:
    """The curvature says far too little; each step is ten times too long, and still it ends."""

    class TooFlat:
        def of(self, rows: Tensor) -> TooFlat:
            return self

        def curvature(self, values: Tensor) -> Curvature:
            return Curvature(
                0.5 * values.square().sum(1),
                values,
                0.1 * torch.eye(P, dtype=torch.float64).expand(len(values), P, P),
            )

    flat = Prior(torch.zeros(P).double(), 1e-6 * torch.eye(P).double())
    start = torch.full((2, P), 8.0).double()
    found = solve(TooFlat(), flat, start).mean
    assert (found.square().sum(1) < 0.01 * start.square().sum(1)).all()


def test_a_weight_counts_as_so_many_events() -> None:
    x, target, owner = drawn(0, 2, 10)
    weight = torch.tensor([2.0, 1.0, 1.0, 3.0, 1.0, 0.0, 1.0, 1.0, 2.0, 1.0])
    often = torch.repeat_interleave(torch.arange(10), weight.long())
    loss = MSE(NUMBER).double()
    one = Pointwise(Given(x), loss, target, weight, owner, 2, is_scaled=True)
    other = Pointwise(Given(x[often]), loss, target[often], None, owner[often], 2, is_scaled=True)
    at = torch.randn(2, P, generator=Generator().manual_seed(1), dtype=torch.float64)
    first, second = one.curvature(at), other.curvature(at)
    assert torch.allclose(first.value, second.value, atol=1e-10)
    assert torch.allclose(first.gradient, second.gradient, atol=1e-10)
    assert torch.allclose(first.hessian, second.hessian, atol=1e-10)


@pytest.mark.parametrize("k", [1, 3])
def test_slopes_and_curvatures_are_those_of_the_loss(k: int) -> None:
    """A Gauss-Newton curvature is exact where outputs are linear in the row."""
    target = TargetInfo("classes", ("y",), labels=("a", "b", "c"))
    loss = CrossEntropy(target) if k == 3 else BCE(TargetInfo("binary", ("y",), labels=("a", "b")))
    x, _, owner = drawn(3, 2, 9, k)
    wanted = torch.arange(9) % k if k == 3 else (torch.arange(9) % 2).float()
    given_ = pointwise(x, wanted, owner, 2, loss)
    at = torch.randn(2, P, generator=Generator().manual_seed(1), dtype=torch.float64)
    found = given_.curvature(at)
    for row in range(2):
        own = owner == row

        def total(value: Tensor, own: Tensor = own) -> Tensor:
            raw = (x[own] * value).sum(2)
            return loss(raw, given_._target[own]) * own.sum()

        assert torch.allclose(found.value[row], total(at[row]))
        gradient = torch.func.grad(total)(at[row])
        assert torch.allclose(found.gradient[row], gradient, atol=1e-10)
        hessian = torch.autograd.functional.hessian(total, at[row])
        assert torch.allclose(found.hessian[row], hessian, atol=1e-10)


@pytest.mark.parametrize(
    ("loss", "factor"), [(MSE(NUMBER), 2.0), (MAE(NUMBER), 1.0), (Huber(NUMBER, delta=50), 2.0)]
)
def test_the_scale_is_that_of_the_likeliest_density(loss: Loss, factor: float) -> None:
    x, target, owner = drawn(0, 2, 200)
    given_ = pointwise(x, target, owner, 2, loss)
    at = torch.zeros(2, P).double()
    assert given_.scale(at) == pytest.approx(factor * given_.judged(at, given_))


def test_several_numbers_share_one_scale() -> None:
    """Squared errors of two columns with variance 4 each: their mean over columns is e²."""
    rng = Generator().manual_seed(0)
    target = 2 * torch.randn(4000, 2, generator=rng)
    loss = MSE(TargetInfo("regression", ("a", "b"), center=(0.0, 0.0), scale=(1.0, 1.0))).double()
    x = torch.zeros(4000, 2, P).double()
    owner = torch.zeros(4000, dtype=torch.int64)
    given_ = Pointwise(Given(x), loss, target, None, owner, 1, is_scaled=True)
    # exp(-mean(e²) / s) is a normal density of variance s: each column has half of e² / s.
    assert given_.scale(torch.zeros(1, P).double()) == pytest.approx(4.0, rel=0.1)


def test_places_of_no_events() -> None:
    assert padded_places(torch.zeros(0, dtype=torch.int64), 3).shape == (3, 0)


def test_the_prior_is_the_trained_rows_spread_about_the_unknown_one() -> None:
    rng = np.random.default_rng(0)
    covariance = np.array([[1.0, 0.8, 0], [0.8, 1.0, 0], [0, 0, 0.01]])
    rows = rng.multivariate_normal([1, 2, 3], covariance, 20_000)
    rows = torch.from_numpy(np.concatenate([[[1, 2, 3]], rows]))
    found = prior_of_rows(rows, torch.full((20_001,), 10**6))
    assert found.mean.tolist() == [1, 2, 3]
    assert np.allclose(torch.linalg.inv(found.precision).numpy(), covariance, atol=0.03)


def test_a_number_that_never_varied_stays_and_one_row_is_enough() -> None:
    rows = torch.tensor([[0.0, 1.0], [2.0, 1.0], [-1.0, 1.0]]).double()
    found = prior_of_rows(rows, torch.tensor([0, 5, 5]))
    assert torch.isfinite(found.precision).all()
    assert found.precision[1, 1] > 1e5 * found.precision[0, 0]
    alone = prior_of_rows(rows[:2], torch.tensor([0, 5]))
    assert torch.isfinite(alone.precision).all()
    nobody = prior_of_rows(rows[:1], torch.tensor([0]))
    assert torch.isfinite(nobody.precision).all()


@pytest.mark.parametrize("is_linear", [True, False])
@pytest.mark.parametrize("is_weighted", [True, False])
@pytest.mark.parametrize("m", [1, 2, 12])
def test_alone_a_row_is_found_to_be_the_same(m: int, is_weighted: bool, is_linear: bool) -> None:
    for seed in range(8):
        x, target, owner = drawn(seed, 1, m)
        weight = torch.rand(m, generator=Generator().manual_seed(seed)) if is_weighted else None
        said = Pointwise(
            Given(3 * x, is_linear=is_linear),
            MSE(NUMBER).double(),
            target,
            weight,
            owner,
            1,
            noise=0.1,
        )
        alone = said.alone()
        assert alone is not None
        together = solve(said, prior(), prior().mean[None]).mean[0]
        np.testing.assert_allclose(solve_alone(alone, prior()), together, rtol=1e-9, atol=1e-9)


def test_only_one_rows_squared_errors_are_solved_alone() -> None:
    x, target, owner = drawn(0, 2, 6)
    assert pointwise(x, target, owner, 2, MSE(NUMBER)).alone() is None
    assert pointwise(x, target, torch.zeros_like(owner), 1, MAE(NUMBER)).alone() is None
    assert pointwise(x[:0], target[:0], owner[:0], 1, MSE(NUMBER)).alone() is None
