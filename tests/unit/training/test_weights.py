"""Weights of users and items: what they are, and that each form of loss is weighted by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.contracts.inputs import Inputs
from tabcf.contracts.table import Table
from tabcf.data.parts import TRAIN
from tabcf.errors import DataError, SpecError
from tabcf.run.build import build_loss, build_objective, model_builder
from tabcf.run.builtins import builtin_registry
from tabcf.run.prepare import encode_split, load_events
from tabcf.run.resolve import resolve_loss
from tabcf.spec.read import read_spec
from tabcf.testing import tiny_table
from tabcf.training.weights import propensity_weights, user_weights, weighted

# User 1 has 4 events, user 2 has 2 and user 3 one; item 1 has 4, item 2 two and item 3 one.
USERS, ITEMS = [1, 1, 1, 1, 2, 2, 3], [1, 2, 3, 1, 1, 2, 1]


def table() -> Table:
    n = len(USERS)
    rows = {
        "user": torch.tensor(USERS, dtype=torch.int32),
        "item": torch.tensor(ITEMS, dtype=torch.int32),
    }
    return Table(rows, Inputs(torch.zeros(n, 0), torch.zeros(n, 0)))


def test_a_users_weight_by_power_and_by_cap() -> None:
    events = np.array([4, 4, 4, 4, 2, 2, 1])
    assert user_weights(table(), power=0.5).tolist() == pytest.approx(events**-0.5)
    by_power = user_weights(table(), power=1.0)
    for user in (1, 2, 3):
        assert float(by_power[torch.tensor(USERS) == user].sum()) == pytest.approx(1.0)
    assert user_weights(table(), cap=2).tolist() == pytest.approx([0.5] * 4 + [1.0] * 3)
    both = user_weights(table(), power=1.0, cap=2)
    assert both.tolist() == pytest.approx([0.125] * 4 + [0.5, 0.5, 1.0])


def test_inverse_propensities_are_clipped() -> None:
    # Item 1 has four events of its own, the most of all.
    found = propensity_weights(table(), power=0.5, clip=1.9)
    assert found.tolist() == pytest.approx([1, 2**0.5, 1.9, 1, 1, 2**0.5, 1])
    assert propensity_weights(table(), power=0.0, clip=10).tolist() == [1.0] * 7


def test_weights_multiply_and_keep_their_mean() -> None:
    first = weighted(table(), torch.tensor([2.0] * 4 + [1.0] * 3))
    assert float(first.weight.mean()) == pytest.approx(1.0)
    second = weighted(first, torch.tensor([1.0] * 6 + [3.0]))
    ratio = second.weight / second.weight[4]
    assert ratio.tolist() == pytest.approx([2, 2, 2, 2, 1, 1, 3])


def ratings() -> pd.DataFrame:
    """Users with 1 to 12 of 12 items each; no pair twice."""
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(12) for i in rng.choice(12, u + 1, replace=False)]
    frame = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    return frame.assign(rating=rng.integers(1, 6, len(frame)))


def expected_weights(frame: pd.DataFrame) -> np.ndarray:
    by_user = frame.groupby("user_id")["item_id"].transform("size")
    by_item = frame.groupby("item_id")["user_id"].transform("size")
    return (by_user**-0.5 * np.minimum((by_item.max() / by_item) ** 0.7, 3.0)).to_numpy()


SPEC: dict[str, Any] = {
    "tabcf": 1,
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product": {"factors": 3}},
    "split": {"random": {"valid": 0, "test": 0}},
    "train": {
        "batch_size": 1000,
        "user_weights": 0.5,
        "item_propensity": {"power": 0.7, "clip": 3},
    },
}
FORMS = {
    "pointwise": {"target": {"column": "rating"}, "loss": "mse"},
    "sampled": {"target": {"implicit": {}}, "loss": "bpr"},
    "sampled, shared": {
        "target": {"implicit": {}},
        "loss": "sampled_softmax",
        "negatives": {"uniform": {"n": 5, "shared": True}},
    },
    "blend": {"target": {"column": "rating"}, "loss": {"sum": {"mse": 0.5, "bpr": 0.5}}},
    "catalogue": {"target": {"implicit": {}}, "loss": "softmax"},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_of_a_batch_is_the_weighted_mean_of_its_events(form: str) -> None:
    """Each event's own loss is read off by giving all the weight to it alone."""
    registry = builtin_registry()
    spec = read_spec({**SPEC, **FORMS[form]}, registry).spec
    events = load_events(spec, registry, data=ratings())
    encoded = encode_split(spec, registry, events, TRAIN)
    loss = resolve_loss(spec, registry, events.target)
    torch.manual_seed(0)
    built = build_loss(loss, encoded.target)
    model = model_builder(spec, registry, encoded.target, built.d_out)(encoded.encoder.layout)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    objective: Any = build_objective(spec, registry, loss.definition, encoded, model, built)
    (batch,) = objective.epoch(torch.Generator().manual_seed(1))
    given = batch.positives.weights if form == "catalogue" else batch.weight

    def value(weight: torch.Tensor) -> float:
        if form == "catalogue":
            positives = batch.positives._replace(weights=weight)
            return float(objective.loss(batch._replace(positives=positives)).detach())
        return float(objective.loss(batch._replace(weight=weight)).detach())

    assert given is not None
    own = torch.eye(len(given))
    each = np.array([value(own[n]) for n in range(len(given))])
    expected = expected_weights(events.source.frame)
    assert sorted(given.tolist()) == pytest.approx(sorted(expected / expected.mean()))
    mean = np.average(each, weights=given.numpy())
    assert float(objective.loss(batch).detach()) == pytest.approx(mean, rel=1e-4)
    assert value(torch.ones(len(given))) == pytest.approx(each.mean(), rel=1e-4)
    assert abs(each.mean() - mean) > 1e-4 * abs(mean)


def test_weights_of_events_and_of_users_multiply() -> None:
    registry = builtin_registry()
    frame = ratings()
    spec = {**SPEC, "target": {"implicit": {"weight": "rating"}}, "loss": "softmax"}
    read = read_spec(spec, registry).spec
    encoded = encode_split(read, registry, load_events(read, registry, data=frame), TRAIN)
    expected = expected_weights(frame) * frame["rating"].to_numpy()
    found = encoded.train.weight.numpy()
    np.testing.assert_allclose(found / found.mean(), expected / expected.mean(), rtol=1e-5)


def timed(n: int = 78) -> pd.DataFrame:
    """The same events, one a day from the first one to the last."""
    return ratings().assign(timestamp=1_000_000_000 + 86_400 * np.arange(n))


def weights_of(data: pd.DataFrame, **changes: Any) -> np.ndarray:
    """What the training rows count, in the rows' order."""
    registry = builtin_registry()
    given = {**SPEC, "target": {"implicit": {}}, "loss": "softmax", **changes}
    spec = read_spec(given, registry).spec
    encoded = encode_split(spec, registry, load_events(spec, registry, data=data), TRAIN)
    assert encoded.train.weight is not None
    return encoded.train.weight.numpy()


def test_an_event_counts_half_for_each_half_life_of_its_age() -> None:
    data = timed()
    age = np.arange(len(data))[::-1]
    expected = 0.5 ** (age / 10)
    for decay in (10, {"half_life": 240, "unit": "hour"}):
        found = weights_of(data, train={"time_decay": decay})
        np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-5)
    dates = data.assign(at=pd.to_datetime(data.pop("timestamp"), unit="s"))
    found = weights_of(dates, train={"time_decay": {"half_life": 10, "at": "at"}})
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-5)


def test_age_goes_with_other_weights_and_by_training_rows_alone() -> None:
    data = timed()
    both = weights_of(data, train={**SPEC["train"], "time_decay": 10})
    expected = expected_weights(data) * 0.5 ** (np.arange(len(data))[::-1] / 10)
    np.testing.assert_allclose(both, expected / expected.mean(), rtol=1e-5)
    # A leak would show: the newest rows are the test's, and it is no matter how new they are.
    split = {"time": {"column": "timestamp", "valid": 0, "test": 0.2}}
    later = data.assign(timestamp=data["timestamp"] + np.where(np.arange(len(data)) > 61, 1e7, 0))
    of_both = [weights_of(d, split=split, train={"time_decay": 10}) for d in (data, later)]
    assert len(of_both[0]) == 62
    np.testing.assert_array_equal(*of_both)


def test_events_of_one_age_count_the_same_and_very_old_ones_nothing() -> None:
    same = timed().assign(timestamp=-5)  # before 1970
    np.testing.assert_array_equal(weights_of(same, train={"time_decay": 1}), 1.0)
    old = weights_of(timed(), train={"time_decay": 1e-3})
    assert old[-1] == pytest.approx(len(old))
    np.testing.assert_array_equal(old[:-1], 0.0)


def test_a_time_that_is_missing_or_none_is_told() -> None:
    data = timed()
    data["timestamp"] = data["timestamp"].astype(float)
    data.loc[[3, 7], "timestamp"] = np.nan
    with pytest.raises(DataError, match="time_decay: column 'timestamp': 2 of 78 events have no"):
        weights_of(data, split=SPEC["split"], train={"time_decay": 10})
    with pytest.raises(DataError, match="when"):
        weights_of(timed(), train={"time_decay": {"half_life": 10, "at": "when"}})


def test_a_grown_run_weighs_its_events_by_their_age_again(tmp_path: Path) -> None:
    train = {"epochs": 1, "batch_size": 4, "time_decay": 10}
    spec = {**SPEC, "target": {"implicit": {}}, "loss": "softmax", "train": train}
    run = tabcf.load(tabcf.fit(spec, timed(), tmp_path / "run").folder or "")
    more = pd.DataFrame({"user_id": [0], "item_id": [3], "timestamp": [1_100_000_000]})
    run.update(more.assign(rating=4))
    assert run.trained.events.source.frame["timestamp"].max() == 1_100_000_000


def test_a_fit_with_weights_is_another_one() -> None:
    spec = {**SPEC, **FORMS["catalogue"]}
    spec["train"] = {"epochs": 2, "batch_size": 4}
    plain = tabcf.fit(spec, ratings())
    spec["train"] = {**spec["train"], "user_weights": {"cap": 3}}
    capped = tabcf.fit(spec, ratings())
    assert capped.spec.train.user_weights.cap == 3
    assert plain.report.epochs[-1].train_loss != capped.report.epochs[-1].train_loss


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"model": "ease", "loss": None},
            "ease is solved in closed form; weights go with gradient",
        ),
        (
            {"loss": {"softmax": {"reduction": "user"}}},
            "the loss softmax counts all users the same already",
        ),
        ({"loss": "implicit_mse"}, "the loss implicit_mse counts all users the same already"),
        (
            {"target": {"column": "rating"}, "model": "dot_product_bias", "fit": "als"},
            "train.user_weights: als takes none; weights go with gradient descent",
        ),
        ({"train": {"user_weights": {}}}, "train.user_weights: expected power or cap"),
        ({"train": {"user_weights": 2}}, "train.user_weights: expected a number of at least 0"),
        (
            {"model": "ials", "loss": None, "train": {"time_decay": 30}},
            "train.time_decay: ials is solved in closed form; weights go with gradient",
        ),
        ({"train": {"time_decay": 0}}, "train.time_decay: expected a positive number or a mapping"),
        ({"train": {"time_decay": {"unit": "year"}}}, "train.time_decay"),
        ({"train": {"item_propensity": {"clip": 0.5}}}, "train.item_propensity.clip: expected"),
    ],
)
def test_what_cannot_be_weighted_is_told(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read_spec({**SPEC, "target": {"implicit": {}}, **change}, builtin_registry())


def test_a_plain_table_has_nobody_to_weigh() -> None:
    spec = {"tabcf": 1, "target": "price", "model": "tabular", "train": {"user_weights": 0.5}}
    with pytest.raises(SpecError, match="it needs the entity user"):
        tabcf.fit(spec, tiny_table())
