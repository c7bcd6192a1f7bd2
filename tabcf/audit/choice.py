"""How simulated users choose from lists.

Dimension letters: U users, I items, K places of a list.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tabcf.errors import DataError

__all__ = ["Choice"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which places of a list are looked at, and which of the items there are taken.

    Attributes:
        decay: The chance that a place is looked at is `decay ** place`, the first place being 0,
            each place on its own.
        sharpness: How much a unit of utility counts; 0 chooses blindly.
        outside: The quantile of a user's utilities that taking nothing is worth.

    Raises:
        DataError: One of them is out of its range.
    """

    decay: float = 0.85
    sharpness: float = 2.0
    outside: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (0 < self.decay <= 1 and self.sharpness >= 0 and 0 <= self.outside <= 1):
            raise DataError(
                "choice: expected decay above 0 and at most 1, sharpness of at least 0 and "
                f"outside between 0 and 1, got {self}"
            )

    def take(
        self, utility: np.ndarray, lists: np.ndarray, n: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Who takes which item.

        To take the items with the highest utility plus Gumbel noise is to draw one after the other
        without replacement, each with a chance in proportion to `exp(sharpness · utility)` (the
        Plackett-Luce model). Taking nothing is one of the alternatives; who draws it stops.

        Args:
            utility: `(U, I)`.
            lists: `(U, K)` items, -1 in empty places.
            n: `(U,)`: how many items each user takes at most.
            rng: Where the draws come from.

        Returns:
            Users and items, one pair an item taken.
        """
        shape = lists.shape
        is_looked_at = (rng.random(shape) < self.decay ** np.arange(shape[1])) & (lists >= 0)
        worth = np.take_along_axis(utility, np.maximum(lists, 0), axis=1)
        appeal = self.sharpness * worth + rng.gumbel(size=shape)
        nothing = self.sharpness * np.quantile(utility, self.outside, axis=1)
        nothing += rng.gumbel(size=len(nothing))
        appeal[~is_looked_at] = -np.inf
        rank = np.argsort(np.argsort(-appeal, axis=1), axis=1)
        users, places = np.nonzero((rank < n[:, None]) & (appeal > nothing[:, None]))
        return users, lists[users, places]
