"""Updates of touched rows against dense AdamW and against references written row by row."""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.inputs import Bag
from tabcf.errors import TrainingError
from tabcf.nn import ColumnEmbeddings, DotProductBias, EmbeddingNN, RowTable, SetEmbeddings, lookup
from tabcf.training.optimiser import BETA2, EPS, AdamW, Decay, Piece, decay_groups
from tabcf.training.schedules import one_cycle
from tabcf.training.steps import Rate
from tabcf.training.store.ledger import REACH, Ledger
from tabcf.training.store.optimiser import StoreOptimiser
from tabcf.training.store.rows import ADAGRAD_EPS

ROWS, WIDTH, SPLIT = 400, 5, 150
DECAYS = (0.2, 0.01)
BACKENDS = [
    pytest.param(False, id="torch"),
    pytest.param(
        True,
        id="compiled",
        marks=pytest.mark.skipif(find_spec("numba") is None, reason="needs numba"),
    ),
]


class Course:
    """A small training in which most rows are touched rarely, and some never."""

    def __init__(self, n_steps: int, *, n_rows: int = ROWS, seed: int = 0) -> None:
        rng = Generator().manual_seed(seed)
        self.start = torch.randn(n_rows, WIDTH, generator=rng) * 0.3
        self.weight = torch.randn(WIDTH, 1, generator=rng) * 0.3
        self.batches = [
            (
                (torch.rand(24, generator=rng) ** 2 * (n_rows - 20)).long(),
                torch.rand(24, generator=rng),
            )
            for _ in range(n_steps)
        ]

    def run(
        self,
        make: Callable[[list[Piece], RowTable], Any],
        *,
        clip: float | None = None,
        seen: Callable[[int, RowTable, Any], None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        table, weight = RowTable(self.start.clone()), nn.Parameter(self.weight.clone())
        n = len(table)
        pieces = [
            Piece(table, slice(0, SPLIT), DECAYS[0]),
            Piece(table, slice(SPLIT, n), DECAYS[1]),
            Piece(weight, None, 0.1),
        ]
        optimiser = make(pieces, table)
        schedule = one_cycle()
        for number, (index, target) in enumerate(self.batches):
            factor, beta = schedule(number / len(self.batches))
            # Two look-ups, so that gradients of one table come in two parts.
            left, right = lookup(index[:12].int(), table), lookup(index, table)
            loss = ((right @ weight).squeeze(1) - target).square().mean() + left.square().mean()
            loss.backward()
            if clip is not None:
                optimiser.clip([table, weight], clip)
            optimiser.step(0.05 * factor, beta1=beta)
            if seen is not None:
                seen(number, table, optimiser)
        optimiser.settle()
        return table.detach().clone(), weight.detach().clone()


def by_rows(
    update: Any, is_compiled: bool, *, eps: float = EPS
) -> Callable[[list[Piece], RowTable], StoreOptimiser]:
    return lambda pieces, table: StoreOptimiser(
        pieces, [table], update=update, compiled=is_compiled, eps=eps
    )


def dense(pieces: list[Piece], table: RowTable, *, eps: float = EPS) -> AdamW:
    return AdamW(pieces, eps=eps)


def difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean() / other.abs().mean())


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("is_compiled", BACKENDS)
def test_replay_is_dense_adamw(is_compiled: bool, clip: float | None) -> None:
    """Rows that no batch touches decay all the same; the rest goes on by its momentum."""
    course = Course(300)
    table, weight = course.run(by_rows("replay", is_compiled), clip=clip)
    expected, expected_weight = course.run(dense, clip=clip)
    assert difference(table, expected) < 1e-4
    assert difference(weight, expected_weight) < 1e-4
    torch.testing.assert_close(table[-20:], expected[-20:], rtol=1e-5, atol=1e-7)
    assert difference(course.run(by_rows("lazy", is_compiled), clip=clip)[0], expected) > 0.02


def test_eps_counts_in_missed_steps() -> None:
    """Gradients are about as small as eps here, the worst case."""
    course = Course(300)
    table, weight = course.run(by_rows("replay", False, eps=EPS))
    expected, expected_weight = course.run(partial(dense, eps=EPS))
    assert difference(table, expected) < 1e-4
    assert difference(weight, expected_weight) < 1e-4


@pytest.mark.parametrize("is_compiled", BACKENDS)
def test_rows_are_made_up_for_from_beyond_reach(is_compiled: bool) -> None:
    course = Course(REACH + 900)
    rare = Course(1, seed=5).batches[0][0] % 20 + ROWS - 20
    course.batches[3] = (rare, course.batches[3][1])  # rows that are touched once, early
    table, _ = course.run(by_rows("replay", is_compiled))
    expected, _ = course.run(dense)
    assert difference(table[-20:], expected[-20:]) < 1e-5
    assert difference(table, expected) < 1e-3


@pytest.mark.parametrize("is_compiled", BACKENDS)
def test_settled_rows_are_those_of_dense_steps_at_any_time(is_compiled: bool) -> None:
    course, seen = Course(60), {}

    def settled(number: int, table: RowTable, optimiser: Any) -> None:
        if number % 20 == 7:
            optimiser.settle()
            seen[number] = table.detach().clone()

    table, _ = course.run(by_rows("replay", is_compiled), seen=settled)
    found = dict(seen)
    expected, _ = course.run(dense, seen=settled)
    for number, rows in found.items():
        assert difference(rows, seen[number]) < 1e-5
    assert difference(table, expected) < 1e-5


@pytest.mark.parametrize("is_compiled", BACKENDS)
def test_looked_up_rows_are_up_to_date_without_settling(is_compiled: bool) -> None:
    course, seen = Course(40), {}

    def look(number: int, table: RowTable, optimiser: Any) -> None:
        with torch.no_grad():
            seen[number] = lookup(torch.tensor([3, 390, 3]), table)

    course.run(by_rows("replay", is_compiled), seen=look)
    found = dict(seen)
    course.run(dense, seen=look)
    assert all(difference(found[number], seen[number]) < 1e-5 for number in seen)


@pytest.mark.parametrize("is_compiled", BACKENDS)
def test_lazy_leaves_untouched_rows_as_they_are(is_compiled: bool) -> None:
    """A reference of one row after the other: steps count for all, moments for touched rows."""
    rng = np.random.default_rng(1)
    table = RowTable(torch.ones(6, 2))
    optimiser = StoreOptimiser(
        [Piece(table, None, 0.3)], [table], update="lazy", compiled=is_compiled
    )
    expected = np.ones((6, 2))
    mean, square = np.zeros((6, 2)), np.zeros((6, 2))
    for t in range(1, 9):
        index = rng.integers(0, 4, 3)
        slope = rng.normal(size=(3, 2))
        (lookup(torch.tensor(index), table) * torch.tensor(slope).float()).sum().backward()
        optimiser.step(0.02, beta1=0.8)
        for row in np.unique(index):
            gradient = slope[index == row].sum(0)
            mean[row] = 0.8 * mean[row] + 0.2 * gradient
            square[row] = BETA2 * square[row] + (1 - BETA2) * gradient**2
            root = np.sqrt(square[row] / (1 - BETA2**t))
            expected[row] *= 1 - 0.02 * 0.3
            expected[row] -= 0.02 * mean[row] / (1 - 0.8**t) / (root + EPS)
    np.testing.assert_allclose(table.detach().numpy(), expected, rtol=1e-5)
    assert (table[4:] == 1).all()


@pytest.mark.parametrize("is_compiled", BACKENDS)
def test_adagrad_keeps_one_number_a_row(is_compiled: bool) -> None:
    rng = np.random.default_rng(2)
    table = RowTable(torch.ones(6, 3))
    optimiser = StoreOptimiser(
        [Piece(table, None, 0.3)], [table], update="adagrad", compiled=is_compiled
    )
    expected, total = np.ones((6, 3)), np.zeros(6)
    for _ in range(8):
        index = rng.integers(0, 4, 3)
        slope = rng.normal(size=(3, 3))
        (lookup(torch.tensor(index), table) * torch.tensor(slope).float()).sum().backward()
        optimiser.step(0.02)
        for row in np.unique(index):
            gradient = slope[index == row].sum(0)
            total[row] += (gradient**2).mean()
            expected[row] *= 1 - 0.02 * 0.3
            expected[row] -= 0.02 * gradient / (math.sqrt(total[row]) + ADAGRAD_EPS)
    np.testing.assert_allclose(table.detach().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("update", ["replay", "lazy", "adagrad"])
def test_compiled_and_torch_give_the_same_numbers(update: str) -> None:
    pytest.importorskip("numba")
    course = Course(80)
    for one, other in zip(
        course.run(by_rows(update, True), clip=0.5),
        course.run(by_rows(update, False), clip=0.5),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_ledger_sums_up_what_single_steps_do() -> None:
    """Far above eps the closed form is the sum itself."""
    ledger = Ledger([0.1], beta2=BETA2, eps=EPS)
    rates = [Rate(0.01 * (1 + t % 3), 0.85 + 0.1 * (t % 2)) for t in range(1, 41)]
    value, mean, root = 2.0, 0.5, 3.0
    for rate in rates[:10]:
        ledger.add(rate)
    for t, rate in enumerate(rates[10:], 11):
        step = ledger.add(rate)
        mean, root = mean * rate.beta1, root * math.sqrt(BETA2)
        value = step.keep[0] * value - step.size * mean / (root + step.eps)
        assert ledger.t == t
    missed = ledger.missed(np.array([0]), np.array([10]))
    kept, first, second, a, b, beta, fade = (float(number[0]) for number in missed)
    assert kept * 2 - 0.5 * (3 * first + second) / ((3 + a) * (3 + b)) == pytest.approx(
        value, rel=1e-5
    )
    assert (0.5 * beta, 3 * fade) == pytest.approx((mean, root), rel=1e-5)


@pytest.mark.parametrize("is_compiled", BACKENDS)
@pytest.mark.parametrize("kind", ["dot", "network", "sets"])
def test_models_train_by_rows_as_by_all(kind: str, is_compiled: bool) -> None:
    rng = Generator().manual_seed(0)
    bags = [
        Bag(torch.randint(9, (40,), generator=rng), torch.arange(0, 40, 2), torch.rand(40))
        for _ in range(30)
    ]

    def made() -> nn.Module:
        torch.manual_seed(1)
        if kind == "dot":
            return DotProductBias([60, 40, 7], factors=4, cat_sides=["user", "item", "event"])
        sets = {"set_cardinalities": [9], "set_widths": 3} if kind == "sets" else {}
        return EmbeddingNN([60, 40, 7], layers=[8], widths=[4, 4, 3], **sets, batch_norm=False)

    batches = [
        torch.stack([torch.randint(n, (20,), generator=rng) for n in (60, 40, 7)], 1)
        for _ in range(30)
    ]
    found = []
    for is_dense in (True, False):
        model: Any = made()
        pieces = decay_groups(model.parameters(), model.bias_parameters(), {}, Decay(0.1))
        tables = [p for p in model.parameters() if isinstance(p, RowTable)]
        optimiser: Any = AdamW(pieces)
        if not is_dense:
            optimiser = StoreOptimiser(pieces, tables, compiled=is_compiled)
        for x_cat, bag in zip(batches, bags, strict=True):
            output = model(x_cat, None, (bag,) if kind == "sets" else None)
            (output - x_cat[:, :1] % 2).square().mean().backward()
            optimiser.step(0.02, beta1=0.9)
        optimiser.settle()
        found.append([p.detach().clone() for p in model.parameters()])
    for one, other in zip(*found, strict=True):
        if other.numel():
            assert difference(one, other) < 0.01


def test_a_set_column_is_summed_up_alike_with_a_keeper() -> None:
    sets = SetEmbeddings([6], 3, norm="mean")
    bag = Bag(torch.tensor([1, 2, 5, 5]), torch.tensor([0, 3]))
    expected = sets((bag,))
    optimiser = StoreOptimiser([Piece(sets.tables[0], None, 0.0)], list(sets.tables))
    torch.testing.assert_close(sets((bag,)), expected)
    assert sets.tables[0].keeper is not None
    del optimiser


def test_a_table_is_plain_again_when_its_optimiser_is_gone() -> None:
    store = ColumnEmbeddings([50, 50], 2)
    (table,) = store.tables
    optimiser = StoreOptimiser([Piece(table, None, 0.0)], [table])
    assert copy.deepcopy(store).tables[0].keeper is None
    assert list(store.state_dict()) == ["tables.0"]
    x_cat = torch.tensor([[1, 2]])
    store(x_cat).sum().backward()
    assert table.grad.is_sparse
    table.grad = None
    del optimiser
    gc.collect()
    store(x_cat).sum().backward()
    assert not table.grad.is_sparse


def test_rows_read_past_the_lookup_are_an_error() -> None:
    table = RowTable(torch.ones(50, 2))
    optimiser = StoreOptimiser([Piece(table, None, 0.0)], [table])
    table.square().sum().backward()
    with pytest.raises(TrainingError, match=r"dense gradient: .* otherwise than by `lookup`"):
        optimiser.step(0.1)


def test_a_decay_that_outruns_momentum_is_an_error() -> None:
    table = RowTable(torch.ones(50, 2))
    optimiser = StoreOptimiser([Piece(table, None, 1.0)], [table])
    lookup(torch.tensor([1]), table).sum().backward()
    with pytest.raises(TrainingError, match=r"learning rate 0\.2 times the weight decay 1 is"):
        optimiser.step(0.2)


def test_a_step_without_look_ups_is_no_step_as_in_torch() -> None:
    table = RowTable(torch.ones(50, 2))
    optimiser = StoreOptimiser([Piece(table, None, 0.1)], [table])
    optimiser.step(0.1)
    optimiser.settle()
    assert (table == 1).all()


@pytest.mark.parametrize("update", ["replay", "lazy", "adagrad"])
@pytest.mark.parametrize("is_compiled", BACKENDS)
def test_a_training_goes_on_from_a_kept_state_to_the_same_bits(
    is_compiled: bool, update: str
) -> None:
    """Beyond the room that the ledger has at first, with rows that are behind."""
    kept: dict[str, Any] = {}

    def keep(number: int, table: RowTable, optimiser: Any) -> None:
        if number == REACH + 5:
            kept["table"] = table.detach().clone()
            kept["state"] = {name: value.clone() for name, value in optimiser.state().items()}

    def go_on(number: int, table: RowTable, optimiser: Any) -> None:
        if number == REACH + 5:
            with torch.no_grad():
                table.copy_(kept["table"])
            fresh = by_rows(update, is_compiled)(pieces["of"], table)
            fresh.load_state(kept["state"])
            optimiser.__dict__ = fresh.__dict__

    pieces: dict[str, list[Piece]] = {}

    def making(of: list[Piece], table: RowTable) -> StoreOptimiser:
        pieces["of"] = of
        return by_rows(update, is_compiled)(of, table)

    course = Course(REACH + 40)
    expected = course.run(making, seen=keep)
    found = course.run(making, seen=go_on)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
