"""What a recommender does to those who use it: rounds of recommending, choosing and learning anew.

Simulated users choose from lists by a utility that the recommender never sees, and what they
choose is what it learns from next. The design follows Chaney, Stewart and Engelhardt (2018), "How
algorithmic confounding in recommendation systems increases homogeneity and decreases utility", and
Mansoury et al. (2020), "Feedback loop and bias amplification in recommender systems".

Dimension letters: U users, I items, K places of a list, M interactions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from tabcf.errors import DataError, RunError

__all__ = ["Choice", "Group", "LoopResult", "Policy", "Population", "simulate"]

# Pairs of users whose choices are compared; their mean's standard error is then below 0.01.
_N_PAIRS = 2_000
# Keeps a divergence finite where a user chose nothing of a kind.
_SMOOTHING = 0.01
NO_RECOMMENDER = "no recommender"


@dataclass(frozen=True, slots=True)
class Group:
    """Some users, and the items that are theirs: anime watchers and anime.

    Shape:
        members: `(U,)` booleans. items: `(I,)` booleans.
    """

    name: str
    members: np.ndarray
    items: np.ndarray


@dataclass(frozen=True, slots=True)
class Population:
    """Users with tastes, and what they did before the first round.

    Attributes:
        utility: `(U, I)`: what each item is worth to each user; the recommender never sees it.
        users: `(M,)`: whose interaction it is.
        items: `(M,)`: with which item.
        activity: `(U,)`: how many items each user takes in a round, on average.
        groups: Whose share is watched.
        kinds: `(I, A)` zeros and ones, such as genres, in which drifting tastes are measured;
            the groups' items by default.
    """

    utility: np.ndarray
    users: np.ndarray
    items: np.ndarray
    activity: np.ndarray
    groups: tuple[Group, ...] = ()
    kinds: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        n_users, n_items = self.utility.shape
        if self.activity.shape != (n_users,):
            raise DataError(
                f"activity: expected a number for each of {n_users} users, got "
                f"{self.activity.shape}"
            )
        for group in self.groups:
            if group.members.shape != (n_users,) or group.items.shape != (n_items,):
                raise DataError(
                    f"group {group.name}: expected {n_users} users and {n_items} items, got "
                    f"{group.members.shape} and {group.items.shape}"
                )
        if len(self.users) and (self.users.max() >= n_users or self.items.max() >= n_items):
            raise DataError("interactions: a user or an item is beyond the utility's table")


class Policy(Protocol):
    """A recommender that learns from what was chosen."""

    def learn(self, users: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> None:
        """Learn from all interactions so far, `(M,)` each."""

    def lists(self, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
        """`(U, k)` items, best first, none of those that `seen` `(U, I)` marks; -1 where none."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How users choose from a list.

    Attributes:
        decay: The chance that a place is looked at, by the chance of the one before it.
        sharpness: How much a unit of utility counts; 0 chooses blindly.
        outside: The quantile of a user's utilities that taking nothing is worth.
    """

    decay: float = 0.85
    sharpness: float = 2.0
    outside: float = 0.5

    def take(
        self, utility: np.ndarray, lists: np.ndarray, n: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Who takes which item: at most `n` `(U,)` of each list `(U, K)`.

        A user takes the items with the highest utility plus Gumbel noise, which is to draw them
        one after the other with chances that grow with utility (the Plackett-Luce model), among
        the places looked at, and stops at what taking nothing is worth.
        """
        n_users, k = lists.shape
        is_seen = rng.random((n_users, k)) < self.decay ** np.arange(k)
        worth = np.take_along_axis(utility, np.maximum(lists, 0), 1)
        appeal = self.sharpness * worth + rng.gumbel(size=(n_users, k))
        nothing = self.sharpness * np.quantile(utility, self.outside, axis=1)
        appeal[~is_seen | (lists < 0)] = -np.inf
        rank = np.argsort(np.argsort(-appeal, axis=1), axis=1)
        above = appeal > (nothing + rng.gumbel(size=n_users))[:, None]
        user, place = np.nonzero((rank < n[:, None]) & above)
        return user, lists[user, place]


@dataclass(frozen=True, slots=True)
class LoopResult:
    """What came of a simulation.

    Attributes:
        rounds: One row a policy, seed and round: `gini` of all interactions so far, `gini(lists)`
            and `coverage` of the round's lists, `taken` items and their mean `utility`,
            `homogeneity` (mean Jaccard index of two users'
            choices, over that without a recommender), `drift` (KL divergence of what users took
            from what they had at first, by kind, in nats), and for each group
            `amplification(NAME)`, the share of its items in everyone else's lists over their
            share in everyone else's first interactions, and `amplification(NAME, members)`.
    """

    rounds: pd.DataFrame

    def bands(self, *, level: float = 0.95) -> pd.DataFrame:
        """Mean over seeds of each figure by policy and round, with `low` and `high`.

        The band is `mean ± z · s / √seeds` with the normal z; NaN where there is one seed.
        """
        from statistics import NormalDist

        keys = ["policy", "round"]
        names = [name for name in self.rounds.columns if name not in (*keys, "seed")]
        long = self.rounds.melt(id_vars=[*keys, "seed"], value_vars=names, var_name="figure")
        grouped = long.groupby([*keys, "figure"], sort=False)["value"]
        found = grouped.agg(["mean", "std", "count"]).reset_index()
        width = NormalDist().inv_cdf(0.5 + level / 2) * found["std"] / np.sqrt(found["count"])
        found["low"], found["high"] = found["mean"] - width, found["mean"] + width
        return found.drop(columns=["std", "count"])


def simulate(
    population: Population,
    policies: Mapping[str, Callable[[], Policy]],
    *,
    rounds: int = 10,
    k: int = 10,
    choice: Choice | None = None,
    seeds: Sequence[int] = (0,),
    state: Path | None = None,
    on_round: Callable[[str, int, int], None] | None = None,
) -> LoopResult:
    """Run each policy in a world of its own, and users without a recommender beside them.

    A round: the policy learns from all interactions, lists k items for everyone, users choose, and
    what they chose joins the interactions. Worlds of one seed share the users' luck.

    Args:
        population: Users, tastes and first interactions.
        policies: What makes each policy, untrained, by name.
        rounds: How many.
        k: K, length of the lists.
        choice: How users choose.
        seeds: One world each a policy; figures spread over them.
        state: A file that finished worlds are kept in, so that a run that was cut off goes on
            where it was; it must be of the same population and settings.
        on_round: Is told policy, seed and round.

    Raises:
        DataError: A policy has the name that is kept for no recommender, or there are none.
        RunError: The state file is of other settings.
    """
    if NO_RECOMMENDER in policies or not policies or rounds < 1:
        raise DataError(
            f"policies: expected at least one, and none named '{NO_RECOMMENDER}', for a positive "
            f"number of rounds; got {', '.join(policies) or 'none'} for {rounds}"
        )
    choice = choice or Choice()
    kept = _Kept.read(state, _fingerprint(population, rounds, k, choice))
    for seed in seeds:
        for name in (NO_RECOMMENDER, *policies):
            if (name, seed) in kept.worlds:
                continue
            policy = None if name == NO_RECOMMENDER else policies[name]()
            rows = []
            for number, row in enumerate(_world(population, policy, rounds, k, choice, seed), 1):
                if on_round is not None:
                    on_round(name, seed, number)
                rows.append({"policy": name, "seed": seed, "round": number, **row})
            kept = kept.having((name, seed), rows)
            kept.write(state)
    wanted = [(name, seed) for seed in seeds for name in (NO_RECOMMENDER, *policies)]
    frame = pd.DataFrame([row for key in wanted for row in kept.worlds[key]])
    alone = frame[frame["policy"] == NO_RECOMMENDER].set_index(["seed", "round"])["jaccard"]
    without = alone.reindex(pd.MultiIndex.from_frame(frame[["seed", "round"]])).to_numpy()
    frame["homogeneity"] = frame.pop("jaccard") / np.where(without > 0, without, np.nan)
    return LoopResult(frame)


def _world(
    population: Population,
    policy: Policy | None,
    rounds: int,
    k: int,
    choice: Choice,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """One policy's rounds; gives the figures of each."""
    n_users, n_items = population.utility.shape
    seen = np.zeros((n_users, n_items), dtype=bool)
    seen[population.users, population.items] = True
    users, items = population.users.copy(), population.items.copy()
    taken = np.zeros((n_users, n_items), dtype=bool)
    luck = np.random.default_rng([seed, 0])
    pairs = luck.integers(0, n_users, (2, _N_PAIRS))
    kinds = _kinds(population)
    before = _shares(seen, kinds)
    for number in range(rounds):
        rng = np.random.default_rng([seed, 1, number])
        n = rng.poisson(population.activity)
        if policy is None:
            appeal = choice.sharpness * population.utility + rng.gumbel(size=seen.shape)
            appeal[seen] = -np.inf
            lists = np.argsort(-appeal, axis=1)[:, :k]
            is_taken = np.arange(k) < n[:, None]
            who, place = np.nonzero(is_taken)
            what = lists[who, place]
        else:
            own = np.random.default_rng([seed, 2, number])
            policy.learn(users, items, own)
            lists = policy.lists(seen, k, own)
            who, what = choice.take(population.utility, lists, n, rng)
        row = _figures(population, lists, who, what)
        seen[who, what] = True
        taken[who, what] = True
        users, items = np.concatenate([users, who]), np.concatenate([items, what])
        row["gini"] = gini(np.bincount(items, minlength=n_items))
        row["drift"] = _drift(_shares(taken, kinds), before, np.asarray(taken.any(1)))
        row["jaccard"] = _jaccard(taken, pairs)
        yield row


def _figures(
    population: Population, lists: np.ndarray, who: np.ndarray, what: np.ndarray
) -> dict[str, Any]:
    n_items = population.utility.shape[1]
    shown = np.bincount(lists[lists >= 0], minlength=n_items)
    figures: dict[str, Any] = {
        "gini(lists)": gini(shown),
        "coverage": float((shown > 0).mean()),
        "taken": len(who),
        "utility": float(population.utility[who, what].mean()) if len(who) else float("nan"),
    }
    for group in population.groups:
        for name, chosen in (("", ~group.members), (", members", group.members)):
            of_data = group.items[population.items[chosen[population.users]]]
            own = lists[chosen]
            of_lists = group.items[own[own >= 0]]
            share = of_data.mean() if len(of_data) else np.nan
            figures[f"amplification({group.name}{name})"] = (
                float(of_lists.mean() / share) if share and len(of_lists) else float("nan")
            )
    return figures


def gini(counts: np.ndarray) -> float:
    """How unequally something is spread: 0 evenly, near 1 all on one.

    Example:
        >>> gini(np.array([1, 1, 1])), round(gini(np.array([0, 0, 3])), 3)
        (0.0, 0.667)
    """
    ordered = np.sort(counts.astype(np.float64))
    n, total = len(ordered), ordered.sum()
    if not n or not total:
        return 0.0
    return float(2 * (np.arange(1, n + 1) * ordered).sum() / (n * total) - (n + 1) / n)


def _kinds(population: Population) -> np.ndarray:
    if population.kinds is not None:
        return population.kinds.astype(np.float64)
    n_items = population.utility.shape[1]
    columns = [group.items.astype(np.float64) for group in population.groups]
    rest = 1.0 - np.clip(sum(columns, np.zeros(n_items)), 0, 1)
    return np.stack([*columns, rest], axis=1)


def _shares(had: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """`(U, A)`: how each user's items divide among kinds, smoothed."""
    counts = had.astype(np.float64) @ kinds + _SMOOTHING
    shares: np.ndarray = counts / counts.sum(1, keepdims=True)
    return shares


def _drift(now: np.ndarray, before: np.ndarray, is_active: np.ndarray) -> float:
    if not is_active.any():
        return float("nan")
    divergence = (now * np.log(now / before)).sum(1)
    return float(divergence[is_active].mean())


def _jaccard(taken: np.ndarray, pairs: np.ndarray) -> float:
    one, two = taken[pairs[0]], taken[pairs[1]]
    both, either = (one & two).sum(1), (one | two).sum(1)
    is_any = (either > 0) & (pairs[0] != pairs[1])
    return float((both[is_any] / either[is_any]).mean()) if is_any.any() else 0.0


def _fingerprint(population: Population, rounds: int, k: int, choice: Choice) -> str:
    import hashlib

    digest = hashlib.sha256(repr((rounds, k, choice)).encode())
    for part in (population.utility, population.users, population.items, population.activity):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Finished worlds: rows by policy and seed, and what they are of."""

    of: str
    worlds: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None, of: str) -> _Kept:
        if path is None or not path.exists():
            return cls(of)
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["of"] != of:
            raise RunError(
                f"{path}: holds a simulation of another population or other settings; name "
                "another file"
            )
        worlds = {(world["policy"], world["seed"]): world["rows"] for world in state["worlds"]}
        return cls(of, worlds)

    def having(self, key: tuple[str, int], rows: list[dict[str, Any]]) -> _Kept:
        """The same with one more world."""
        return _Kept(self.of, {**self.worlds, key: rows})

    def write(self, path: Path | None) -> None:
        """Replace the file at once, so that a cut leaves the last complete one."""
        if path is None:
            return
        worlds = [{"policy": p, "seed": s, "rows": rows} for (p, s), rows in self.worlds.items()]
        scratch = path.with_name(f".{path.name}.part")
        scratch.write_text(json.dumps({"of": self.of, "worlds": worlds}), encoding="utf-8")
        Path(scratch).replace(path)
