"""What answers would tell, beside the posterior that they do lead to; and the greedy choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.contracts.selector import Answers, PastAnswers
from tabcf.contracts.target import TargetInfo
from tabcf.data.sources import Source
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.onboarding.d_optimal import DOptimal
from tabcf.recommend.onboarding.gain import InformationGain, new_users
from tabcf.recommend.onboarding.past import past_answers
from tabcf.testing import tiny_ratings
from tests.unit.recommend.test_onboarding_rankings import past_of

RATINGS = {
    "tabcf": 1,
    "target": {"column": "rating", "levels": [1, 2, 3, 4, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "model": {"dot_product_bias": {"factors": 3}},
    "split": {"random": {"valid": 0, "test": 0.1}},
    "train": {"epochs": 8, "batch_size": 32, "learning_rate": 0.03},
}


def noisy_ratings() -> pd.DataFrame:
    """The checkerboard with ratings that are off, by more for items of high numbers."""
    frame = tiny_ratings(n_users=40)
    rng = np.random.default_rng(1)
    off = rng.normal(0, 0.1 + 0.08 * frame["item_id"])
    return frame.assign(rating=(frame["rating"] + off).round().clip(1, 5).astype(int))


def gain_of(run: tabcf.Run, users: Source | None = None) -> tuple[FoldIn, InformationGain]:
    fold = FoldIn(run.trained, "user")
    users = users or new_users(run.trained.encoder.entities["user"], 1)
    return fold, InformationGain(fold, past_answers(run.trained), users)


@pytest.fixture(scope="module")
def rated() -> tabcf.Run:
    return tabcf.fit(RATINGS, noisy_ratings())


def relative_noise(run: tabcf.Run) -> pd.Series:
    """By item: the squares left without the item's and the user's mean, drawn towards all."""
    frame = run.trained.events.source.frame
    off = frame["rating"] - frame.groupby("item_id")["rating"].transform("mean")
    square = (off - off.groupby(frame["user_id"]).transform("mean")) ** 2
    by_item = square.groupby(frame["item_id"])
    return (by_item.sum() / square.mean() + 50) / (by_item.size() + 50)


def test_the_gain_is_by_how_much_the_covariance_shrinks(rated: tabcf.Run) -> None:
    """Of a model that is linear in its rows, with the noise of the item in question."""
    _, gain = gain_of(rated)
    noise = relative_noise(rated)
    asked, answers = [1, 4], [5.0, 1.0]
    ratings = pd.DataFrame({"item_id": asked, "rating": answers})
    before = rated.fold_in(ratings).posterior
    found = gain([asked], [answers], [2, 7, 19])[0]
    for item, nats in zip([2, 7, 19], found, strict=True):
        more = pd.concat([ratings, pd.DataFrame({"item_id": [item], "rating": [3]})])
        after = rated.fold_in(more).posterior
        volumes = [torch.linalg.slogdet(p.covariance[0]).logabsdet for p in (before, after)]
        with_mean_noise = np.expm1(float(volumes[0] - volumes[1]))
        assert nats == pytest.approx(np.log1p(with_mean_noise / noise[item]) / 2, rel=1e-4)
    assert noise.max() > 1.2 * noise.min()


def test_users_are_the_same_together_and_one_by_one(rated: tabcf.Run) -> None:
    _, gain = gain_of(rated)
    asked, answers = [[], [3], [3, 5]], [[], [None], [5.0, 2.0]]
    together = gain(asked, answers, [0, 1, 2])
    alone = [gain([a], [b], [0, 1, 2])[0] for a, b in zip(asked, answers, strict=True)]
    assert together == pytest.approx(np.stack(alone), rel=1e-5)
    # Not to know an item tells nothing of the row; an answer leaves less to be told.
    assert together[0] == pytest.approx(together[1])
    assert (together[2] < together[0]).all()


def test_a_model_of_choices_gains_by_what_is_unlike_the_rest() -> None:
    """Against its own vectors: slopes of the log of a share in the softmax of all items asked."""
    spec = {**RATINGS, "target": {"implicit": {"positive": "rating >= 4"}}, "loss": "softmax"}
    spec["model"] = {"dot_product": {"factors": 3}}
    run = tabcf.fit(spec, noisy_ratings())
    fold, gain = gain_of(run)
    vectors = run.embeddings("item").drop(columns="count")
    items, ids = vectors.to_numpy(), vectors.index.tolist()
    row = fold.prior.mean.numpy()
    scores = items @ row
    share = np.exp(scores - scores.max())
    slopes = items - (share / share.sum()) @ items
    covariance = np.linalg.inv(fold.prior.precision.numpy())
    expected = np.log1p(np.einsum("ip,pq,iq->i", slopes, covariance, slopes)) / 2
    assert gain([[]], [[]], ids)[0] == pytest.approx(expected, rel=1e-3)
    # A dislike is no event of such a model, and neither is "don't know".
    assert gain([[3]], [[0.0]], ids) == pytest.approx(gain([[3]], [[None]], ids))


def test_attributes_count(tmp_path: Path) -> None:
    """In a network the effect of a row hangs on the attributes."""
    ages = pd.DataFrame({"user_id": range(40), "age": [20, 50] * 20})
    ages.to_csv(tmp_path / "users.csv", index=False)
    table = {"table": str(tmp_path / "users.csv"), "columns": {"age": "number"}}
    spec = {
        **RATINGS,
        "entities": {"user": {"id": "user_id", **table}, "item": {"id": "item_id"}},
        "model": {"embedding_nn": {"layers": [8], "y_range": [0, 6]}},
    }
    run = tabcf.fit(spec, noisy_ratings())
    entity, fold = run.trained.encoder.entities["user"], FoldIn(run.trained, "user")
    given = Source(pd.DataFrame({"age": [20, 50]}), "attributes")
    users = new_users(entity, 2, given)
    past = past_answers(run.trained)
    both = InformationGain(fold, past, users)([[], []], [[], []], past.items)
    assert both[0] != pytest.approx(both[1], rel=1e-3)
    for number in (0, 1):
        one = Source(users.frame.iloc[[number]].reset_index(drop=True), "attributes")
        alone = InformationGain(fold, past, one)([[], []], [[], []], past.items)
        assert alone == pytest.approx(np.tile(both[number], (2, 1)), rel=1e-4)


def test_ids_of_new_users_are_nobody_s(rated: tabcf.Run) -> None:
    entity = rated.trained.encoder.entities["user"]
    assert new_users(entity, 2).frame["user_id"].tolist() == [40, 41]
    named = tabcf.fit(
        RATINGS, noisy_ratings().assign(user_id=lambda f: "new " + f["user_id"].astype(str))
    )
    found = new_users(named.trained.encoder.entities["user"], 3).frame["user_id"].tolist()
    assert found == ["new 40", "new 41", "new 42"]


def fixed_gain(values: dict[str, float]) -> Any:
    """A gain that halves with each answer that a user gave."""

    def gain(
        asked: Sequence[Sequence[Any]], answers: Sequence[Answers], among: Sequence[Any]
    ) -> np.ndarray:
        factors = [0.5 ** sum(a is not None for a in own) for own in answers]
        return np.outer(factors, [values[item] for item in among])

    return gain


@pytest.fixture
def past() -> PastAnswers:
    """Of ten users nine had a, five b, and four c together with d."""
    answers = {(u, "a"): 4.0 for u in range(9)} | {(u, "b"): 2.0 for u in range(5)}
    answers |= {(u, item): 5.0 for u in range(6, 10) for item in "cd"}
    gain = fixed_gain({"a": 1.0, "b": 2.0, "c": 2.1, "d": 2.0})
    return replace(past_of(answers, n_users=10), gain=gain)


def test_the_choice_is_gain_times_knowing(past: PastAnswers) -> None:
    """0.9 · 1, 0.5 · 2, 0.4 · 2.1 and 0.4 · 2."""
    selector = DOptimal(past, pool=4, smoothing=1.0)
    assert selector.select(4, [], []) == ["b", "a", "c", "d"]
    assert selector.select(1, ["b"], [None]) == ["a"]


def test_who_knows_one_of_two_is_asked_about_the_other(past: PastAnswers) -> None:
    selector = DOptimal(past, pool=4, smoothing=0.2)
    assert selector.select(1, ["c"], [5.0]) == ["d"]
    assert selector.select(1, ["c"], [None]) == ["b"]
    both = selector.select_many(1, [["c"], ["c"]], [[5.0], [None]])
    assert both == [["d"], ["b"]]


def test_what_is_not_in_the_pool_comes_behind_it(past: PastAnswers) -> None:
    selector = DOptimal(past, pool=2, smoothing=1.0)
    assert selector.select(4, [], []) == ["b", "a", "c", "d"]
    assert selector.select(2, ["d", "b"], [5.0, None]) == ["a", "c"]
    assert selector.select(2, list("abcd"), [1.0] * 4) == []


def test_of_an_implicit_target_likes_alone_count(past: PastAnswers) -> None:
    """Five had b and none liked it."""
    value = np.where(past.value == 2, 0.0, 1.0)
    implicit = replace(past, value=value, target=TargetInfo("implicit"))
    assert DOptimal(implicit, pool=4, smoothing=1.0).select(4, [], []) == ["a", "c", "d", "b"]


def test_several_questions_at_once_are_as_if_each_got_the_mean_answer(rated: tabcf.Run) -> None:
    """Fully smoothed, so that to know an item says nothing of others."""
    _, gain = gain_of(rated)
    past = replace(past_answers(rated.trained), gain=gain)
    selector = DOptimal(past, pool=20, smoothing=1.0)
    first, second, third = selector.select(3, [], [])
    frame = rated.trained.events.source.frame
    mean = frame.groupby("item_id")["rating"].mean()
    assert selector.select(1, [first], [mean[first]]) == [second]
    assert selector.select(1, [first, second], [mean[first], mean[second]]) == [third]
