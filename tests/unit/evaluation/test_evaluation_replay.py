"""Replayed interviews, by hand and on planted tastes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.contracts.selector import Answers
from tabcf.data.sources import source_of_frame
from tabcf.errors import DataError, RunError
from tabcf.evaluation.replay import replay
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.testing import tiny_ratings

SPEC: dict[str, Any] = {
    "tabcf": 1,
    "target": {"column": "rating", "levels": [1, 5]},
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "split": {"cold": {"side": "user", "valid": 0, "test": 0.4}},
    "model": {"dot_product_bias": {"factors": 4, "y_range": [0, 6]}},
    "train": {"epochs": 20, "batch_size": 32, "learning_rate": 0.03},
}
LIKES = {
    **SPEC,
    "target": {"implicit": {"positive": "rating >= 4"}},
    "model": {"dot_product": {"factors": 4}},
    "loss": "softmax",
}
ALL = tiny_ratings(n_users=50)


@pytest.fixture(scope="module")
def run() -> tabcf.Run:
    return tabcf.fit(SPEC, ALL)


@pytest.fixture(scope="module")
def held(run: tabcf.Run) -> pd.DataFrame:
    trained = set(run.trained.events.source.frame["user_id"])
    return ALL[~ALL["user_id"].isin(trained)].reset_index(drop=True)


@pytest.mark.parametrize("spec", [SPEC, LIKES], ids=["rating", "implicit"])
def test_answers_find_out_planted_tastes(spec: dict[str, Any]) -> None:
    fitted = tabcf.fit(spec, ALL)
    names = ["random", "popularity", "d_optimal", "tree", "rehearsed"]
    found = fitted.replay_interviews(ALL, selectors=names, at=[0, 4, 20])
    is_rated = spec is SPEC
    assert found.metric == ("rmse" if is_rated else "ndcg@10")
    means = found.users.groupby(["selector", "n_asked"])[found.metric].mean().unstack()
    assert means.index.tolist() == sorted(names)
    better = means[0] - means[20] if is_rated else means[20] - means[0]
    assert (better > (1.0 if is_rated else 0.2)).all()
    assert means[0].nunique() == means[20].round(6).nunique() == 1
    assert found.users["user_id"].nunique() == 20


def test_one_half_answers_and_the_other_is_predicted(run: tabcf.Run, held: pd.DataFrame) -> None:
    """After a question about every item, what was told is half of the rows and no more."""
    found = run.replay_interviews(ALL, selectors=["popularity"], at=[20]).users
    n_rows = held.groupby("user_id").size()
    assert found.set_index("user_id")["n_known"].to_dict() == (n_rows // 2).to_dict()


class Noting:
    """Asks about every item in order, and notes what it is told."""

    def __init__(self) -> None:
        self.told: dict[Any, float | None] = {}

    def select(self, k: int, asked: Sequence[Any], answers: Answers) -> list[Any]:
        self.told = dict(zip(asked, answers, strict=True))
        return [item for item in range(20) if item not in self.told][:k]


def test_the_figures_are_those_of_fold_in(run: tabcf.Run, held: pd.DataFrame) -> None:
    own = held[held["user_id"] == held["user_id"].iloc[0]].reset_index(drop=True)
    selector = Noting()
    found = replay(
        run.trained,
        FoldIn(run.trained, "user"),
        source_of_frame(own),
        np.ones(len(own), dtype=bool),
        {"noting": lambda users, seed: selector},
        at=[15, 16],
    )
    # At the last call it had asked 15 questions.
    known = {item: answer for item, answer in selector.told.items() if answer is not None}
    given = own[own["item_id"].isin(known)]
    assert dict(zip(given["item_id"], given["rating"], strict=True)) == known
    row = found.users[found.users["n_asked"] == 15].iloc[0]
    assert row["n_known"] == len(known) > 3
    # The halves of one user are those of the same seed again, with everything told.
    everything = replay(
        run.trained,
        FoldIn(run.trained, "user"),
        source_of_frame(own),
        np.ones(len(own), dtype=bool),
        {"noting": lambda users, seed: selector},
        at=[21],
    )
    rest = own[~own["item_id"].isin([i for i, a in selector.told.items() if a is not None])]
    assert len(rest) == len(own) - len(own) // 2
    predicted = run.fold_in(given).predict(rest)
    rmse = np.sqrt(((predicted["prediction"] - predicted["rating"]) ** 2).mean())
    assert row["rmse"] == pytest.approx(rmse, rel=1e-6)
    assert everything.users["n_known"].iloc[0] == len(own) // 2


def test_a_list_holds_nothing_that_could_have_been_answered() -> None:
    """With one candidate list for all: NDCG by hand from the lists of fold-in."""
    fitted = tabcf.fit(LIKES, ALL)
    trained = set(fitted.trained.events.source.frame["user_id"])
    own = ALL[~ALL["user_id"].isin(trained)]
    own = own[own["user_id"] == own["user_id"].iloc[0]].reset_index(drop=True)
    is_positive = (own["rating"] >= 4).to_numpy()
    selector = Noting()
    found = replay(
        fitted.trained,
        FoldIn(fitted.trained, "user"),
        source_of_frame(own),
        is_positive,
        {"noting": lambda users, seed: selector},
        at=[0, 21],
    )
    asked_of = {item: answer for item, answer in selector.told.items() if answer is not None}
    had, rest = own["item_id"].isin(asked_of), own[~own["item_id"].isin(asked_of)]
    likes = own[had & is_positive]
    assert set(likes["item_id"]) == {item for item, answer in asked_of.items() if answer == 1}
    listed = fitted.fold_in(likes).recommend(k=20)
    listed = listed[~listed["item_id"].isin(asked_of)].head(10)["item_id"].tolist()
    relevant = set(rest[rest["rating"] >= 4]["item_id"])
    gains = [1 / np.log2(place + 2) for place, item in enumerate(listed) if item in relevant]
    ideal = sum(1 / np.log2(place + 2) for place in range(min(10, len(relevant))))
    assert found.users["ndcg@10"].iloc[-1] == pytest.approx(sum(gains) / ideal, rel=1e-5)


def test_selectors_get_the_same_halves_whatever_is_beside_them(run: tabcf.Run) -> None:
    alone = run.replay_interviews(ALL, selectors=["tree"], at=[2], seed=3).users
    beside = run.replay_interviews(ALL, selectors=["random", "tree"], at=[2], seed=3).users
    pd.testing.assert_frame_equal(
        alone, beside[beside["selector"] == "tree"].reset_index(drop=True)
    )
    other = run.replay_interviews(ALL, selectors=["tree"], at=[2], seed=4).users
    assert not alone["rmse"].equals(other["rmse"])


def test_several_halvings_are_means_by_user(run: tabcf.Run) -> None:
    both = run.replay_interviews(ALL, selectors=["popularity"], at=[3], n_halvings=2).users
    parts = [
        run.replay_interviews(ALL, selectors=["popularity"], at=[3], seed=seed).users
        for seed in (0, 1)
    ]
    mean = (parts[0]["rmse"] + parts[1]["rmse"]) / 2
    assert both["rmse"].tolist() == pytest.approx(mean.tolist())


def test_a_summary_has_paired_intervals(run: tabcf.Run) -> None:
    found = run.replay_interviews(ALL, selectors=["random", "popularity", "tree"], at=[1, 3])
    summary = found.summary().set_index(["selector", "n_asked"])
    assert summary.loc["popularity"][["difference", "low", "high"]].isna().all(axis=None)
    one, two = (
        found.users[(found.users["selector"] == name) & (found.users["n_asked"] == 3)]
        for name in ("popularity", "tree")
    )
    row = summary.loc["tree", 3]
    assert row["difference"] == pytest.approx(two["rmse"].mean() - one["rmse"].mean())
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["n_users"] == 20
    other = found.summary(against="random").set_index(["selector", "n_asked"])
    assert other.loc["random", 1][["low"]].isna().all()
    with pytest.raises(DataError, match="'helf' was not replayed; known: random"):
        found.summary(against="helf")
    without = run.replay_interviews(ALL, selectors=["tree", "helf"], at=[1]).summary()
    assert without.set_index("selector")["low"].isna().tolist() == [True, False]


def test_all_selectors_that_suit_the_model_by_default(run: tabcf.Run) -> None:
    found = run.replay_interviews(ALL, at=[1]).users
    assert set(found["selector"]) == set(run.registry.names("selector"))
    ease = tabcf.fit({**LIKES, "model": {"ease": 10}, "loss": None}, ALL)
    found = ease.replay_interviews(ALL, at=[1]).users
    assert set(found["selector"]) == set(ease.registry.names("selector")) - {
        "d_optimal",
        "rehearsed",
    }


def test_a_selector_with_options_goes_by_them(run: tabcf.Run) -> None:
    given = {"tree": {"depth": 1}}
    found = run.replay_interviews(ALL, selectors=["tree", given], at=[2]).summary()
    assert found["selector"].tolist() == ["tree", "{'tree': {'depth': 1}}"]


def test_text_ids_and_files(run: tabcf.Run, tmp_path: Path) -> None:
    ALL.to_csv(tmp_path / "all.csv", index=False)
    frame = run.replay_interviews(ALL, selectors=["tree"], at=[2]).users
    file = run.replay_interviews(tmp_path / "all.csv", selectors=["tree"], at=[2]).users
    pd.testing.assert_frame_equal(frame, file)


def test_refusals(run: tabcf.Run, held: pd.DataFrame) -> None:
    known = ALL[~ALL["user_id"].isin(held["user_id"])]
    with pytest.raises(DataError, match=r"no user is new to the run and has two rows; .* 30 users"):
        run.replay_interviews(known, at=[1])
    with pytest.raises(DataError, match="no user is new"):
        run.replay_interviews(held.drop_duplicates("user_id"), at=[1])
    with pytest.raises(DataError, match="at: expected numbers of questions"):
        run.replay_interviews(ALL, at=[])
    with pytest.raises(DataError, match="no column 'rating'"):
        run.replay_interviews(ALL.drop(columns="rating"), at=[1])
    table = tabcf.fit({"tabcf": 1, "target": "rating", "model": "tabular"}, ALL)
    with pytest.raises(RunError, match="needs the entities user and item"):
        table.replay_interviews(ALL)
