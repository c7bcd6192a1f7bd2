"""Small planted data sets with a known right answer, for tests of models and plugins."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

__all__ = ["StarTables", "heavy_group", "tiny_ratings", "tiny_table"]


class StarTables(NamedTuple):
    """Events, and the attributes of users and items, one row each."""

    events: pd.DataFrame
    users: pd.DataFrame
    items: pd.DataFrame


def heavy_group(*, n_users: int = 120, n_fans: int = 8, seed: int = 0) -> StarTables:
    """A small group of users who watch most of one kind, anime, and far more than anybody else.

    All others watch a dozen films each, mostly of their own two of the four further kinds. The
    first `n_fans` users are the fans; nothing in the table of users says so.

    Returns:
        `events` with `user_id`, `item_id` and `timestamp`, in random order; `users` with `city`
        at random; `items` with `title` and `kind`: a third of the 90 films is anime, and every
        tenth film is of a second kind as well.

    Example:
        >>> heavy_group(n_users=20, n_fans=2).users.columns.tolist()
        ['user_id', 'city']
    """
    rng = np.random.default_rng(seed)
    kinds = np.array(["action", "comedy", "drama", "war"])
    n_items, n_anime = 90, 30
    kind = np.where(np.arange(n_items) < n_anime, "anime", kinds[np.arange(n_items) % 4])
    second = kinds[rng.integers(0, 4, n_items)]
    is_both = (np.arange(n_items) % 10 == 9) & (second != kind)
    pairs = []
    for user in range(n_users):
        if user < n_fans:
            weight, n_events = np.where(kind == "anime", 20.0, 1.0), 30
        else:
            own = rng.choice(kinds, 2, replace=False)
            weight = np.where(np.isin(kind, own), 8.0, np.where(kind == "anime", 0.2, 1.0))
            n_events = 12
        chosen = rng.choice(n_items, n_events, replace=False, p=weight / weight.sum())
        pairs += [(user, item) for item in chosen]
    events = pd.DataFrame(rng.permutation(pairs), columns=["user_id", "item_id"])
    events["timestamp"] = 1_000_000_000 + rng.integers(0, 10_000_000, len(events))
    cities = np.array(["Oslo", "Quito", "Tunis"])[rng.integers(0, 3, n_users)]
    return StarTables(
        events,
        pd.DataFrame({"user_id": np.arange(n_users), "city": cities}),
        pd.DataFrame(
            {
                "item_id": np.arange(n_items),
                "title": [f"Film {item}" for item in range(n_items)],
                "kind": np.where(is_both, np.char.add(np.char.add(kind, "|"), second), kind),
            }
        ),
    )


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
