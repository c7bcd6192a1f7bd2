"""One spec, two stages: what the first finds, the second puts into order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.errors import DataError, RunError, SpecError
from tabcf.run.progress import Silent
from tests.unit.cli.test_cli import call
from tests.unit.run.test_tracking import Recorder

N = 12


def ratings() -> pd.DataFrame:
    """40 users, 60 items; who and what are of one parity go together, and times differ."""
    rng = np.random.default_rng(7)
    pairs = rng.permutation(40 * 60)[:900]
    users, items = np.divmod(pairs, 60)
    likes = (users + items) % 2 == 0
    rating = np.where(likes, rng.integers(4, 6, 900), rng.integers(1, 4, 900))
    times = 1_000_000_000 + rng.integers(0, 20 * 86_400, 900)
    return pd.DataFrame({"user_id": users, "item_id": items, "rating": rating, "timestamp": times})


def spec(**changes: Any) -> dict[str, Any]:
    """Liked items, found by their users' others and ordered by a network that knows the day."""
    return {
        "tabcf": 1,
        "name": "two",
        "target": {"implicit": {"positive": "rating >= 4"}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "columns": {"day": {"date_part": {"from": "timestamp", "part": "weekday"}}},
        "model": {"embedding_nn": {"layers": [8]}},
        "loss": "sampled_bce",
        "metrics": [{"ndcg": 5}, {"recall": 5}],
        "split": {"random": {"valid": 0.1, "test": 0.2}},
        "train": {"epochs": 2, "batch_size": 64},
        "retrieve": {"n": N, "model": {"dot_product": {"factors": 8}}, "train": {"epochs": 4}},
        **changes,
    }


def alone(given: dict[str, Any]) -> dict[str, Any]:
    """The same spec without its first stage."""
    return {name: value for name, value in given.items() if name != "retrieve"}


@pytest.fixture(scope="module")
def run() -> tabcf.Run:
    return tabcf.fit(spec(), ratings())


@pytest.fixture(scope="module")
def folder(run: tabcf.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run.save(tmp_path_factory.mktemp("two") / "run")


def test_both_stages_learn_from_the_same_training_rows_and_from_no_others() -> None:
    """No leak: not through the first stage either, and not when both are fitted again."""
    data = ratings()
    for refit, n_parts in ((False, 1), (True, 2)):
        given = spec(train={"epochs": 1, "refit": refit})
        run = tabcf.fit(given, data)
        assert run.first_stage is not None
        own, found = (r.trained.events.source.frame for r in (run, run.first_stage))
        pd.testing.assert_frame_equal(own, found)
        assert len(own) == len(data) * (0.7, 0.8)[n_parts - 1]
        # Held-out rows may say what they like: neither stage's weights hang on them.
        is_held_out = ~pd.MultiIndex.from_frame(data[["user_id", "item_id"]]).isin(
            pd.MultiIndex.from_frame(own[["user_id", "item_id"]])
        )
        other = data.copy()
        other.loc[is_held_out, "rating"] = 6 - other.loc[is_held_out, "rating"]
        other.loc[is_held_out, "item_id"] = 59 - other.loc[is_held_out, "item_id"]
        again = tabcf.fit(given, other)
        assert again.first_stage is not None
        for one, two in ((run, again), (run.first_stage, again.first_stage)):
            same_weights(one, two)
        assert again.report.test != run.report.test


def test_a_validation_sees_lists_of_a_first_stage_that_has_not_seen_its_rows() -> None:
    """With `refit` as without it: what guides choices is measured before any second fit."""
    given = spec(train={"epochs": 2, "refit": False})
    run = tabcf.fit(given, ratings())
    again = tabcf.fit(spec(train={"epochs": 2, "refit": True}), ratings())
    assert run.report.fitted_on == "train"
    assert again.report.fitted_on == "train + valid"
    assert again.first_stage is not None
    assert again.first_stage.report.fitted_on == "train + valid"
    assert run.report.valid == again.report.valid
    assert [e.validation for e in run.report.epochs] == [e.validation for e in again.report.epochs]


def test_each_stage_is_the_model_that_its_own_spec_gives(run: tabcf.Run) -> None:
    same_weights(run, tabcf.fit(alone(spec()), ratings()))
    assert run.first_stage is not None
    same_weights(
        run.first_stage, tabcf.fit(run.first_stage.spec.model_dump(mode="json"), ratings())
    )
    same_weights(run, tabcf.fit(run.spec.model_dump(mode="json"), ratings()))


def test_lists_hold_what_the_first_stage_finds_in_the_order_of_the_second(run: tabcf.Run) -> None:
    users, context = [0, 1, 2], {"timestamp": 1_000_000_000}
    assert run.first_stage is not None
    found = run.first_stage.recommend(users, k=N)
    lists = run.recommend(users, k=5, context=context)
    for user in users:
        own = found.loc[found["user_id"] == user, "item_id"].tolist()
        chosen = lists[lists["user_id"] == user]
        expected = run.recommend(user, k=5, candidates=own, context=context, retrieve=False)
        assert chosen["item_id"].tolist() == expected["item_id"].tolist()
        assert np.allclose(chosen["score"], expected["score"], atol=1e-5)
    whole = run.recommend(users, k=5, context=context, retrieve=False)
    assert not whole["item_id"].equals(lists["item_id"])
    more = run.recommend(users, k=5, context=context, n_retrieved=60)
    assert more["item_id"].tolist() == whole["item_id"].tolist()


def test_the_context_orders_what_is_found_whatever_the_context(run: tabcf.Run) -> None:
    days = [run.recommend(3, k=N, context={"day": day}) for day in range(7)]
    assert all(set(days[0]["item_id"]) == set(other["item_id"]) for other in days)
    assert len({tuple(other["score"].round(6)) for other in days}) == 7


def test_a_first_stage_with_event_columns_hears_the_context() -> None:
    retrieve = {"n": N, "model": {"embedding_nn": {"layers": [8]}}, "loss": "bpr"}
    run = tabcf.fit(spec(retrieve={**retrieve, "columns": ["day"]}), ratings())
    assert run.first_stage is not None
    for day in range(7):
        found = run.first_stage.recommend(3, k=N, context={"day": day})
        lists = run.recommend(3, k=N, context={"day": day})
        assert set(found["item_id"]) == set(lists["item_id"])
    with pytest.raises(DataError, match="context: no event column reads 'hour'"):
        run.recommend(3, context={"hour": 1})


def test_test_metrics_are_those_of_the_lists_that_users_get(run: tabcf.Run) -> None:
    data = ratings()
    is_new = ~pd.MultiIndex.from_frame(data[["user_id", "item_id"]]).isin(
        pd.MultiIndex.from_frame(run.trained.events.source.frame[["user_id", "item_id"]])
    )
    rest = data[is_new]
    relevant = rest[rest["rating"] >= 4].groupby("user_id")["item_id"].agg(set)
    assert run.first_stage is not None
    for stage, retrieve in ((run, True), (run, False), (run.first_stage, True)):
        found = stage.evaluate(rest, retrieve=retrieve)
        lists = stage.recommend(list(relevant.index), k=5, retrieve=retrieve)
        hits = [
            len(set(own["item_id"]) & relevant[user]) / len(relevant[user])
            for user, own in lists.groupby("user_id")
        ]
        assert found["recall@5"] == pytest.approx(np.mean(hits))
    users = run.evaluate_users(rest)
    assert users["ndcg@5"].mean() == pytest.approx(run.evaluate(rest)["ndcg@5"])
    whole = run.evaluate_users(rest, retrieve=False)
    assert whole["ndcg@5"].mean() == pytest.approx(run.evaluate(rest, retrieve=False)["ndcg@5"])
    groups = run.evaluate_groups(rest).set_index("group")
    assert groups.loc["warm", "recall@5"] == pytest.approx(run.evaluate(rest)["recall@5"])


def test_the_report_says_what_the_first_stage_finds(run: tabcf.Run) -> None:
    report = run.report
    assert run.first_stage is not None
    assert list(report.first_stage) == [f"recall@{N}", "ndcg@5", "recall@5"]
    # The same target: then its own run says the same.
    assert report.first_stage == pytest.approx(run.first_stage.report.test)
    assert report.test["recall@5"] <= report.first_stage[f"recall@{N}"]
    assert report.test["ndcg@5"] != report.first_stage["ndcg@5"]
    assert list(run.test_table)[:2] == ["dot_product, then embedding_nn", "dot_product alone"]
    assert "dot_product alone" in run._repr_html_()
    assert report.seconds > run.first_stage.report.seconds > 0


def test_a_run_comes_back_from_its_folder(run: tabcf.Run, folder: Path) -> None:
    loaded, first = tabcf.load(folder), tabcf.load(folder / "retrieve")
    users, context = [*range(40), 999], {"timestamp": 1_000_000_000}
    pd.testing.assert_frame_equal(
        loaded.recommend(users, context=context), run.recommend(users, context=context)
    )
    assert loaded.evaluate(ratings()) == run.evaluate(ratings())
    assert loaded.report == run.report
    assert run.first_stage is not None
    assert run.first_stage.folder == folder / "retrieve"
    pd.testing.assert_frame_equal(first.recommend(users), run.first_stage.recommend(users))
    assert first.report == run.first_stage.report


@pytest.mark.parametrize("name", ["weights.safetensors", "spec.json", "manifest.json"])
def test_a_changed_file_of_the_first_stage_is_refused(
    name: str, run: tabcf.Run, tmp_path: Path
) -> None:
    path = run.save(tmp_path / "run") / "retrieve" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(RunError, match=f"the file retrieve/{name} was changed after"):
        tabcf.load(tmp_path / "run")
    path.unlink()
    with pytest.raises(RunError, match=f"the file retrieve/{name} is missing"):
        tabcf.load(tmp_path / "run")


@pytest.mark.parametrize("first", ["ials", "ease", "item_knn", "popular", {"edlae": 5}])
@pytest.mark.parametrize("second", ["ease", "item_knn", "popular", "dot_product_bias"])
def test_solved_models_find_and_order(first: Any, second: str) -> None:
    given = spec(model=second, retrieve={"model": first, "n": N}, columns={})
    if second != "dot_product_bias":
        del given["loss"]
    run = tabcf.fit(given, ratings())
    assert run.first_stage is not None
    found = run.first_stage.recommend(range(40), k=N)
    lists = run.recommend(range(40), k=N)
    has_past = run.trained.history_of(np.arange(1, 41)).lengths > 0
    assert has_past.all()
    assert sets(found) == sets(lists)
    whole = run.recommend(range(40), k=60, retrieve=False).set_index(["user_id", "item_id"])
    expected = whole["score"].reindex(pd.MultiIndex.from_frame(lists[["user_id", "item_id"]]))
    assert np.allclose(lists["score"], expected, atol=1e-4)
    assert lists.groupby("user_id")["score"].apply(lambda s: s.is_monotonic_decreasing).all()


def test_what_people_do_finds_what_a_predicted_rating_orders() -> None:
    given = spec(
        target={"column": "rating", "levels": [1, 2, 3, 4, 5]},
        loss="mse",
        metrics=["rmse", {"recall": 5}],
        split={"random": {"valid": 0, "test": 0.2}},
        retrieve={"n": N, "model": "ials", "target": {"implicit": {"positive": "rating >= 4"}}},
    )
    run = tabcf.fit(given, ratings())
    first = run.first_stage
    assert first is not None
    assert first.trained.target.kind == "implicit"
    assert run.trained.target.kind == "rating"
    assert (
        first.trained.events.is_positive.sum()
        == (run.trained.events.source.frame["rating"] >= 4).sum()
    )
    # Not offered again: whatever was rated, liked or not.
    lists = run.recommend(range(40), k=N)
    users, items = run.trained.seen.pairs()
    assert not set(zip(users - 1, items - 1, strict=True)) & set(
        zip(lists["user_id"], lists["item_id"], strict=True)
    )
    # The report's figures are of what the second stage is to find; the first one's own are not.
    assert list(run.report.test) == ["rmse", "recall@5"]
    assert list(run.report.first_stage) == [f"recall@{N}", "recall@5"]
    assert run.report.first_stage != pytest.approx(first.report.test)
    assert run.report.first_stage["recall@5"] == pytest.approx(
        recall(first.recommend(range(40), k=5), run)
    )


def test_an_implicit_first_stage_keeps_the_split_of_a_rating() -> None:
    """By itself an implicit target would be split by time."""
    given = spec(
        target={"column": "rating"},
        loss="mse",
        metrics=None,
        retrieve={"model": "ease", "target": {"implicit": {}}},
    )
    del given["split"], given["metrics"]
    run = tabcf.fit(given, ratings())
    assert run.first_stage is not None
    assert run.first_stage.spec.split.name == "random"
    pd.testing.assert_frame_equal(
        run.trained.events.source.frame, run.first_stage.trained.events.source.frame
    )
    assert list(run.report.test) == ["rmse", "mae", "ndcg@10", "recall@10"]


def test_whom_the_first_stage_does_not_know_the_second_serves_alone(tmp_path: Path) -> None:
    """EASE has nothing to say of somebody new; their attributes have."""
    users = pd.DataFrame({"user_id": range(40), "parity": ["even", "odd"] * 20})
    users.to_csv(tmp_path / "users.csv", index=False)
    entities = {
        "user": {
            "id": "user_id",
            "table": str(tmp_path / "users.csv"),
            "columns": {"parity": "category"},
        },
        "item": {"id": "item_id"},
    }
    data = ratings()
    given = spec(entities=entities, retrieve={"model": "ease", "n": N})
    run = tabcf.fit(given, data[data["user_id"] < 38])
    new = pd.DataFrame({"parity": ["odd", "even"]})
    for asked in (new, new.assign(user_id=[500, 501]), [38, 39], [999]):
        own, whole = (run.recommend(asked, k=5, retrieve=flag) for flag in (True, False))
        assert own["item_id"].tolist() == whole["item_id"].tolist()
        assert np.allclose(own["score"], whole["score"], atol=1e-5)
    known = run.recommend([1, 38], k=5)
    one = run.recommend(1, k=5)
    assert known["item_id"].tolist()[:5] == one["item_id"].tolist()
    rest = data[data["user_id"] >= 38]
    assert run.evaluate(rest) == pytest.approx(run.evaluate(rest, retrieve=False))


def test_candidates_are_ordered_or_found_among(run: tabcf.Run) -> None:
    few, many = [3, 4, 5, 8], list(range(20, 50))
    lists = run.recommend(1, k=10, candidates=few, exclude_seen=False)
    assert set(lists["item_id"]) == set(few)
    lists = run.recommend(1, k=30, candidates=many, exclude_seen=False)
    assert len(lists) == N
    assert set(lists["item_id"]) < set(many)
    denied = run.recommend(1, k=30, deny=lists["item_id"].tolist(), exclude_seen=False)
    assert not set(denied["item_id"]) & set(lists["item_id"])
    with pytest.raises(DataError, match="n_retrieved: expected a positive number, got 0"):
        run.recommend(1, n_retrieved=0)


def test_each_stage_stops_early_by_its_own_rule() -> None:
    retrieve = {
        "n": N,
        "model": {"dot_product": 8},
        "train": {"epochs": 30, "early_stopping": 1, "learning_rate": 0.05},
    }
    run = tabcf.fit(spec(retrieve=retrieve), ratings())
    assert run.first_stage is not None
    epochs = run.first_stage.report.epochs
    best = run.first_stage.report.best_epoch
    assert len(epochs) == best + 1 < 30
    found = [epoch.validation[f"recall@{N}"] for epoch in epochs]
    assert found[best - 1] == max(found)
    assert len(run.report.epochs) == 2


class Impatient(Silent):
    """Presses Ctrl-C in the step of a number."""

    def __init__(self, step: int) -> None:
        self.left = step

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [2, 30])
def test_after_ctrl_c_both_stages_still_have_the_same_rows(step: int) -> None:
    """In the first stage, which takes four steps, and in the second one."""
    given = spec(train={"epochs": 20, "batch_size": 64, "refit": True})
    run = tabcf.fit(given, ratings(), progress=Impatient(step))
    assert run.first_stage is not None
    assert run.report.is_interrupted
    assert run.first_stage.report.is_interrupted == (step == 2)
    for stage in (run, run.first_stage):
        assert stage.report.fitted_on == "train"
        assert len(stage.trained.events.source.frame) == 630


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"retrieve": {"model": "ials", "columns": ["day"]}},
            "^retrieve.model: ials takes only users and items",
        ),
        (
            {"retrieve": {"model": "dot_product", "train": {"weight_decay": {"x": 1}}}},
            "^retrieve.train.weight_decay: no column 'x' with an embedding",
        ),
        (
            {"target": {"column": "rating"}, "loss": "cross_entropy", "metrics": ["accuracy"]},
            "^target: 'rating' is one of several classes, which gives items no order",
        ),
        (
            {
                "retrieve": {
                    "model": "embedding_nn",
                    "target": "rating",
                    "loss": "cross_entropy",
                }
            },
            "^retrieve.target: 'rating' is one of several classes, which gives items no order",
        ),
    ],
)
def test_what_shows_with_the_data_alone_is_said_of_the_stage(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        tabcf.fit(spec(**changes), ratings())


def test_trackers_are_told_of_both_stages() -> None:
    recorder = Recorder()
    run = tabcf.fit(spec(track=["recorder"]), ratings(), plugins=[recorder])
    (_, _, parameters), *epochs, (_, metrics, _) = recorder.told
    assert len(epochs) == 2
    assert parameters["retrieve.n"] == N
    assert parameters["retrieve.model.dot_product.factors"] == 8
    assert parameters["retrieve.loss"] == "softmax"
    assert parameters["retrieve.train.epochs"] == 4
    assert "retrieve.entities.user.id" not in parameters
    assert metrics[f"retrieve.test.recall@{N}"] == run.report.first_stage[f"recall@{N}"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cli")
    ratings().to_csv(place / "ratings.csv", index=False)
    given = spec(data="ratings.csv")
    (place / "two.yaml").write_text(json.dumps(given), encoding="utf-8")
    code, printed, said = call("fit", str(place / "two.yaml"), "--out", str(place / "run"))
    assert code == 0, said
    for line in ("dot_product, then embedding_nn", "dot_product alone", f"recall@{N}"):
        assert line in printed
    for line in ("first stage: dot_product", "second stage: embedding_nn"):
        assert line in said
    return place


def test_the_command_recommend_uses_both_stages_unless_told(place: Path) -> None:
    run = tabcf.load(place / "run")
    for flags, expected in (
        ((), run.recommend([1], k=5)),
        (("--no-retrieve",), run.recommend([1], k=5, retrieve=False)),
        (("--retrieved", "20"), run.recommend([1], k=5, n_retrieved=20)),
        (
            ("--retrieve", str(place / "run" / "retrieve")),
            run.recommend([1], k=5, retrieve=run.first_stage),
        ),
    ):
        arguments = ("recommend", str(place / "run"), "--user", "1", "-k", "5", "--json")
        code, printed, _ = call(*arguments, *flags)
        assert code == 0
        listed = [row["item_id"] for row in json.loads(printed)]
        assert listed == expected["item_id"].tolist(), flags


def test_the_command_evaluate_measures_either(place: Path) -> None:
    folder, data = str(place / "run"), str(place / "ratings.csv")
    run = tabcf.load(folder)
    for flags, retrieve, label in (
        ((), True, "dot_product, then embedding_nn"),
        (("--no-retrieve",), False, "embedding_nn"),
    ):
        code, printed, _ = call("evaluate", folder, data, "--json", *flags)
        assert code == 0
        expected = run.evaluate(ratings(), retrieve=retrieve)
        assert json.loads(printed)[label] == pytest.approx(expected)
    code, printed, _ = call("evaluate", folder, "--json")
    assert json.loads(printed)["dot_product alone (test)"] == pytest.approx(run.report.first_stage)
    code, _, said = call("evaluate", folder, "--no-retrieve")
    assert (code, "--no-retrieve needs DATA" in said) == (2, True)


def test_the_command_explain_spec_shows_the_first_stage(place: Path) -> None:
    code, printed, _ = call("explain-spec", str(place / "two.yaml"), "--json")
    assert code == 0
    rows = {row["path"]: row["value"] for row in json.loads(printed)}
    assert rows["retrieve.model.dot_product.factors"] == "8"
    assert rows["retrieve.train.refit"] == "False"


def same_weights(one: tabcf.Run, two: tabcf.Run) -> None:
    first, second = one.trained.model.state_dict(), two.trained.model.state_dict()
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def sets(lists: pd.DataFrame) -> dict[int, set[int]]:
    return {user: set(own["item_id"]) for user, own in lists.groupby("user_id")}


def recall(lists: pd.DataFrame, run: tabcf.Run) -> float:
    """Recall of lists among the run's own test rows, all of which are relevant."""
    assert run.users is not None
    data = ratings()
    seen = pd.MultiIndex.from_frame(run.trained.events.source.frame[["user_id", "item_id"]])
    is_new = ~pd.MultiIndex.from_frame(data[["user_id", "item_id"]]).isin(seen)
    relevant = data[is_new].groupby("user_id")["item_id"].agg(set)
    own = sets(lists)
    return float(np.mean([len(own[user] & found) / len(found) for user, found in relevant.items()]))


def test_a_metric_of_whole_rankings_sees_what_is_not_found_at_the_end() -> None:
    """`list_auc`: relevant items that the first stage misses tie behind all that it finds."""
    given = spec(metrics=[{"ndcg": 5}, "list_auc"])
    run = tabcf.fit(given, ratings())
    assert list(run.report.first_stage) == [f"recall@{N}", "ndcg@5", "list_auc"]
    users = run.evaluate_users(ratings()).set_index("user_id")
    user = users["list_auc"].dropna().index[0]
    found = run.recommend(int(user), k=N)["item_id"].tolist()
    seen = run.trained.events.source.frame.query("user_id == @user")["item_id"]
    liked = ratings().query("user_id == @user and rating >= 4")["item_id"]
    n_places = len(found)
    place = {item: n_places - rank for rank, item in enumerate(found)}
    score = {item: place.get(item, 0) for item in range(60) if item not in set(seen)}
    relevant = [item for item in liked if item in score]
    others = [item for item in score if item not in relevant]
    pairs = [np.sign(score[a] - score[b]) / 2 + 0.5 for a in relevant for b in others]
    assert users.loc[user, "list_auc"] == pytest.approx(np.mean(pairs))


def test_newcomers_who_are_folded_in_are_served_by_the_second_stage() -> None:
    given = spec(model={"dot_product": {"factors": 8}}, columns={}, loss="softmax")
    run, single = tabcf.fit(given, ratings()), tabcf.fit(alone(given), ratings())
    events = pd.DataFrame({"item_id": [0, 2, 4], "rating": 5, "timestamp": 1_000_000_000})
    lists = [one.fold_in(events).recommend(k=20) for one in (run, single)]
    assert len(lists[0]) == 20
    pd.testing.assert_frame_equal(*lists)


def test_a_plugins_loss_of_the_first_stage_goes_with_the_run(tmp_path: Path) -> None:
    night = "tabcf_plugin: 1\nname: night\nversion: '1'\nlosses:\n  mild: {huber: {delta: 0.5}}\n"
    (tmp_path / "night.yaml").write_text(night, encoding="utf-8")
    given = spec(
        plugins=[str(tmp_path / "night.yaml")],
        target={"column": "rating"},
        loss="mse",
        metrics=["rmse", {"recall": 5}],
        retrieve={"n": N, "model": {"dot_product_bias": 8}, "loss": "night/mild"},
    )
    run = tabcf.fit(given, ratings(), tmp_path / "run")
    (tmp_path / "night.yaml").unlink()
    loaded = tabcf.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.recommend([0, 1]), run.recommend([0, 1]))
    for folder in (tmp_path / "run", tmp_path / "run" / "retrieve"):
        environment = json.loads((folder / "environment.json").read_text())
        assert environment["plugins"]["night"]["needs"] == ["loss mild"]
