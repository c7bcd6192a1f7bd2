"""Fused steps give the numbers of autograd and of torch's own AdamW."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.errors import TrainingError
from tabcf.losses import BPR, MAE, MSE, Huber
from tabcf.nn import DotProduct, DotProductBias
from tabcf.training.fused.handwritten import HandwrittenSteps
from tabcf.training.fused.problem import Block, PairProblem, pair_problem
from tabcf.training.loop import train
from tabcf.training.objectives import PointwiseObjective
from tabcf.training.optimiser import BETA2, EPS, AdamW, Decay, Piece, decay_groups
from tabcf.training.ranking import SampledObjective
from tabcf.training.samplers import Catalogue, Chosen, PopularitySampler, UniformSampler
from tabcf.training.schedules import one_cycle
from tabcf.training.steps import EagerSteps, Rate, Steps
from tabcf.training.store.ledger import Ledger

compiled_steps = pytest.importorskip("tabcf.training.fused.compiled_steps", exc_type=ImportError)

TARGET = TargetInfo("regression", ("y",), center=(0.0,), scale=(1.0,))


def events(n_users: int, n_items: int, n: int, *, is_weighted: bool = False) -> Table:
    """Random events of all users and items, with a target that their numbers tell."""
    rng = Generator().manual_seed(4)
    users = torch.cat([torch.arange(n_users), torch.randint(n_users, (n,), generator=rng)])[:n] + 1
    items = torch.cat([torch.arange(n_items), torch.randint(n_items, (n,), generator=rng)])[:n] + 1
    return Table(
        rows={"user": users.int(), "item": items.int()},
        events=Inputs(torch.zeros(n, 0, dtype=torch.int32), torch.zeros(n, 0)),
        entities={"user": entity(n_users), "item": entity(n_items)},
        target=3 + ((users + items) % 2).float() - 0.3 * (users % 3).float(),
        weight=torch.rand(n, generator=rng) if is_weighted else None,
    )


def entity(n: int) -> EntityTable:
    return EntityTable(
        Inputs(torch.arange(n + 1, dtype=torch.int32)[:, None], torch.zeros(n + 1, 0))
    )


def model_for(table: Table, kind: type[DotProduct], **options: Any) -> DotProduct:
    torch.manual_seed(0)
    sizes = [len(table.entities["user"]), len(table.entities["item"])]
    model = kind(sizes, factors=7, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def pointwise(table: Table, model: nn.Module, loss: nn.Module, **options: Any) -> Any:
    return PointwiseObjective(table, model, loss, **{"batch_size": 100, **options})


def sampled(table: Table, model: nn.Module, *, n: int, power: float = 0.0, size: int = 100) -> Any:
    counts = torch.bincount(table.rows["item"].long())[1:]
    rows = torch.arange(1, len(table.entities["item"]))
    catalogue = Catalogue(rows, counts)
    columns = table.rows["item"].long() - 1
    chosen = Chosen.of_pairs(
        table.rows["user"].long(), columns, n_users=len(table.entities["user"]), n_items=len(rows)
    )
    sampler = (
        PopularitySampler(catalogue, n=n, power=power) if power else UniformSampler(catalogue, n=n)
    )
    loss = BPR(TargetInfo("implicit"))
    options = {"sampler": sampler, "chosen": chosen, "catalogue": catalogue, "batch_size": size}
    return SampledObjective(table, model, loss, **options)


def decays(model: DotProduct) -> list[Piece]:
    """Each column's rows have a decay of their own, biases none."""
    columns = {"user": model.column_rows(0)[:1], "item": model.column_rows(1)[:1]}
    decay = Decay(0.1, {"user": 0.4, "item": 0.2})
    return decay_groups(model.parameters(), model.bias_parameters(), columns, decay)


def eager(objective: Any, clip_norm: float | None = None) -> Steps:
    optimiser = AdamW(decays(objective.model))
    return EagerSteps(objective.model, objective, optimiser, clip_norm)


def handwritten(objective: Any, clip_norm: float | None = None) -> Steps:
    optimiser = AdamW(decays(objective.model))
    return HandwrittenSteps(pair_problem(objective), optimiser, clip_norm=clip_norm)


def compiled(objective: Any, clip_norm: float | None = None) -> Steps:
    steps: Steps = compiled_steps.CompiledSteps(
        pair_problem(objective), decays(objective.model), clip_norm=clip_norm
    )
    return steps


def trained(steps: Steps, model: nn.Module, *, epochs: int = 4) -> tuple[list[Tensor], list[float]]:
    """The parameters after some epochs, and each epoch's loss."""
    arguments = {"schedule": one_cycle(), "learning_rate": 0.05, "epochs": epochs}
    training = train(model, steps, rng=Generator().manual_seed(1), **arguments)
    parameters = [p.detach().clone() for p in model.parameters() if p.numel()]
    return parameters, [report.train_loss for report in training.epochs]


RATED = {
    "mse": (DotProductBias, MSE(TARGET), {}, {}, None),
    "mse in a range": (DotProductBias, MSE(TARGET), {"y_range": (0.5, 5.5)}, {}, None),
    "without biases": (DotProduct, MSE(TARGET), {}, {}, None),
    "mae": (DotProductBias, MAE(TARGET), {}, {}, None),
    "huber": (DotProductBias, Huber(TARGET, delta=0.3), {}, {}, None),
    "l2": (DotProductBias, MSE(TARGET), {}, {"l2": 0.05}, None),
    "masked": (DotProductBias, MSE(TARGET), {}, {"masking": [0.1, 0.2]}, None),
    "clipped": (DotProductBias, MSE(TARGET), {}, {}, 0.05),
}


@pytest.mark.parametrize("name", RATED)
@pytest.mark.parametrize("is_weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("engine", [handwritten, compiled])
def test_ratings_give_the_numbers_of_autograd(
    engine: Callable[..., Steps], is_weighted: bool, name: str
) -> None:
    """Batches of 100 events touch all of 8 users and 6 items, so that no step is missed."""
    kind, loss, options, settings, clip_norm = RATED[name]
    table = events(8, 6, 350, is_weighted=is_weighted)
    found = []
    for own in (eager, engine):
        model = model_for(table, kind, **options)
        found.append(trained(own(pointwise(table, model, loss, **settings), clip_norm), model))
    (expected, expected_losses), (parameters, losses) = found
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    for one, other in zip(parameters, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("is_weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(("n", "power"), [(1, 0.0), (3, 0.75)])
@pytest.mark.parametrize("engine", [handwritten, compiled])
def test_drawn_items_give_the_numbers_of_autograd(
    engine: Callable[..., Steps], n: int, power: float, is_weighted: bool
) -> None:
    """One batch an epoch, so that all engines draw the same items."""
    table = events(8, 30, 60, is_weighted=is_weighted)
    found = []
    for own in (eager, engine):
        model = model_for(table, DotProductBias)
        objective = sampled(table, model, n=n, power=power)
        found.append(trained(own(objective), model, epochs=12))
    (expected, expected_losses), (parameters, losses) = found
    assert losses == pytest.approx(expected_losses, rel=1e-4)
    tolerance = 1e-4 if engine is handwritten else 2e-3  # some steps pass an item by
    for one, other in zip(parameters, expected, strict=True):
        assert (one - other).abs().mean() < tolerance * other.abs().mean()


def test_what_a_user_chose_is_never_drawn() -> None:
    """Each user has all items but two; where a draw failed too often it does not count."""
    pairs = torch.cartesian_prod(torch.arange(1, 7), torch.arange(1, 21))
    pairs = pairs[pairs[:, 0] * 3 % 20 + 1 != pairs[:, 1]]
    pairs = pairs[pairs[:, 0] * 7 % 20 + 1 != pairs[:, 1]].int()
    n = len(pairs)
    table = Table(
        rows={"user": pairs[:, 0], "item": pairs[:, 1]},
        events=Inputs(torch.zeros(n, 0, dtype=torch.int32), torch.zeros(n, 0)),
        entities={"user": entity(6), "item": entity(20)},
    )
    problem = pair_problem(sampled(table, model_for(table, DotProduct), n=8))
    had = set(map(tuple, pairs.tolist()))
    (block,) = problem.blocks(Generator().manual_seed(0))
    assert sorted(map(tuple, (block.ids[:, :2] - torch.tensor([0, 7])).tolist())) == sorted(had)
    others = block.ids[:, 2:]
    assert 0.2 < (others >= 0).float().mean() < 0.9
    for row in block.ids.tolist():
        assert not had & {(row[0], other - 7) for other in row[2:] if other >= 0}


@pytest.fixture(scope="module")
def crowd() -> Table:
    """100,000 events of 1,000 users and 800 items, some far more frequent than others."""
    rng = np.random.default_rng(0)
    n = 100_000
    users = (1000 * rng.random(n) ** 2).astype(np.int32) + 1
    items = (800 * rng.random(n) ** 2).astype(np.int32) + 1
    taste, kind = rng.standard_normal((1001, 3)), rng.standard_normal((801, 3))
    stars = 3.5 + (taste[users] * kind[items]).sum(1) / 3 + rng.standard_normal(n) / 2
    return Table(
        rows={"user": torch.from_numpy(users), "item": torch.from_numpy(items)},
        events=Inputs(torch.zeros(n, 0, dtype=torch.int32), torch.zeros(n, 0)),
        entities={"user": entity(1000), "item": entity(800)},
        target=torch.from_numpy(stars.clip(1, 5).astype(np.float32)),
    )


def with_torchs_adamw(problem: PairProblem, biases: Tensor, rates: list[Rate]) -> None:
    """The problem's epoch by `torch.optim.AdamW` over all rows."""
    groups = [
        {"params": [problem.factors], "weight_decay": 0.3},
        {"params": [biases], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.99), eps=1e-5)
    blocks = [*problem.blocks(Generator().manual_seed(2))]
    ids = torch.cat([block.ids for block in blocks]).split(problem.batch_size)
    targets = torch.cat([block.target for block in blocks]).split(problem.batch_size)
    for rate, own, target in zip(rates, ids, targets, strict=True):
        for group in optimiser.param_groups:
            group["lr"], group["betas"] = rate.learning_rate, (rate.beta1, 0.99)
        loss = (outputs(problem, biases, own) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def outputs(problem: PairProblem, biases: Tensor, ids: Tensor) -> Tensor:
    left, right = problem.factors[ids].unbind(1)
    return torch.sigmoid((left * right).sum(1) + biases[ids].sum((1, 2))) * 5 + 0.5


def test_two_hundred_steps_end_where_torchs_adamw_ends(crowd: Table) -> None:
    """Rows that a batch of 512 does not touch go on moving and decaying, as they do in torch."""
    found = []
    for is_compiled in (True, False):
        model = model_for(crowd, DotProductBias, y_range=(0.5, 5.5))
        assert isinstance(model, DotProductBias)
        objective = pointwise(crowd, model, MSE(TARGET), batch_size=512)
        problem = pair_problem(objective)
        pieces = decay_groups(model.parameters(), model.bias_parameters(), {}, Decay(0.3))
        n = problem.n_steps
        shape = one_cycle()
        rates = [Rate(0.04 * shape(k / n)[0], shape(k / n)[1] or 0.9) for k in range(n)]
        if is_compiled:
            steps = compiled_steps.CompiledSteps(problem, pieces)
            losses = [x for taken in steps.epoch(rates, Generator().manual_seed(2)) for x in taken]
            steps.settle()
            assert len(losses) == 196
        else:
            with_torchs_adamw(problem, model.biases, rates)
        ids = torch.stack([crowd.rows["user"], crowd.rows["item"] + 1001], 1)
        with torch.no_grad():
            error = outputs(problem, model.biases, ids) - crowd.target
        found.append((model.factors.detach(), model.biases.detach(), error.square().mean().sqrt()))
    (factors, biases, rmse), (torchs_factors, torchs_biases, torchs_rmse) = found
    assert (factors - torchs_factors).abs().mean() < 0.05 * torchs_factors.abs().mean()
    assert (biases - torchs_biases).abs().mean() < 0.05 * torchs_biases.abs().mean()
    assert rmse.item() == pytest.approx(torchs_rmse.item(), abs=5e-4)


@pytest.mark.parametrize("is_bias", [False, True], ids=["factors", "biases"])
@settings(max_examples=40)
@given(
    exponent=st.floats(-7.0, 0.0),
    before=st.integers(1, 60),
    missed=st.integers(0, 60),
    learning_rate=st.floats(2e-3, 5e-2),
    decay=st.floats(0.0, 0.5),
)
def test_a_row_makes_up_for_the_steps_that_it_missed(
    is_bias: bool, exponent: float, before: int, missed: int, learning_rate: float, decay: float
) -> None:
    """Used, then not used into a second epoch, then used once: within 5 % of AdamW's way."""
    gradient, n = 10.0**exponent, before + missed
    reference = nn.Parameter(torch.tensor([[0.5]]))
    optimiser = AdamW(decay_groups([reference], [], {}, Decay(decay)))
    way, rates = 0.0, [Rate(learning_rate, 0.9)] * n
    for step, rate in enumerate(2 * rates):
        start = reference.item()
        is_used = step < before or step == 2 * n - 1
        reference.grad = torch.full((1, 1), gradient if is_used else 0.0)
        optimiser.step(rate.learning_rate, beta1=rate.beta1)
        way += abs(reference.item() - start) if step >= before else 0.0
    problem = of_one_row(gradient, before, missed, is_bias=is_bias)
    own = problem.factors if problem.biases is None else problem.biases
    pieces = [Piece(own, slice(0, 2), decay), Piece(own, slice(2, 4), 0.0)]
    if is_bias:
        pieces.append(Piece(problem.factors, None, 0.0))
    steps = compiled_steps.CompiledSteps(problem, pieces)
    for _ in range(2):
        assert [len(taken) for taken in steps.epoch(rates, Generator())] == [n]
        steps.settle()
    assert own[0].item() == pytest.approx(reference.item(), abs=0.05 * way + 2e-5)
    (state,), rows = optimiser._groups.values(), steps._rows
    mean, root = (rows.bias_mean, rows.bias_root) if is_bias else (rows.mean, rows.root)
    assert mean[0].item() == pytest.approx(state.means[0].item(), rel=2e-3)
    assert root[0].item() ** 2 == pytest.approx(state.squares[0].item(), rel=2e-3)


def test_an_epochs_sums_are_those_of_a_ledger() -> None:
    """Known to the end or step by step, from one step back to more than are tabulated."""
    decays, shape, n = [0.0, 0.3], one_cycle(), 300
    rates = [Rate(0.03 * shape(k / n)[0], shape(k / n)[1] or 0.9) for k in range(n)]
    epoch = compiled_steps.sequences(rates, n_before=0, decays=decays, beta2=BETA2, eps=EPS)
    problem = of_one_row(1.0, 1, 0, is_bias=False)
    own_settings = compiled_steps.CompiledSteps(
        problem, [Piece(problem.factors, None, 0.0)]
    )._settings
    ledger = Ledger(decays, beta2=BETA2, eps=EPS)
    for t in range(1, 241):
        ledger.add(rates[t - 1])
        if t not in (1, 2, 7, 240):
            continue
        for own, s in itertools.product(range(2), sorted({0, t // 3, t - 2, t - 1} - {-1})):
            expected = [float(number[0]) for number in ledger.missed(own, np.array([s]))][:5]
            found = compiled_steps.compiled._missed(epoch, own_settings, own, s, t)
            assert found == pytest.approx(expected, rel=2e-4)


def of_one_row(gradient: float, before: int, missed: int, *, is_bias: bool) -> PairProblem:
    """Row 0 is used `before` times, then others, and at the end of a second epoch once more.

    Far from its target the Huber loss has a slope of delta; that of row 0's factor is as many times
    larger as row 2's is above 1, which is so large that it hardly changes.
    """
    n, other = before + missed, 1.0 if is_bias else 1e4
    used, unused = [0, 2], [1, 3]
    epochs = iter([[used] * before + [unused] * missed, [unused] * (n - 1) + [used]])
    target = torch.full((n,), -1e6)
    factors = torch.zeros(4, 1) if is_bias else torch.tensor([[0.5], [0.5], [other], [other]])
    return PairProblem(
        factors=nn.Parameter(factors),
        biases=nn.Parameter(torch.full((4, 1), 0.5)) if is_bias else None,
        n_left=2,
        y_range=None,
        form="huber",
        delta=gradient / other,
        l2=0.0,
        batch_size=1,
        n_events=n,
        n_drawn=0,
        blocks=lambda rng: iter([Block(torch.tensor(next(epochs)).int(), target, None)]),
    )


def test_the_same_seed_gives_the_same_bits(crowd: Table) -> None:
    found = []
    for _ in range(2):
        model = model_for(crowd, DotProductBias)
        found.append(trained(compiled(pointwise(crowd, model, MSE(TARGET))), model, epochs=1))
    (first, losses), (second, same) = found
    assert losses == same
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("engine", [handwritten, compiled])
def test_a_loss_that_is_not_finite_stops_with_its_place(engine: Callable[..., Steps]) -> None:
    table = events(8, 6, 350)
    assert table.target is not None
    table.target[30] = torch.nan
    model = model_for(table, DotProductBias)
    with pytest.raises(TrainingError, match=r"the loss is nan at epoch 1, step [1-4] "):
        trained(engine(pointwise(table, model, MSE(TARGET))), model)


def test_ctrl_c_leaves_the_rows_as_after_the_steps_taken(crowd: Table) -> None:
    """Of an epoch's two blocks the first one is done; the rows are those of torch at that step."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    found = []
    for engine, n_steps in ((compiled, 1), (handwritten, 128)):
        model = model_for(crowd, DotProductBias)
        calls = iter(range(n_steps - 1))
        training = train(
            model,
            engine(pointwise(crowd, model, MSE(TARGET), batch_size=512)),
            schedule=one_cycle(),
            learning_rate=0.01,
            epochs=1,
            rng=Generator().manual_seed(3),
            on_step=lambda calls=calls: None if next(calls, None) is not None else interrupt(),
        )
        assert training.is_interrupted
        found.append(model.factors.detach())
    assert (found[0] - found[1]).abs().mean() < 0.01 * found[1].abs().mean()
