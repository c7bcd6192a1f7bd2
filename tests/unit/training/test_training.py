from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.layout import CategoricalColumn, Layout
from tabcf.contracts.table import EntityTable, Table
from tabcf.data.batches import gather, shuffled_batches
from tabcf.errors import TrainingError
from tabcf.nn import DotProductBias
from tabcf.run.unknown import write_mean_rows
from tabcf.training.loop import EarlyStop, train
from tabcf.training.optimiser import AdamW, Decay, decay_groups
from tabcf.training.schedules import constant, cosine, one_cycle
from tabcf.training.steps import EagerSteps


def adam_steps(optimiser: Any, parameters: list[nn.Parameter], gradients: list[Any]) -> None:
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimiser()


def random_gradients(shapes: list[tuple[int, ...]], n_steps: int) -> list[list[Tensor]]:
    rng = torch.Generator().manual_seed(0)
    return [[torch.randn(shape, generator=rng) for shape in shapes] for _ in range(n_steps)]


def test_adamw_gives_torchs_numbers() -> None:
    shapes = [(5, 3), (4,)]
    mine = [nn.Parameter(torch.ones(shape)) for shape in shapes]
    theirs = [nn.Parameter(torch.ones(shape)) for shape in shapes]
    own = AdamW(decay_groups(mine, [mine[1]], {}, Decay(0.3)), beta2=0.99, eps=1e-5)
    groups = [
        {"params": [theirs[0]], "weight_decay": 0.3},
        {"params": [theirs[1]], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.99), eps=1e-5)
    gradients = random_gradients(shapes, 7)
    adam_steps(lambda: own.step(0.1, beta1=0.9), mine, gradients)
    adam_steps(reference.step, theirs, gradients)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert all(parameter.grad is None for parameter in mine)


def test_a_columns_own_decay_is_that_of_its_rows_alone() -> None:
    """Rows 2 to 4 decay by 0.5, the others by 0.1: the same as two parameters of torch's."""
    mine = nn.Parameter(torch.ones(7, 2))
    parts = [nn.Parameter(torch.ones(n, 2)) for n in (2, 3, 2)]
    columns = {"item": [(mine, slice(2, 5))]}
    own = AdamW(decay_groups([mine], [], columns, Decay(0.1, {"item": 0.5})))
    reference = torch.optim.AdamW(
        [{"params": [p], "weight_decay": d} for p, d in zip(parts, (0.1, 0.5, 0.1), strict=True)],
        lr=0.05,
        betas=(0.9, 0.99),
        eps=1e-5,
    )
    gradients = random_gradients([(7, 2)], 4)
    adam_steps(lambda: own.step(0.05), [mine], gradients)
    adam_steps(reference.step, parts, [list(g[0].split([2, 3, 2])) for g in gradients])
    torch.testing.assert_close(mine.data, torch.cat([p.data for p in parts]))


def test_untouched_rows_go_on_decaying() -> None:
    weight = nn.Parameter(torch.ones(2, 1))
    own = AdamW(decay_groups([weight], [], {}, Decay(0.5)))
    weight.grad = torch.tensor([[1.0], [0.0]])
    own.step(0.1)
    assert weight[1].item() == pytest.approx(1 - 0.1 * 0.5)


def test_one_cycle_has_fastais_landmarks() -> None:
    at = one_cycle()
    assert at(0.0) == (pytest.approx(1 / 25), pytest.approx(0.95))
    assert at(0.25) == (pytest.approx(1.0), pytest.approx(0.85))
    assert at(1.0) == (pytest.approx(1e-5), pytest.approx(0.95))
    assert at(0.125)[0] == pytest.approx((1 / 25 + 1) / 2)


def test_cosine_and_constant() -> None:
    at = cosine(warmup=0.2)
    assert [round(at(p)[0], 6) for p in (0.1, 0.2, 0.6, 1.0)] == [0.5, 1.0, 0.5, 0.0]
    assert constant()(0.7) == (1.0, None)


class Bowl:
    """Lowers (w - 3)² by one batch an epoch; an objective as plain as can be."""

    n_steps = 1

    def __init__(self, model: nn.Module, *, broken_from: int = 10**9) -> None:
        self.model, self.seen, self.broken_from = model, 0, broken_from

    def epoch(self, rng: Any) -> Iterator[int]:
        self.seen += 1
        yield self.seen

    def loss(self, batch: int) -> Tensor:
        value = (self.model.weight - 3).square().sum()
        return value * float("nan") if batch >= self.broken_from else value


def steps(model: nn.Module, **changes: Any) -> EagerSteps:
    optimiser = AdamW(decay_groups(model.parameters(), [], {}, Decay(0.0)))
    return EagerSteps(model, Bowl(model, **changes), optimiser)


def bowl(**changes: Any) -> tuple[nn.Linear, Any]:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    arguments = {
        "schedule": constant(),
        "learning_rate": 1.0,
        "epochs": 8,
        "rng": torch.Generator(),
        **changes,
    }
    return model, arguments


def test_early_stopping_restores_the_best_epochs_weights() -> None:
    """A rate of 1 passes w = 3 in the third step and goes on; the best epoch is kept."""
    weights = []

    def validate(model: nn.Module) -> dict[str, float]:
        weights.append(model.weight.item())
        return {"error": abs(model.weight.item() - 2.0)}

    model, arguments = bowl(early_stop=EarlyStop("error", False, 2), validate=validate)
    training = train(model, steps(model), **arguments)
    best = int(np.argmin(np.abs(np.array(weights) - 2.0)))
    assert training.best_epoch == best + 1 < len(training.epochs) == best + 3
    assert model.weight.item() == weights[best]


def test_a_loss_that_is_not_finite_stops_with_its_place_and_a_hint() -> None:
    model, arguments = bowl()
    with pytest.raises(TrainingError, match=r"nan at epoch 3, step 1 .*try a tenth of it"):
        train(model, steps(model, broken_from=3), **arguments)


def test_ctrl_c_keeps_what_was_reached() -> None:
    def on_step() -> None:
        if model.weight.item() > 1.5:
            raise KeyboardInterrupt

    model, arguments = bowl(on_step=on_step)
    training = train(model, steps(model), **arguments)
    assert training.is_interrupted
    assert model.weight.item() > 1.5
    assert not model.training


@pytest.fixture(scope="module")
def table() -> Table:
    """50 events of 4 users (with a number) and 3 items (with a set)."""
    rng = torch.Generator().manual_seed(1)
    users = EntityTable(
        Inputs(torch.arange(5, dtype=torch.int32)[:, None], torch.arange(5.0)[:, None] * 10)
    )
    tags = Bag(torch.tensor([7, 8, 9]), torch.tensor([0, 0, 1, 3]))
    items = EntityTable(
        Inputs(torch.arange(4, dtype=torch.int32)[:, None], torch.zeros(4, 0), (tags,))
    )
    return Table(
        rows={
            "user": torch.randint(0, 5, (50,), generator=rng).int(),
            "item": torch.randint(0, 4, (50,), generator=rng).int(),
        },
        events=Inputs(torch.zeros(50, 0, dtype=torch.int32), torch.arange(50.0)[:, None]),
        entities={"user": users, "item": items},
        target=torch.arange(50.0),
    )


def test_gathering_is_a_left_merge(table: Table) -> None:
    order = torch.randperm(50)
    found = gather(table, order)
    events = pd.DataFrame({name: rows[order].numpy() for name, rows in table.rows.items()})
    users = pd.DataFrame({"user": range(5), "number": [0.0, 10.0, 20.0, 30.0, 40.0]})
    tags = pd.DataFrame({"item": range(4), "tags": [[], [7], [8, 9], []]})
    merged = events.merge(users, how="left").merge(tags, how="left")
    assert found.x_cont[:, 0].tolist() == merged["number"].tolist()
    assert found.x_cont[:, 1].tolist() == order.tolist()
    ends = [*found.x_sets[0].offsets.tolist(), len(found.x_sets[0].values)]
    rows = [found.x_sets[0].values[a:b].tolist() for a, b in pairwise(ends)]
    assert rows == merged["tags"].tolist()


def test_an_epoch_visits_each_row_once_in_a_new_order(table: Table) -> None:
    rng = torch.Generator().manual_seed(3)
    first, second = (
        torch.cat([batch.target for batch in shuffled_batches(table, 8, rng)]) for _ in range(2)
    )
    assert sorted(first.tolist()) == list(range(50))
    assert sorted(second.tolist()) == list(range(50))
    assert first.tolist() != second.tolist()


def test_batches_keep_rows_together(table: Table) -> None:
    for batch in shuffled_batches(table, 8, torch.Generator().manual_seed(3)):
        positions = batch.inputs.x_cont[:, 1].long()
        expected = gather(table, positions)
        assert torch.equal(batch.inputs.x_cat, expected.x_cat)
        assert torch.equal(batch.inputs.x_sets[0].values, expected.x_sets[0].values)
        assert torch.equal(batch.inputs.x_sets[0].offsets, expected.x_sets[0].offsets)
        assert torch.equal(batch.target, positions.float())


def test_masking_hides_about_its_share_of_values(table: Table) -> None:
    rng = torch.Generator().manual_seed(0)
    shown = torch.cat(
        [b.inputs.x_cat for b in shuffled_batches(table, 50, rng, masking=[0.5, 0.5])]
    )
    plain = torch.cat([table.rows["user"], table.rows["item"]])
    share = (shown == 0).float().mean() - (plain == 0).float().mean() / 2
    assert 0.3 < share < 0.6


def test_the_mean_row_is_count_shrunken() -> None:
    model = DotProductBias([3, 3], factors=2)
    users = EntityTable(Inputs(torch.arange(3, dtype=torch.int32)[:, None], torch.zeros(3, 0)))
    train_rows = torch.tensor([1, 1, 1, 2], dtype=torch.int32)
    data = Table(
        rows={"user": train_rows, "item": train_rows},
        events=Inputs(torch.zeros(4, 0, dtype=torch.int32), torch.zeros(4, 0)),
        entities={"user": users, "item": users},
    )
    own = model.column_vectors(0).detach().clone()
    layout = Layout((CategoricalColumn("user", "user", 3), CategoricalColumn("item", "item", 3)))
    write_mean_rows(model, layout, data, strength=1.0)
    weights = torch.tensor([3 / 4, 1 / 2])
    expected = (weights @ own[1:]) / weights.sum()
    torch.testing.assert_close(model.column_vectors(0)[0], expected)
    assert torch.equal(model.column_vectors(0)[1:], own[1:])
