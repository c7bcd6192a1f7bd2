"""A run's users, items and events as a population, and its model in the loop."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.audit.loop import NO_RECOMMENDER
from tabcf.errors import DataError, RunError, TrainingError
from tabcf.run.population import Simulated, all_scores, population_of
from tabcf.run.refitting import Refitting
from tabcf.run.stage import Stage
from tabcf.run.train import continue_stage
from tabcf.testing import tiny_ratings

ENTITIES: dict[str, Any] = {"user": {"id": "user_id"}, "item": {"id": "item_id"}}
SPEC: dict[str, Any] = {
    "tabcf": 1,
    "target": {"implicit": {"positive": "rating >= 4"}},
    "entities": ENTITIES,
    "split": {"random": {"valid": 0, "test": 0.3}},
    "model": {"ease": {"l2": 1.0}},
}
TRAINED: dict[str, Any] = {
    **SPEC,
    "model": {"dot_product": {"factors": 4}},
    "loss": "bpr",
    "train": {"epochs": 20, "batch_size": 32, "learning_rate": 0.03},
}
KEYS = ["policy", "seed", "round"]


def _fit(base: dict[str, Any] = SPEC, **changes: Any) -> tabcf.Run:
    return tabcf.fit({**base, **changes}, tiny_ratings(n_users=40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rare items that even users like, and users by whether they are of the first ten."""
    folder = tmp_path_factory.mktemp("tables")
    genres = ["Rare|Film" if item in (0, 2) else "Film" for item in range(20)]
    pd.DataFrame({"item_id": range(20), "genres": genres}).to_csv(folder / "items.csv", index=False)
    first = [int(user < 10) for user in range(40)]
    pd.DataFrame({"user_id": range(40), "is_first": first}).to_csv(
        folder / "users.csv", index=False
    )
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> tabcf.Run:
    tables = {
        "user": {"id": "user_id", "table": str(folder / "users.csv")},
        "item": {"id": "item_id", "table": str(folder / "items.csv")},
    }
    return _fit(entities=tables)


@pytest.fixture(scope="module")
def trained() -> tabcf.Run:
    return _fit(TRAINED)


def test_first_interactions_are_the_positive_training_events(run: tabcf.Run) -> None:
    simulated = Simulated.of(run)
    events = run.trained.events.learnable().frame
    assert len(simulated.users) == len(events) == run.report.n_rows["train"]
    user, item = run.trained.encoder.entities["user"], run.trained.encoder.entities["item"]
    assert user.ids.values_of(simulated.user_rows[simulated.users]) == events["user_id"].tolist()
    assert item.ids.values_of(simulated.item_rows[simulated.items]) == events["item_id"].tolist()


def test_some_users_bring_their_own_items_alone(run: tabcf.Run) -> None:
    simulated = Simulated.of(run, max_users=5)
    assert len(simulated.user_rows) == 5
    assert set(simulated.users) == set(range(5))
    assert set(simulated.items) == set(range(len(simulated.item_rows)))
    user = run.trained.encoder.entities["user"]
    ids = user.ids.values_of(simulated.user_rows)
    events = run.trained.events.learnable().frame
    assert len(simulated.users) == events["user_id"].isin(ids).sum()
    again = Simulated.of(run, max_users=5)
    assert (again.user_rows == simulated.user_rows).all()


@pytest.mark.parametrize("name", ["run", "trained"])
def test_the_first_round_is_the_run_itself(name: str, request: pytest.FixtureRequest) -> None:
    run: tabcf.Run = request.getfixturevalue(name)
    simulated = Simulated.of(run)
    epochs = run.report.best_epoch or run.spec.train.epochs
    first = Refitting(simulated, run.spec, epochs).after(
        None, simulated.users, simulated.items, np.random.default_rng(0)
    )
    scores, own = (
        all_scores(each, simulated.user_rows, simulated.item_rows) for each in (first, run.trained)
    )
    np.testing.assert_allclose(scores, own, rtol=1e-5, atol=1e-6)


def test_all_scores_are_those_of_recommend(run: tabcf.Run) -> None:
    simulated = Simulated.of(run)
    scores = all_scores(run.trained, simulated.user_rows, simulated.item_rows)
    item = run.trained.encoder.entities["item"]
    ids = item.ids.values_of(simulated.item_rows)
    found = run.recommend(3, k=4).set_index("item_id")["score"]
    user = np.searchsorted(
        simulated.user_rows, run.trained.encoder.entities["user"].rows_of_ids([3])[0]
    )
    for id, score in found.items():
        assert scores[user, ids.index(id)] == pytest.approx(score, rel=1e-5)


def test_a_solved_model_learns_choices_as_if_they_had_been_there(run: tabcf.Run) -> None:
    simulated = Simulated.of(run)
    users, items = np.append(simulated.users, [0, 1]), np.append(simulated.items, [2, 3])
    refitting = Refitting(simulated, run.spec, 1)
    assert refitting.is_solved
    trained = refitting.after(refitting.first, users, items, np.random.default_rng(0))
    scores = all_scores(trained, simulated.user_rows, simulated.item_rows)
    had = np.zeros((len(simulated.user_rows), len(simulated.item_rows)))
    had[users, items] = 1.0
    inverse = np.linalg.inv(had.T @ had + np.eye(had.shape[1]))
    weights = -inverse / np.diag(inverse)[None]
    np.fill_diagonal(weights, 0.0)
    np.testing.assert_allclose(scores, had @ weights, rtol=1e-4, atol=1e-5)


def test_a_trained_model_goes_on_from_its_weights(trained: tabcf.Run) -> None:
    simulated = Simulated.of(trained)
    train = trained.spec.train.model_copy(
        update={"learning_rate": 1e-30, "weight_decay": {"default": 0.0}}
    )
    spec = trained.spec.model_copy(update={"train": train})
    users, items = np.append(simulated.users, 0), np.append(simulated.items, 0)
    stage = Stage.of(spec, trained.registry, simulated.events(users, items))
    warm = continue_stage(stage, trained.trained, epochs=1)
    cold = continue_stage(stage, epochs=1)
    before, after, fresh = (
        all_scores(each, simulated.user_rows, simulated.item_rows)
        for each in (trained.trained, warm, cold)
    )
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
    assert np.abs(fresh - before).max() > 0.1


def test_weights_of_other_columns_are_refused(trained: tabcf.Run) -> None:
    few = Simulated.of(trained, max_users=5)
    stage = Stage.of(trained.spec, trained.registry, few.events(few.users, few.items))
    with pytest.raises(TrainingError, match="do not suit these rows"):
        continue_stage(stage, trained.trained)


def test_tastes_are_standardised_for_each_user(run: tabcf.Run, trained: tabcf.Run) -> None:
    simulated = Simulated.of(run)
    population = population_of(simulated, share=0.5, utility=trained)
    assert population.utility.mean(1) == pytest.approx(0.0, abs=1e-9)
    assert population.utility.std(1) == pytest.approx(1.0)
    ids = run.trained.encoder.entities["user"].ids.values_of(simulated.user_rows)
    rows = trained.trained.encoder.entities["user"].rows_of_ids(ids)
    items = run.trained.encoder.entities["item"].ids.values_of(simulated.item_rows)
    columns = trained.trained.encoder.entities["item"].rows_of_ids(items)
    scores = all_scores(trained.trained, rows, columns)
    assert np.corrcoef(scores[0], population.utility[0])[0, 1] == pytest.approx(1.0)
    assert population.activity == pytest.approx(np.bincount(simulated.users) * 0.5)


def test_tastes_by_default_are_those_of_the_checkerboard(run: tabcf.Run) -> None:
    simulated = Simulated.of(run)
    utility = population_of(simulated, share=0.5).utility
    is_liked = (simulated.user_rows[:, None] + simulated.item_rows[None]) % 2 == 0
    assert utility[is_liked].mean() > 0.8
    assert utility[~is_liked].mean() < -0.8


def test_a_group_of_items_has_members_with_twice_the_usual_share(run: tabcf.Run) -> None:
    simulated = Simulated.of(run)
    (group,) = population_of(simulated, share=0.5, groups=["item.genres=Rare"]).groups
    items = run.trained.encoder.entities["item"].ids.values_of(simulated.item_rows)
    assert group.name == "item.genres=Rare"
    assert group.items.tolist() == [item in (0, 2) for item in items]
    events = run.trained.events.learnable().frame
    is_rare = events["item_id"].isin([0, 2])
    share = is_rare.groupby(events["user_id"]).mean()
    assert group.members.tolist() == (share >= 2 * is_rare.mean()).tolist()
    assert 0 < group.members.sum() <= 20


def test_a_group_of_users_has_the_items_that_they_have_more_of(run: tabcf.Run) -> None:
    simulated = Simulated.of(run)
    (group,) = population_of(simulated, share=0.5, groups=["user.is_first=1"]).groups
    users = run.trained.encoder.entities["user"].ids.values_of(simulated.user_rows)
    assert group.members.tolist() == [user < 10 for user in users]
    is_member = group.members[simulated.users]
    for item in range(len(simulated.item_rows)):
        of_item = simulated.items == item
        among = (of_item & is_member).sum() / is_member.sum()
        beside = (of_item & ~is_member).sum() / (~is_member).sum()
        assert group.items[item] == (among > 0 and among >= 2 * beside)


def test_a_model_serves_better_than_chance(run: tabcf.Run) -> None:
    found = run.simulate(rounds=2, k=3, seeds=(0, 1), share=0.3, groups=["user.is_first=1"])
    means = found.rounds.groupby("policy")["utility"].mean()
    assert set(means.index) == {NO_RECOMMENDER, "model", "popular", "random"}
    assert means["model"] > means["random"] + 0.3
    assert "amplification(user.is_first=1)" in found.rounds.columns


def test_a_loaded_run_and_a_second_time_give_the_same(trained: tabcf.Run, tmp_path: Path) -> None:
    trained.save(tmp_path / "run")
    loaded = tabcf.load(tmp_path / "run")
    first, again = (
        each.simulate(["model"], rounds=3, k=3, share=0.3).rounds for each in (trained, loaded)
    )
    pd.testing.assert_frame_equal(first, again)


def test_a_state_of_a_run_of_another_spec_is_refused(run: tabcf.Run, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    first = run.simulate(["random"], rounds=1, share=0.3, state=path, utility=run)
    again = run.simulate(["random"], rounds=1, share=0.3, state=path, utility=run)
    pd.testing.assert_frame_equal(first.rounds, again.rounds)
    other = _fit(model={"ease": {"l2": 2.0}})
    with pytest.raises(RunError, match="other settings"):
        other.simulate(["random"], rounds=1, share=0.3, state=path, utility=run)


def test_choices_have_no_event_columns_and_a_usual_weight() -> None:
    data = tiny_ratings(n_users=40).assign(hours=lambda frame: frame["rating"] / 2)
    run = tabcf.fit(
        {
            **TRAINED,
            "target": {"implicit": {"positive": "rating >= 4", "weight": "hours"}},
            "loss": "sampled_bce",
            "columns": {"hour": {"hour_bins": {"from": "timestamp"}}},
        },
        data,
    )
    simulated = Simulated.of(run)
    users, items = np.append(simulated.users, 0), np.append(simulated.items, 0)
    frame = simulated.events(users, items).source.frame
    assert frame["timestamp"].isna().tolist() == [False] * len(simulated.users) + [True]
    assert frame["hours"].iloc[-1] == 2.5
    found = run.simulate(["model"], rounds=2, k=3, share=0.3)
    assert found.rounds["taken"].gt(0).all()


def test_what_cannot_be_simulated_is_refused(run: tabcf.Run) -> None:
    rating = _fit(target={"column": "rating"}, model={"dot_product": {"factors": 2}})
    with pytest.raises(RunError, match=r"predicts a .*implicit: \{\}"):
        rating.simulate()
    two = _fit(TRAINED, retrieve={"model": "ease", "n": 12})
    with pytest.raises(RunError, match="two stages"):
        two.simulate()
    strangers = tabcf.fit(SPEC, tiny_ratings(n_users=20))
    with pytest.raises(RunError, match=r"has not learnt from \d+ of 40 users"):
        run.simulate(utility=strangers)
    with pytest.raises(DataError, match="no 'best'; known: model, popular, random, cal"):
        run.simulate(["best"])
    with pytest.raises(DataError, match="share: expected"):
        run.simulate(share=0.0)
    with pytest.raises(DataError, match="max_users: expected at least 2"):
        run.simulate(max_users=1)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("genres=Rare", "expected such as"),
        ("item.genres", "expected such as"),
        ("item.genre=Rare", "did you mean 'genres'"),
        ("item.genres=Western", "0 of 20 items have it"),
        ("item.genres=Film", "expected some, but not all"),
        ("user.is_first=yes", "0 of 40 users have it"),
    ],
)
def test_a_group_that_is_none_is_refused(run: tabcf.Run, group: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run.simulate(groups=[group])


def test_half_a_fit_is_no_round(trained: tabcf.Run) -> None:
    """Ctrl-C ends a fit early with what it has; a simulation must not go on with that."""
    simulated = Simulated.of(trained)
    events = simulated.events(simulated.users, simulated.items)
    stage = Stage.of(trained.spec, trained.registry, events)
    control_c = threading.Timer(1.0, signal.raise_signal, [signal.SIGINT])
    # A shell starts what it runs in the background without the usual handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        control_c.start()
        with pytest.raises(KeyboardInterrupt):
            continue_stage(stage, trained.trained, epochs=1_000_000)
    finally:
        signal.signal(signal.SIGINT, before)
