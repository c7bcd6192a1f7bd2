"""Newcomers of every kind of model: found by few events, and nobody else is touched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.errors import DataError, RunError
from tabcf.testing import tiny_ratings

N_USERS, N_ITEMS = 40, 30
TRAIN = {"epochs": 40, "batch_size": 32, "learning_rate": 0.03, "weight_decay": 0.0}
RATED = {
    "dot_product": {"factors": 8, "y_range": [0, 6]},
    "dot_product_bias": {"factors": 8, "y_range": [0, 6]},
    "embedding_nn": {"layers": [32], "widths": 8, "y_range": [0, 6]},
    "collab_nn": {"n_hidden": 32, "y_range": [0, 6]},
}
LOSSES = {
    "mae": "dot_product_bias",
    "huber": "dot_product_bias",
    "cross_entropy": "embedding_nn",
    "ordered_logit": "dot_product_bias",
}
RANKED: dict[str, tuple[str, Any]] = {
    "softmax": ("dot_product", {"factors": 8}),
    "bpr": ("dot_product_bias", {"factors": 8}),
    "sampled_softmax": ("embedding_nn", {"layers": [32], "widths": 8}),
    "sampled_bce": ("dot_product", {"factors": 8, "y_range": [-6, 6]}),
    "implicit_mse": ("dot_product", {"factors": 8}),
}
SOLVED = {"ials": {"factors": 4}, "ease": {"l2": 1.0}, "item_knn": {"k": 20, "shrink": 1.0}}


def _base(**changes: Any) -> dict[str, Any]:
    return {
        "tabcf": 1,
        "target": {"column": "rating", "levels": [1, 5]},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "split": {"random": {"valid": 0, "test": 0.1}},
        "train": TRAIN,
        **changes,
    }


@cache
def rated(model: str, loss: str = "mse") -> tabcf.Run:
    options = dict(RATED[model])
    if loss in ("cross_entropy", "ordered_logit"):
        del options["y_range"]
    plugins = []
    if loss == "ordered_logit":
        import tabcf_ordinal

        plugins = [tabcf_ordinal]
    spec = _base(model={model: options}, loss=loss)
    return tabcf.fit(spec, tiny_ratings(n_users=N_USERS, n_items=N_ITEMS), plugins=plugins)


@cache
def ranked(name: str) -> tabcf.Run:
    changes: dict[str, Any] = {"target": {"implicit": {"positive": "rating >= 4"}}}
    if name in SOLVED:
        changes |= {"model": {name: SOLVED[name]}}
    else:
        model, options = RANKED[name]
        changes |= {"model": {model: options}, "loss": name}
    return tabcf.fit(_base(**changes), tiny_ratings(n_users=N_USERS, n_items=N_ITEMS))


def board(side: str, newcomers: list[int], others: range) -> pd.DataFrame:
    """Ratings of newcomers by the checkerboard, with the others of the given range."""
    pairs = [(n, o) for n in newcomers for o in others]
    own, other = (np.array(column) for column in zip(*pairs, strict=True))
    names = ("user_id", "item_id") if side == "user" else ("item_id", "user_id")
    rating = np.where((own + other) % 2 == 0, 5, 1)
    return pd.DataFrame({names[0]: own, names[1]: other, "rating": rating})


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize(
    ("model", "loss"), [*((m, "mse") for m in RATED), *((m, loss) for loss, m in LOSSES.items())]
)
def test_few_ratings_tell_all_others(model: str, loss: str, side: str) -> None:
    run = rated(model, loss)
    given, held = board(side, [100, 101], range(8)), board(side, [100, 101], range(8, 30))
    newcomers = run.fold_in(given, entity=side)
    predicted = newcomers.predict(held)
    errors = predicted["prediction"] - held["rating"]
    assert errors.abs().mean() < 1.2, errors.abs().mean()
    assert set(predicted["basis"]) == {"8 events"}
    before = run.predict(held)["prediction"] - held["rating"]
    assert before.abs().mean() > 1.6


@pytest.mark.parametrize("name", [*RANKED, *SOLVED])
def test_few_choices_tell_a_new_users_list(name: str) -> None:
    run = ranked(name)
    given = board("user", [100, 101], range(8))
    lists = run.fold_in(given).recommend(k=5)
    assert (lists.groupby("user_id").size() == 5).all()
    assert (lists["item_id"] >= 8).all(), "what was given is not offered again"
    hits = (lists["user_id"] + lists["item_id"]) % 2 == 0
    assert hits.mean() > 0.9
    assert set(lists["basis"]) == {"4 events"}, "only ratings of 4 and more count"


@pytest.mark.parametrize("name", [*RANKED, "ials"])
def test_few_choices_bring_a_new_item_into_the_right_lists(name: str) -> None:
    run = ranked(name)
    newcomers = run.fold_in(board("item", [100, 101], range(20)), entity="item")
    lists = newcomers.recommend(range(40), k=1, only_new=True, exclude_seen=False)
    hits = (lists["user_id"] + lists["item_id"]) % 2 == 0
    assert hits.mean() > 0.9
    among_all = newcomers.recommend(range(20, 40), k=30, exclude_seen=False)
    assert {100, 101} < set(among_all["item_id"])
    seen = newcomers.recommend(range(20), k=30)
    assert not {100, 101} & set(seen["item_id"]), "its first users are not offered it again"


@pytest.mark.parametrize("name", ["mean", "popular"])
def test_a_model_without_users_answers_from_the_average(name: str) -> None:
    changes: dict[str, Any] = {"target": {"implicit": {}}} if name == "popular" else {}
    run = tabcf.fit(_base(model=name, **changes), tiny_ratings())
    newcomers = run.fold_in(board("user", [100], range(8)))
    assert newcomers.basis == ["cold: average"]
    assert newcomers.posterior is None
    with pytest.raises(DataError, match="finds no rows for newcomers"):
        newcomers.vectors()
    lists = newcomers.recommend(k=3)
    assert (lists["item_id"] >= 8).all()
    with pytest.raises(RunError, match="cannot take new items: it does not say which rows"):
        run.fold_in(board("item", [100], range(8)), entity="item")


def test_a_model_that_reads_histories_takes_no_new_items() -> None:
    with pytest.raises(RunError, match="EASE cannot take new items"):
        ranked("ease").fold_in(board("item", [100], range(8)), entity="item")


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("model", RATED)
def test_nobody_else_is_touched(model: str, side: str) -> None:
    """Weights, predictions and lists of others are the same to the bit, meanwhile and after."""
    run = rated(model)
    weights = {name: value.clone() for name, value in run.trained.model.state_dict().items()}
    asked = tiny_ratings(n_users=N_USERS, n_items=N_ITEMS)
    predicted, lists = run.predict(asked), run.recommend(range(40), k=5)
    newcomers = run.fold_in(board(side, [100, 101], range(8)), entity=side)
    newcomers.recommend([1, 2] if side == "item" else None)
    beside = newcomers.predict(pd.concat([asked, board(side, [100], range(3))], ignore_index=True))
    columns = ["user_id", "item_id", "rating", "basis", "prediction"]
    pd.testing.assert_frame_equal(beside[columns].head(len(asked)), predicted[columns])
    assert beside["sd"].notna().tolist() == [False] * len(asked) + [True] * 3
    pd.testing.assert_frame_equal(run.predict(asked), predicted)
    pd.testing.assert_frame_equal(run.recommend(range(40), k=5), lists)
    for name, value in run.trained.model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert not any(parameter.grad is not None for parameter in run.trained.model.parameters())


def test_predictions_may_be_of_others_alone_or_of_nobody() -> None:
    run = rated("embedding_nn")
    newcomers = run.fold_in(board("user", [100], range(8)))
    asked = tiny_ratings(n_users=N_USERS, n_items=N_ITEMS).head(5)
    shown = newcomers.predict(asked)
    assert shown["prediction"].tolist() == run.predict(asked)["prediction"].tolist()
    assert shown["sd"].isna().all()
    nothing = newcomers.predict(asked.head(0))
    assert len(nothing) == 0
    assert nothing.columns.tolist() == shown.columns.tolist()
    assert len(run.predict(asked.head(0))) == 0


def test_lists_of_rankers_stay_too() -> None:
    for name in ("softmax", "ials", "ease"):
        run = ranked(name)
        before = run.recommend(range(40), k=5)
        run.fold_in(board("user", [100], range(8))).recommend()
        pd.testing.assert_frame_equal(run.recommend(range(40), k=5), before)


@pytest.mark.parametrize("name", ["softmax", "sampled_softmax", "ials", "ease"])
def test_newcomers_found_together_or_alone_are_the_same(name: str) -> None:
    run = ranked(name)
    given = board("user", [100, 101, 102], range(8))
    given = given[~((given["user_id"] == 101) & (given["item_id"] > 3))]
    together = run.fold_in(given).recommend(k=5)
    for user in (100, 101, 102):
        alone = run.fold_in(given[given["user_id"] == user]).recommend(k=5)
        own = together[together["user_id"] == user].reset_index(drop=True)
        assert alone["item_id"].tolist() == own["item_id"].tolist()
        assert np.allclose(alone["score"], own["score"], atol=1e-3)


def test_more_events_leave_less_open() -> None:
    run = rated("dot_product_bias")
    held = board("user", [100], range(20, 30))
    spreads = [
        run.fold_in(board("user", [100], range(n))).predict(held)["sd"].mean() for n in (1, 4, 16)
    ]
    assert spreads[0] > spreads[1] > spreads[2] > 0


def test_the_spread_is_that_of_rows_drawn_from_the_posterior() -> None:
    run = rated("dot_product_bias")
    newcomers = run.fold_in(board("user", [100], range(12)))
    held = board("user", [100], range(20, 30))
    said = newcomers.predict(held)["sd"].to_numpy()
    rng = np.random.default_rng(0)
    mean, covariance = newcomers.posterior.mean[0].numpy(), newcomers.posterior.covariance[0]
    rows = torch.from_numpy(rng.multivariate_normal(mean, covariance.numpy(), 4000)).float()
    model = run.trained.model
    item = run.trained.encoder.entities["item"]
    index = torch.from_numpy(item.index[item.rows_of_ids(held["item_id"])]).long()
    with torch.no_grad():
        vectors, biases = model.column_vectors(1)[index], model.column_bias(1)[index]
        drawn = model.outputs(rows[:, :-1] @ vectors.T + rows[:, -1:] + biases)
    assert np.allclose(drawn.std(0).numpy(), said, rtol=0.3, atol=0.02)


def test_a_known_user_is_found_anew_from_all_events() -> None:
    """User 3 says the opposite of all that they said before: the new word counts."""
    run = rated("dot_product_bias")
    frame = tiny_ratings(n_users=N_USERS, n_items=N_ITEMS)
    same = run.fold_in(frame[frame["user_id"] == 3].head(1))
    n_train = int(run.trained.encoder.entities["user"].n_events[run_row(run, 3)])
    assert same.basis[0] in (f"{n_train} events", f"{n_train + 1} events")
    held = board("user", [3], range(N_ITEMS))
    agreed = same.predict(held)
    assert (agreed["prediction"] - run.predict(held)["prediction"]).abs().mean() < 0.5
    turned = held.assign(rating=6 - held["rating"])
    found = run.fold_in(turned)
    assert found.basis == [f"{N_ITEMS} events"], "a rating given again replaces that of training"
    errors = found.predict(turned)["prediction"] - turned["rating"]
    assert errors.abs().mean() < 0.5


def run_row(run: tabcf.Run, user: int) -> int:
    return int(run.trained.encoder.entities["user"].rows_of_ids([user])[0])


def test_a_known_item_is_offered_as_what_it_was_found_to_be() -> None:
    run = ranked("softmax")
    newcomers = run.fold_in(board("item", [3], range(1, 40, 2)), entity="item")
    lists = newcomers.recommend(range(1, 40, 2), k=30, exclude_seen=False)
    counts = lists.groupby(["user_id", "item_id"]).size()
    assert (counts == 1).all()
    seen = newcomers.recommend([1], k=30)
    assert 3 not in set(seen["item_id"])


def test_a_saved_run_finds_the_same(tmp_path: Path) -> None:
    for run in (rated("dot_product_bias"), ranked("softmax")):
        loaded = tabcf.load(run.save(tmp_path / run.spec.model.name))
        for side, users in (("user", None), ("item", [1, 2])):
            given = board(side, [3, 100], range(8))
            before, after = (r.fold_in(given, entity=side) for r in (run, loaded))
            assert torch.equal(before.posterior.mean, after.posterior.mean)
            assert torch.equal(before.posterior.covariance, after.posterior.covariance)
            pd.testing.assert_frame_equal(
                before.recommend(users, k=4), after.recommend(users, k=4), check_dtype=False
            )


def test_threads_do_not_get_into_each_others_way() -> None:
    run = rated("embedding_nn")
    frames = [board("user", [100 + i], range(3 + i)) for i in range(6)]
    held = [board("user", [100 + i], range(20, 30)) for i in range(6)]

    def answer(i: int) -> list[float]:
        newcomers = run.fold_in(frames[i])
        return [*newcomers.predict(held[i])["prediction"], *newcomers.recommend(k=3)["score"]]

    alone = [answer(i) for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(answer, [*range(6)] * 4)) == alone * 4


def test_more_newcomers_than_slots_and_events() -> None:
    run = rated("embedding_nn")
    many = board("user", list(range(100, 2300)), range(2))
    newcomers = run.fold_in(many)
    assert len(newcomers) == 2200
    few = run.fold_in(many[many["user_id"] < 103])
    held = board("user", [100, 101, 102], range(20, 30))
    assert np.allclose(
        newcomers.predict(held)["prediction"], few.predict(held)["prediction"], atol=1e-3
    )
    lists = newcomers.recommend(k=2)
    assert lists["user_id"].nunique() == 2200


def test_a_newcomer_with_thousands_of_events() -> None:
    run = rated("embedding_nn")
    one = pd.concat([board("user", [100], range(N_ITEMS))] * 200, ignore_index=True)
    newcomers = run.fold_in(one)
    assert newcomers.basis == ["6000 events"]
    held = board("user", [100], range(N_ITEMS))
    assert (newcomers.predict(held)["prediction"] - held["rating"]).abs().mean() < 0.5


def test_gradients_may_be_off_around_it() -> None:
    run = rated("embedding_nn")
    given, held = board("user", [100], range(8)), board("user", [100], range(20, 30))
    expected = run.fold_in(given).predict(held)
    with torch.no_grad():
        pd.testing.assert_frame_equal(run.fold_in(given).predict(held), expected)


@pytest.mark.parametrize("side", ["user", "item"])
def test_biases_are_found_and_held_down(side: str) -> None:
    frame = tiny_ratings(n_users=N_USERS, n_items=N_ITEMS)
    rng = np.random.default_rng(0)
    users, items = rng.normal(0, 1, N_USERS), rng.normal(0, 1, N_ITEMS)
    noise = rng.normal(0, 1, len(frame))
    frame["rating"] = 3 + users[frame["user_id"]] + items[frame["item_id"]] + noise
    run = tabcf.fit(_base(model="bias", target="rating"), frame)
    held, given = board(side, [100], range(20, 30)), board(side, [100], range(10))
    others = items if side == "user" else users
    newcomers = [run.fold_in(given.head(0).drop(columns=f"{side}_id"), entity=side)]
    for n, off in ((2, 1.5), (10, 1.5), (10, -1.5)):
        own = given.assign(rating=3 + others[:10] + off).head(n)
        newcomers.append(run.fold_in(own, entity=side))
    unknown = held.drop(columns=f"{side}_id")
    average, two, ten, low = (n.predict(unknown)["prediction"].mean() for n in newcomers)
    assert average + 0.5 < two < ten, "two events are not trusted wholly"
    assert low < average
    assert ten - low == pytest.approx(3.0, abs=0.6)


@cache
def drawn(likelihood: str) -> tabcf.Run:
    """A mean over draws from the posterior of a model that was planted."""
    spec = _base(
        model={"dot_product_bias": {"factors": 2}},
        fit={"gibbs": {"sweeps": 60, "burn_in": 20, "keep": 20, "likelihood": likelihood}},
    )
    del spec["train"]
    return tabcf.fit(spec, tiny_ratings(n_users=N_USERS, n_items=N_ITEMS))


@pytest.mark.parametrize("likelihood", ["normal", "ordered_probit"])
@pytest.mark.parametrize("side", ["user", "item"])
def test_draws_from_a_posterior_take_newcomers_and_leave_others_alone(
    side: str, likelihood: str
) -> None:
    run = drawn(likelihood)
    asked = tiny_ratings(n_users=N_USERS, n_items=N_ITEMS)
    before = run.predict(asked)
    given, held = board(side, [100, 101], range(8)), board(side, [100, 101], range(8, 30))
    newcomers = run.fold_in(given, entity=side)
    found = newcomers.predict(held)
    assert (found["prediction"] - held["rating"]).abs().mean() < 1.0
    assert set(found["basis"]) == {"8 events"}
    assert (found["sd"] < run.predict(held)["sd"]).mean() > 0.9
    alone = run.fold_in(given[given[f"{side}_id"] == 101], entity=side).predict(held.tail(22))
    assert np.allclose(alone["prediction"], found["prediction"].tail(22), atol=1e-4)
    beside = newcomers.predict(pd.concat([asked, held], ignore_index=True)).head(len(asked))
    pd.testing.assert_frame_equal(beside[["sd", "prediction"]], before[["sd", "prediction"]])
    pd.testing.assert_frame_equal(run.predict(asked), before)
    lists = newcomers.recommend([0, 1] if side == "item" else None, k=3, exclude_seen=False)
    hits = (lists["user_id"] + lists["item_id"]) % 2 == 0
    assert hits.mean() > 0.9


def test_what_an_event_counts_is_heeded() -> None:
    """Half of the choices are of odd items, and count next to nothing; without weights they do."""
    frame = tiny_ratings(n_users=N_USERS, n_items=N_ITEMS)
    frame = frame[frame["rating"] == 5].assign(plays=1.0)
    spec = _base(
        target={"implicit": {"weight": "plays"}},
        model={"dot_product": {"factors": 8}},
        loss="softmax",
    )
    run = tabcf.fit(spec, frame)
    given = pd.DataFrame({"user_id": 100, "item_id": range(8), "plays": [1.0, 0.01] * 4})
    lists = run.fold_in(given).recommend(k=5)
    assert (lists["item_id"] % 2 == 0).all()
    turned = run.fold_in(given.assign(plays=[0.01, 1.0] * 4)).recommend(k=5)
    assert (turned["item_id"] % 2 == 1).all()
    twice = pd.concat([given, given], ignore_index=True)
    doubled = run.fold_in(given.assign(plays=2 * given["plays"]))
    mean, expected = run.fold_in(twice).posterior.mean, doubled.posterior.mean
    assert torch.allclose(mean, expected, atol=1e-6), "an event given twice counts twice"
    with pytest.raises(DataError, match="no column 'plays'"):
        run.fold_in(given.drop(columns="plays"))
    with pytest.raises(DataError, match="weight 'plays': expected numbers of at least 0"):
        run.fold_in(given.assign(plays=-1.0))


def test_a_model_that_says_nothing_of_its_rows_refuses_events() -> None:
    import tabcf_deepfm

    spec = _base(model={"deepfm": {"factors": 4, "layers": [8]}}, train={**TRAIN, "epochs": 1})
    run = tabcf.fit(spec, tiny_ratings(n_users=N_USERS, n_items=N_ITEMS), plugins=[tabcf_deepfm])

    class Closed(torch.nn.Module):
        def forward(self, *inputs: Any) -> torch.Tensor:
            return model(*inputs)

    model = run.trained.model
    run.trained = replace(run.trained, model=Closed())
    with pytest.raises(RunError, match="Closed cannot take new users: it does not say which rows"):
        run.fold_in(board("user", [100], range(8)))
    with pytest.raises(RunError, match="Closed cannot take new items"):
        run.fold_in(board("item", [100], range(8)), entity="item")


def test_new_items_by_attributes_alone_are_candidates_of_known_users(tmp_path: Path) -> None:
    """And new users by theirs get lists: no event is needed, no id either."""
    for side, n in (("user", N_USERS), ("item", N_ITEMS)):
        kinds = pd.DataFrame({f"{side}_id": range(n), f"{side}_kind": ["even", "odd"] * (n // 2)})
        kinds.to_csv(tmp_path / f"{side}.csv", index=False)
    entities = {
        side: {
            "id": f"{side}_id",
            "table": str(tmp_path / f"{side}.csv"),
            "columns": {f"{side}_kind": "category"},
        }
        for side in ("user", "item")
    }
    spec = _base(
        entities=entities,
        target={"implicit": {"positive": "rating >= 4"}},
        model={"dot_product": {"factors": 8}},
        loss="softmax",
    )
    run = tabcf.fit(spec, tiny_ratings(n_users=N_USERS, n_items=N_ITEMS))
    items = pd.DataFrame({"item_id": [900, 901], "item_kind": ["odd", "even"]})
    lists = run.recommend([2, 3], k=2, candidates=items)
    best = lists[lists["rank"] == 1].set_index("user_id")["item_id"]
    assert best.to_dict() == {2: 901, 3: 900}
    users = pd.DataFrame({"user_kind": ["odd", "even"]})
    lists = run.recommend(users, k=5)
    assert (lists.groupby("user_id").size() == 5).all()
    assert ((lists["user_id"] + lists["item_id"]) % 2 == 1).mean() > 0.9
    assert set(lists["basis"]) == {"cold: attributes"}


@pytest.mark.parametrize("kind", ["binary", "classes", "two numbers"])
@pytest.mark.parametrize("side", ["user", "item"])
def test_other_targets(kind: str, side: str) -> None:
    """Yes or no, three classes, and two numbers at once, one of which is the other's mirror."""
    frame = tiny_ratings(n_users=N_USERS, n_items=N_ITEMS)
    given, held = board(side, [100], range(10)), board(side, [100], range(10, 30))
    target: Any = "liked"
    if kind == "two numbers":
        target = {"columns": ["rating", "mirror"]}
        frame, given = (f.assign(mirror=6.0 - f["rating"]) for f in (frame, given))
    else:
        names = {5: "yes", 1: "no"}
        frame, given = (f.assign(liked=f["rating"].map(names)) for f in (frame, given))
        if kind == "classes":
            frame.loc[frame["item_id"] == 0, "liked"] = "perhaps"
            held = held[(held["user_id"] != 0) & (held["item_id"] != 0)]
            given = given[given["item_id"] != 0]
    spec = _base(target=target, model={"embedding_nn": {"layers": [32], "widths": 8}})
    newcomers = tabcf.fit(spec, frame).fold_in(given, entity=side)
    predicted = newcomers.predict(held)
    assert "sd" not in predicted
    if kind == "two numbers":
        assert (predicted["prediction.rating"] - held["rating"]).abs().mean() < 1.2
        assert (predicted["prediction.mirror"] - 6 + held["rating"]).abs().mean() < 1.2
    else:
        assert (predicted["prediction"] == held["rating"].map(names)).mean() > 0.8


def test_levels_have_a_spread_and_a_jump_has_none() -> None:
    held = board("user", [100], range(20, 30))
    for loss, model in (("cross_entropy", "embedding_nn"), ("ordered_logit", "dot_product_bias")):
        spreads = [
            rated(model, loss).fold_in(board("user", [100], range(n))).predict(held)["sd"].mean()
            for n in (1, 16)
        ]
        assert 4 > spreads[0] > spreads[1] > 0
    import tabcf_ordinal

    spec = _base(
        model={"dot_product_bias": {"factors": 8}}, loss={"ordered_logit": {"predict": "mode"}}
    )
    run = tabcf.fit(spec, tiny_ratings(), plugins=[tabcf_ordinal])
    newcomers = run.fold_in(board("user", [100], range(8)))
    predicted = newcomers.predict(board("user", [100], range(8, 20)))
    assert "sd" not in predicted


@pytest.mark.parametrize("n_users", [3, 40])
def test_too_few_rows_to_choose_by_still_give_an_answer(n_users: int) -> None:
    """Of three users nothing can be chosen, nor of forty with two ratings each."""
    frame = tiny_ratings(n_users=n_users, n_items=N_ITEMS)
    if n_users == 40:
        frame = frame[frame.groupby("user_id").cumcount() < 2]
    run = tabcf.fit(_base(model={"dot_product_bias": {"factors": 2, "y_range": [0, 6]}}), frame)
    newcomers = run.fold_in(board("user", [100], range(8)))
    predicted = newcomers.predict(board("user", [100], range(8, 20)))
    assert np.isfinite(predicted[["sd", "prediction"]].to_numpy()).all()
    assert newcomers.basis == ["8 events"]
