"""Groups that nobody named: heavy users whose items are alike in their attributes.

Dimension letters: U heavy users, A values of attributes, F features, C clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tabcf.audit.groups import AuditGroup, heaviest, item_shares
from tabcf.data.attributes import attribute_of
from tabcf.errors import DataError
from tabcf.recommend.trained import Trained

__all__ = ["find_groups", "k_means", "silhouette"]

_MOST_CLUSTERS = 8
# Users in a cluster at least, and how much more of a value its events have than everyone else's.
_FEWEST, _LIFT = 3, 1.25
# A value is typical if this share of the cluster's events has it.
_SHARE = 0.05
# How much the logarithm of activity counts beside the profile, a standard deviation each.
_ACTIVITY = 0.25
# Users whose distances are compared at most; more change the silhouette little.
_MOST_COMPARED = 1000


def find_groups(
    trained: Trained, columns: Sequence[str] | None = None, *, seed: int = 0
) -> tuple[AuditGroup, ...]:
    """Heavy users, clustered by what their items are like and by how many they had.

    Heavy are the fewest users who together have half of all training events. Their profiles, the
    square roots of the shares of each attribute's values, so that distances are those of Hellinger,
    stand beside the logarithm of their number of events, which counts little. They are clustered
    by k-means, with the number of clusters from 2 to 8 that has the best silhouette. A cluster of
    at least 3 users is a group if something is typical of it: a value of a twentieth of its events
    that is a quarter more frequent among these than among all others.

    Args:
        trained: A model of users and items.
        columns: Columns of the items' table; by default those with 2 to 50 values.
        seed: Where clusters start.

    Returns:
        The groups, that with the most typical value first, named by the one or two values that
        are most typical of it, such as `found: anime`.

    Raises:
        DataError: The items' table has no usable column.
    """
    names, weights = _attributes(trained, columns)
    assert trained.past is not None
    users, items = trained.past.positive.pairs()
    n_users = len(trained.encoder.entities["user"])
    counts = np.bincount(users, minlength=n_users)
    heavy = np.flatnonzero(heaviest(counts))
    if len(heavy) < 2 * _FEWEST:
        return ()
    sums = np.zeros((n_users, len(names)))
    np.add.at(sums, users, weights[items])
    cluster = _clustered(_features(sums[heavy], counts[heavy]), seed)
    found = []
    for number in range(cluster.max() + 1):
        members = np.zeros(n_users, dtype=bool)
        members[heavy[cluster == number]] = True
        typical = _typical(names, sums, members) if members.sum() >= _FEWEST else []
        if typical:
            found.append((typical, members))
    found.sort(key=lambda pair: -pair[0][0][1])
    groups: list[AuditGroup] = []
    for typical, members in found:
        name = f"found: {' + '.join(value for value, _ in typical[:2])}"
        taken = sum(group.name.partition(" #")[0] == name for group in groups)
        name += f" #{taken + 1}" if taken else ""
        groups.append(AuditGroup(name, members, item_shares(trained, members)))
    return tuple(groups)


def k_means(features: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Clusters `(U,)` of rows `(U, F)`, and the sum of squared distances to their centres.

    Centres start far from one another (k-means++, Arthur and Vassilvitskii, 2007).
    """
    centres = features[rng.integers(len(features))][None]
    while len(centres) < n:
        nearest = _squares(features, centres).min(1)
        total = nearest.sum()
        chance = nearest / total if total > 0 else None
        centres = np.vstack([centres, features[rng.choice(len(features), p=chance)]])
    cluster = np.full(len(features), -1)
    while True:
        squares = _squares(features, centres)
        now = squares.argmin(1)
        if (now == cluster).all():
            return cluster, float(squares.min(1).sum())
        cluster = now
        for number in range(n):
            if (cluster == number).any():
                centres[number] = features[cluster == number].mean(0)


def silhouette(features: np.ndarray, cluster: np.ndarray) -> float:
    """How much nearer rows are to their own cluster than to the next (Rousseeuw, 1987), in [-1, 1].

    A row that is a cluster of its own counts 0.
    """
    distance = np.sqrt(_squares(features, features))
    numbers = np.unique(cluster)
    is_in = cluster[:, None] == numbers
    sums, sizes = distance @ is_in, is_in.sum(0)
    own = is_in.argmax(1)
    rows = np.arange(len(features))
    n_others = sizes[own] - 1
    within = sums[rows, own] / np.maximum(n_others, 1)
    to_others = sums / sizes
    to_others[rows, own] = np.inf
    between = to_others.min(1)
    largest = np.maximum(np.maximum(within, between), 1e-12)
    return float(np.where(n_others > 0, (between - within) / largest, 0.0).mean())


def _attributes(trained: Trained, columns: Sequence[str] | None) -> tuple[list[str], np.ndarray]:
    """Names of all values, and each item row's weight of 1 a column, spread over its own."""
    entity = trained.encoder.entities["item"]
    source = entity.with_blank_row()
    left_out = (entity.plan.id, entity.plan.label)
    given = [name for name in source.frame.columns if name not in left_out]
    found: list[tuple[str, list[str]]] = []
    parts = []
    for column in given if columns is None else columns:
        attribute = attribute_of(source, column, most_numbers=12)
        if columns is None and not 2 <= len(attribute.values) <= 50:
            continue
        found.append((column, attribute.values))
        of_rows = attribute.of_rows
        parts.append(of_rows / np.maximum(of_rows.sum(1, keepdims=True), 1))
    if not parts:
        known = ", ".join(given) or "none"
        raise DataError(
            "find_groups: groups are found by what items are like, and no column of their table "
            f"has 2 to 50 values; columns: {known}"
        )
    # A number says little without its column.
    names = [
        value if len(found) == 1 else f"{column} {value}"
        for column, values in found
        for value in values
    ]
    return names, np.concatenate(parts, axis=1)


def _features(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    profile = np.sqrt(sums / np.maximum(sums.sum(1, keepdims=True), 1e-12))
    spread = np.sqrt(profile.var(0).sum())
    activity = np.log(counts)
    activity = (activity - activity.mean()) / max(activity.std(), 1e-12)
    return np.column_stack([profile, _ACTIVITY * spread * activity])


def _clustered(features: np.ndarray, seed: int) -> np.ndarray:
    """The clusters with the best silhouette, of the best of ten starts each."""
    rng = np.random.default_rng(seed)
    compared = rng.permutation(len(features))[:_MOST_COMPARED]
    best, highest = np.zeros(len(features), dtype=int), -1.0
    for n in range(2, min(_MOST_CLUSTERS, len(features) // _FEWEST) + 1):
        cluster, _ = min((k_means(features, n, rng) for _ in range(10)), key=lambda pair: pair[1])
        quality = silhouette(features[compared], cluster[compared])
        if quality > highest:
            best, highest = cluster, quality
    return best


def _typical(names: list[str], sums: np.ndarray, members: np.ndarray) -> list[tuple[str, float]]:
    """Values that a group's events have more of than all others', the most typical first."""
    own, others = sums[members].sum(0), sums[~members].sum(0)
    own, others = own / own.sum(), others / max(others.sum(), 1e-12)
    lift = own / np.maximum(others, 1e-12)
    is_typical = (lift >= _LIFT) & (own >= _SHARE)
    weight = own * np.log(np.maximum(lift, 1e-12))
    order = np.argsort(-weight, kind="stable")
    return [(names[place], float(weight[place])) for place in order if is_typical[place]]


def _squares(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distances of all to all."""
    squares = (rows**2).sum(1)[:, None] - 2 * rows @ others.T + (others**2).sum(1)
    found: np.ndarray = np.maximum(squares, 0.0)
    return found
