"""A population with a small, heavy group of a taste of its own: the anime watchers.

Dimension letters: U users, I items.
"""

from __future__ import annotations

import numpy as np

from tabcf.audit.population import Group, Population

__all__ = ["planted_population"]

# Dimensions of everyone's taste.
_TASTES = 6
# Interactions of each user before the first round.
_N_FIRST = 10


def planted_population(
    *,
    n_users: int = 400,
    n_items: int = 1000,
    group_share: float = 0.1,
    items_share: float = 0.1,
    heaviness: float = 6.0,
    seed: int = 0,
) -> Population:
    """Users whose tastes are known, a tenth of whom watch anime, and much of it.

    Everyone's utility is the product of random vectors. Members' is higher for the group's items
    and lower for others; to everyone else the group's items are like any others, and they had them
    no more often than chance. So whatever share of their lists the group's items have beyond that,
    the recommender put there.

    Args:
        n_users: U.
        n_items: I.
        group_share: Members' share of users.
        items_share: The group's share of items.
        heaviness: How many times as much as others members do in each round; before the first all
            did the same.
        seed: Of all that is drawn.

    Example:
        >>> population = planted_population(n_users=50, n_items=40)
        >>> population.utility.shape, population.groups[0].members.sum()
        ((50, 40), np.int64(5))
    """
    rng = np.random.default_rng(seed)
    members = np.arange(n_users) < round(group_share * n_users)
    vectors = rng.normal(size=(n_users, _TASTES)), rng.normal(size=(n_items, _TASTES))
    utility = vectors[0] @ vectors[1].T / np.sqrt(_TASTES)
    # Every tenth item in the order of how much it appeals, so that the group's are no better.
    by_appeal = np.argsort(np.exp(utility[~members]).sum(0))
    every = max(round(1 / items_share), 1)
    of_group = np.zeros(n_items, dtype=bool)
    of_group[by_appeal[every // 2 :: every]] = True
    utility[np.ix_(members, of_group)] += 2.0
    utility[np.ix_(members, ~of_group)] -= 1.0
    n_first = np.full(n_users, _N_FIRST)
    appeal = utility + rng.gumbel(size=utility.shape)
    order = np.argsort(-appeal, axis=1)
    users = np.repeat(np.arange(n_users), n_first)
    items = np.concatenate([order[u, :n] for u, n in enumerate(n_first)])
    activity = np.where(members, heaviness, 1.0)
    return Population(utility, users, items, activity, (Group("anime", members, of_group),))
