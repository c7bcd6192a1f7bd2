"""The loop on a planted population: what is known to happen happens, and can be repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tabcf.audit.figures import kind_shares
from tabcf.audit.loop import NO_RECOMMENDER, Policy, simulate
from tabcf.audit.loop_policies import (
    PopularPolicy,
    RandomPolicy,
    Rerank,
    Reranked,
    ScoresPolicy,
    ease_scores,
)
from tabcf.audit.planted import planted_population
from tabcf.audit.population import Population
from tabcf.audit.result import LoopResult
from tabcf.errors import DataError, RunError

SEEDS, ROUNDS = range(6), 6
ANIME = "amplification(anime)"


def _ease(population: Population) -> ScoresPolicy:
    return ScoresPolicy(ease_scores(*population.utility.shape))


def _calibrated(population: Population, *, strength: float = 0.5, pool: int = 50) -> Rerank:
    """Steck (2018), written anew: greedily, scores less the divergence from first interactions."""
    kinds = population.item_kinds
    had = np.zeros(population.utility.shape, dtype=bool)
    had[population.users, population.items] = True
    wanted = kind_shares(had, kinds)

    def rerank(scores: np.ndarray, seen: np.ndarray, k: int) -> np.ndarray:
        everyone = np.arange(len(scores))
        best = np.argsort(-np.where(seen, -np.inf, scores), axis=1)[:, :pool]
        value = np.take_along_axis(scores, best, axis=1)
        value = (value - value.min(1, keepdims=True)) / np.ptp(value, axis=1, keepdims=True)
        counts, is_left = np.zeros(wanted.shape), np.ones(best.shape, dtype=bool)
        lists = np.full((len(scores), k), -1)
        for place in range(k):
            shares = (counts[:, None] + kinds[best]) / (place + 1)
            shares = 0.99 * shares + 0.01 * wanted[:, None]
            apart = (wanted[:, None] * np.log(wanted[:, None] / shares)).sum(2)
            gain = (1 - strength) * value - strength * apart
            chosen = np.where(is_left, gain, -np.inf).argmax(1)
            lists[:, place] = best[everyone, chosen]
            is_left[everyone, chosen] = False
            counts += kinds[lists[:, place]]
        return lists

    return rerank


@pytest.fixture(scope="module")
def population() -> Population:
    return planted_population(n_users=400, n_items=300)


@pytest.fixture(scope="module")
def policies(population: Population) -> dict[str, Callable[[], Policy]]:
    rerank = _calibrated(population)
    return {
        "ease": lambda: _ease(population),
        "calibrated": lambda: Reranked(_ease(population), rerank),
        "popular": PopularPolicy,
        "random": RandomPolicy,
    }


@pytest.fixture(scope="module")
def result(population: Population, policies: dict[str, Callable[[], Policy]]) -> LoopResult:
    return simulate(population, policies, rounds=ROUNDS, seeds=SEEDS)


def _by_seed(result: LoopResult, policy: str, figure: str) -> np.ndarray:
    """`(seeds, rounds)`."""
    own = result.rounds[result.rounds["policy"] == policy]
    return own.pivot(index="seed", columns="round", values=figure).to_numpy()


def _rises(difference: np.ndarray) -> bool:
    """Whether a paired difference over seeds is above 0 by four standard errors."""
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return bool(difference.mean() > 4 * error)


def test_a_greedy_recommender_amplifies_a_heavy_group_more_from_round_to_round() -> None:
    """The trend over ten rounds, where the group's items suffice for that long."""
    population = planted_population(n_users=400, n_items=600, heaviness=3)
    found = simulate(population, {"ease": lambda: _ease(population)}, rounds=10, seeds=range(4))
    amplification = _by_seed(found, "ease", ANIME)
    assert (amplification[:, 0] > 1.5).all()
    assert _rises(_slopes(amplification))
    assert _rises(amplification[:, -1] - amplification[:, 0])


def test_amplification_falls_again_only_when_members_have_had_their_items() -> None:
    """Nothing is listed twice: whoever has had all anime takes other items, and is like others."""
    few, many = (
        planted_population(n_users=400, n_items=300, items_share=share) for share in (0.1, 0.3)
    )
    found = [
        simulate(each, {"ease": partial(_ease, each)}, rounds=10, seeds=range(4))
        for each in (few, many)
    ]
    late = [_slopes(_by_seed(each, "ease", ANIME)[:, 3:]) for each in found]
    own = [_by_seed(each, "ease", f"{ANIME[:-1]}, members)") for each in found]
    assert _rises(-late[0])
    assert (own[0][:, -1] < 0.25 * own[0][:, 2]).all()
    assert _rises(late[1] - late[0])
    assert (own[1][:, -1] > 0.9 * own[1][:, 2]).all()
    assert (
        _by_seed(found[1], "ease", ANIME)[:, -1] > _by_seed(found[1], "ease", ANIME)[:, 0]
    ).all()


def _slopes(figures: np.ndarray) -> np.ndarray:
    """Per round, of the straight line through each seed's rounds."""
    x = np.arange(figures.shape[1]) - (figures.shape[1] - 1) / 2
    slopes: np.ndarray = figures @ x / (x @ x)
    return slopes


def test_random_lists_amplify_nothing(result: LoopResult) -> None:
    assert _by_seed(result, "random", ANIME).mean() == pytest.approx(1.0, abs=0.05)


def test_popular_lists_never_make_choices_more_even(result: LoopResult) -> None:
    assert (np.diff(_by_seed(result, "popular", "gini"), axis=1) >= 0).all()


def test_amplification_is_ordered_as_published(result: LoopResult) -> None:
    """Mansoury et al. (2020): popular items above a model's, above random ones."""
    for figure in (ANIME, "popularity"):
        popular, ease, random = (
            _by_seed(result, name, figure).mean(1) for name in ("popular", "ease", "random")
        )
        assert (popular > ease).all()
        assert (ease > random).all()


def test_a_recommender_makes_users_alike_and_more_so_as_published(result: LoopResult) -> None:
    """Chaney et al. (2018): above users without one, and rising."""
    homogeneity = _by_seed(result, "ease", "homogeneity")
    assert (homogeneity > 1).all()
    assert _rises(homogeneity[:, 1:].mean(1) - homogeneity[:, 0])
    assert (_by_seed(result, NO_RECOMMENDER, "homogeneity") == 1).all()


def test_calibrated_lists_amplify_less_at_hardly_any_loss(result: LoopResult) -> None:
    ease, calibrated = (_by_seed(result, name, ANIME).mean(1) for name in ("ease", "calibrated"))
    assert (calibrated < 0.9 * ease).all()
    ease, calibrated = (_by_seed(result, name, "utility").mean() for name in ("ease", "calibrated"))
    assert calibrated > 0.95 * ease


def test_a_world_depends_on_its_seed_alone(
    population: Population, policies: dict[str, Callable[[], Policy]], result: LoopResult
) -> None:
    chosen = {"random": policies["random"], "ease": policies["ease"]}
    again = simulate(population, chosen, rounds=2, seeds=(3, 1)).rounds
    assert again["seed"].drop_duplicates().tolist() == [3, 1]
    keys = ["seed", "policy", "round"]
    before = result.rounds.set_index(keys)
    after = again.set_index(keys)
    pd.testing.assert_frame_equal(before.loc[after.index], after)
    own = _by_seed(result, "random", "taken")
    assert len(np.unique(own, axis=0)) == len(SEEDS)


def test_taken_items_are_learnt_from_and_never_listed_again(population: Population) -> None:
    class Recording(RandomPolicy):
        def __init__(self) -> None:
            self.learnt: list[tuple[np.ndarray, np.ndarray]] = []
            self.seen: list[np.ndarray] = []

        def learn(self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> None:
            self.learnt.append((users, items))

        def lists(self, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
            self.seen.append(seen.copy())
            return super().lists(seen, k, rng)

    policy = Recording()
    found = simulate(population, {"p": lambda: policy}, rounds=3).rounds
    taken = found.loc[found["policy"] == "p", "taken"].to_numpy()
    n_first = len(population.users)
    assert [len(users) for users, _ in policy.learnt] == [
        n_first,
        n_first + taken[0],
        n_first + taken[:2].sum(),
    ]
    for (users, items), seen in zip(policy.learnt, policy.seen, strict=True):
        assert (users[:n_first] == population.users).all()
        expected = np.zeros(population.utility.shape, dtype=bool)
        expected[users, items] = True
        assert (seen == expected).all()
        assert seen.sum() == len(users)


class _CutOff(Exception):
    pass


def test_a_simulation_that_was_cut_off_goes_on_to_the_same_end(
    population: Population, policies: dict[str, Callable[[], Policy]], tmp_path: Path
) -> None:
    chosen = {"popular": policies["popular"], "random": policies["random"]}
    path = tmp_path / "state.json"
    told: list[tuple[str, int, int]] = []

    def cut(policy: str, seed: int, number: int) -> None:
        told.append((policy, seed, number))
        if (policy, seed, number) == ("random", 0, 2):
            raise _CutOff

    with pytest.raises(_CutOff):
        simulate(population, chosen, rounds=3, seeds=(0, 1), state=path, on_round=cut)
    kept = {(world["policy"], world["seed"]) for world in json.loads(path.read_text())["worlds"]}
    assert kept == {(NO_RECOMMENDER, 0), ("popular", 0)}
    assert {file.name for file in tmp_path.iterdir()} == {"state.json", "state.json.round"}
    told.clear()
    resumed = simulate(
        population,
        chosen,
        rounds=3,
        seeds=(0, 1),
        state=path,
        on_round=lambda *what: told.append(what),
    )
    assert told[0] == ("random", 0, 3)
    assert len(told) == 3 * 3 + 1
    whole = simulate(population, chosen, rounds=3, seeds=(0, 1))
    pd.testing.assert_frame_equal(resumed.rounds, whole.rounds)
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_a_state_of_another_simulation_is_refused(population: Population, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    chosen = {"random": RandomPolicy}
    simulate(population, chosen, rounds=1, state=path, settings="a")
    other = planted_population(n_users=400, n_items=300, seed=1)
    ungrouped = Population(
        population.utility,
        population.users,
        population.items,
        population.activity,
        (),
        population.item_kinds,
    )
    with pytest.raises(RunError, match="of another population or other settings"):
        simulate(population, chosen, rounds=2, state=path, settings="a")
    with pytest.raises(RunError, match="of another population or other settings"):
        simulate(population, chosen, rounds=1, state=path, settings="b")
    for differing in (other, ungrouped):
        with pytest.raises(RunError, match="of another population or other settings"):
            simulate(differing, chosen, rounds=1, state=path, settings="a")
    for content in ("no JSON", "[]", "{}"):
        path.write_text(content)
        with pytest.raises(RunError, match="expected the state of a simulation"):
            simulate(population, chosen, rounds=1, state=path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policies": {}}, "expected at least one"),
        ({"policies": {NO_RECOMMENDER: RandomPolicy}}, "always takes part"),
        ({"rounds": 0}, "rounds 0"),
        ({"k": 0}, "k 0"),
        ({"seeds": ()}, "seeds: expected"),
        ({"seeds": (1, 1)}, "each once"),
        ({"seeds": (-1,)}, "at least 0"),
    ],
)
def test_what_cannot_be_simulated_is_refused(
    population: Population, changes: dict[str, object], message: str
) -> None:
    settings: dict[str, object] = {"policies": {"random": RandomPolicy}, **changes}
    with pytest.raises(DataError, match=message):
        simulate(population, **settings)


def test_without_a_recommender_users_run_out_of_items() -> None:
    """Three items, one of which was had: two are left, and nobody takes one again."""
    utility = np.zeros((2, 3))
    population = Population(utility, np.array([0, 1]), np.array([0, 2]), np.full(2, 50.0))
    found = simulate(population, {"random": RandomPolicy}, rounds=3).rounds
    alone = found[found["policy"] == NO_RECOMMENDER]
    assert alone["taken"].tolist() == [4, 0, 0]
    assert alone["utility"].isna().tolist() == [False, True, True]
