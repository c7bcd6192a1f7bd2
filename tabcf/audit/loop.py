"""What a recommender does to those who use it: rounds of recommending, choosing and learning anew.

Simulated users choose from lists by a utility that the recommender never sees, and what they
choose is what it learns from next. The design follows Chaney, Stewart and Engelhardt (2018), "How
algorithmic confounding in recommendation systems increases homogeneity and decreases utility", and
Mansoury et al. (2020), "Feedback loop and bias amplification in recommender systems".

Dimension letters: U users, I items, K places of a list, M interactions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from tabcf.audit.choice import Choice
from tabcf.audit.figures import divergence, gini, jaccard, kind_shares, list_figures
from tabcf.audit.population import Population
from tabcf.audit.result import LoopResult
from tabcf.audit.state import Finished, fingerprint
from tabcf.errors import DataError

__all__ = ["NO_RECOMMENDER", "Policy", "simulate"]

NO_RECOMMENDER = "no recommender"

# Users who are compared with one another; of more, so many are drawn.
_N_COMPARED = 1_000
# What random numbers are for: each has its own, whatever the others draw.
_COMPARED, _USERS, _POLICY = 0, 1, 2


class Policy(Protocol):
    """A recommender that learns from what was chosen."""

    def learn(self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> None:
        """Learn from all interactions so far, `(M,)` each; those of earlier rounds come first."""

    def lists(self, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        """`(U, k)` items, best first, none of those that `seen` `(U, I)` marks; -1 where none."""


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
        state: A file that finished worlds are kept in, so that a simulation that was cut off goes
            on behind the last of them; more policies and seeds may be added.
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
    finished = Finished.read(state, fingerprint(population, (rounds, k, choice, settings)))
    for name, seed in keys:
        if (name, seed) in finished.worlds:
            continue
        policy = None if name == NO_RECOMMENDER else policies[name]()
        rows = []
        for number, row in enumerate(_world(population, policy, rounds, k, choice, seed), start=1):
            rows.append({"policy": name, "seed": seed, "round": number, **row})
            if on_round is not None:
                on_round(name, seed, number)
        finished = finished.having((name, seed), rows)
        finished.write(state)
    frame = pd.DataFrame([row for key in keys for row in finished.worlds[key]])
    alone = frame[frame["policy"] == NO_RECOMMENDER].set_index(["seed", "round"])["jaccard"]
    without = alone.reindex(pd.MultiIndex.from_frame(frame[["seed", "round"]])).to_numpy()
    frame["homogeneity"] = frame.pop("jaccard") / np.where(without > 0, without, np.nan)
    return LoopResult(frame)


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


def _world(
    population: Population,
    policy: Policy | None,
    rounds: int,
    k: int,
    choice: Choice,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """One policy's rounds; gives the figures of each."""
    utility = population.utility
    seen = np.zeros(utility.shape, dtype=bool)
    seen[population.users, population.items] = True
    users, items = population.users, population.items
    taken = np.zeros(utility.shape, dtype=bool)
    compared = np.random.default_rng([seed, _COMPARED]).permutation(len(utility))[:_N_COMPARED]
    kinds = population.item_kinds
    before = kind_shares(seen, kinds)
    for number in range(rounds):
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
        seen[who, what] = taken[who, what] = True
        users, items = np.concatenate([users, who]), np.concatenate([items, what])
        yield {
            "taken": len(who),
            "utility": float(utility[who, what].mean()) if len(who) else float("nan"),
            "gini": gini(np.bincount(items, minlength=utility.shape[1])),
            **list_figures(population, lists),
            "drift": divergence(kind_shares(taken, kinds), before, np.any(taken, axis=1)),
            "jaccard": jaccard(taken[compared]),
        }


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
