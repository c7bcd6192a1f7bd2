"""A training that goes on from a state ends, bit for bit, as it would have without a break."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.data.disk_table import DiskTable
from tabcf.data.order import Chunks
from tabcf.errors import TrainingError
from tabcf.losses import BPR, MSE
from tabcf.nn import DotProductBias, EmbeddingNN
from tabcf.training.fused.handwritten import HandwrittenSteps
from tabcf.training.fused.problem import pair_problem
from tabcf.training.loop import EarlyStop, Training, train
from tabcf.training.objectives import PointwiseObjective
from tabcf.training.optimiser import AdamW, Decay, Piece, decay_groups
from tabcf.training.ranking import SampledObjective
from tabcf.training.samplers import Catalogue, Chosen, UniformSampler
from tabcf.training.schedules import one_cycle
from tabcf.training.state import TrainingState, weights_of
from tabcf.training.steps import EagerSteps, Steps
from tabcf.training.store.optimiser import StoreOptimiser

N_USERS, N_ITEMS, N = 30, 20, 600
TARGET = TargetInfo("regression", ("y",), center=(0.0,), scale=(1.0,))


class Memory:
    """Keeps a copy of every state, and gives back one that it was made with."""

    def __init__(self, first: TrainingState | None = None) -> None:
        self.first = first
        self.kept: list[TrainingState] = []

    def restore(self) -> TrainingState | None:
        return self.first

    def is_due(self, n_steps: int) -> bool:
        return n_steps > 0

    def keep(self, state: TrainingState) -> None:
        self.kept.append(copy.deepcopy(state))


class Shifted(MSE):
    """A loss with a weight of its own."""

    def __init__(self) -> None:
        super().__init__(TARGET)
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return super().forward(raw + self.shift, target, weight)


def table() -> Table:
    rng = Generator().manual_seed(4)
    users = torch.randint(1, N_USERS + 1, (N,), generator=rng).int()
    items = torch.randint(1, N_ITEMS + 1, (N,), generator=rng).int()
    return Table(
        rows={"user": users, "item": items},
        events=Inputs(torch.zeros(N, 0, dtype=torch.int32), torch.zeros(N, 0)),
        entities={"user": entity(N_USERS), "item": entity(N_ITEMS)},
        target=3 + ((users + items) % 2).float(),
    )


def entity(n: int) -> EntityTable:
    ids = torch.arange(n + 1, dtype=torch.int32)[:, None]
    return EntityTable(Inputs(ids, torch.zeros(n + 1, 0)))


def decays(*modules: nn.Module) -> list[Piece]:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return decay_groups(parameters, [], {}, Decay(0.1))


def network(seed: int) -> tuple[nn.Module, nn.Module, Steps]:
    """An MLP with dropout, batch norm and masked ids, under a loss with a weight."""
    torch.manual_seed(seed)
    model = EmbeddingNN([N_USERS + 1, N_ITEMS + 1], layers=[8], dropout=0.2)
    loss = Shifted()
    objective = PointwiseObjective(table(), model, loss, batch_size=64, masking=(0.1, 0.1))
    return model, loss, EagerSteps(model, objective, AdamW(decays(model, loss)), 1.0)


def product(seed: int) -> tuple[DotProductBias, nn.Module, PointwiseObjective]:
    torch.manual_seed(seed)
    model, loss = DotProductBias([N_USERS + 1, N_ITEMS + 1], factors=5), MSE(TARGET)
    return model, loss, PointwiseObjective(table(), model, loss, batch_size=64, masking=(0.1, 0.1))


def handwritten(seed: int) -> tuple[nn.Module, nn.Module, Steps]:
    model, loss, objective = product(seed)
    return model, loss, HandwrittenSteps(pair_problem(objective), AdamW(decays(model)))


def compiled(seed: int) -> tuple[nn.Module, nn.Module, Steps]:
    name = "tabcf.training.fused.compiled_steps"
    steps = pytest.importorskip(name, exc_type=ImportError)
    model, loss, objective = product(seed)
    return model, loss, steps.CompiledSteps(pair_problem(objective), decays(model))


def pairwise(seed: int) -> tuple[nn.Module, nn.Module, Steps]:
    """Items drawn for each event, by autograd."""
    model, _, objective = product(seed)
    rows, events = torch.arange(1, N_ITEMS + 1), objective.table
    columns = events.rows["item"].long() - 1
    catalogue = Catalogue(rows, torch.bincount(columns, minlength=N_ITEMS))
    users = events.rows["user"].long()
    loss = BPR(TargetInfo("implicit"))
    sampled = SampledObjective(
        events,
        model,
        loss,
        sampler=UniformSampler(catalogue, n=2),
        chosen=Chosen.of_pairs(users, columns, n_users=N_USERS + 1, n_items=N_ITEMS),
        catalogue=catalogue,
        batch_size=64,
    )
    return model, loss, EagerSteps(model, sampled, AdamW(decays(model)))


def rows(seed: int) -> tuple[nn.Module, nn.Module, Steps]:
    model, loss, objective = product(seed)
    optimiser = StoreOptimiser(decays(model), [model.factors, model.biases])
    return model, loss, EagerSteps(model, objective, optimiser, 1.0)


def from_disk(seed: int) -> tuple[nn.Module, nn.Module, Steps]:
    """The network, its rows shuffled by chunks that are read from disk."""
    model, loss, steps = network(seed)
    assert isinstance(steps, EagerSteps)
    assert isinstance(steps.objective, PointwiseObjective)
    written = DiskTable()
    written.append(steps.objective.table)
    steps.objective.table = written.opened(steps.objective.table.entities)
    steps.objective.chunks = Chunks(64, 3)
    return model, loss, steps


KINDS: dict[str, Callable[[int], tuple[nn.Module, nn.Module, Steps]]] = {
    "network": network,
    "handwritten": handwritten,
    "compiled": compiled,
    "pairwise": pairwise,
    "rows": rows,
    "from disk": from_disk,
}


def run(
    kind: str, keeper: Memory | None, *, seed: int = 0, **options: Any
) -> tuple[dict[str, Tensor], Training]:
    """The weights after three epochs, and their course."""
    model, loss, steps = KINDS[kind](seed)
    training = train(
        model,
        steps,
        schedule=one_cycle(),
        learning_rate=0.05,
        epochs=3,
        rng=Generator().manual_seed(1 + seed),
        loss=loss,
        keeper=keeper,
        **options,
    )
    return copy.deepcopy(weights_of(model, loss)), training


def course(training: Training) -> list[dict[str, Any]]:
    return [asdict(replace(report, seconds=0.0)) for report in training.epochs]


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled steps are broken off between blocks, so that an epoch has several."""
    monkeypatch.setattr("tabcf.data.order._BLOCK", 128)


@pytest.mark.parametrize("kind", KINDS)
def test_from_any_state_a_training_ends_with_the_same_weights(kind: str) -> None:
    memory = Memory()
    expected, whole = run(kind, memory)
    n_steps = -(-N // 64)
    n_expected = 3 * 5 if kind == "compiled" else 3 * n_steps
    assert len(memory.kept) == n_expected
    for state in memory.kept:
        weights, training = run(kind, Memory(state), seed=7)
        assert weights.keys() == expected.keys()
        for name, value in weights.items():
            assert torch.equal(value, expected[name]), (name, state.epoch, len(state.losses))
        assert course(training) == course(whole)


def test_keeping_states_changes_nothing() -> None:
    kept, _ = run("network", Memory())
    unkept, _ = run("network", None)
    assert all(torch.equal(kept[name], unkept[name]) for name in kept)


@pytest.mark.parametrize("worst_epoch", [2, 3])
def test_the_best_epoch_is_remembered_over_a_break(worst_epoch: int) -> None:
    """The metric is best in the first epoch; the loss's own weight returns to it too."""

    def options() -> dict[str, Any]:
        calls = [0]

        def validate(model: nn.Module) -> Mapping[str, float]:
            calls[0] += 1
            return {"rmse": float(calls[0] + offset[0])}

        return {"validate": validate, "early_stop": EarlyStop("rmse", False, patience=3)}

    offset = [0]
    memory = Memory()
    expected, whole = run("network", memory, **options())
    assert whole.best_epoch == 1
    state = next(s for s in memory.kept if s.epoch == worst_epoch)
    assert torch.equal(expected["loss.shift"], state.best.weights["loss.shift"])
    offset[0] = worst_epoch - 1
    weights, training = run("network", Memory(state), seed=7, **options())
    assert training.best_epoch == 1
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_other_batches_are_told() -> None:
    """A state whose batches are not those drawn here, such as after a change of the sampler."""
    memory = Memory()
    run("network", memory)
    state = memory.kept[3]
    strange = replace(state, rng=Generator().manual_seed(99).get_state())
    with pytest.raises(TrainingError, match="cannot go on from epoch 1, step 4: the batches"):
        run("network", Memory(strange))
