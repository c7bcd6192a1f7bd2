"""Ensembles and averaged weights from a spec to lists: trained, kept, resumed and asked."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.data.batches import batches_in_order
from tabcf.data.sources import Source
from tabcf.errors import SpecError
from tabcf.run.lr_find import lr_find
from tests.flow.test_resume import assert_same, broken
from tests.flow.test_two_stage import ratings
from tests.flow.test_two_stage import spec as two_stage

MODELS: dict[str, Any] = {
    "dot product": {"dot_product_bias": {"factors": 4}},
    "in a range": {"dot_product_bias": {"factors": 4, "y_range": [0.5, 5.5]}},
    "network": {"embedding_nn": {"layers": [8]}},
}


def spec(model: Any = MODELS["dot product"], **changes: Any) -> dict[str, Any]:
    train = {"epochs": 3, "batch_size": 64, "learning_rate": 0.02, "ensemble": 3}
    return {
        "tabcf": 1,
        "name": "together",
        "target": "rating",
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": model,
        "split": {"random": {"valid": 0.1, "test": 0.2}},
        **changes,
        "train": {**train, **changes.get("train", {})},
    }


@cache
def fitted(name: str) -> tabcf.Run:
    return tabcf.fit(spec(MODELS[name], train={"epochs": 10}), ratings())


def events() -> pd.DataFrame:
    return ratings()[["user_id", "item_id"]].head(50)


@pytest.mark.parametrize("name", MODELS)
def test_an_ensemble_is_kept_and_answers_alike(name: str, tmp_path: Path) -> None:
    run = fitted(name)
    run.save(tmp_path / "run")
    loaded = tabcf.load(tmp_path / "run")
    expected = run.predict(events())
    pd.testing.assert_frame_equal(loaded.predict(events()), expected)
    assert (expected["members_sd"] > 0).all()
    assert list(expected.columns)[-2:] == ["members_sd", "prediction"]
    assert "sd" not in expected, "that the members agree says little about a single rating"
    user = ratings()["user_id"].iloc[0]
    pd.testing.assert_frame_equal(loaded.recommend(user, k=3), run.recommend(user, k=3))


@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_the_members_mean(name: str) -> None:
    """In a range products are averaged before it, which is nearly the same."""
    run = fitted(name)
    table = run.trained.encoder.encode(Source(events(), "events"))
    inputs = next(batches_in_order(table, 50))
    with torch.no_grad():
        each = run.trained.loss.decode(run.trained.model.each(*inputs))["value"]
    found = torch.from_numpy(run.predict(events())["prediction"].to_numpy(copy=True))
    tolerance = 0.02 if name == "in a range" else 1e-5
    torch.testing.assert_close(found, each.mean(0), rtol=0, atol=tolerance)
    spread = run.predict(events())["members_sd"].to_numpy()
    np.testing.assert_allclose(spread, each.numpy().std(0), rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_lists_scores_and_reasons_are_those_of_the_whole(name: str) -> None:
    run = fitted(name)
    user = int(ratings()["user_id"].iloc[0])
    listed = run.recommend(user, k=5, exclude_seen=False)
    pairs = listed[["user_id", "item_id"]]
    expected = run.predict(pairs)["prediction"].to_numpy()
    np.testing.assert_allclose(listed["score"], expected, rtol=1e-4)
    reasons = run.inspection.why(user, int(listed["item_id"].iloc[0]))
    assert reasons.score == pytest.approx(float(expected[0]), rel=1e-4)
    assert (
        reasons.unit
        == {"dot product": "score", "in a range": "before the range", "network": "left out"}[name]
    )
    assert len(run.similar("item", int(listed["item_id"].iloc[0]), k=3)) == 3
    assert len(run.embeddings("item")) == 60


@pytest.mark.parametrize("name", MODELS)
def test_newcomers_are_folded_into_all_members(name: str) -> None:
    """Who likes even items gets a list of mostly even ones."""
    run = fitted(name)
    items = np.arange(24)
    events = pd.DataFrame({"user_id": 1_000, "item_id": items, "rating": np.where(items % 2, 1, 5)})
    listed = run.fold_in(events).recommend(k=10, exclude_seen=False)
    assert (listed["item_id"] % 2 == 0).mean() >= 0.8


@pytest.mark.parametrize("name", MODELS)
def test_all_members_grow_and_learn_further(name: str, tmp_path: Path) -> None:
    run = tabcf.load(fitted(name).save(tmp_path / "run"))
    before = run.predict(events())
    items = np.arange(20)
    new = pd.DataFrame({"user_id": 1_000, "item_id": items, "rating": np.where(items % 2, 1, 5)})
    run.extend(new)
    pd.testing.assert_frame_equal(run.predict(events()), before)
    run.update(new, epochs=1)
    loaded = tabcf.load(tmp_path / "run")
    assert len(loaded.trained.model.members) == 3
    listed = loaded.recommend(1_000, k=8)
    assert (listed["item_id"] % 2 == 0).mean() >= 0.75
    assert not loaded.predict(events())["prediction"].equals(before["prediction"])


def test_a_fit_that_was_broken_off_ends_with_the_same_ensemble(tmp_path: Path) -> None:
    train = {"average": 0.5, "refit": True, "early_stopping": 2, "checkpoint": {"steps": 4}}
    given = spec(MODELS["network"], train=train)
    whole = tabcf.fit(given, ratings())
    broken(tmp_path / "run", 25, given)
    run = tabcf.fit(given, ratings(), tmp_path / "run", resume=True)
    assert_same(run, whole)
    assert whole.report.fitted_on == "train + valid"


def test_each_stage_has_an_ensemble_of_its_own(tmp_path: Path) -> None:
    given = two_stage(train={"epochs": 2, "batch_size": 64, "ensemble": 2})
    given["retrieve"]["train"].update(ensemble=3, average=0.5)
    run = tabcf.fit(given, ratings(), tmp_path / "run")
    assert len(run.trained.model.members) == 2
    assert run.trained.first is not None
    assert len(run.trained.first.trained.model.members) == 3
    lists = run.recommend(3, k=4)
    pd.testing.assert_frame_equal(tabcf.load(tmp_path / "run").recommend(3, k=4), lists)


def test_members_in_turn_count_steps_like_one_model() -> None:
    """What weight decay leaves of a weight is worked out from them."""
    assert fitted("dot product").report.n_steps == fitted("network").report.n_steps == 10


@pytest.mark.parametrize("loss", ["bpr", "softmax", "sampled_softmax", "implicit_mse"])
def test_rankers_are_averaged(loss: str) -> None:
    train = {"epochs": 4, "batch_size": 16, "learning_rate": 0.05, "average": 0.5}
    given = spec({"dot_product": {"factors": 4}}, loss=loss, train=train)
    given["target"] = {"implicit": {"positive": "rating >= 4"}}
    run = tabcf.fit(given, ratings())
    assert len(run.trained.model.members) == 3
    assert run.report.test["ndcg@10"] > 0.1
    assert (run.predict(events())["members_sd"] > 0).all()


def test_an_ensemble_beats_its_members() -> None:
    """Under squared errors that is an identity, as far as the members differ."""
    run = fitted("network")
    data = ratings()
    table = run.trained.encoder.encode(Source(data, "ratings"))
    truth = torch.from_numpy(data["rating"].to_numpy(copy=True)).float()
    inputs = next(batches_in_order(table, len(data)))
    with torch.no_grad():
        each = run.trained.loss.decode(run.trained.model.each(*inputs))["value"]
    own = (each - truth).pow(2).mean(1)
    assert (each.mean(0) - truth).pow(2).mean() < own.mean() - 1e-3


@pytest.mark.parametrize("key", ["ensemble", "average"])
@pytest.mark.parametrize("what", ["fit", "model"])
def test_what_is_solved_has_one_solution(key: str, what: str) -> None:
    given = spec(train={"ensemble": 1, key: 2 if key == "ensemble" else 0.5})
    if what == "fit":
        given["fit"] = "als"
        message = rf"train\.{key}: als fits in its own way; this goes with gradient descent"
    else:
        given.update(model={"ials": {"factors": 4}}, target={"implicit": {}})
        message = rf"train\.{key}: ials is solved, and has one solution; this goes with gradient"
    with pytest.raises(SpecError, match=message):
        tabcf.fit(given, ratings())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ensemble", 0, "train.ensemble: expected a positive integer, got 0"),
        ("average", 1.0, "train.average"),
    ],
)
def test_numbers_out_of_range_are_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tabcf.fit(spec(train={key: value}), ratings())


def test_the_learning_rate_is_found_with_one_model() -> None:
    alone = lr_find(spec(train={"ensemble": 1}), ratings())
    assert lr_find(spec(), ratings()).losses == alone.losses
