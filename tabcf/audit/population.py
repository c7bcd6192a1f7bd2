"""Simulated users: their tastes, what they did so far, and which groups they are of.

Dimension letters: U users, I items, M interactions, A kinds of items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tabcf.errors import DataError

__all__ = ["Group", "Population"]


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
        utility: `(U, I)`: what each item is worth to each user; no recommender sees it.
        users: `(M,)` ints in `range(U)`: whose interaction it is.
        items: `(M,)` ints in `range(I)`: with which item.
        activity: `(U,)`: how many items each user would take in a round, on average.
        groups: Groups whose share is watched.
        kinds: `(I, A)` zeros and ones, such as genres, in which drifting tastes are measured;
            by default each group's items, and those of no group.

    Raises:
        DataError: The parts do not fit together.
    """

    utility: np.ndarray
    users: np.ndarray
    items: np.ndarray
    activity: np.ndarray
    groups: tuple[Group, ...] = ()
    kinds: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if self.utility.ndim != 2 or not np.isfinite(self.utility).all():
            raise DataError("utility: expected finite numbers, users by items")
        n_users, n_items = self.utility.shape
        if self.activity.shape != (n_users,) or not (self.activity >= 0).all():
            raise DataError(
                f"activity: expected a number of at least 0 for each of {n_users} users, got "
                f"{self.activity.shape}"
            )
        if self.users.shape != self.items.shape or self.users.ndim != 1:
            raise DataError(
                "interactions: expected as many users as items, got "
                f"{self.users.shape} and {self.items.shape}"
            )
        for what, numbers, n in (("user", self.users, n_users), ("item", self.items, n_items)):
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() < n:
                raise DataError(
                    f"interactions: expected {what}s from 0 to {n - 1}, got {numbers.min()} to "
                    f"{numbers.max()}"
                )
        for group in self.groups:
            if group.members.shape != (n_users,) or group.items.shape != (n_items,):
                raise DataError(
                    f"group {group.name}: expected {n_users} users and {n_items} items, got "
                    f"{group.members.shape} and {group.items.shape}"
                )
        if self.kinds is not None and (self.kinds.ndim != 2 or len(self.kinds) != n_items):
            raise DataError(f"kinds: expected {n_items} rows, got {self.kinds.shape}")

    @property
    def item_kinds(self) -> np.ndarray:
        """`(I, A)` float64: `kinds`, or its default."""
        if self.kinds is not None:
            return self.kinds.astype(np.float64)
        columns = [group.items for group in self.groups]
        is_of_none = ~np.any(columns, axis=0) if columns else np.ones(self.utility.shape[1])
        return np.stack([*columns, is_of_none], axis=1).astype(np.float64)
