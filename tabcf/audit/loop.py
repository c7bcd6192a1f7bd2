"""What a recommender does to those who use it: rounds of recommending, choosing and learning anew.

Simulated users choose from lists by a utility that the recommender never sees, and what they
choose is what it learns from next. The design follows Chaney, Stewart and Engelhardt (2018), "How
algorithmic confounding in recommendation systems increases homogeneity and decreases utility", and
Mansoury et al. (2020), "Feedback loop and bias amplification in recommender systems".

Dimension letters: U users, I items, K places of a list, M interactions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tabcf.audit.choice import Choice
from tabcf.audit.figures import divergence, gini, jaccard, kind_shares, list_figures
from tabcf.audit.population import Population
from tabcf.audit.result import NO_RECOMMENDER, LoopResult
from tabcf.audit.state import Finished, World, fingerprint
from tabcf.errors import DataError

__all__ = ["NO_RECOMMENDER", "KeepsState", "Policy", "simulate"]

# Users who are compared with one another; of more, so many are drawn.
_N_COMPARED = 1_000
# What random numbers are for: each has its own, whatever the others draw.
_COMPARED, _USERS, _POLICY = 0, 1, 2


class Policy(Protocol):
    """A recommender that learns from what was chosen.

    One that carries more from round to round than the interactions is a `KeepsState` too.
    """

    def learn(self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> None:
        """Learn from all interactions so far, `(M,)` each; those of earlier rounds come first."""

    def lists(self, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        """`(U, k)` items, best first, none of those that `seen` `(U, I)` marks; -1 where none."""


@runtime_checkable
class KeepsState(Policy, Protocol):
    """One that goes on from the round before, such as from its weights."""

    def state(self) -> dict[str, np.ndarray]:
        """What the next round goes on from."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` gave."""


def simulate(
    population: Population,
    policies: Mapping[str, Callable[[], Policy]],
    *,
    rounds: int = 10,
    k: int = 10,
    choice: Choice | None = None,
    seeds: Sequence[int] = (0,),
    state: Path | None = None,
    settings: str = "",
    on_round: Callable[[str, int, int], None] | None = None,
) -> LoopResult:
    """Run each policy in a world of its own, and users without a recommender beside them.

    A round: the policy learns from all interactions, lists k items for everyone, users choose, and
    what they chose joins the interactions. Without a recommender users choose from all items that
    they have not had. Worlds of one seed share the users' luck, so that policies may be compared
    seed by seed.

    Args:
        population: Users, tastes and first interactions.
        policies: What makes each policy, untrained, by name.
        rounds: How many.
        k: K, length of the lists, and the most that a user takes in a round.
        choice: How users choose.
        seeds: A world each, for each policy; figures spread over them.
        state: A file that finished worlds are kept in, and beside it, as FILE.round, the last
            round of the one at work; a simulation that was cut off goes on behind that, and more
            policies and seeds may be added.
        settings: What else a state file must agree in, such as how policies are set.
        on_round: Is told policy, seed and round after each.

    Raises:
        DataError: There are no policies, rounds, places or seeds, a seed comes twice, or a policy
            has the name that is kept for no recommender.
        RunError: The state file is of another simulation.
    """
    _check(policies, rounds, k, seeds)
    choice = choice or Choice()
    keys = [(name, seed) for seed in seeds for name in (NO_RECOMMENDER, *policies)]
    of = fingerprint(population, (rounds, k, choice, settings))
    finished, begun = Finished.read(state, of), World.read(state, of)
    for key in keys:
        if key in finished.worlds:
            continue
        name, seed = key
        policy = None if name == NO_RECOMMENDER else policies[name]()
        world = World(key, population.users, population.items)
        if begun is not None and begun.key == key:
            world = begun
            if isinstance(policy, KeepsState):
                policy.restore(world.policy)
        for number in range(len(world.rows), rounds):
            users, items, row = _round(population, policy, world, k, choice)
            rows = [*world.rows, {"policy": name, "seed": seed, "round": number + 1, **row}]
            kept = policy.state() if state and isinstance(policy, KeepsState) else {}
            world = World(key, users, items, rows, kept)
            world.write(state, of)
            if on_round is not None:
                on_round(name, seed, number + 1)
        finished = finished.having(key, world.rows)
        finished.write(state)
    World.forget(state)
    return LoopResult.of_rows(row for key in keys for row in finished.worlds[key])


def _check(policies: Mapping[str, Any], rounds: int, k: int, seeds: Sequence[int]) -> None:
    if NO_RECOMMENDER in policies or not policies:
        raise DataError(
            f"policies: expected at least one, and none named '{NO_RECOMMENDER}', which always "
            f"takes part; got {', '.join(policies) or 'none'}"
        )
    if rounds < 1 or k < 1:
        raise DataError(f"expected positive numbers, got rounds {rounds} and k {k}")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise DataError(f"seeds: expected numbers of at least 0, each once, got {tuple(seeds)}")


def _round(
    population: Population, policy: Policy | None, world: World, k: int, choice: Choice
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """The next round of a world: all interactions behind it, and its figures."""
    utility, kinds = population.utility, population.item_kinds
    seed, number, n_first = world.key[1], len(world.rows), len(population.users)
    users, items = world.users, world.items
    seen, taken = np.zeros(utility.shape, dtype=bool), np.zeros(utility.shape, dtype=bool)
    seen[population.users, population.items] = True
    before = kind_shares(seen, kinds)
    seen[users, items] = taken[users[n_first:], items[n_first:]] = True
    rng = np.random.default_rng([seed, _USERS, number])
    n = rng.poisson(population.activity)
    if policy is None:
        lists = _own_choice(choice.sharpness * utility, seen, np.minimum(n, k), rng)
        who, place = np.nonzero(lists >= 0)
        what = lists[who, place]
    else:
        own = np.random.default_rng([seed, _POLICY, number])
        policy.learn(users, items, own)
        lists = policy.lists(seen, k, own)
        who, what = choice.take(utility, lists, n, rng)
    taken[who, what] = True
    users, items = np.concatenate([users, who]), np.concatenate([items, what])
    compared = np.random.default_rng([seed, _COMPARED]).permutation(len(utility))[:_N_COMPARED]
    return (
        users,
        items,
        {
            "taken": len(who),
            "utility": float(utility[who, what].mean()) if len(who) else float("nan"),
            "gini": gini(np.bincount(items, minlength=utility.shape[1])),
            **list_figures(population, lists),
            "drift": divergence(kind_shares(taken, kinds), before, np.any(taken, axis=1)),
            "jaccard": jaccard(taken[compared]),
        },
    )


def _own_choice(
    worth: np.ndarray, seen: np.ndarray, n: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """`(U, most)`: n of all items that a user has not had, as `Choice.take` draws them; else -1."""
    appeal = worth + rng.gumbel(size=worth.shape)
    appeal[seen] = -np.inf
    most = int(n.max(initial=0))
    lists = np.argsort(-appeal, axis=1)[:, :most]
    is_free = ~np.take_along_axis(seen, lists, axis=1)
    return np.where(is_free & (np.arange(lists.shape[1]) < n[:, None]), lists, -1)
