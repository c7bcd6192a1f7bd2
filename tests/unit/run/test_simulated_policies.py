"""Re-ranked lists and weights of training in the loop of a run, and a loop that was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tabcf
from tabcf.audit.loop import NO_RECOMMENDER
from tabcf.audit.planted import planted_population
from tabcf.audit.population import Population
from tabcf.audit.result import LoopResult
from tabcf.errors import DataError, RunError, SpecError
from tabcf.run import refitting as refitting_module
from tabcf.run.population import Simulated
from tabcf.run.refitting import Refitting, ServedPolicy
from tabcf.run.rerank import policy_name, resolve_reranking
from tabcf.spec.records import Component
from tabcf.testing import heavy_group

TABLES = heavy_group()
TRAINED: dict[str, Any] = {
    "model": {"dot_product": {"factors": 8}},
    "train": {"epochs": 20, "batch_size": 64, "learning_rate": 0.03},
}
EASE: dict[str, Any] = {"model": {"ease": {"l2": 10.0}}}
ANIME = "amplification(item.kind=anime)"
ROUNDS = 6


def _spec(folder: Path, items: pd.DataFrame, **more: Any) -> dict[str, Any]:
    path = folder / "items.csv"
    items.to_csv(path, index=False)
    return {
        "tabcf": 1,
        "target": {"implicit": {}},
        "split": {"random": {"valid": 0, "test": 0}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id", "table": str(path)}},
        **more,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tabcf.Run:
    spec = _spec(tmp_path_factory.mktemp("films"), TABLES.items, **TRAINED)
    return tabcf.fit(spec, TABLES.events)


@pytest.fixture(scope="module")
def ease(tmp_path_factory: pytest.TempPathFactory) -> tabcf.Run:
    spec = _spec(tmp_path_factory.mktemp("films"), TABLES.items, **EASE)
    return tabcf.fit(spec, TABLES.events)


@pytest.fixture(scope="module")
def population() -> Population:
    return planted_population(n_users=400, n_items=600, heaviness=3)


@pytest.fixture(scope="module")
def planted(population: Population, tmp_path_factory: pytest.TempPathFactory) -> tabcf.Run:
    """A run on what is known of the planted population's first interactions, kinds included."""
    kind = np.where(population.groups[0].items, "anime", "other")
    items = pd.DataFrame({"item_id": range(len(kind)), "kind": kind})
    events = pd.DataFrame({"user_id": population.users, "item_id": population.items})
    return tabcf.fit(_spec(tmp_path_factory.mktemp("planted"), items, **EASE), events)


@pytest.fixture(scope="module")
def result(population: Population, planted: tabcf.Run) -> LoopResult:
    return planted.simulate(
        ["model", {"calibrated": {"of": "kind"}}, "random"],
        rounds=ROUNDS,
        seeds=range(4),
        groups=["item.kind=anime"],
        utility=pd.DataFrame(population.utility),
        activity=pd.Series(population.activity),
    )


def _by_seed(result: LoopResult, policy: str, figure: str) -> np.ndarray:
    """`(seeds, rounds)`."""
    own = result.rounds[result.rounds["policy"] == policy]
    return own.pivot(index="seed", columns="round", values=figure).to_numpy()


def test_a_model_amplifies_a_heavy_group_more_from_round_to_round(result: LoopResult) -> None:
    """The slope over rounds, seed by seed, is above 0 by four standard errors."""
    amplification = _by_seed(result, "model", ANIME)
    assert (amplification > 1.5).all()
    x = np.arange(ROUNDS) - (ROUNDS - 1) / 2
    slopes = amplification @ x / (x @ x)
    assert slopes.mean() > 4 * slopes.std(ddof=1) / np.sqrt(len(slopes))


def test_random_lists_amplify_nothing(result: LoopResult) -> None:
    assert _by_seed(result, "random", ANIME).mean() == pytest.approx(1.0, abs=0.05)


def test_calibrated_lists_amplify_less_at_hardly_any_loss(result: LoopResult) -> None:
    model, calibrated = (
        _by_seed(result, name, ANIME).mean(1) for name in ("model", "calibrated: {of: kind}")
    )
    assert (calibrated < 0.9 * model).all()
    model, calibrated = (
        _by_seed(result, name, "utility").mean() for name in ("model", "calibrated: {of: kind}")
    )
    assert calibrated > 0.95 * model


@pytest.mark.parametrize(
    "given",
    [
        "mmr",
        {"mmr": {"of": "kind"}},
        {"calibrated": {"of": "kind", "strength": 0.7}},
        {"group_caps": {"of": "kind", "share": 0.4}},
        {"xquad": {"strength": 0.9, "smooth": True}},
        [{"popularity_penalty": 0.2}, {"calibrated": {"of": "kind"}}],
    ],
)
def test_lists_of_the_first_round_are_those_that_the_run_recommends(
    trained: tabcf.Run, given: Any
) -> None:
    simulated = Simulated.of(trained)
    epochs = trained.report.best_epoch or trained.spec.train.epochs
    reranking = resolve_reranking(trained.registry, given, fold_in=lambda: None)
    policy = ServedPolicy(Refitting(simulated, trained.spec, epochs), reranking)
    rng = np.random.default_rng(0)
    policy.learn(simulated.users, simulated.items, rng)
    seen = np.zeros((len(simulated.user_rows), len(simulated.item_rows)), dtype=bool)
    seen[simulated.users, simulated.items] = True
    lists = policy.lists(seen, 5, rng)
    users, items = (
        trained.trained.encoder.entities["user"],
        trained.trained.encoder.entities["item"],
    )
    ids = np.array(items.ids.values_of(simulated.item_rows))
    frame = trained.recommend(
        users.ids.values_of(simulated.user_rows), k=5, candidates=ids.tolist(), rerank=given
    )
    expected = frame["item_id"].to_numpy().reshape(-1, 5)
    assert (ids[lists] == expected).all()


def test_what_explores_draws_anew_in_each_round(trained: tabcf.Run) -> None:
    simulated = Simulated.of(trained)
    seen = np.zeros((len(simulated.user_rows), len(simulated.item_rows)), dtype=bool)
    for given in ({"epsilon_greedy": {"epsilon": 0.5, "seed": 1}}, {"thompson": 2.0}):
        reranking = resolve_reranking(trained.registry, given, fold_in=lambda: None)
        policy = ServedPolicy(Refitting(simulated, trained.spec, 5), reranking)
        policy.learn(simulated.users, simulated.items, np.random.default_rng(0))
        first, same, other = (
            policy.lists(seen, 5, np.random.default_rng(seed)) for seed in (0, 0, 1)
        )
        assert (first == same).all()
        assert (first != other).mean() > 0.2


def test_training_options_are_those_of_a_run_that_is_trained_so(
    trained: tabcf.Run, tmp_path: Path
) -> None:
    weighted = {"train": {"user_weights": 1}}
    both = {"train": {"user_weights": 1}, "rerank": {"calibrated": {"of": "kind"}}}
    asked: dict[str, Any] = {"rounds": 2, "k": 5, "share": 0.2, "utility": trained}
    found = trained.simulate(["model", weighted, both], **asked)
    names = ["model", "train: {user_weights: 1}"]
    names += ["train: {user_weights: 1}, rerank: {calibrated: {of: kind}}"]
    assert found.rounds["policy"].drop_duplicates().tolist() == [NO_RECOMMENDER, *names]
    train = {**TRAINED["train"], "user_weights": 1}
    spec = _spec(tmp_path, TABLES.items, **{**TRAINED, "train": train})
    other = tabcf.fit(spec, TABLES.events).simulate(["model"], **asked)
    for figure in ("utility", "gini(lists)", "popularity"):
        own = _by_seed(found, names[1], figure)
        assert (own == _by_seed(other, "model", figure)).all()
    assert (_by_seed(found, names[1], "popularity") != _by_seed(found, "model", "popularity")).any()


def test_a_trained_policy_that_was_cut_off_goes_on_within_its_world(
    trained: tabcf.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"rounds": 4, "k": 5, "share": 0.2}
    policies = [{"train": {"user_weights": 1}, "rerank": "mmr"}]
    name = "train: {user_weights: 1}, rerank: mmr"
    whole = trained.simulate(policies, **asked).rounds
    told: list[tuple[str, int, int]] = []

    def cut(*what: Any) -> None:
        if what == (name, 0, 3):
            raise KeyboardInterrupt

    state = tmp_path / "loop.json"
    with pytest.raises(KeyboardInterrupt):
        trained.simulate(policies, state=state, on_round=cut, **asked)
    fits: list[int] = []
    continue_stage = refitting_module.continue_stage

    def counted(*args: Any, **kwargs: Any) -> Any:
        fits.append(1)
        return continue_stage(*args, **kwargs)

    monkeypatch.setattr(refitting_module, "continue_stage", counted)
    resumed = trained.simulate(
        policies, state=state, on_round=lambda *what: told.append(what), **asked
    )
    assert told == [(name, 0, 4)]
    # The first fit gives the weights a place; of the four rounds only the last is fitted.
    assert len(fits) == 2
    pd.testing.assert_frame_equal(resumed.rounds, whole)
    assert [file.name for file in tmp_path.iterdir()] == ["loop.json"]


def test_a_round_of_another_simulation_is_refused(trained: tabcf.Run, tmp_path: Path) -> None:
    state = tmp_path / "loop.json"

    def cut(*what: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained.simulate(["random"], rounds=2, state=state, on_round=cut)
    with pytest.raises(RunError, match=r"json\.round: holds a simulation of another population"):
        trained.simulate(["random"], rounds=3, state=state)
    for content in (b"no archive", b""):
        (tmp_path / "loop.json.round").write_bytes(content)
        with pytest.raises(RunError, match="expected the state of a simulation"):
            trained.simulate(["random"], rounds=2, state=state)


def test_tastes_and_activity_may_be_known(trained: tabcf.Run) -> None:
    users, items = list(range(120))[::-1], range(90)
    tastes = pd.DataFrame(0.0, index=users, columns=items)
    tastes[7] = 1.0
    activity = pd.Series(1.0, index=users)
    activity[3] = 0.0
    found = trained.simulate(["random"], rounds=1, k=90, utility=tastes, activity=activity)
    assert found.rounds["taken"].gt(0).all()
    with pytest.raises(DataError, match="utility: has nothing for 1 of 120 users, such as 5"):
        trained.simulate(["random"], utility=tastes.drop(index=5))
    with pytest.raises(DataError, match=r"utility: has nothing for 2 of \d+ items"):
        trained.simulate(["random"], utility=tastes.drop(columns=[5, 6]))
    with pytest.raises(DataError, match="activity: has nothing for 1 of 120 users, such as 9"):
        trained.simulate(["random"], activity=activity.drop(9))
    with pytest.raises(DataError, match="each user once, got 0 several times"):
        trained.simulate(["random"], activity=pd.concat([activity, activity]).sort_index())
    with pytest.raises(DataError, match="expected numbers in all columns"):
        trained.simulate(["random"], utility=tastes.astype(object))
    with pytest.raises(DataError, match="activity: expected numbers"):
        trained.simulate(["random"], activity=activity.astype(str))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("best", DataError, r"policies: no 'best'; known: model, popular, random, calibrated"),
        ({"calibrate": {}}, SpecError, "rerank: .*calibrate"),
        ({"calibrated": {"of": "genre"}}, SpecError, "rerank.*genre"),
        ({"train": {"user_weight": 1}}, SpecError, "train: unknown key 'user_weight'"),
        ({"train": 3}, DataError, "train: expected a mapping"),
        ([{"thompson": 1.0}, "mmr"], SpecError, "name it last"),
    ],
)
def test_a_policy_that_is_none_is_refused_before_anything_is_fitted(
    trained: tabcf.Run, given: Any, error: type[Exception], message: str
) -> None:
    def fail(*what: Any) -> None:
        pytest.fail("a round was simulated")

    with pytest.raises(error, match=message):
        trained.simulate(["random", given], rounds=1, on_round=fail)


def test_weights_are_refused_for_models_that_take_none(ease: tabcf.Run) -> None:
    with pytest.raises(SpecError, match=r"train\.user_weights: ease is solved in closed form"):
        ease.simulate([{"train": {"user_weights": 0.5}}])


def test_a_policy_takes_part_once(ease: tabcf.Run) -> None:
    with pytest.raises(DataError, match="mmr is named twice"):
        ease.simulate(["mmr", "mmr"])


@pytest.mark.parametrize("given", ["mmr", {"mmr": 0.3}, {"mmr": {"of": "kind", "strength": 0.3}}])
def test_a_spec_s_re_ranker_is_called_as_it_was_written(given: Any) -> None:
    assert policy_name(Component.model_validate(given)) == policy_name(given)
