"""How outputs hang on rows: against finite differences, for each model and both sides."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import tabcf_deepfm
import tabcf_ordinal
import torch
from torch import Generator, Tensor

import tabcf
from tabcf.contracts.inputs import Inputs
from tabcf.contracts.model import LinearRows
from tabcf.data.batches import gather, select
from tabcf.errors import RunError
from tabcf.recommend.fold_in.rows import AnswersAlone, Rows
from tabcf.recommend.fold_in.slots import Slots
from tabcf.testing import tiny_ratings

LEVELS = {"column": "rating", "levels": [1, 2, 5]}
MODELS: dict[str, dict[str, Any]] = {
    "dot_product": {"model": {"dot_product": {"factors": 4}}},
    "dot_product in a range": {"model": {"dot_product": {"factors": 4, "y_range": [0, 6]}}},
    "dot_product_bias": {"model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}}},
    "embedding_nn": {"model": {"embedding_nn": {"layers": [8], "widths": 4}}},
    "embedding_nn of other widths": {"model": {"embedding_nn": {"layers": [8]}}},
    "tabular": {"model": {"tabular": {"layers": [8], "widths": 4}}},
    "deepfm": {"model": {"deepfm": {"factors": 4, "layers": [8]}}},
    "levels": {"model": {"embedding_nn": {"layers": [8]}}, "loss": "cross_entropy"},
    "ordered levels": {"model": {"dot_product": {"factors": 4}}, "loss": "ordered_logit"},
    "collab_nn": {"model": {"collab_nn": {"n_hidden": 8}}},
    "bias": {"model": "bias"},
}
PAIRS_ALONE = ("collab_nn", "bias")


@cache
def fitted(name: str) -> tabcf.Run:
    """With columns of all kinds on both sides and of the event, where the model takes them."""
    events = tiny_ratings()
    events.loc[events["item_id"] == 7, "rating"] = 2
    spec: dict[str, Any] = {
        "tabcf": 1,
        "target": LEVELS,
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "train": {"epochs": 2, "learning_rate": 0.05, "batch_size": 32},
        **MODELS[name],
    }
    if name == "bias":
        del spec["train"]
    if name not in PAIRS_ALONE:
        spec["columns"] = {
            "weekday": {"date_part": {"from": "timestamp", "part": "weekday"}},
            "age": "number",
            "tags": {"set": {"separator": "|"}},
        }
        events["age"] = events["user_id"] % 7
        events["tags"] = np.array(["a", "a|b", "c", ""])[events["item_id"] % 4]
    return tabcf.fit(spec, events, plugins=[tabcf_deepfm, tabcf_ordinal])


def some(run: tabcf.Run, n: int) -> tuple[Inputs, dict[str, Tensor]]:
    """N training events, and the index of each one's user and item."""
    trained = run.trained
    events = trained.events.learnable()
    table = trained.encoder.encode(events)
    positions = torch.arange(n)
    index = {
        side: table.entities[side].index[table.rows[side][positions].long()].long()
        for side in ("user", "item")
    }
    return gather(table, positions), index


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("name", MODELS)
def test_with_its_own_row_an_event_has_the_models_output(name: str, side: str) -> None:
    run = fitted(name)
    rows = Rows(run.trained, side, n_slots=7)
    inputs, index = some(run, 20)
    with torch.no_grad():
        expected = run.trained.model(*inputs).double()
    own = rows.table()[index[side]]
    responses = rows.responses(inputs)
    assert torch.allclose(responses.outputs(own), expected, atol=1e-5)
    assert torch.allclose(responses.jacobian(own)[0], expected, atol=1e-5)
    in_slots = rows.slots.outputs(own, inputs)
    assert torch.allclose(in_slots, expected, atol=1e-5)


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("name", MODELS)
def test_derivatives_are_finite_differences(name: str, side: str) -> None:
    """With rows that are no event's own, by closed form and by backward passes through slots."""
    run = fitted(name)
    rows = Rows(run.trained, side, n_slots=7)
    inputs, _ = some(run, 17)
    rng = Generator().manual_seed(0)
    table = rows.table()
    values = table.mean(0) + table.std(0) * torch.randn(17, rows.width, generator=rng).double()
    raw, jacobian = rows.responses(inputs).jacobian(values)
    assert jacobian.shape == (17, run.trained.loss.d_out, rows.width)
    step = 0.004
    for number in range(rows.width):
        moved = torch.zeros(rows.width).double()
        moved[number] = step
        high, low = (rows.responses(inputs).outputs(values + s * moved) for s in (1, -1))
        slope = (high - low) / (2 * step)
        # A rectifier's kink between the two is the exception.
        is_close = torch.isclose(jacobian[:, :, number], slope, rtol=0.02, atol=0.01)
        assert is_close.float().mean() > 0.9, (jacobian[:, :, number] - slope).abs().max()
    raw_again, again = rows.slots.jacobian(values, inputs)
    assert torch.allclose(raw, raw_again, atol=1e-4)
    assert torch.allclose(jacobian, again, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_alone_a_row_has_the_same_answers(name: str) -> None:
    run = fitted(name)
    rows = Rows(run.trained, "user", n_slots=7)
    responses = rows.responses(some(run, 20)[0])
    answers = responses.alone() if isinstance(responses, AnswersAlone) else None
    if name in ("levels", "deepfm", "bias"):
        assert answers is None
        return
    assert answers is not None
    row = 2 * rows.table()[3] + 0.1
    outputs, derivatives = responses.jacobian(row.repeat(20, 1))
    alone, by_row = answers(row.numpy())
    assert alone.dtype == by_row.dtype == np.float64
    np.testing.assert_allclose(alone, outputs[:, 0], atol=1e-5)
    np.testing.assert_allclose(by_row, derivatives[:, 0], atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_known_to_be_linear(name: str) -> None:
    assert isinstance(fitted(name).trained.model, LinearRows) == (
        name.startswith("dot") or name == "ordered levels"
    )


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("name", ["dot_product_bias", "embedding_nn", "bias"])
def test_slots_leave_the_trained_model_alone(name: str, side: str) -> None:
    run = fitted(name)
    model = run.trained.model
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wanted = {key: parameter.requires_grad for key, parameter in model.named_parameters()}
    slots = Slots(run.trained, side, 5)
    inputs, _ = some(run, 12)
    width = Rows(run.trained, side, n_slots=5).width
    slots.jacobian(torch.randn(12, width).double(), inputs)
    with slots.holding(torch.ones(5, width)) as index:
        assert index.tolist() == list(range(slots.first, slots.first + 5))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    for key, parameter in model.named_parameters():
        assert parameter.requires_grad == wanted[key]
        assert parameter.grad is None


def test_a_users_model_keeps_no_other_user_and_an_items_all_items() -> None:
    trained = fitted("dot_product_bias").trained
    columns = trained.encoder.layout.categorical
    users, items = Slots(trained, "user", 5), Slots(trained, "item", 5)
    assert (users.first, items.first) == (1, columns[1].cardinality)
    for slots, sizes in ((users, (6, 20)), (items, (30, 25))):
        for position, size in enumerate(sizes):
            kept = slots.model.column_vectors(position)
            whole = trained.model.column_vectors(position)
            assert abs(len(kept) - size) <= 1  # and the unknown one
            n = min(len(kept), len(whole)) if position != slots.column else slots.first
            assert torch.equal(kept[:n], whole[:n])


def test_events_do_not_mix_in_blocks() -> None:
    run = fitted("embedding_nn")
    rows = Rows(run.trained, "user", n_slots=4)
    inputs, _ = some(run, 11)
    values = torch.randn(11, rows.width, generator=Generator().manual_seed(0)).double()
    _, whole = rows.responses(inputs).jacobian(values)
    for place in range(11):
        one = select(inputs, torch.tensor([place]))
        _, alone = rows.responses(one).jacobian(values[[place]])
        assert torch.allclose(alone[0], whole[place], atol=1e-5)


def test_a_model_that_names_no_rows_is_refused() -> None:
    spec = {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": "mean",
    }
    trained = tabcf.fit(spec, tiny_ratings()).trained
    with pytest.raises(RunError, match="MeanModel cannot take new items: it does not say"):
        Rows(trained, "item", n_slots=3)
    with pytest.raises(RunError, match="this run has no entity 'shop'; known: user, item"):
        Rows(fitted("bias").trained, "shop", n_slots=3)


def test_nothing_to_ask_is_no_trouble() -> None:
    run = fitted("embedding_nn")
    rows = Rows(run.trained, "user", n_slots=3)
    inputs, _ = some(run, 0)
    raw, jacobian = rows.responses(inputs).jacobian(torch.zeros(0, rows.width).double())
    assert (raw.shape, jacobian.shape) == ((0, 1), (0, 1, rows.width))
