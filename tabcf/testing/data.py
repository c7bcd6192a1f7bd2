"""Small planted data sets with a known right answer, for tests of models and plugins."""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["tiny_ratings", "tiny_table"]


def tiny_ratings(*, n_users: int = 30, n_items: int = 20, seed: int = 0) -> pd.DataFrame:
    """A checkerboard of likes: users give items of their own parity 5 stars, others 1.

    A tenth of all pairs is left out. Neither users nor items differ in their means, so that only
    a model of pairs learns it.

    Returns:
        `user_id`, `item_id`, `rating` and `timestamp`, in random order.

    Example:
        >>> tiny_ratings(n_users=2, n_items=2).columns.tolist()
        ['user_id', 'item_id', 'rating', 'timestamp']
    """
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(n_users * n_items)[: int(0.9 * n_users * n_items)]
    users, items = np.divmod(pairs, n_items)
    rating = np.where((users + items) % 2 == 0, 5, 1)
    times = 1_000_000_000 + rng.integers(0, 10_000_000, len(pairs))
    return pd.DataFrame({"user_id": users, "item_id": items, "rating": rating, "timestamp": times})


def tiny_table(*, n_rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """A plain table: `color` and `size` (with gaps) tell `price` but for little noise.

    Example:
        >>> tiny_table(n_rows=3).columns.tolist()
        ['color', 'size', 'price']
    """
    rng = np.random.default_rng(seed)
    colors = np.array(["blue", "green", "red"])[rng.integers(0, 3, n_rows)]
    size = rng.normal(10, 2, n_rows)
    price = size + 5.0 * (colors == "red") + rng.normal(0, 0.1, n_rows)
    size[rng.random(n_rows) < 0.1] = np.nan
    return pd.DataFrame({"color": colors, "size": size, "price": price})
