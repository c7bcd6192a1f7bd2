"""Compiled passes, 16-bit products, other devices and threads leave a training what it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, nn

import tabcf
from tabcf.contracts.inputs import Bag, Inputs
from tabcf.contracts.table import EntityTable, Table
from tabcf.contracts.target import TargetInfo
from tabcf.errors import SpecError, TrainingError
from tabcf.losses import BPR, MSE, Softmax
from tabcf.nn import DotProductBias, EmbeddingNN
from tabcf.run.progress import Silent
from tabcf.testing import tiny_ratings
from tabcf.training.acceleration import Acceleration, accelerated
from tabcf.training.fused.handwritten import HandwrittenSteps
from tabcf.training.fused.problem import pair_problem
from tabcf.training.objectives import Objective, PointwiseObjective
from tabcf.training.optimiser import AdamW
from tabcf.training.ranking import CatalogueObjective, SampledObjective
from tabcf.training.samplers import Catalogue, Chosen, PopularitySampler
from tabcf.training.steps import EagerSteps
from tabcf.training.threads import multiplications, threads_for
from tests.unit.training.test_engine import spec
from tests.unit.training.test_resume import N_ITEMS, N_USERS, TARGET, decays, network, table

CPU, META = torch.device("cpu"), torch.device("meta")
IDS = [N_USERS + 1, N_ITEMS + 1]
Build = Callable[[torch.device], tuple[nn.Module, Objective]]


class Notes(Silent):
    """Keeps what a fit tells."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def with_sets(is_weighted: bool = True) -> Table:
    """Each item has a set of values, and events have weights."""
    given = table()
    items = given.entities["item"].inputs
    values = torch.randint(0, 5, (2 * len(items.x_cat),), generator=Generator().manual_seed(2))
    bag = Bag(values, torch.arange(0, len(values), 2))
    entities = given.entities | {"item": EntityTable(Inputs(items.x_cat, items.x_cont, (bag,)))}
    weight = torch.rand(len(given), generator=Generator().manual_seed(3)) if is_weighted else None
    return Table(given.rows, given.events, entities, given.target, weight)


def rated(device: torch.device) -> tuple[nn.Module, Objective]:
    torch.manual_seed(0)
    sets: dict[str, Any] = {"set_sides": ["item"], "set_cardinalities": [5]}
    model = EmbeddingNN(IDS, layers=[8], dropout=0.1, y_range=(0, 5), **sets).to(device)
    options: dict[str, Any] = {"batch_size": 64, "masking": (0.1, 0.1), "l2": 0.01}
    return model, PointwiseObjective(with_sets(), model, MSE(TARGET), device=device, **options)


def drawn(device: torch.device) -> tuple[nn.Module, Objective]:
    torch.manual_seed(0)
    events = table()
    columns = events.rows["item"].long() - 1
    catalogue = Catalogue(torch.arange(1, N_ITEMS + 1), torch.bincount(columns, minlength=N_ITEMS))
    model = DotProductBias(IDS, factors=4).to(device)
    objective = SampledObjective(
        events,
        model,
        BPR(TargetInfo("implicit")),
        sampler=PopularitySampler(catalogue, n=3, power=0.5),
        chosen=Chosen.of_pairs(
            events.rows["user"].long(), columns, n_users=N_USERS + 1, n_items=N_ITEMS
        ),
        catalogue=catalogue,
        batch_size=64,
        device=device,
    )
    return model, objective


def whole(device: torch.device) -> tuple[nn.Module, Objective]:
    torch.manual_seed(0)
    model = EmbeddingNN(IDS, layers=[8]).to(device)
    loss = Softmax(TargetInfo("implicit"))
    return model, CatalogueObjective(table(), model, loss, batch_size=8, device=device)


FORMS: dict[str, Build] = {"events": rated, "sampled": drawn, "catalogue": whole}


@pytest.mark.parametrize("form", FORMS)
def test_a_step_leaves_nothing_on_the_cpu(form: str) -> None:
    """The meta device stands in for a GPU: a tensor made elsewhere by the way is an error."""
    model, objective = FORMS[form](META)
    batch = next(iter(objective.epoch(Generator().manual_seed(0))))
    for precision in ("fp32", "bf16"):
        asked = Acceleration(precision=precision)
        loss = accelerated(objective, asked, CPU).loss(batch)
        assert (loss.device, loss.dtype, loss.shape) == (META, torch.float32, ())
        loss.backward()
    optimiser = AdamW(decays(model))
    optimiser.clip(model.parameters(), 1.0)
    optimiser.step(0.01)
    assert {p.device for p in model.parameters()} == {META}
    assert {value.device for value in optimiser.state().values()} == {META}


@pytest.mark.parametrize("form", FORMS)
def test_compiled_losses_have_the_gradients_of_eager_ones(form: str) -> None:
    """Traced, and run by torch's own operations: that is what any backend is given."""
    found = []
    for asked in (Acceleration(), Acceleration(is_compiled=True, backend="eager")):
        model, objective = FORMS[form](CPU)
        model.eval()  # dropout draws other numbers
        batch = next(iter(objective.epoch(Generator().manual_seed(0))))
        loss = accelerated(objective, asked, CPU).loss(batch)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1]) > 2
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_mixed_precision_trains_float32_weights_to_about_the_same() -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        model, _, steps = network(0)
        assert isinstance(steps, EagerSteps)
        asked = Acceleration(precision=precision)
        batch = next(iter(steps.objective.epoch(Generator().manual_seed(1))))
        seen: list[torch.dtype] = []
        layer = next(m for m in model.modules() if isinstance(m, nn.Linear))
        layer.register_forward_hook(lambda _, __, output, seen=seen: seen.append(output.dtype))
        torch.manual_seed(0)
        loss = accelerated(steps.objective, asked, CPU).loss(batch)
        loss.backward()
        assert seen == [torch.bfloat16 if precision == "bf16" else torch.float32]
        assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
        losses.append(loss.item())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def fit(tmp: Path | None = None, **changes: Any) -> tuple[Any, list[str]]:
    notes = Notes()
    run = tabcf.fit(spec(**changes), tiny_ratings(), tmp, progress=notes)
    return run, notes.notes


def test_a_run_in_mixed_precision_is_like_any_other(tmp_path: Path) -> None:
    run, notes = fit(tmp_path / "run", train={"precision": "bf16"})
    assert "engine: eager, bf16: train.precision goes by autograd" in notes
    assert run.report.test["rmse"] < 2
    again = tabcf.load(tmp_path / "run")
    assert again.predict(tiny_ratings()).equals(run.predict(tiny_ratings()))


def test_a_compiled_fit_tells_its_warm_up_and_saves_plain_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By tracing alone: a compiler takes ten seconds and more."""
    monkeypatch.setattr(Acceleration.__new__, "__defaults__", (False, "fp32", "eager"))
    expected, _ = fit(model="embedding_nn")
    run, notes = fit(tmp_path / "run", model="embedding_nn", train={"compile": True})
    assert "engine: eager, compiled by torch: train.compile goes by autograd" in notes
    (told,) = [note for note in notes if note.startswith("compiled: first step ")]
    assert told == f"compiled: first step {run.report.warm_up_seconds:.1f} s"
    again = tabcf.load(tmp_path / "run")
    assert again.report.warm_up_seconds == run.report.warm_up_seconds > 0
    assert again.trained.model.state_dict().keys() == expected.trained.model.state_dict().keys()
    assert run.report.test == pytest.approx(expected.report.test, rel=1e-4)
    assert expected.report.warm_up_seconds == 0


def test_what_does_not_go_together_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"^train\.engine: .* fused, but train\.compile goes by"):
        fit(engine="fused", train={"compile": True})
    with pytest.raises(SpecError, match=r"^train\.engine: .* but train\.precision goes by"):
        fit(engine="fused", train={"precision": "bf16"})
    with pytest.raises(SpecError, match=r"^train\.compile: goes with dense updates, .* dense`$"):
        fit(model="embedding_nn", train={"compile": True, "update": "replay"})
    with pytest.raises(SpecError, match=r"train\.compile: ease is solved"):
        fit(model="ease", target={"implicit": {}}, train={"compile": True})
    with pytest.raises(SpecError, match=r"train\.precision: ease is solved"):
        fit(model="ease", target={"implicit": {}}, train={"precision": "bf16"})


def test_a_compiler_that_is_not_there_is_told_of() -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no such compiler")

    _, objective = rated(CPU)
    batch = next(iter(objective.epoch(Generator().manual_seed(0))))
    compiled = accelerated(objective, Acceleration(is_compiled=True, backend=broken), CPU)
    with pytest.raises(TrainingError, match=r"^train\.compile: torch cannot .* such as g\+\+; or"):
        compiled.loss(batch)


def test_threads_follow_from_the_size_of_a_step() -> None:
    """Rows times the weights of the layers, and not of the tables."""
    model, objective = rated(CPU)
    weights = sum(p.numel() for n, p in model.named_parameters() if "mlp" in n and p.ndim == 2)
    assert 64 * weights < multiplications(objective, model) < 64 * (weights + 100)
    eager = EagerSteps(model, objective, AdamW(decays(model)))
    assert threads_for("auto", eager, objective, model, most=4) == 1
    assert threads_for(3, eager, objective, model, most=4) == 3
    wide = copy.deepcopy(model)
    wide.extra = nn.Linear(700, 700)
    assert threads_for("auto", eager, objective, wide, most=4) == 4
    plain = DotProductBias(IDS, factors=4)
    of_pairs = PointwiseObjective(table(), plain, MSE(TARGET), batch_size=10**9)
    fused = HandwrittenSteps(pair_problem(of_pairs), AdamW(decays(plain)))
    assert threads_for("auto", fused, of_pairs, plain, most=4) == 1


def test_a_fit_tells_how_many_threads_it_takes_and_gives_them_back() -> None:
    before = torch.get_num_threads()
    _, notes = fit(model="embedding_nn", train={"threads": "auto"})
    assert "threads: 1" in notes
    assert torch.get_num_threads() == before
    with pytest.raises(SpecError, match=r"train\.threads"):
        fit(train={"threads": 0})
