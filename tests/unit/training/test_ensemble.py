"""Members of an ensemble are trained as each would be alone, and the training can be broken off."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError
from tabcf.losses import MSE, Softmax
from tabcf.nn import DotProduct, DotProductBias, EmbeddingNN
from tabcf.nn.members import Ensemble, ensemble_of
from tabcf.training.average import Average
from tabcf.training.ensemble import choose_engine, in_one_pass
from tabcf.training.loop import Training, train
from tabcf.training.objectives import Objective, PointwiseObjective
from tabcf.training.optimiser import AdamW, Decay, Piece, decay_groups
from tabcf.training.ranking import CatalogueObjective
from tabcf.training.schedules import one_cycle
from tabcf.training.state import weights_of
from tabcf.training.steps import EagerSteps, Steps
from tests.unit.training.test_resume import (
    N_ITEMS,
    N_USERS,
    TARGET,
    Memory,
    Shifted,
    course,
    pairwise,
    table,
)

IDS = [N_USERS + 1, N_ITEMS + 1]


def with_sets() -> Table:
    """Each item has a set of values."""
    given = table()
    items = given.entities["item"].inputs
    values = torch.randint(0, 5, (2 * len(items.x_cat),), generator=Generator().manual_seed(2))
    bag = Bag(values, torch.arange(0, len(values), 2))
    given.entities["item"] = EntityTable(Inputs(items.x_cat, items.x_cont, (bag,)))
    return given


def dot_products(n: int, seed: int) -> Ensemble:
    torch.manual_seed(seed)
    options: dict[str, Any] = {"set_sides": ["item"], "set_cardinalities": [5]}
    return ensemble_of(DotProductBias(IDS, factors=4, **options) for _ in range(n))


def pointwise_dots(n: int, seed: int) -> tuple[Ensemble, Objective]:
    model = dot_products(n, seed)
    return model, PointwiseObjective(with_sets(), model, MSE(TARGET), batch_size=64, l2=0.01)


def pointwise_networks(n: int, seed: int) -> tuple[Ensemble, Objective]:
    torch.manual_seed(seed)
    model = ensemble_of(EmbeddingNN(IDS, layers=[8]) for _ in range(n))
    return model, PointwiseObjective(table(), model, MSE(TARGET), batch_size=64, masking=(0.1, 0.1))


def catalogue(n: int, seed: int) -> tuple[Ensemble, Objective]:
    torch.manual_seed(seed)
    model = ensemble_of(DotProduct(IDS, factors=4) for _ in range(n))
    loss = Softmax(TargetInfo("implicit"))
    return model, CatalogueObjective(table(), model, loss, batch_size=8)


def sampled(n: int, seed: int) -> tuple[Ensemble, Objective]:
    torch.manual_seed(seed)
    model = ensemble_of(DotProductBias(IDS, factors=4) for _ in range(n))
    return model, pairwise(seed)[2].objective.of(model)


FORMS = {
    "events, by one look-up": pointwise_dots,
    "events": pointwise_networks,
    "catalogue": catalogue,
    "sampled": sampled,
}


def decays(model: nn.Module) -> list[Piece]:
    return decay_groups(model.parameters(), [], {}, Decay(0.1))


def trained(model: nn.Module, steps: Steps, **options: Any) -> Training:
    return train(
        model,
        steps,
        schedule=one_cycle(),
        learning_rate=0.02,
        epochs=options.pop("epochs", 3),
        rng=Generator().manual_seed(1),
        **options,
    )


@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize("form", FORMS)
def test_in_one_pass_each_member_is_trained_as_if_alone(form: str, clip_norm: float | None) -> None:
    model, objective = FORMS[form](3, 5)
    alone = copy.deepcopy(list(model.members))
    steps = EagerSteps(
        model, in_one_pass(objective, model), AdamW(decays(model)), clip_norm, list(model.members)
    )
    together = trained(model, steps)
    losses = []
    for member, own in zip(model.members, alone, strict=True):
        steps = EagerSteps(own, objective.of(own), AdamW(decays(own)), clip_norm)
        losses.append([report.train_loss for report in trained(own, steps).epochs])
        for mine, expected in zip(
            member.state_dict().items(), own.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(mine[1], expected, rtol=1e-3, atol=1e-4, msg=mine[0])
    found = torch.tensor([report.train_loss for report in together.epochs])
    torch.testing.assert_close(found, torch.tensor(losses).mean(0), rtol=1e-4, atol=1e-5)
    assert not torch.equal(*(next(m.parameters()) for m in list(model.members)[:2]))


def in_turn(seed: int, name: Any = "auto") -> tuple[Ensemble, nn.Module, Steps]:
    torch.manual_seed(seed)
    model, loss = ensemble_of(DotProductBias(IDS, factors=4) for _ in range(3)), MSE(TARGET)
    engine = choose_engine(
        name,
        PointwiseObjective(table(), model, loss, batch_size=64),
        model,
        decays=decays,
        schedule=one_cycle(),
        learning_rate=0.02,
        epochs=3,
    )
    assert "in turn" in engine.note
    return model, loss, engine.steps


def in_pass(seed: int) -> tuple[Ensemble, nn.Module, Steps]:
    """Networks with dropout under a loss with a weight of its own."""
    torch.manual_seed(seed)
    model = ensemble_of(EmbeddingNN(IDS, layers=[8], dropout=0.2) for _ in range(2))
    loss = Shifted()
    pieces = decay_groups([*model.parameters(), *loss.parameters()], [], {}, Decay(0.1))
    engine = choose_engine(
        "auto",
        PointwiseObjective(table(), model, loss, batch_size=64),
        model,
        decays=lambda _: pieces,
        schedule=one_cycle(),
        learning_rate=0.02,
        epochs=3,
    )
    assert "in one pass" in engine.note
    return model, loss, engine.steps


def compiled_in_turn(seed: int) -> tuple[Ensemble, nn.Module, Steps]:
    pytest.importorskip("tabcf.training.fused.compiled_steps", exc_type=ImportError)
    return in_turn(seed, "fused")


KINDS: dict[str, Callable[[int], tuple[Ensemble, nn.Module, Steps]]] = {
    "in turn": in_turn,
    "in turn, compiled": compiled_in_turn,
    "in one pass": in_pass,
}


def run(
    kind: str, keeper: Memory | None = None, *, seed: int = 0, start: float | None = 0.4
) -> tuple[dict[str, Tensor], Training]:
    model, loss, steps = KINDS[kind](seed)
    average = None if start is None else Average.of_last(start, 3)
    training = trained(model, steps, loss=loss, keeper=keeper, average=average)
    return copy.deepcopy(weights_of(model, loss)), training


@pytest.mark.parametrize("kind", KINDS)
def test_from_any_state_an_ensemble_ends_with_the_same_weights(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tabcf.data.order._BLOCK", 128)
    memory = Memory()
    expected, whole = run(kind, memory)
    n_steps = {"in turn": 3 * 10, "in turn, compiled": 3 * 5, "in one pass": 10}[kind]
    assert len(memory.kept) == 3 * n_steps
    for state in memory.kept[:: 2 if n_steps < 20 else 7] + memory.kept[-2:]:
        weights, training = run(kind, Memory(state), seed=7)
        for name, value in weights.items():
            assert torch.equal(value, expected[name]), (name, state.epoch, len(state.losses))
        assert course(training) == course(whole)


def test_members_in_turn_see_batches_and_rates_of_their_own() -> None:
    """With weights that are equal at first, only the order of batches tells members apart."""
    model, loss, steps = in_turn(0)
    first = model.members[0].state_dict()
    for member in model.members:
        member.load_state_dict(first)
    training = trained(model, steps, loss=loss)
    assert len(training.epochs) == 3
    assert steps.n_steps == 30
    assert training.epochs[-1].train_loss < training.epochs[0].train_loss
    one, other, _ = (member.factors for member in model.members)
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other, rtol=0, atol=0.2)


@pytest.mark.parametrize("kind", ["dots", "networks"])
@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_members_tables_are_updated_by_touched_rows(kind: str, clip_norm: float | None) -> None:
    """Missed steps are made up for, so that it is as if all rows were updated at each step."""
    options: dict[str, Any] = {"set_sides": ["item"], "set_cardinalities": [5]}
    build: Callable[[], nn.Module] = {
        "dots": lambda: DotProductBias(IDS, factors=4, **options),
        "networks": lambda: EmbeddingNN(IDS, layers=[8], **options),
    }[kind]
    found = []
    for update in ("dense", "replay"):
        torch.manual_seed(2)
        model, loss = ensemble_of(build() for _ in range(2)), MSE(TARGET)
        engine = choose_engine(
            "auto",
            PointwiseObjective(with_sets(), model, loss, batch_size=16),
            model,
            decays=decays,
            schedule=one_cycle(),
            learning_rate=0.02,
            epochs=2,
            clip_norm=clip_norm,
            update=update,
        )
        assert engine.note.endswith("by replay; 2 in one pass" if update == "replay" else "pass")
        trained(model, engine.steps, epochs=2)
        found.append([p.detach().clone() for p in model.parameters()])
    for dense, replayed in zip(*found, strict=True):
        torch.testing.assert_close(replayed, dense, rtol=1e-2, atol=1e-3)


def test_what_cannot_be_fused_is_refused_for_ensembles_too() -> None:
    model, objective = pointwise_networks(2, 0)
    options: Any = {"decays": decays, "schedule": one_cycle(), "learning_rate": 0.1, "epochs": 1}
    with pytest.raises(SpecError, match=r"train\.engine: .* no plain dot product but EmbeddingNN"):
        choose_engine("fused", objective, model, **options)
    note = choose_engine("eager", objective, model, **options).note
    assert note == "eager: train.engine says so; 2 in one pass"


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_ends_with_the_mean_of_the_last_epochs_weights(kind: str) -> None:
    ends: list[dict[str, Tensor]] = []
    seen: list[dict[str, Tensor]] = []
    for start in (None, 0.34):
        model, loss, steps = KINDS[kind](0)
        kept = ends if start is None else seen

        def validate(_: nn.Module, model: Any = model, loss: Any = loss, to: Any = kept) -> Any:
            to.append(copy.deepcopy(weights_of(model, loss)))
            return {}

        average = None if start is None else Average.of_last(start, 3)
        trained(model, steps, loss=loss, validate=validate, average=average)
    found = weights_of(model, loss)
    for name, value in found.items():
        assert torch.equal(seen[0][name], ends[0][name]), "the first epoch does not count"
        assert torch.equal(seen[1][name], ends[1][name])
        assert torch.equal(seen[2][name], value), "what was validated is what remains"
        if value.is_floating_point():
            mean = (ends[1][name] + ends[2][name]) / 2
            torch.testing.assert_close(value, mean, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, ends[2][name])


@pytest.mark.parametrize(
    ("start", "epochs", "first"), [(0.0, 4, 1), (0.5, 5, 3), (0.5, 4, 3), (0.99, 3, 3), (0.9, 1, 1)]
)
def test_averaging_begins_after_a_share_of_the_epochs(
    start: float, epochs: int, first: int
) -> None:
    assert Average.of_last(start, epochs).first == first


def test_ctrl_c_leaves_the_mean_of_the_whole_epochs() -> None:
    model, loss, steps = in_pass(0)
    ends: list[dict[str, Tensor]] = []
    taken = [0]

    def stop_in_the_third_epoch() -> None:
        taken[0] += 1
        if taken[0] == 24:
            raise KeyboardInterrupt

    def validate(_: nn.Module) -> dict[str, float]:
        ends.append(copy.deepcopy(weights_of(model, loss)))
        return {}

    training = trained(
        model,
        steps,
        loss=loss,
        average=Average(2),
        on_step=stop_in_the_third_epoch,
        validate=validate,
    )
    assert training.is_interrupted
    assert len(ends) == 2
    assert all(torch.equal(ends[1][name], value) for name, value in weights_of(model, loss).items())
